// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"slices"
)

// Algorithms lists what an access token may be signed with: every asymmetric
// signature algorithm of RFC 7518, section 3.1, and Ed25519 under its old name
// (RFC 8037) and its new one (RFC 9864). Neither none nor any HMAC is among them:
// with an HMAC, whoever can verify a token can make one.
func Algorithms() []string {
	return []string{
		"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA", "Ed25519",
	}
}

func isAlgorithm(alg string) bool { return slices.Contains(Algorithms(), alg) }

// fits reports whether alg can be used with a key of this kind. Without this
// check the token would choose how the issuer's key is used (RFC 8725, section 3.1).
func fits(alg string, public crypto.PublicKey) bool {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch alg {
		case "ES256":
			return k.Curve == elliptic.P256()
		case "ES384":
			return k.Curve == elliptic.P384()
		case "ES512":
			return k.Curve == elliptic.P521()
		}
	case *rsa.PublicKey:
		switch alg {
		case "PS256", "PS384", "PS512", "RS256", "RS384", "RS512":
			return true
		}
	case ed25519.PublicKey:
		return alg == "EdDSA" || alg == "Ed25519"
	}
	return false
}
