// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// oidc-provider as authorization server on a loopback port. The environment says how:
// NONCE (off, required) what proofs at its own endpoints need, SIGNED_INTROSPECTION (on)
// whether it signs its answers about tokens, RESOURCE_SERVER_KEYS the JWK set of the
// resource server that authenticates with private_key_jwt. It prints its
// issuer identifier when it serves, and the kind of each introspection answer; POST /test/rotate gives it a new signing key.

import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { exportJWK, generateKeyPair } from 'jose'
import './url-parse.mjs'

const { Provider } = await import('oidc-provider')

const secret = process.env.CLIENT_SECRET
const nonceSecret = randomBytes(32)
const signed = process.env.SIGNED_INTROSPECTION === 'on'
const keys = []

function client(client_id, more) {
  return {
    client_id,
    client_secret: secret,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'client_secret_basic',
    ...more,
  }
}

// The resource servers introspect; each authenticates in its own way.
const clients = [
  client('client'),
  client('rs-basic'),
  client('rs-post', { token_endpoint_auth_method: 'client_secret_post' }),
  client('rs-jwt', {
    client_secret: undefined,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    jwks: JSON.parse(process.env.RESOURCE_SERVER_KEYS ?? '{"keys":[]}'),
  }),
]

// What a token for a resource looks like: opaque when the resource says so.
function resourceServer(resource) {
  const common = { audience: resource, scope: 'read past', accessTokenTTL: 300 }
  if (resource.endsWith('/opaque')) return { ...common, accessTokenFormat: 'opaque' }
  return { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }
}

const configuration = () => ({
  clients,
  clientDefaults: {
    id_token_signed_response_alg: 'ES256',
    ...(signed && { introspection_signed_response_alg: 'ES256' }),
  },
  jwks: { keys },
  scopes: ['read', 'past'],
  enabledJWA: { dPoPSigningAlgValues: ['ES256', 'Ed25519', 'EdDSA', 'PS256', 'RS256'] },
  clientBasedCORS: () => true,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: async () => true },
    jwtIntrospection: { enabled: signed },
    revocation: { enabled: true, allowedPolicy: async () => true },
    dPoP: { enabled: true, nonceSecret, requireNonce: () => process.env.NONCE === 'required' },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: (ctx, resource) => resourceServer(resource),
      useGrantedResource: () => true,
    },
  },
  formats: {
    customizers: {
      // Tokens with the scope "past" have expired when they are issued.
      jwt(ctx, token, parts) {
        if (token.scope === 'past') {
          parts.payload.iat -= 3600
          parts.payload.exp = parts.payload.iat + 300
        }
        return parts
      },
    },
  },
})

const stored = new Map()

// Tokens live as long as this process, whatever keys it has at the moment.
class Memory {
  constructor(kind) {
    this.kind = kind
  }
  key = (id) => `${this.kind}:${id}`
  async upsert(id, payload) {
    stored.set(this.key(id), payload)
  }
  async find(id) {
    return stored.get(this.key(id))
  }
  async destroy(id) {
    stored.delete(this.key(id))
  }
  async consume() {}
  async revokeByGrantId() {}
}

let handler

// addKey signs with a new key from now on; the two before it stay published.
async function addKey(issuer) {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = { ...(await exportJWK(privateKey)), kid: `key-${randomBytes(6).toString('hex')}`, alg: 'ES256', use: 'sig' }
  keys.unshift(jwk)
  keys.splice(3)
  handler = new Provider(issuer, { ...configuration(), adapter: Memory }).callback()
}

const server = createServer(async (req, res) => {
  if (req.method === 'POST' && req.url === '/test/rotate') {
    await addKey(issuer)
    res.end()
    return
  }
  if (req.url === '/token/introspection') {
    res.once('finish', () => console.log(`answered ${res.statusCode} ${res.getHeader('content-type')}`))
  }
  handler(req, res)
})
server.listen(0, '127.0.0.1')
await new Promise((resolve) => server.once('listening', resolve))
const issuer = `http://127.0.0.1:${server.address().port}`
await addKey(issuer)
console.log(`provider serves ${issuer}`)
