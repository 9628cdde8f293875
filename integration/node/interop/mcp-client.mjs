// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// An MCP client that knows the URL of a server, its own name and nothing else. It finds
// the metadata of the resource and of the authorization server, gets a bound token and
// calls a tool; then it does what a thief would do. Prints a line for each step.

import { isDeepStrictEqual } from 'node:util'
import './url-parse.mjs'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { discoverAuthorizationServerMetadata, discoverOAuthProtectedResourceMetadata } from '@modelcontextprotocol/sdk/client/auth.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import * as oauth from 'openid-client'

const url = process.env.MCP_URL
const step = (name, ...values) => console.log(['step', name, ...values].join('\t'))

// Asked without a token, the server says where its metadata is (RFC 9728, section 5.1).
const asked = await fetch(url, { method: 'POST', body: '{}' })
const challenge = asked.headers.get('www-authenticate') ?? ''
const named = /^DPoP .*resource_metadata="([^"]+)"/.exec(challenge)?.[1]
step('challenge', asked.status, named)

// The SDK finds the same document by inserting the well-known path (section 3).
const resource = await discoverOAuthProtectedResourceMetadata(url)
const direct = await (await fetch(named)).json()
step('metadata', isDeepStrictEqual(direct, { ...resource }) ? 'same' : 'different',
  resource.resource, resource.dpop_bound_access_tokens_required, resource.authorization_servers.length)

const [server] = resource.authorization_servers
const metadata = await discoverAuthorizationServerMetadata(server)
step('server', metadata.issuer === server, metadata.dpop_signing_alg_values_supported.includes('ES256') ? 'ES256' : 'no ES256')

const config = await oauth.discovery(
  new URL(server), process.env.CLIENT_ID, undefined, oauth.ClientSecretBasic(process.env.CLIENT_SECRET),
  { execute: [oauth.allowInsecureRequests] },
)
const keys = await oauth.randomDPoPKeyPair('ES256')
const DPoP = oauth.getDPoPHandle(config, keys)
const scope = resource.scopes_supported.join(' ')
const { access_token: token } = await oauth.clientCredentialsGrant(config, { resource: resource.resource, scope }, { DPoP })
step('token', 'issued')

// The last good request, for the thief.
let seen
config[oauth.customFetch] = (to, init) => {
  if (new Headers(init.headers).has('dpop')) seen = { to, init }
  return fetch(to, init)
}
const signed = (to, init = {}) =>
  oauth.fetchProtectedResource(config, token, new URL(to), init.method ?? 'GET', init.body, new Headers(init.headers), { DPoP, signal: init.signal })

const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: signed })
const client = new Client({ name: 'interop-client', version: '1.0.0' })
await client.connect(transport)
step('tools', (await client.listTools()).tools.map((tool) => tool.name).join(' '))
step('call', (await client.callTool({ name: 'whoami' })).content[0].text.split(' ')[0])

const refused = async (name, headers) => {
  const res = await fetch(seen.to, { ...seen.init, headers })
  await res.text()
  step(name, res.status, /error="([^"]+)"/.exec(res.headers.get('www-authenticate'))?.[1])
}
const { init } = seen
await refused('again', init.headers)
const stolen = new Headers(init.headers)
stolen.set('authorization', `Bearer ${token}`)
stolen.delete('dpop')
await refused('bearer', stolen)
const bare = new Headers(init.headers)
bare.delete('dpop')
await refused('no proof', bare)

await transport.terminateSession()
await client.close()
step('end', 'session closed')
