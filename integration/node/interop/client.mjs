// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// What all JavaScript clients share: the calls to make come in on standard input,
// the answers go out on standard output (see ../../interop/call_test.go). A library
// signs what it believes to send; wire, which it is given as its fetch, then sends
// what the call says: the same proof under another method, to another URL, twice,
// beside another token.
//
// A browser runs the same scripts, see browser.mjs.

import { readFileSync } from 'node:fs'
import './url-parse.mjs'

const fields = ['name', 'method', 'url', 'sendMethod', 'sendURL', 'tweak', 'body']

export const settings = {
  issuer: process.env.ISSUER,
  id: process.env.CLIENT_ID,
  secret: process.env.CLIENT_SECRET,
  resource: process.env.RESOURCE,
  scope: process.env.SCOPE,
  alg: process.env.ALG,
}

let call // the one in progress
let second // another token for the same key

export const inCall = () => call !== undefined

// tweak is what to spoil when the proof is put together by hand.
export const tweak = () => call?.tweak

function report(res) {
  const line = ['answer', call.name, res.status, res.headers.get('x-reason') ?? '', res.headers.get('www-authenticate') ?? '']
  console.log(line.join('\t'))
}

const realDate = globalThis.Date

function shiftClock(seconds) {
  globalThis.Date = class extends realDate {
    constructor(...args) {
      if (args.length) super(...args)
      else super(realDate.now() + seconds * 1000)
    }
    static now() {
      return realDate.now() + seconds * 1000
    }
  }
}

// wire sends a request as the call wants it and reports the answer.
export async function wire(input, init) {
  globalThis.Date = realDate
  const signed = new Request(input, init)
  if (!call) return fetch(signed)
  const headers = new Headers(signed.headers)
  if (call.tweak === 'bearer') {
    headers.set('authorization', headers.get('authorization').replace(/^DPoP /i, 'Bearer '))
    headers.delete('dpop')
  }
  if (call.tweak === 'other-token') headers.set('authorization', `DPoP ${second}`)
  const method = call.sendMethod
  const body = method === 'GET' ? undefined : await signed.text()
  let res
  for (let i = call.tweak === 'again' ? 2 : 1; i > 0; i--) {
    res = await fetch(call.sendURL, { method, headers, body })
    if (i > 1) await res.text()
    report(res)
  }
  return res
}

// drive makes all calls. make prepares a client with a key of its own; it has token(),
// which asks the authorization server for an access token (with the scope "past": for one
// that has expired), and request(token, method,
// url, body), which calls the API as the library does it, with wire as its fetch.
export async function drive(make) {
  const own = await make()
  const foreign = await make()
  const token = await own.token()
  second = await own.token()
  for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
    const next = Object.fromEntries(line.split('\t').map((value, i) => [fields[i], value]))
    const client = next.tweak === 'foreign' ? foreign : own
    const used = next.tweak === 'past-token' ? await own.token('past') : token
    call = next
    if (call.tweak === 'old') shiftClock(-600)
    try {
      const res = await client.request(used, call.method, call.url, call.body || undefined)
      await res?.text()
    } catch (err) {
      // Libraries throw on a challenge; whatever else goes wrong shows as a missing answer.
      console.error(`${call.name}: ${err.message}`)
    }
    globalThis.Date = realDate
    call = undefined
  }
  globalThis.finished = true // which browser.mjs waits for
}

// signer is a client for a library that makes proofs and leaves the requests to its
// user. prove(method, url, token, nonce) returns the proof; nonces are kept here.
export function signer(prove) {
  let nonce
  const send = async (url, init, token) => {
    for (let last = false; ; last = true) {
      const proof = await prove(init.method, url, token, nonce)
      const res = await wire(url, { ...init, headers: { ...init.headers, DPoP: proof } })
      const fresh = res.headers.get('dpop-nonce')
      if (fresh) nonce = fresh
      if (last || !fresh || (res.status !== 401 && res.status !== 400)) return res
      await res.text()
    }
  }
  return {
    async token(scope) {
      nonce = undefined
      const answer = await (await send(await tokenEndpoint(), tokenRequest(scope))).json()
      nonce = undefined
      if (!answer.access_token) throw new Error(JSON.stringify(answer))
      return answer.access_token
    },
    request: (token, method, url, body) =>
      send(url, { method, body, headers: { Authorization: `DPoP ${token}` } }, token),
  }
}

// tokenRequest is a client credentials request still without its proof, for libraries
// that only know how to get a token by a login.
export function tokenRequest(scope = settings.scope) {
  return {
    method: 'POST',
    headers: {
      Authorization: 'Basic ' + btoa(`${settings.id}:${settings.secret}`),
      'Content-Type': 'application/x-www-form-urlencoded',
    },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      resource: settings.resource,
      scope,
    }).toString(),
  }
}

let endpoint

export async function tokenEndpoint() {
  endpoint ??= (await (await fetch(`${settings.issuer}/.well-known/oauth-authorization-server`)).json()).token_endpoint
  return endpoint
}
