// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// openid-client: gets the token and makes the calls, nonce retry included.

import * as client from 'openid-client'
import { drive, inCall, settings, wire } from './client.mjs'

await drive(async () => {
  const config = await client.discovery(
    new URL(settings.issuer), settings.id, undefined, client.ClientSecretBasic(settings.secret),
    { algorithm: 'oauth2', execute: [client.allowInsecureRequests] },
  )
  config[client.customFetch] = (url, options) => (inCall() ? wire(url, options) : fetch(url, options))
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair(settings.alg))
  return {
    async token(scope = settings.scope) {
      const parameters = { resource: settings.resource, scope }
      const answer = await client.clientCredentialsGrant(config, parameters, { DPoP })
      if (answer.token_type !== 'dpop') throw new Error(`token_type ${answer.token_type}`)
      return answer.access_token
    },
    request: (token, method, url, body) =>
      client.fetchProtectedResource(config, token, new URL(url), method, body, undefined, { DPoP }),
  }
})
