// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// A verifier as its documentation shows it, with nothing behind it:
//
//	node server.mjs <kind> <port> <key set file> <issuer> <audience>
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const [kind, port, keys, issuer, audience] = process.argv.slice(2)
const jwks = readFileSync(keys, 'utf8')
const jwksUri = `http://127.0.0.1:${port}/jwks`

// handlers answer everything but the key set. None of them remembers a jti.
const handlers = {
  node: () => (_, res) => res.end('hello'),

  async oauth4webapi() {
    const oauth = await import('oauth4webapi')
    const as = { issuer, jwks_uri: jwksUri }
    const options = { [oauth.allowInsecureRequests]: true, [oauth.jwksCache]: {}, requireDPoP: true }
    return async (req, res) => {
      try {
        const request = new Request(`http://${req.headers.host}${req.url}`, { method: req.method, headers: req.headers })
        await oauth.validateJwtAccessToken(as, request, audience, options)
        res.end('hello')
      } catch (err) {
        refuse(res, err)
      }
    }
  },

  async express() {
    const { default: express } = await import('express')
    return express().use((_, res) => res.end('hello'))
  },

  async 'express-oauth2-jwt-bearer'() {
    const { default: express } = await import('express')
    const { auth } = await import('express-oauth2-jwt-bearer')
    const app = express()
    app.use(auth({ issuer, audience, jwksUri, tokenSigningAlg: 'ES256', dpop: { enabled: true, required: true } }))
    app.use((_, res) => res.end('hello'))
    app.use((err, _req, res, _next) => refuse(res, err))
    return app
  },
}

function refuse(res, err) {
  if (process.env.DEBUG) console.error(err)
  res.statusCode = 401
  res.end('refused')
}

const handler = await handlers[kind]()
createServer((req, res) => {
  if (req.url === '/jwks') {
    res.setHeader('Content-Type', 'application/json')
    return res.end(jwks)
  }
  return handler(req, res)
}).listen(Number(port), '127.0.0.1')
