// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// jose: a general library; the proof is put together by hand.

import { createHash, randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { drive, settings, signer, tweak } from './client.mjs'

await drive(async () => {
  const { publicKey, privateKey } = await generateKeyPair(settings.alg)
  const jwk = await exportJWK(publicKey)
  return signer((htm, htu, token, nonce) => {
    const hash = token && createHash('sha256').update(token).digest('base64url')
    const ath = tweak() === 'no-ath' ? undefined : hash
    return new SignJWT({ htm, htu: htu.split('?')[0], jti: randomUUID(), ath, nonce })
      .setProtectedHeader({ alg: settings.alg, typ: 'dpop+jwt', jwk })
      .setIssuedAt()
      .sign(privateKey)
  })
})
