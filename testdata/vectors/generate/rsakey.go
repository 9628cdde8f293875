// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"math/big"
	"sync"
)

// An rsaKey signs by hand (RFC 8017), so that it can be made to sign wrongly.
type rsaKey struct {
	n, e, d, p, q *big.Int
	name          string
	hash          crypto.Hash
	salt          int // bytes of salt with PSS; -1: as many as fit
}

// newRSA derives a key with a modulus of exactly so many bits.
func newRSA(bits int, e int64, alg string) *rsaKey {
	k := *rsaPrimes(bits, e)
	k.name, k.hash, k.salt = alg, crypto.SHA256, 32
	switch alg[2:] {
	case "384":
		k.hash, k.salt = crypto.SHA384, 48
	case "512":
		k.hash, k.salt = crypto.SHA512, 64
	}
	return &k
}

var rsaCache sync.Map

func rsaPrimes(bits int, e int64) *rsaKey {
	type id struct {
		bits int
		e    int64
	}
	if k, ok := rsaCache.Load(id{bits, e}); ok {
		return k.(*rsaKey)
	}
	one, exp := big.NewInt(1), big.NewInt(e)
	for i := 0; ; i++ {
		p := prime("p"+string(rune('a'+i)), bits/2, exp)
		q := prime("q"+string(rune('a'+i)), bits-bits/2, exp)
		n := new(big.Int).Mul(p, q)
		if n.BitLen() != bits {
			continue
		}
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		k := &rsaKey{n: n, e: exp, d: new(big.Int).ModInverse(exp, phi), p: p, q: q}
		rsaCache.Store(id{bits, e}, k)
		return k
	}
}

// primeModulus is a key whose modulus is no product: d follows from n alone.
func primeModulus(bits int, alg string) *rsaKey {
	e := big.NewInt(65537)
	n := prime("modulus", bits, e)
	return &rsaKey{
		n: n, e: e, d: new(big.Int).ModInverse(e, new(big.Int).Sub(n, big.NewInt(1))),
		name: alg, hash: crypto.SHA256, salt: 32,
	}
}

// prime derives a prime p with the two top bits set and p-1 coprime to e.
func prime(seed string, bits int, e *big.Int) *big.Int {
	p := new(big.Int).SetBytes(stream("RSA"+seed, (bits+7)/8))
	for i := p.BitLen(); i >= bits; i-- {
		p.SetBit(p, i, 0)
	}
	p.SetBit(p, bits-1, 1).SetBit(p, bits-2, 1).SetBit(p, 0, 1)
	one, gcd := big.NewInt(1), new(big.Int)
	for {
		if p.ProbablyPrime(20) && gcd.GCD(nil, nil, e, new(big.Int).Sub(p, one)).Cmp(one) == 0 {
			return p
		}
		p.Add(p, big.NewInt(2))
	}
}

func (k *rsaKey) alg() string { return k.name }

func (k *rsaKey) jwk() object {
	return object{{"kty", `"RSA"`}, {"n", quote(encode(k.n.Bytes()))}, {"e", quote(encode(k.e.Bytes()))}}
}

func (k *rsaKey) thumbprint() string {
	return hash(`{"e":"` + encode(k.e.Bytes()) + `","kty":"RSA","n":"` + encode(k.n.Bytes()) + `"}`)
}

func (k *rsaKey) sign(input string) []byte {
	if k.name[0] == 'P' {
		return k.pss(input)
	}
	return k.pkcs1(k.hash, input)
}

func (k *rsaKey) size() int { return (k.n.BitLen() + 7) / 8 }

func (k *rsaKey) private(em []byte) []byte {
	return new(big.Int).Exp(new(big.Int).SetBytes(em), k.d, k.n).FillBytes(make([]byte, k.size()))
}

// The DER before the digest (RFC 8017, section 9.2, note 1).
var digestInfo = map[crypto.Hash][]byte{
	crypto.SHA1:   {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14},
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA384: {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30},
	crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}

func sum(h crypto.Hash, text []byte) []byte {
	d := h.New()
	d.Write(text)
	return d.Sum(nil)
}

// pkcs1 is RSASSA-PKCS1-v1_5 (section 8.2.1).
func (k *rsaKey) pkcs1(h crypto.Hash, input string) []byte {
	t := append(bytes.Clone(digestInfo[h]), sum(h, []byte(input))...)
	em := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, k.size()-len(t)-3)...)
	return k.private(append(append(em, 0), t...))
}

// lenient is what a forger makes of a key with exponent 3 where padding is not read
// to its end: a cube root (Bleichenbacher 2006).
func (k *rsaKey) lenient(input string) []byte {
	t := append(bytes.Clone(digestInfo[k.hash]), sum(k.hash, []byte(input))...)
	em := make([]byte, k.size())
	copy(em, append([]byte{0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, t...))
	low, high := new(big.Int), new(big.Int).SetBytes(em)
	target := new(big.Int).SetBytes(em)
	for new(big.Int).Sub(high, low).Cmp(big.NewInt(1)) > 0 {
		mid := new(big.Int).Rsh(new(big.Int).Add(low, high), 1)
		if new(big.Int).Exp(mid, big.NewInt(3), nil).Cmp(target) < 0 {
			low = mid
		} else {
			high = mid
		}
	}
	return high.FillBytes(make([]byte, k.size()))
}

// pss is RSASSA-PSS (section 8.1.1) with k.salt bytes of salt.
func (k *rsaKey) pss(input string) []byte {
	emBits := k.n.BitLen() - 1
	emLen, hLen := (emBits+7)/8, k.hash.Size()
	salt := stream("salt", max(k.salt, 0))
	if k.salt < 0 {
		salt = stream("salt", emLen-hLen-2)
	}
	h := sum(k.hash, append(append(make([]byte, 8), sum(k.hash, []byte(input))...), salt...))
	db := make([]byte, emLen-hLen-1)
	db[len(db)-len(salt)-1] = 1
	copy(db[len(db)-len(salt):], salt)
	for i, mask := range mgf1(k.hash, h, len(db)) {
		db[i] ^= mask
	}
	db[0] &= 0xff >> (8*emLen - emBits)
	return k.private(append(append(db, h...), 0xbc))
}

// mgf1 is the mask generation function of appendix B.2.1.
func mgf1(h crypto.Hash, seed []byte, n int) []byte {
	var out []byte
	for i := uint32(0); len(out) < n; i++ {
		out = append(out, sum(h, binary.BigEndian.AppendUint32(bytes.Clone(seed), i))...)
	}
	return out[:n]
}
