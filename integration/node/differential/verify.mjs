// Runs proofs through two implementations: oauth4webapi, which checks DPoP proofs
// itself, and jose, with the checks of RFC 9449 section 4.3 written out as its
// documentation suggests. Reads a JSON array of vectors from stdin and writes an array
// of { oauth4webapi, jose }, each "accept" or what was said against the proof.
import * as jose from 'jose'
import * as oauth from 'oauth4webapi'
import { createHash } from 'node:crypto'
import { text } from 'node:stream/consumers'

const issuer = 'https://as.example.test'
const audience = 'https://api.example.test'
const realNow = Date.now
const realDigest = crypto.subtle.digest.bind(crypto.subtle)

const { privateKey, publicKey } = await jose.generateKeyPair('ES256')
const jwks = { keys: [{ ...(await jose.exportJWK(publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }] }

// oauth4webapi checks token and proof together, and the vectors' tokens are only text.
// So it gets a token of ours, and where it hashes that one, the vector's is hashed.
let minted = ''
let meant = ''
crypto.subtle.digest = async (algorithm, data) =>
  realDigest(algorithm, minted && Buffer.from(data).equals(Buffer.from(minted)) ? Buffer.from(meant) : data)

async function thumbprint(proof) {
  try {
    return await jose.calculateJwkThumbprint(jose.decodeProtectedHeader(proof).jwk)
  } catch {
    return 'none'
  }
}

async function withOAuth4WebAPI({ proof, request, algorithms, skew }) {
  if (request.access_token === null) return 'n/a'
  meant = request.access_token
  minted = await new jose.SignJWT({ client_id: 'app', jti: 't', cnf: { jkt: await thumbprint(proof) } })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: 'k1' })
    .setIssuer(issuer).setAudience(audience).setSubject('alice')
    .setIssuedAt(request.now).setExpirationTime(request.now + 3600)
    .sign(privateKey)
  const r = new Request(request.uri, { headers: { authorization: `DPoP ${minted}`, dpop: proof } })
  Object.defineProperty(r, 'method', { value: request.method })
  await oauth.validateJwtAccessToken({ issuer, jwks_uri: `${issuer}/jwks` }, r, audience, {
    requireDPoP: true,
    signingAlgorithms: algorithms,
    [oauth.clockTolerance]: skew,
    [oauth.customFetch]: async () => Response.json(jwks),
  })
  return 'accept'
}

function withoutQuery(uri) {
  const url = new URL(uri)
  url.search = url.hash = ''
  return url.href
}

async function withJose({ proof, request, algorithms, maxAge, skew }) {
  const required = ['iat', 'jti', 'htm', 'htu']
  if (request.access_token !== null) required.push('ath')
  const { payload } = await jose.jwtVerify(proof, jose.EmbeddedJWK, {
    typ: 'dpop+jwt',
    algorithms,
    maxTokenAge: maxAge,
    clockTolerance: skew,
    currentDate: new Date(request.now * 1000),
    requiredClaims: required,
  })
  if (typeof payload.jti !== 'string') throw new Error('jti')
  if (payload.htm !== request.method) throw new Error('htm')
  if (withoutQuery(payload.htu) !== withoutQuery(request.uri)) throw new Error('htu')
  if (request.access_token !== null &&
    payload.ath !== createHash('sha256').update(request.access_token).digest('base64url')) throw new Error('ath')
  return 'accept'
}

const answers = []
for (const vector of JSON.parse(await text(process.stdin))) {
  const answer = {}
  for (const [name, verify] of Object.entries({ oauth4webapi: withOAuth4WebAPI, jose: withJose })) {
    Date.now = () => vector.request.now * 1000
    try {
      answer[name] = await verify(vector)
    } catch (error) {
      answer[name] = String(error.code ?? error.name) + ': ' + error.message
    }
    Date.now = realNow
    minted = ''
  }
  answers.push(answer)
}
process.stdout.write(JSON.stringify(answers))
