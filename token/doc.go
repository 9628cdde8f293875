// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package token verifies access tokens for a protected resource: JWTs (RFC 9068)
// with the key set of their issuer, and opaque ones by introspection (RFC 7662). It
// knows nothing of Caddy nor of DPoP proofs beyond the thumbprint of their key.
//
// A token is judged in two steps, because the first can be remembered and the
// second cannot:
//
//	claims, err := source.Verify(ctx, raw)  // what the token says, once it is vouched for
//	err = policy.Check(claims, now)         // whether that is good here and now
//	err = claims.CheckBinding(thumbprint)   // whether it belongs to the proof's key
//	err = policy.CheckScope(claims)         // whether it suffices
//
// A [Cache] keeps what the first step found. On a hit the caller asks [Claims.Live]
// and then goes on with the second.
//
// # What is trusted
//
// The configuration says which issuer's tokens are accepted and where its keys come
// from. Nothing in a token adds to that: no header parameter makes us fetch
// anything, and alg chooses among the algorithms that fit the issuer's key only
// (RFC 8725, sections 3.1 and 3.10). Keys and introspection answers are fetched over
// https, or http on loopback hosts, without following redirects, within limits of
// size and time.
//
// # Refusals
//
// Every error is an [*Error] with a [Reason] from a closed list. Those that lie with
// the issuer or with us ([Reason.Unavailable]) are told apart from those that lie
// with the token, since clients throw their session away on invalid_token.
package token
