// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"
	"sync"
)

// Key is a signing key with the public JWK that goes into a proof.
type Key struct {
	// Algorithm is the JOSE name that the key signs under unless told otherwise.
	Algorithm string
	// Public is the JWK as a client would send it. A test may change it; Clone first.
	Public Object
	// Private is the key itself: *ecdsa.PrivateKey, ed25519.PrivateKey, *rsa.PrivateKey,
	// or nil for a key that only SignWith can use.
	Private crypto.Signer
	// SignWith, when set, makes the signature instead of Private.
	SignWith func(algorithm string, input []byte) []byte
}

// Clone copies the key so that its JWK can be changed.
func (k *Key) Clone() *Key {
	c := *k
	c.Public = k.Public.Clone()
	return &c
}

// WithPublic returns the key presenting another JWK.
func (k *Key) WithPublic(jwk Object) *Key {
	c := *k
	c.Public = jwk
	return &c
}

// JWK returns the public key with kid, alg and use, as a key set publishes it.
func (k *Key) JWK(kid string) Object {
	o := k.Public.Clone()
	if kid != "" {
		o.Add("kid", kid)
	}
	o.Add("alg", k.Algorithm)
	o.Add("use", "sig")
	return o
}

// PrivateJWK returns the JWK with the private members, which no proof may carry.
func (k *Key) PrivateJWK() Object {
	o := k.Public.Clone()
	switch p := k.Private.(type) {
	case *ecdsa.PrivateKey:
		d, err := p.Bytes()
		must(err)
		o.Add("d", B64(d))
	case ed25519.PrivateKey:
		o.Add("d", B64(p.Seed()))
	case *rsa.PrivateKey:
		o.Add("d", B64(p.D.Bytes()))
		o.Add("p", B64(p.Primes[0].Bytes()))
		o.Add("q", B64(p.Primes[1].Bytes()))
		o.Add("dp", B64(p.Precomputed.Dp.Bytes()))
		o.Add("dq", B64(p.Precomputed.Dq.Bytes()))
		o.Add("qi", B64(p.Precomputed.Qinv.Bytes()))
	}
	return o
}

// Thumbprint is the key's jkt (RFC 7638, section 3; RFC 8037, appendix A.3).
func (k *Key) Thumbprint() string { return Thumbprint(k.Public) }

// Thumbprint hashes the required members of a JWK in lexical order.
func Thumbprint(jwk Object) string {
	sum := sha256.Sum256(thumbprintInput(jwk).JSON())
	return B64(sum[:])
}

// ThumbprintInput is what [Thumbprint] hashes, for tests that hash it otherwise.
func ThumbprintInput(jwk Object) []byte { return thumbprintInput(jwk).JSON() }

func thumbprintInput(jwk Object) Object {
	var names []string
	switch jwk.Get("kty") {
	case "EC":
		names = []string{"crv", "kty", "x", "y"}
	case "RSA":
		names = []string{"e", "kty", "n"}
	case "OKP":
		names = []string{"crv", "kty", "x"}
	case "oct":
		names = []string{"k", "kty"}
	}
	var in Object
	for _, n := range names {
		in.Add(n, jwk.Get(n))
	}
	return in
}

// P256 returns, like P384 and P521, the EC key that belongs to a seed: the same seed gives
// the same key in every run.
func P256(seed string) *Key { return ecKey(elliptic.P256(), "P-256", "ES256", seed) }

// P384 is described at [P256].
func P384(seed string) *Key { return ecKey(elliptic.P384(), "P-384", "ES384", seed) }

// P521 is described at [P256].
func P521(seed string) *Key { return ecKey(elliptic.P521(), "P-521", "ES512", seed) }

func ecKey(curve elliptic.Curve, crv, algorithm, seed string) *Key {
	size := (curve.Params().BitSize + 7) / 8
	n := new(big.Int).Sub(curve.Params().N, big.NewInt(1))
	d := new(big.Int).SetBytes(stretch("ec "+crv+" "+seed, size+8))
	d.Mod(d, n).Add(d, big.NewInt(1))
	p, err := ecdsa.ParseRawPrivateKey(curve, d.FillBytes(make([]byte, size)))
	must(err)
	point, err := p.PublicKey.Bytes() // 0x04 || x || y
	must(err)
	return &Key{Algorithm: algorithm, Private: p, Public: Object{
		{"kty", "EC"}, {"crv", crv}, {"x", B64(point[1 : 1+size])}, {"y", B64(point[1+size:])},
	}}
}

// LeadingZero returns a P-256 key whose coordinate ("x" or "y") starts with a zero octet.
func LeadingZero(coordinate string) *Key {
	for i := 0; ; i++ {
		k := P256(fmt.Sprintf("leading zero %s %d", coordinate, i))
		if UnB64(k.Public.Get(coordinate).(string))[0] == 0 {
			return k
		}
	}
}

// Ed25519 returns the Ed25519 key that belongs to a seed. Its algorithm is EdDSA; the
// name Ed25519 (RFC 9864) is for the test to choose.
func Ed25519(seed string) *Key {
	p := ed25519.NewKeyFromSeed(stretch("ed25519 "+seed, ed25519.SeedSize))
	return &Key{Algorithm: "EdDSA", Private: p, Public: Object{
		{"kty", "OKP"}, {"crv", "Ed25519"}, {"x", B64(p.Public().(ed25519.PublicKey))},
	}}
}

var rsaKeys sync.Map // size and name -> func() *Key

// RSA returns an RSA key of that size, made once per process and name. Its algorithm
// is PS256. Sizes below 2048 bits, which crypto/rsa no longer signs with, are made by
// [RSAFromPrimes].
func RSA(bits int, name string) *Key {
	once, _ := rsaKeys.LoadOrStore(fmt.Sprint(bits, " ", name), sync.OnceValue(func() *Key {
		if bits < 2048 {
			return weakRSA(bits, 65537)
		}
		p, err := rsa.GenerateKey(rand.Reader, bits)
		must(err)
		return &Key{Algorithm: "PS256", Private: p, Public: rsaJWK(p.N, big.NewInt(int64(p.E)))}
	}))
	return once.(func() *Key)()
}

func rsaJWK(n, e *big.Int) Object {
	return Object{{"kty", "RSA"}, {"n", B64(n.Bytes())}, {"e", B64(e.Bytes())}}
}

// stretch makes n bytes out of a seed.
func stretch(seed string, n int) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "testkit %d %s", i, seed))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

func must(err error) {
	if err != nil {
		panic("testkit: " + err.Error())
	}
}
