// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// The fetch that @atproto/oauth-client wraps around every request of a session. The
// package does not export it, and a session needs a login at a PDS.

import { JoseKey } from '@atproto/jwk-jose'
import { drive, settings, tokenEndpoint, tokenRequest, wire } from './client.mjs'

const { dpopFetchWrapper } = await import(
  new URL('../node_modules/@atproto/oauth-client/dist/fetch-dpop.js', import.meta.url)
)

function memory() {
  const values = new Map()
  return { get: (name) => values.get(name), set: (name, value) => void values.set(name, value) }
}

await drive(async () => {
  const key = await JoseKey.generate([settings.alg])
  const options = { key, supportedAlgs: [settings.alg] }
  const toServer = dpopFetchWrapper({ ...options, nonces: memory(), isAuthServer: true })
  const toAPI = dpopFetchWrapper({ ...options, nonces: memory(), isAuthServer: false, fetch: (request) => wire(request) })
  return {
    token: async () => (await (await toServer(await tokenEndpoint(), tokenRequest())).json()).access_token,
    request: (token, method, url, body) =>
      toAPI(url, { method, body, headers: { Authorization: `DPoP ${token}` } }),
  }
})
