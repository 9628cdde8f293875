// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package proof makes and verifies DPoP proofs (RFC 9449). It knows nothing of
// Caddy, of access tokens beyond their hash, nor of replay stores.
//
// A proof is verified in three steps, cheap before dear:
//
//	p, err := v.Parse(compact, known) // form, header, key, claims: no cryptography
//	err = v.Match(p, request)         // method, URI, time, access token, nonce
//	err = p.VerifySignature()         // one signature check
//
// [Verifier.Verify] does the three in a row. Between them a caller can compare
// the thumbprint of the proof's key with the access token's cnf.jkt, so that a
// stolen token is refused before its thief made anybody verify a signature.
//
// # The checks of RFC 9449, section 4.3
//
//	 1 not more than one DPoP header field   caller; Parse takes the value of one
//	 2 a single, well-formed JWT             Parse (compact.go, json.go)
//	 3 all required claims                   Parse (claims.go), Match for ath
//	 4 typ                                   Parse (header.go)
//	 5 alg: asymmetric, supported, accepted  Parse (header.go, algorithm.go)
//	 6 signature by the key in jwk           VerifySignature (signature.go)
//	 7 no private key in jwk                 Parse (jwk.go)
//	 8 htm                                   Match (match.go)
//	 9 htu                                   Match (match.go, target.go)
//	10 nonce                                 Match (time.go)
//	11 creation time                         Match (time.go)
//	12 ath, and the key the token is bound   Match (match.go); the caller compares
//	   to                                    Header.Thumbprint with cnf.jkt
//
// That a proof is used only once (section 11.1) is left to the caller too: claim
// the pair of [Header.Thumbprint] and [Proof.ID] in a store that all verifiers
// share, and only after everything else has passed. Never key such a store by the
// proof as sent: ECDSA signatures are malleable.
//
// # What is refused beyond the RFC
//
// A proof is written by a stranger, so one reading of it must be the only one:
// JSON with duplicate member names, with names that differ from a registered one
// in case alone, with anything but UTF-8 or with unpaired surrogates is refused,
// and so is base64url with padding, line breaks or stray trailing bits. The cost
// of a key is bounded: P-256, P-384, P-521, Ed25519, and RSA of 2048 to 4096 bits
// with the exponent 65537.
//
// Every refusal is an [*Error] with a [Reason] from a closed list.
package proof
