// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/big"
	"strconv"
)

// rsaVectors are about RSA keys and signatures.
func rsaVectors() *set {
	s := &set{Description: "RSA keys of 2048 to 4096 bits with exponent 65537; PS256 and RS256: RFC 7518, sections 3.3, 3.5 and 6.3."}
	base := newRSA(2048, 65537, "PS256")
	ps := func() *rsaKey { k := *base; return &k }
	change := func(name, value string) draft { return valid(base).jwk(base.jwk().with(name, value)) }

	for _, bits := range []int{2048, 3072, 4096} {
		s.add(strconv.Itoa(bits)+" bits", "accept", "", valid(newRSA(bits, 65537, "PS256")), "I13", "J28")
	}
	for _, bits := range []int{512, 1024, 1536, 2046, 2047} {
		alg := "PS256"
		if bits == 512 {
			alg = "RS256" // PS256 does not fit
		}
		s.add(strconv.Itoa(bits)+" bits", "key_unacceptable", "A right proof.", valid(newRSA(bits, 65537, alg)), "J26", "J27")
	}
	s.add("4098 bits", "key_unacceptable", "", valid(newRSA(4098, 65537, "PS256")))
	for _, e := range []int64{0, 1, 2, 3, 4, 65536, 65539, 1<<31 - 1} {
		s.add("exponent "+strconv.FormatInt(e, 10), "key_unacceptable", "",
			change("e", quote(encode(append([]byte{}, new(big.Int).SetInt64(e).FillBytes(make([]byte, max(1, (new(big.Int).SetInt64(e).BitLen()+7)/8)))...)))), "J31")
	}
	s.add("exponent 65537 with a leading zero", "key_unacceptable", "Two spellings would be two thumbprints.", change("e", `"AAEAAQ"`))
	s.add("exponent with padding", "jwk_invalid", "", change("e", `"AQAB="`))
	s.add("exponent missing", "jwk_invalid", "", valid(base).jwk(base.jwk().without("e")))
	s.add("modulus missing", "jwk_invalid", "", valid(base).jwk(base.jwk().without("n")))
	s.add("modulus a number", "jwk_invalid", "", change("n", "1"))
	cube := valid(newRSA(2048, 3, "RS256"))
	cube.sign = newRSA(2048, 3, "RS256").lenient
	s.add("forgery with exponent 3", "key_unacceptable", "Bleichenbacher's cube root.", cube, "I35")

	for name, n := range map[string]*big.Int{
		"0": new(big.Int), "1": big.NewInt(1), "even": new(big.Int).Sub(base.n, big.NewInt(1)),
	} {
		s.add("modulus "+name, "key_unacceptable", "", change("n", quote(encode(n.FillBytes(make([]byte, max(1, (n.BitLen()+7)/8)))))), "J35")
	}
	s.add("modulus a prime", "key_unacceptable", "The signature holds, and anybody could have made it.", valid(primeModulus(2048, "PS256")), "J35")
	prime := valid(primeModulus(2048, "RS256"))
	s.add("modulus a prime, bad signature", "signature_invalid", "", prime.signedAs(func(sig []byte) []byte { sig[9] ^= 1; return sig }), "J35")
	s.add("modulus with a leading zero", "jwk_invalid", "", change("n", quote(encode(append([]byte{0}, base.n.Bytes()...)))))
	n := encode(base.n.Bytes())
	s.add("line feed in n", "jwk_invalid", "", change("n", quote(n[:9]+`\n`+n[9:])), "J25")
	s.add("carriage return in e", "jwk_invalid", "", change("e", `"AQ\rAB"`), "J25")
	s.add("stray bits in n", "jwk_invalid", "", change("n", quote(respell(n))), "J24")

	full := base.jwk()
	phi := func(p *big.Int) *big.Int { return new(big.Int).Sub(p, big.NewInt(1)) }
	for _, m := range []struct {
		name  string
		value *big.Int
	}{
		{"d", base.d}, {"p", base.p}, {"q", base.q}, {"dp", new(big.Int).Mod(base.d, phi(base.p))},
		{"dq", new(big.Int).Mod(base.d, phi(base.q))}, {"qi", new(big.Int).ModInverse(base.q, base.p)},
	} {
		full = full.with(m.name, quote(encode(m.value.Bytes())))
		s.add("private member "+m.name, "jwk_private", "The right value.", change(m.name, quote(encode(m.value.Bytes()))), "J07")
	}
	s.add("whole private key", "jwk_private", "", valid(base).jwk(full), "J07")

	d := valid(base)
	d.sign = func(input string) []byte { return base.pkcs1(base.hash, input) }
	s.add("PS256 with a PKCS1 signature", "signature_invalid", "", d, "I14")
	d = valid(newRSA(2048, 65537, "RS256"))
	d.sign = base.pss
	s.add("RS256 with a PSS signature", "signature_invalid", "", d, "I14")
	for name, salt := range map[string]int{"none": 0, "20 bytes": 20, "as much as fits": -1} {
		k := ps()
		k.salt = salt
		s.add("PS256 with salt: "+name, "signature_invalid", "", valid(k), "I15")
	}
	rs := newRSA(2048, 65537, "RS256")
	beyond := valid(rs).signedAs(func(sig []byte) []byte {
		sum := new(big.Int).Add(new(big.Int).SetBytes(sig), rs.n)
		if sum.BitLen() > 2048 {
			return append([]byte{1}, sum.Bytes()[1:]...)[:257]
		}
		return sum.FillBytes(make([]byte, 256))
	})
	s.add("signature plus the modulus", "signature_invalid", "", beyond)
	s.add("RSA key named as its algorithm", "accept", "", change("alg", `"PS256"`))
	s.add("RSA key named as the other algorithm", "key_mismatch", "", change("alg", `"RS256"`))
	return s
}
