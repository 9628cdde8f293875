// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
)

// RSAFromPrimes makes an RSA key out of any modulus, exponent and private exponent,
// of sizes and kinds that crypto/rsa rightly refuses to sign with.
func RSAFromPrimes(n, e, d *big.Int) *Key {
	return &Key{
		Algorithm: "PS256",
		Public:    rsaJWK(n, e),
		SignWith: func(algorithm string, input []byte) []byte {
			return textbookRSA(algorithm, input, n, d)
		},
	}
}

// weakRSA makes a working key of any size and exponent.
func weakRSA(bits int, e int64) *Key {
	n, exp, d := rsaNumbers(bits, e)
	return RSAFromPrimes(n, exp, d)
}

// RSAWithExponent makes a working key of that size and public exponent.
func RSAWithExponent(bits int, e int64) *Key { return weakRSA(bits, e) }

func rsaNumbers(bits int, e int64) (n, exp, d *big.Int) {
	exp = big.NewInt(e)
	one := big.NewInt(1)
	for {
		p, err := rand.Prime(rand.Reader, bits/2)
		must(err)
		q, err := rand.Prime(rand.Reader, bits-bits/2)
		must(err)
		n = new(big.Int).Mul(p, q)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		if d = new(big.Int).ModInverse(exp, phi); d != nil && n.BitLen() == bits {
			return n, exp, d
		}
	}
}

// textbookRSA signs by plain exponentiation.
func textbookRSA(algorithm string, input []byte, n, d *big.Int) []byte {
	size := (n.BitLen() + 7) / 8
	var em []byte
	if algorithm != "" && algorithm[0] == 'R' {
		em = emPKCS1(size, sha256Digest(input))
	} else {
		em = emPSS(n.BitLen()-1, sha256Digest(input))
	}
	if em == nil { // the modulus is too small for any encoding
		return make([]byte, max(size, 1))
	}
	m := new(big.Int).SetBytes(em)
	return m.Exp(m, d, n).FillBytes(make([]byte, size))
}

func sha256Digest(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

// sha256Prefix is the DigestInfo of RFC 8017, section 9.2, note 1.
var sha256Prefix = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

func emPKCS1(size int, digest []byte) []byte {
	t := append(append([]byte(nil), sha256Prefix...), digest...)
	if size < len(t)+11 {
		return nil
	}
	em := make([]byte, size)
	em[1] = 1
	for i := 2; i < size-len(t)-1; i++ {
		em[i] = 0xff
	}
	copy(em[size-len(t):], t)
	return em
}

// ForgeLowExponent makes the forgery of Bleichenbacher for e = 3: the padding is short
// and what follows the digest is garbage chosen so that a cube root exists.
func ForgeLowExponent(n *big.Int, input []byte) []byte {
	size := (n.BitLen() + 7) / 8
	em := append([]byte{0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, sha256Prefix...)
	em = append(em, sha256Digest(input)...)
	for len(em) < size {
		em = append(em, 0xff)
	}
	target := new(big.Int).SetBytes(em)
	low, high := new(big.Int), new(big.Int).Set(n)
	three := big.NewInt(3)
	for low.Cmp(high) < 0 {
		mid := new(big.Int).Add(low, high)
		mid.Add(mid, big.NewInt(1)).Rsh(mid, 1)
		if new(big.Int).Exp(mid, three, nil).Cmp(target) <= 0 {
			low = mid
		} else {
			high = new(big.Int).Sub(mid, big.NewInt(1))
		}
	}
	return low.FillBytes(make([]byte, size))
}

// emPSS is EMSA-PSS (RFC 8017, section 9.1.1) with SHA-256 and a salt of 32 bytes.
func emPSS(bits int, digest []byte) []byte {
	size := (bits + 7) / 8
	if size < 32+32+2 {
		return nil
	}
	salt := stretch("salt", 32)
	h := sha256.New()
	h.Write(make([]byte, 8))
	h.Write(digest)
	h.Write(salt)
	sum := h.Sum(nil)
	db := make([]byte, size-32-1)
	db[len(db)-33] = 1
	copy(db[len(db)-32:], salt)
	for i, c := range mgf1(sum, len(db)) {
		db[i] ^= c
	}
	db[0] &= 0xff >> (8*size - bits)
	return append(append(db, sum...), 0xbc)
}

func mgf1(seed []byte, n int) []byte {
	var out []byte
	for i := uint32(0); len(out) < n; i++ {
		in := append(append([]byte(nil), seed...), byte(i>>24), byte(i>>16), byte(i>>8), byte(i))
		out = append(out, sha256Digest(in)...)
	}
	return out[:n]
}

// Modulus returns the n of an RSA key.
func (k *Key) Modulus() *big.Int {
	return new(big.Int).SetBytes(UnB64(k.Public.Get("n").(string)))
}

// SaltOf signs with PSS and a salt length of the test's choosing; -1 is the longest
// that fits.
func SaltOf(k *Key, input []byte, salt int) []byte {
	if salt < 0 {
		salt = rsa.PSSSaltLengthAuto
	}
	return SignPSS(k.Private.(*rsa.PrivateKey), crypto.SHA256, input, salt)
}
