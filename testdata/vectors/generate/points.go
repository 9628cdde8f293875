// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/big"
)

// addPoints adds what is no point, or another spelling of one, on each curve: an
// implementation has a path of its own for each.
func addPoints(s *set) {
	for _, k := range []*ecKey{p256, p384, p521} {
		params := k.private.Params()
		p, limit := params.P, new(big.Int).Lsh(big.NewInt(1), uint(8*k.coordLen))
		x, y := new(big.Int).SetBytes(k.x), new(big.Int).SetBytes(k.y)
		text := func(n *big.Int) string { return quote(encode(n.FillBytes(make([]byte, k.coordLen)))) }
		plus := func(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }
		one := big.NewInt(1)
		var accepting *config
		if k != p256 {
			accepting = &config{Algorithms: []string{"ES256", k.name}}
		}
		add := func(name, expect, comment string, x, y *big.Int, labels ...string) {
			s.add(k.crv+": "+name, expect, comment, valid(k).jwk(k.jwk().with("x", text(x)).with("y", text(y))), labels...).Config = accepting
		}

		add("the key's own point", "accept", "What follows is a change to it.", x, y)
		add("y negated", "signature_invalid", "A point of the curve, of the key -d.", x, new(big.Int).Sub(p, y), "J12")
		add("y off by one", "jwk_invalid", "", x, plus(y, one), "J12")
		add("x off by one", "jwk_invalid", "", plus(x, one), y, "J12")
		add("both zero", "jwk_invalid", "How some write the point at infinity.", new(big.Int), new(big.Int), "J12")
		add("x is the prime", "jwk_invalid", "The point with x = 0, spelled another way.", p, new(big.Int).ModSqrt(params.B, p), "J14")
		add("y is the prime", "jwk_invalid", "", x, p, "J14")
		add("all bits set", "jwk_invalid", "Both are beyond the prime.", new(big.Int).Sub(limit, one), new(big.Int).Sub(limit, one), "J14")
		if plus(y, p).Cmp(limit) < 0 { // only where the octets have bits to spare
			add("y plus the prime", "jwk_invalid", "", x, plus(y, p), "J14")
			add("x and y plus the prime", "jwk_invalid", "", plus(x, p), plus(y, p), "J14")
			add("a bit beyond the field", "jwk_invalid", "", plus(x, new(big.Int).Lsh(one, uint(params.BitSize))), y, "J14")
		}

		for name, change := range map[string]func(string) string{
			"x one octet short": func(x string) string { return encode(k.x[1:]) },
			"x one octet more":  func(x string) string { return encode(append([]byte{0}, k.x...)) },
			"x empty":           func(string) string { return "" },
			"x with a line feed in place of a character": func(x string) string { return x[:len(x)-1] + `\n` },
		} {
			s.add(k.crv+": "+name, "jwk_invalid", "", valid(k).jwk(k.jwk().with("x", quote(change(encode(k.x))))), "J16").Config = accepting
		}
	}
}
