// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
)

// A key makes its own proofs.
type key interface {
	alg() string
	jwk() object
	sign(input string) []byte
	thumbprint() string
}

var (
	p256      = newEC("1", elliptic.P256(), "P-256", "ES256", crypto.SHA256)
	other     = newEC("2", elliptic.P256(), "P-256", "ES256", crypto.SHA256)
	p384      = newEC("1", elliptic.P384(), "P-384", "ES384", crypto.SHA384)
	p521      = newEC("1", elliptic.P521(), "P-521", "ES512", crypto.SHA512)
	zero      = leadingZero()
	edKey     = newEd("1", "EdDSA")
	edKeyName = newEd("1", "Ed25519")
)

// stream is an endless supply of fixed bytes.
func stream(seed string, n int) []byte {
	var out []byte
	for i := uint32(0); len(out) < n; i++ {
		block := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("caddy-dpop vector "+seed+" "), i))
		out = append(out, block[:]...)
	}
	return out[:n]
}

type ecKey struct {
	private  *ecdsa.PrivateKey
	crv      string
	name     string
	hash     crypto.Hash
	x, y     []byte
	coordLen int
}

func newEC(seed string, curve elliptic.Curve, crv, alg string, hash crypto.Hash) *ecKey {
	size := (curve.Params().BitSize + 7) / 8
	d := new(big.Int).SetBytes(stream(crv+seed, size+16))
	d.Mod(d, new(big.Int).Sub(curve.Params().N, big.NewInt(1))).Add(d, big.NewInt(1))
	private := must(ecdsa.ParseRawPrivateKey(curve, d.FillBytes(make([]byte, size))))
	point := must(private.PublicKey.Bytes())
	return &ecKey{private, crv, alg, hash, point[1 : 1+size], point[1+size:], size}
}

// leadingZero is a key whose x begins with a zero octet.
func leadingZero() *ecKey {
	for i := 0; ; i++ {
		if k := newEC(string(rune('a'+i%26))+string(rune('a'+i/26)), elliptic.P256(), "P-256", "ES256", crypto.SHA256); k.x[0] == 0 {
			return k
		}
	}
}

func (k *ecKey) alg() string { return k.name }

func (k *ecKey) jwk() object {
	return object{{"kty", `"EC"`}, {"crv", quote(k.crv)}, {"x", quote(encode(k.x))}, {"y", quote(encode(k.y))}}
}

func (k *ecKey) thumbprint() string {
	return hash(`{"crv":"` + k.crv + `","kty":"EC","x":"` + encode(k.x) + `","y":"` + encode(k.y) + `"}`)
}

func (k *ecKey) sign(input string) []byte { return k.signHash(k.hash, input) }

// signHash signs by RFC 6979, which Sign does without a source of randomness.
func (k *ecKey) signHash(hash crypto.Hash, input string) []byte {
	h := hash.New()
	h.Write([]byte(input))
	der := must(k.private.Sign(nil, h.Sum(nil), hash))
	var rs struct{ R, S *big.Int }
	must(asn1.Unmarshal(der, &rs))
	out := make([]byte, 2*k.coordLen)
	rs.R.FillBytes(out[:k.coordLen])
	rs.S.FillBytes(out[k.coordLen:])
	return out
}

type edwardsKey struct {
	private ed25519.PrivateKey
	name    string
}

func newEd(seed, alg string) *edwardsKey {
	return &edwardsKey{ed25519.NewKeyFromSeed(stream("Ed25519"+seed, ed25519.SeedSize)), alg}
}

func (k *edwardsKey) public() []byte { return k.private.Public().(ed25519.PublicKey) }
func (k *edwardsKey) alg() string    { return k.name }

func (k *edwardsKey) jwk() object {
	return object{{"kty", `"OKP"`}, {"crv", `"Ed25519"`}, {"x", quote(encode(k.public()))}}
}

func (k *edwardsKey) thumbprint() string {
	return hash(`{"crv":"Ed25519","kty":"OKP","x":"` + encode(k.public()) + `"}`)
}

func (k *edwardsKey) sign(input string) []byte { return ed25519.Sign(k.private, []byte(input)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
