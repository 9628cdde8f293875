// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"strings"
)

// jwkVectors are about the key in the header, but for RSA.
func jwkVectors() *set {
	s := &set{Description: "The jwk header parameter: RFC 9449, section 4.3, check 7, RFC 7517, RFC 7518, section 6.2, RFC 8037."}
	right, okp := p256.jwk(), edKey.jwk()
	x, y := encode(p256.x), encode(p256.y)

	for name, jwk := range map[string]string{
		"empty string": `""`, "number": "1", "true": "true", "array": "[]", "string": `"foo"`, "empty object": "{}",
		"key as a string": quote(strings.ReplaceAll(right.text(), `"`, `\"`)), "key set": `{"keys":[` + right.text() + `]}`,
	} {
		s.add("jwk: "+name, "jwk_invalid", "", plain().set("jwk", jwk), "J02", "J03", "J04")
	}
	d := encode(must(p256.private.Bytes()))
	s.add("private key", "jwk_private", "The right d.", plain().jwk(right.with("d", quote(d))), "J05")
	s.add("private Ed25519 key", "jwk_private", "", valid(edKey).jwk(okp.with("d", quote(encode(edKey.private.Seed())))))
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		for _, value := range []string{"null", `""`, `"AA"`, "1"} {
			s.add("member "+name+": "+strings.Trim(value, `"`), "jwk_private", "Whatever its value.", plain().jwk(right.with(name, value)), "J05")
		}
	}
	s.add("symmetric key", "jwk_private", "", plain().set("jwk", `{"kty":"oct","k":"c2VjcmV0"}`), "J11")
	s.add("symmetric kty", "jwk_invalid", "", plain().jwk(right.with("kty", `"oct"`)), "J11")

	change := func(name, value string) draft { return plain().jwk(right.with(name, value)) }
	for name, kty := range map[string]string{"lower case": `"ec"`, "EC2": `"EC2"`, "number": "1", "null": "null", "AKP": `"AKP"`, "blank": `"EC "`} {
		s.add("kty: "+name, "jwk_invalid", "", change("kty", kty), "J21", "I37")
	}
	s.add("kty missing", "jwk_invalid", "", plain().jwk(right.without("kty")), "J21")
	for name, crv := range map[string]string{
		"unknown": `"P-999"`, "lower case": `"p-256"`, "blank": `"P-256 "`, "secp256r1": `"secp256r1"`, "number": "1", "secp256k1": `"secp256k1"`,
		"P-224": `"P-224"`, "Ed25519": `"Ed25519"`, "null": "null",
	} {
		s.add("crv: "+name, "jwk_invalid", "", change("crv", crv), "J20")
	}
	s.add("crv missing", "jwk_invalid", "", plain().jwk(right.without("crv")), "J20")
	s.add("crv of another curve we know", "key_mismatch", "", change("crv", `"P-384"`), "J15", "J20")

	plusOne := new(big.Int).Add(new(big.Int).SetBytes(p256.y), big.NewInt(1)).FillBytes(make([]byte, 32))
	s.add("point off the curve", "jwk_invalid", "y+1.", change("y", quote(encode(plusOne))), "J12")
	field := elliptic.P256().Params().P
	root := new(big.Int).ModSqrt(elliptic.P256().Params().B, field)
	s.add("x is the prime", "jwk_invalid", "The point with x = 0 is on the curve, p is another spelling of 0.",
		plain().jwk(right.with("x", quote(encode(field.Bytes()))).with("y", quote(encode(root.FillBytes(make([]byte, 32)))))), "J14")
	beyond := new(big.Int).Add(new(big.Int).SetBytes(p521.x), elliptic.P521().Params().P).FillBytes(make([]byte, 66))
	s.add("x plus the prime", "jwk_invalid", "Fits with P-521.", valid(p521).jwk(p521.jwk().with("x", quote(encode(beyond)))), "J14").
		Config = &config{Algorithms: []string{"ES256", "ES512"}}
	s.add("point of P-384", "jwk_invalid", "", plain().jwk(p384.jwk().with("crv", `"P-256"`)), "J15")
	k1x := must(hex.DecodeString("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"))
	k1y := must(hex.DecodeString("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"))
	s.add("point of secp256k1", "jwk_invalid", "", plain().jwk(right.with("x", quote(encode(k1x))).with("y", quote(encode(k1y)))), "J15")
	s.add("point at infinity", "jwk_invalid", "", plain().jwk(right.with("x", quote(strings.Repeat("A", 43))).with("y", quote(strings.Repeat("A", 43)))), "J12")

	s.add("leading zero octet", "accept", "A key whose x begins with one, on 32 bytes.", valid(zero), "J18")
	s.add("leading zero octet dropped", "jwk_invalid", "", valid(zero).jwk(zero.jwk().with("x", quote(encode(zero.x[1:])))), "J16")
	s.add("leading zero octet added", "jwk_invalid", "", change("x", quote(encode(append([]byte{0}, p256.x...)))), "J16")
	s.add("x and y swapped", "jwk_invalid", "", plain().jwk(right.with("x", quote(y)).with("y", quote(x))), "J19")
	s.add("x missing", "jwk_invalid", "", plain().jwk(right.without("x")), "J19")
	s.add("y missing", "jwk_invalid", "", plain().jwk(right.without("y")), "J19")
	s.add("compressed point", "jwk_invalid", "", plain().jwk(right.without("y").with("parity", "1")), "J52")
	s.add("x not a string", "jwk_invalid", "", change("x", "1"), "J19")
	s.add("x empty", "jwk_invalid", "", change("x", `""`), "J19")
	s.add("stray bits in x", "jwk_invalid", "", change("x", quote(respell(x))), "J24")
	s.add("stray bits in y", "jwk_invalid", "", change("y", quote(respell(y))), "J24")
	s.add("padding in x", "jwk_invalid", "", change("x", quote(x+"=")), "J23")
	standard := newEC("standard", elliptic.P256(), "P-256", "ES256", p256.hash)
	s.add("standard alphabet in x", "jwk_invalid", "", valid(standard).jwk(standard.jwk().
		with("x", quote(base64.RawStdEncoding.EncodeToString(standard.x))).with("y", quote(base64.RawStdEncoding.EncodeToString(standard.y)))), "J23")
	for name, c := range map[string]string{"line feed": `\n`, "carriage return": `\r`, "tab": `\t`, "blank": " "} {
		s.add(name+" in x", "jwk_invalid", "", change("x", quote(x[:9]+c+x[9:])), "J25")
		ed := encode(edKey.public())
		s.add("Ed25519: "+name+" in x", "jwk_invalid", "", valid(edKey).jwk(okp.with("x", quote(ed[:9]+c+ed[9:]))), "J25")
	}
	s.add("line feed in x in place of a character", "jwk_invalid", "", change("x", quote(x[:42]+`\n`)), "J25")
	s.add("x escaped", "accept", "The text is what counts, not how JSON spells it.", change("x", quote(`\u00`+hex.EncodeToString([]byte{x[0]})+x[1:])))

	s.add("further public members", "accept", "", plain().jwk(right.with("kid", `"a"`).with("use", `"sig"`).with("alg", `"ES256"`).
		with("ext", "true").with("key_ops", `["verify"]`)), "J36")
	s.add("key_ops with more", "accept", "", change("key_ops", `["sign","verify"]`))
	s.add("use: enc", "jwk_invalid", "", change("use", `"enc"`), "J37")
	s.add("use: null", "jwk_invalid", "", change("use", "null"), "J37")
	for name, ops := range map[string]string{"encrypt": `["encrypt"]`, "empty": "[]", "string": `"verify"`, "mixed": `["verify",1]`} {
		s.add("key_ops: "+name, "jwk_invalid", "", change("key_ops", ops), "J37")
	}
	s.add("alg of another algorithm", "key_mismatch", "", change("alg", `"ES384"`))
	s.add("alg null", "key_mismatch", "", change("alg", "null"))
	s.add("Ed25519 under its two names", "accept", "", valid(edKeyName).jwk(okp.with("alg", `"EdDSA"`)))
	for _, name := range []string{"kty", "crv", "x", "y"} {
		s.add("member "+strings.ToUpper(name[:1])+name[1:], "jwk_invalid", "In place of the right name.",
			plain().jwk(right.renamed(name, strings.ToUpper(name[:1])+name[1:])), "J41")
	}
	s.add("Kelvin sign in kty", "jwk_invalid", "", plain().jwk(right.renamed("kty", `\u212aty`)), "J42")
	s.add("Kelvin sign besides", "jwk_invalid", "", change(`\u212aty`, `"RSA"`), "J42")
	s.add("long s in use", "jwk_invalid", "", change(`u\u017fe`, `"enc"`), "J42")
	s.add("duplicate x", "header_invalid", "", plain().jwk(right.also("x", quote(x))))
	s.add("x5c of another key", "jwk_invalid", "Not even a certificate.", change("x5c", `["AAAA"]`), "J47")
	s.add("x5t of a wrong length", "jwk_invalid", "A certificate's hash that cannot be one.", change("x5t", `"AAAA"`), "J47")
	s.add("jku and x5u inside", "accept", "Never fetched.",
		plain().jwk(right.with("jku", `"https://canary.example/jwks"`).with("x5u", `"https://canary.example/cert"`)), "J48")

	s.add("Ed448", "jwk_invalid", "", valid(edKey).jwk(object{{"kty", `"OKP"`}, {"crv", `"Ed448"`}, {"x", quote(encode(stream("x", 57)))}}), "I23")
	s.add("X25519", "jwk_invalid", "", valid(edKey).jwk(okp.with("crv", `"X25519"`)), "I23")
	for name, n := range map[string]int{"empty x": 0, "31 bytes": 31, "33 bytes": 33} {
		s.add("Ed25519: "+name, "jwk_invalid", "", valid(edKey).jwk(okp.with("x", quote(encode(append(edKey.public(), 0)[:n])))), "J44")
	}
	s.add("Ed25519 without crv", "jwk_invalid", "", valid(edKey).jwk(okp.without("crv")), "J46")
	for name, point := range map[string]string{
		"identity":          "0100000000000000000000000000000000000000000000000000000000000000",
		"identity, sign":    "0100000000000000000000000000000000000000000000000000000000000080",
		"order 2":           "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4":           "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4, sign":     "0000000000000000000000000000000000000000000000000000000000000080",
		"order 8":           "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"order 8, sign":     "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"order 8, other":    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, negative": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	} {
		d := valid(edKey).jwk(okp.with("x", quote(encode(must(hex.DecodeString(point))))))
		d.sign = func(string) []byte { return append([]byte{1}, make([]byte, 63)...) } // R = identity, S = 0
		s.add("Ed25519: "+name, "key_unacceptable", "With the signature that fits the identity for any message.", d, "I33")
	}
	for name, point := range map[string]string{
		"y is p":       "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"y is p+1":     "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"y is 2^255-1": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		s.add("Ed25519: "+name, "jwk_invalid", "Not reduced.", valid(edKey).jwk(okp.with("x", quote(encode(must(hex.DecodeString(point)))))), "I33")
	}
	s.add("Ed25519: no point", "signature_invalid", "No x belongs to y = 2.",
		valid(edKey).jwk(okp.with("x", quote(encode(append([]byte{2}, make([]byte, 31)...))))))
	addPoints(s)
	addMembers(s)
	return s
}
