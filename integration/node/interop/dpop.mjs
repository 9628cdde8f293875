// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// dpop: makes proofs and nothing else.

import { generateKeyPair, generateProof } from 'dpop'
import { drive, settings, signer } from './client.mjs'

await drive(async () => {
  const keys = await generateKeyPair(settings.alg)
  return signer((method, url, token, nonce) => generateProof(keys, url, method, nonce, token))
})
