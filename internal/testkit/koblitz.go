// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"crypto/rand"
	"math/big"
)

// Secp256k1 returns a working key on the curve of ES256K, which crypto/elliptic does
// not know. The arithmetic is plain big integers: fit for a refusal test, not for use.
func Secp256k1(seed string) *Key {
	d := new(big.Int).SetBytes(stretch("secp256k1 "+seed, 40))
	d.Mod(d, koblitzN)
	x, y := koblitzMul(koblitzGx, koblitzGy, d)
	return &Key{
		Algorithm: "ES256K",
		Public: Object{
			{"kty", "EC"},
			{"crv", "secp256k1"},
			{"x", B64(x.FillBytes(make([]byte, 32)))},
			{"y", B64(y.FillBytes(make([]byte, 32)))},
		},
		SignWith: func(_ string, input []byte) []byte {
			for {
				k, err := rand.Int(rand.Reader, koblitzN)
				must(err)
				if k.Sign() == 0 {
					continue
				}
				r, _ := koblitzMul(koblitzGx, koblitzGy, k)
				r.Mod(r, koblitzN)
				s := new(big.Int).Mul(r, d)
				s.Add(s, new(big.Int).SetBytes(sha256Digest(input)))
				s.Mul(s, new(big.Int).ModInverse(k, koblitzN)).Mod(s, koblitzN)
				return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
			}
		},
	}
}

var (
	koblitzP  = hexInt("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f")
	koblitzN  = hexInt("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	koblitzGx = hexInt("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	koblitzGy = hexInt("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")
)

func hexInt(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic("testkit: not hexadecimal: " + s)
	}
	return n
}

// koblitzAdd adds two points of y^2 = x^3 + 7; a nil x is the point at infinity.
func koblitzAdd(x1, y1, x2, y2 *big.Int) (*big.Int, *big.Int) {
	if x1 == nil {
		return x2, y2
	}
	if x2 == nil {
		return x1, y1
	}
	slope := new(big.Int)
	if x1.Cmp(x2) == 0 {
		if y1.Cmp(y2) != 0 {
			return nil, nil
		}
		slope.Mul(x1, x1).Mul(slope, big.NewInt(3))
		slope.Mul(slope, new(big.Int).ModInverse(new(big.Int).Lsh(y1, 1), koblitzP))
	} else {
		dx := new(big.Int).Sub(x2, x1)
		dx.Mod(dx, koblitzP).ModInverse(dx, koblitzP)
		slope.Sub(y2, y1).Mul(slope, dx)
	}
	slope.Mod(slope, koblitzP)
	x := new(big.Int).Mul(slope, slope)
	x.Sub(x, x1).Sub(x, x2).Mod(x, koblitzP)
	y := new(big.Int).Sub(x1, x)
	y.Mul(y, slope).Sub(y, y1).Mod(y, koblitzP)
	return x, y
}

func koblitzMul(x, y, k *big.Int) (*big.Int, *big.Int) {
	var rx, ry *big.Int
	for i := k.BitLen() - 1; i >= 0; i-- {
		rx, ry = koblitzAdd(rx, ry, rx, ry)
		if k.Bit(i) == 1 {
			rx, ry = koblitzAdd(rx, ry, x, y)
		}
	}
	return rx, ry
}
