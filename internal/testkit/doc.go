// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package testkit makes keys, proofs and access tokens for tests, by hand, with
// nothing but the standard library. It imports neither this module's packages nor
// a JOSE library, so that it is an independent oracle: what it signs and what the
// packages under test accept can only agree because both follow the RFCs.
//
// Everything can be bent. A [JWS] is two ordered JSON objects, a key and a few
// hooks; a test takes a good one and spoils exactly one thing about it. An
// [Issuer] is an authorization server that can be slow, dead or lying. A [Conn]
// writes bytes to a socket as they are. [ParseChallenges] reads WWW-Authenticate
// as strictly as RFC 9110 is written.
package testkit
