// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// testKeys makes one key of each kind for all tests: RSA keys take their time.
var testKeys = map[string]func() crypto.Signer{
	"ES256": sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }),
	"ES384": sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) }),
	"ES512": sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) }),
	"EdDSA": sync.OnceValue(func() crypto.Signer { _, key, _ := ed25519.GenerateKey(rand.Reader); return key }),
	"RSA":   sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) }),
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// keyFor returns the key that all tests of an algorithm use.
func keyFor(tb testing.TB, algorithm string) crypto.Signer {
	tb.Helper()
	if key, ok := testKeys[algorithm]; ok {
		return key()
	}
	if algorithm == "Ed25519" {
		return testKeys["EdDSA"]()
	}
	return testKeys["RSA"]()
}

func mustVerifier(tb testing.TB, c proof.Config) *proof.Verifier {
	tb.Helper()
	v, err := proof.NewVerifier(c)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func mustOrigin(tb testing.TB, uri string) proof.Origin {
	tb.Helper()
	o, err := proof.ParseOrigin(uri)
	if err != nil {
		tb.Fatal(err)
	}
	return o
}
