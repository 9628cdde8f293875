// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// oidc-client-ts: dpopProof of a user manager, with a key store in memory. It makes
// the proof for the API from a signed-in user; its token endpoint calls need a login,
// so the token comes by a plain request.

import { DPoPState, UserManager } from 'oidc-client-ts'
import { drive, settings, signer } from './client.mjs'

globalThis.window ??= globalThis // where it looks for WebCrypto

await drive(async () => {
  const state = new DPoPState(await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']))
  const manager = new UserManager({
    authority: settings.issuer,
    client_id: settings.id,
    redirect_uri: 'https://app.example.com/callback',
    userStore: {},
    stateStore: {},
    dpop: { store: { get: async () => state, set: async () => {}, remove: async () => {} } },
  })
  return signer((method, url, token, nonce) =>
    manager.dpopProof(url, token && { access_token: token }, method, nonce))
})
