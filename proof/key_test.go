// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"slices"
	"strconv"
	"testing"
)

// The points of small order are computed anew: y for which the order of (x, y) on
// -x^2 + y^2 = 1 + d x^2 y^2 divides 8.
func TestSmallOrder(t *testing.T) {
	t.Parallel()
	one := big.NewInt(1)
	p := new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	mod := func(x *big.Int) *big.Int { return x.Mod(x, p) }
	d := mod(new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p)))

	// Order 8: doubling gives y = 0, so x^2 = -y^2, and with the curve's equation
	// d y^4 + 2 y^2 - 1 = 0.
	root := new(big.Int).ModSqrt(mod(new(big.Int).Add(one, d)), p)
	var want [][32]byte
	for _, y := range []*big.Int{new(big.Int), one, new(big.Int).Sub(p, one)} {
		want = append(want, littleEndian(y))
	}
	for _, r := range []*big.Int{root, new(big.Int).Neg(root)} {
		square := mod(new(big.Int).Mul(new(big.Int).Sub(r, one), new(big.Int).ModInverse(d, p)))
		if y := new(big.Int).ModSqrt(square, p); y != nil {
			want = append(want, littleEndian(y), littleEndian(new(big.Int).Sub(p, y)))
		}
	}
	if len(want) != len(smallOrder) {
		t.Fatalf("%d values of y, have %d", len(want), len(smallOrder))
	}
	for _, y := range want {
		if !slices.Contains(smallOrder[:], y) {
			t.Errorf("%x is missing", y)
		}
	}
}

func littleEndian(n *big.Int) (out [32]byte) {
	n.FillBytes(out[:])
	slices.Reverse(out[:])
	return out
}

func TestComposites(t *testing.T) {
	t.Parallel()
	var c composites
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 127), big.NewInt(1))
	if c.has("prime", prime) || c.has("prime", new(big.Int).Set(prime)) {
		t.Error("a prime passes")
	}
	composite := big.NewInt(15)
	if !c.has("composite", composite) {
		t.Error("a product does not pass")
	}
	if !c.has("composite", prime) {
		t.Error("the key is tested again")
	}
	for i := range 2 * maxComposites {
		c.has(strconv.Itoa(i), composite)
	}
	if len(c.known) != maxComposites {
		t.Errorf("%d keys are remembered, want %d", len(c.known), maxComposites)
	}
}

// The header that passed before spares its key, and no other, the test of the modulus.
func TestVetted(t *testing.T) {
	t.Parallel()
	v, err := NewVerifier(Config{Algorithms: []string{"RS256", "PS256", "ES256"}})
	if err != nil {
		t.Fatal(err)
	}
	parse := func(key crypto.Signer, algorithm string, known *Header) *Proof {
		s, err := NewSigner(key, algorithm)
		if err != nil {
			t.Fatal(err)
		}
		compact, err := s.Sign(SignRequest{Method: "GET", URI: "https://a.example/"})
		if err != nil {
			t.Fatal(err)
		}
		p, err := v.Parse(compact, known)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	first := parse(rsaKey, "RS256", nil)
	for _, c := range []struct {
		name string
		p    *Proof
		want bool
	}{
		{"first", first, false},
		{"same header", parse(rsaKey, "RS256", first.Header), true},
		{"same key, other header", parse(rsaKey, "PS256", first.Header), true},
		{"after another key", parse(rsaKey, "RS256", parse(ecKey, "ES256", nil).Header), false},
	} {
		if c.p.vetted != c.want {
			t.Errorf("%s: vetted is %v", c.name, c.p.vetted)
		}
	}
	if err := first.VerifySignature(); err != nil {
		t.Fatal(err)
	}
	if !v.composites.remembers(first.Header.thumbprint) {
		t.Error("the key is not remembered")
	}
}

func TestAppendDER(t *testing.T) {
	t.Parallel()
	zeros := func(n int) string { return string(make([]byte, n)) }
	high := make([]byte, 66)
	for i := range high {
		high[i] = 0xff
	}
	for _, c := range []struct {
		name, rs, want string
	}{
		{"zero", zeros(4), "\x30\x06\x02\x01\x00\x02\x01\x00"},
		{"small", "\x00\x01\x00\x02", "\x30\x06\x02\x01\x01\x02\x01\x02"},
		{"sign bit", "\x80\x00\x00\x80", "\x30\x09\x02\x03\x00\x80\x00\x02\x02\x00\x80"},
		{"long", string(high) + string(high), "\x30\x81\x8a\x02\x43\x00" + string(high) + "\x02\x43\x00" + string(high)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := appendDER(make([]byte, 0, maxDER), c.rs); string(got) != c.want || cap(got) != maxDER {
				t.Errorf("got %x in %d bytes, want %x", got, cap(got), c.want)
			}
		})
	}
}
