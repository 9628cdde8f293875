// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// An MCP server with the official SDK and without any notion of authorization: Caddy
// stands before it. It listens on PORT and prints when it serves.

import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'

const sessions = new Map()

async function newSession() {
  const server = new McpServer({ name: 'interop', version: '1.0.0' })
  // The tool tells what Caddy found out about its caller.
  server.registerTool('whoami', { description: 'Names the caller' }, ({ requestInfo }) => ({
    content: [{ type: 'text', text: `${requestInfo.headers['x-client']} ${requestInfo.headers['x-jkt']}` }],
  }))
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => void sessions.set(id, transport),
  })
  await server.connect(transport)
  return transport
}

const server = createServer(async (req, res) => {
  const session = sessions.get(req.headers['mcp-session-id']) ?? (await newSession())
  await session.handleRequest(req, res)
})
server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('mcp server serves'))
