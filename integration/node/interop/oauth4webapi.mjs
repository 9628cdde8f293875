// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// oauth4webapi: makes requests and remembers nonces; the caller retries.

import * as oauth from 'oauth4webapi'
import { drive, settings, wire } from './client.mjs'

const insecure = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(settings.issuer)
const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure })
const as = await oauth.processDiscoveryResponse(issuer, discovered)
const client = { client_id: settings.id }

async function retry(request) {
  try {
    return await request()
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err
    return request()
  }
}

await drive(async () => {
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair(settings.alg))
  return {
    token: (scope = settings.scope) => retry(async () => {
      const parameters = new URLSearchParams({ resource: settings.resource, scope })
      const res = await oauth.clientCredentialsGrantRequest(
        as, client, oauth.ClientSecretBasic(settings.secret), parameters, { DPoP, ...insecure },
      )
      return (await oauth.processClientCredentialsResponse(as, client, res)).access_token
    }),
    request: (token, method, url, body) => retry(() => oauth.protectedResourceRequest(
      token, method, new URL(url), undefined, body, { DPoP, [oauth.customFetch]: wire, ...insecure },
    )),
  }
})
