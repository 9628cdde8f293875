// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// @okta/okta-auth-js: getDPoPAuthorizationHeaders, with its key store in IndexedDB. It
// knows RS256 only, and the caller carries the nonce.

import 'fake-indexeddb/auto'
import { OktaAuth } from '@okta/okta-auth-js'
import { drive, settings, tokenEndpoint, tokenRequest, wire } from './client.mjs'

globalThis.window ??= globalThis // where it looks for IndexedDB

const { createDPoPKeyPair, findKeyPair, generateDPoPForTokenRequest } = await import(
  new URL('../node_modules/@okta/okta-auth-js/esm/node/oidc/dpop.js', import.meta.url)
)

const okta = new OktaAuth({
  issuer: settings.issuer,
  clientId: settings.id,
  redirectUri: 'https://app.example.com/callback',
  dpop: true,
})

await drive(async () => {
  const { keyPairId } = await createDPoPKeyPair()
  let nonce
  return {
    async token() {
      const url = await tokenEndpoint()
      const init = tokenRequest()
      const keyPair = await findKeyPair(keyPairId)
      init.headers.DPoP = await generateDPoPForTokenRequest({ keyPair, url, method: 'POST' })
      return (await (await fetch(url, init)).json()).access_token
    },
    async request(token, method, url, body) {
      const accessToken = { accessToken: token, dpopPairId: keyPairId }
      const send = async () => {
        const headers = await okta.getDPoPAuthorizationHeaders({ url, method, accessToken, nonce })
        return wire(url, { method, body, headers: { ...headers } })
      }
      const res = await send()
      const fresh = okta.parseUseDPoPNonceError(res.headers)
      if (!fresh) return res
      nonce = fresh
      return send()
    },
  }
})
