// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"crypto"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
)

// A family is a kind of key with a way of signing.
type family uint8

const (
	familyECDSA family = iota
	familyEd25519
	familyPSS
	familyPKCS1
)

// An algorithm is one value of the alg header parameter (RFC 7518, section 3.1;
// RFC 8037; RFC 9864).
type algorithm struct {
	name   string
	family family
	curve  string // crv of the key; "" for RSA
	size   int    // bytes of a coordinate and of one half of the signature; 0 for RSA
	hash   crypto.Hash
}

// The algorithms this package knows: asymmetric ones only, so that no symmetric
// name and not "none" can be configured (RFC 9449, section 4.3, check 5).
var algorithms = [...]algorithm{
	{"ES256", familyECDSA, "P-256", 32, crypto.SHA256},
	{"ES384", familyECDSA, "P-384", 48, crypto.SHA384},
	{"ES512", familyECDSA, "P-521", 66, crypto.SHA512},
	{"EdDSA", familyEd25519, "Ed25519", 32, 0},
	{"Ed25519", familyEd25519, "Ed25519", 32, 0},
	{"PS256", familyPSS, "", 0, crypto.SHA256},
	{"PS384", familyPSS, "", 0, crypto.SHA384},
	{"PS512", familyPSS, "", 0, crypto.SHA512},
	{"RS256", familyPKCS1, "", 0, crypto.SHA256},
	{"RS384", familyPKCS1, "", 0, crypto.SHA384},
	{"RS512", familyPKCS1, "", 0, crypto.SHA512},
}

// DefaultAlgorithms returns the algorithms accepted when [Config.Algorithms] is
// empty. ES384 and ES512 are left out since their signatures cost about 8 and 21
// times as much to check as an ES256 one, and it is the client who chooses.
func DefaultAlgorithms() []string {
	return []string{"ES256", "EdDSA", "Ed25519", "PS256", "RS256"}
}

// SupportedAlgorithms returns every algorithm that [Config.Algorithms] may name.
func SupportedAlgorithms() []string {
	names := make([]string, len(algorithms))
	for i := range algorithms {
		names[i] = algorithms[i].name
	}
	return names
}

// algorithmIndex returns the place of name in algorithms, or -1. Names compare
// exactly: "es256" is not an algorithm (RFC 7515, section 4.1.1).
func algorithmIndex(name string) int {
	for i := range algorithms {
		if algorithms[i].name == name {
			return i
		}
	}
	return -1
}

// sameAlgorithm reports whether two names mean the same algorithm: they are
// equal, or they are the two names of Ed25519.
func sameAlgorithm(a, b string) bool {
	if a == b {
		return true
	}
	i, j := algorithmIndex(a), algorithmIndex(b)
	return i >= 0 && j >= 0 &&
		algorithms[i].family == familyEd25519 && algorithms[j].family == familyEd25519
}
