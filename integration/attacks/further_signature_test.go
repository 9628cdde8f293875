// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"strings"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// everyAlgorithm runs a test where all algorithms are accepted.
func everyAlgorithm(f test) test { return at("further/all", f) }

func p384Key() *testkit.Key { return testkit.P384("client") }
func p521Key() *testkit.Key { return testkit.P521("client") }

// signedAs names one algorithm in the header and signs by another.
func signedAs(k func() *testkit.Key, header, really string) func(*attempt) {
	return withKey(k, func(a *attempt) {
		a.head("alg", header)
		a.proof.Algorithm = really
	})
}

// until signs again until the signature is one of those.
func until(k func() *testkit.Key, good func(s []byte) bool) func(*attempt) {
	return withKey(k, func(a *attempt) {
		a.proof.Signature = func(input, s []byte) []byte {
			for !good(s) {
				s = a.client.Sign(a.client.Algorithm, input)
			}
			return s
		}
	})
}

// reshaped changes a signature by that key.
func reshaped(k func() *testkit.Key, change func(s []byte) []byte) func(*attempt) {
	return withKey(k, signed(func(_, s []byte) []byte { return change(s) }))
}

// rsaNumber makes another number of an RSA signature.
func rsaNumber(change func(s, n *big.Int) *big.Int) func(*attempt) {
	return withKey(rsaKey, func(a *attempt) {
		n := a.client.Modulus()
		a.proof.Signature = func(_, s []byte) []byte {
			out := change(new(big.Int).SetBytes(s), n)
			return out.FillBytes(make([]byte, max(256, (out.BitLen()+7)/8)))
		}
	})
}

// withoutNull signs RS256 with a DigestInfo that lacks the parameters of its algorithm
// (RFC 8017, section 9.2, note 1 and appendix A.2.4).
func withoutNull(a *attempt) {
	a.bind(rsaKey())
	a.head("alg", "RS256")
	a.proof.Signature = func(input, _ []byte) []byte {
		p := a.client.Private.(*rsa.PrivateKey)
		sum := sha256.Sum256(input)
		info := append([]byte{0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x04, 0x20}, sum[:]...)
		em := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 256-3-len(info))...)
		em = append(append(em, 0), info...)
		m := new(big.Int).SetBytes(em)
		return m.Exp(m, p.D, p.N).FillBytes(make([]byte, 256))
	}
}

var orderOfP256, _ = new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)

// half puts a number in the place of r or s.
func half(s bool, n *big.Int) func(*attempt) {
	return signed(func(_, signature []byte) []byte {
		part := signature[:32]
		if s {
			part = signature[32:]
		}
		n.FillBytes(part)
		return signature
	})
}

// Group I, further.
var _ = add(cases{
	"I80": everyAlgorithm(each(accepted, variants{
		"ES256": func(*attempt) {}, "ES384": withKey(p384Key, nil), "ES512": withKey(p521Key, nil),
		"PS256": withKey(rsaKey, nil), "PS384": signedAs(rsaKey, "PS384", ""), "PS512": signedAs(rsaKey, "PS512", ""),
		"RS256": signedAs(rsaKey, "RS256", ""), "RS384": signedAs(rsaKey, "RS384", ""), "RS512": signedAs(rsaKey, "RS512", ""),
		"EdDSA": withKey(okpKey, nil), "Ed25519": signedAs(okpKey, "Ed25519", ""),
	})),
	"I81": everyAlgorithm(each(badSignature, variants{
		"RS256 PS256": signedAs(rsaKey, "RS256", "PS256"), "PS256 RS256": signedAs(rsaKey, "PS256", "RS256"),
		"RS384 PS384": signedAs(rsaKey, "RS384", "PS384"), "PS384 RS384": signedAs(rsaKey, "PS384", "RS384"),
		"RS512 PS512": signedAs(rsaKey, "RS512", "PS512"), "PS512 RS512": signedAs(rsaKey, "PS512", "RS512"),
	})),
	"I82": everyAlgorithm(each(badSignature, variants{
		"RS384 RS256": signedAs(rsaKey, "RS384", "RS256"), "PS512 PS256": signedAs(rsaKey, "PS512", "PS256"), "RS256 RS512": signedAs(rsaKey, "RS256", "RS512"),
		"ES384 SHA-256": signedAs(p384Key, "ES384", "ES256"), "ES512 SHA-384": signedAs(p521Key, "ES512", "ES384"), "ES256 SHA-512": signedAs(func() *testkit.Key { return client1 }, "ES256", "ES512"),
	})),
	"I83": everyAlgorithm(each(badSignature, variants{
		"64": reshaped(p521Key, func(s []byte) []byte { return s[:64] }), "130": reshaped(p521Key, func(s []byte) []byte { return append(s[1:66:66], s[67:]...) }),
		"131": reshaped(p521Key, func(s []byte) []byte { return s[1:] }), "133": reshaped(p521Key, func(s []byte) []byte { return append([]byte{0}, s...) }),
		"264": reshaped(p521Key, func(s []byte) []byte { return append(s, make([]byte, 132)...) }),
		"der": reshaped(p521Key, func(s []byte) []byte {
			return append(append([]byte{0x30, 0x81, 136, 2, 66}, s[:66]...), append([]byte{2, 66}, s[66:]...)...)
		}),
		"96 for ES384": reshaped(p384Key, func(s []byte) []byte { return s[:95] }),
	})),
	"I84": everyAlgorithm(each(keyMismatch, variants{
		"ES384 P-256": signedAs(func() *testkit.Key { return client1 }, "ES384", ""), "ES512 P-384": signedAs(p384Key, "ES512", ""), "ES256 P-521": signedAs(p521Key, "ES256", ""),
		"ES512 P-256": signedAs(func() *testkit.Key { return client1 }, "ES512", ""), "ES384 P-521": signedAs(p521Key, "ES384", ""), "RS256 P-256": signedAs(func() *testkit.Key { return client1 }, "RS256", ""),
	})),
	"I85": everyAlgorithm(each(accepted, variants{
		"ES256 r": until(func() *testkit.Key { return client1 }, func(s []byte) bool { return s[0] == 0 }), "ES256 s": until(func() *testkit.Key { return client1 }, func(s []byte) bool { return s[32] == 0 }),
		"ES384 r": until(p384Key, func(s []byte) bool { return s[0] == 0 }), "ES384 s": until(p384Key, func(s []byte) bool { return s[48] == 0 }),
		"ES512 r": until(p521Key, func(s []byte) bool { return s[0] == 0 && s[1] < 16 }), "ES512 s": until(p521Key, func(s []byte) bool { return s[66] == 1 }),
		"PS256": until(rsaKey, func(s []byte) bool { return s[0] == 0 }),
	})),
	"I86": everyAlgorithm(each(badSignature, variants{"no parameters": withoutNull})),
	"I87": everyAlgorithm(each(badSignature, variants{
		"zero dropped": func(a *attempt) {
			until(rsaKey, func(s []byte) bool { return s[0] == 0 })(a)
			whole := a.proof.Signature
			a.proof.Signature = func(input, s []byte) []byte { return whole(input, s)[1:] }
		},
		"zero in front": reshaped(rsaKey, func(s []byte) []byte { return append([]byte{0}, s...) }),
		"short":         reshaped(rsaKey, func(s []byte) []byte { return s[:255] }),
		"block":         reshaped(rsaKey, func(s []byte) []byte { return append(s, make([]byte, 256)...) }),
		"32":            reshaped(rsaKey, func(s []byte) []byte { return s[:32] }),
	})),
	"I88": everyAlgorithm(each(badSignature, variants{
		"s + n": rsaNumber(func(s, n *big.Int) *big.Int { return s.Add(s, n) }), "n": rsaNumber(func(_, n *big.Int) *big.Int { return n }),
		"n - 1": rsaNumber(func(_, n *big.Int) *big.Int { return new(big.Int).Sub(n, big.NewInt(1)) }),
		"zero":  rsaNumber(func(_, _ *big.Int) *big.Int { return new(big.Int) }), "one": rsaNumber(func(_, _ *big.Int) *big.Int { return big.NewInt(1) }),
	})),
	"I89": each(badSignature, variants{
		"63": reshaped(okpKey, func(s []byte) []byte { return s[:63] }), "65": reshaped(okpKey, func(s []byte) []byte { return append(s, 0) }), "32": reshaped(okpKey, func(s []byte) []byte { return s[:32] }),
		"zero": reshaped(okpKey, func([]byte) []byte { return make([]byte, 64) }), "swapped": reshaped(okpKey, func(s []byte) []byte { return append(s[32:64:64], s[:32]...) }),
		"128": reshaped(okpKey, func(s []byte) []byte { return append(s, s...) }),
	}),
	"I90": func(c *run) {
		field := append(append([]byte{0xed}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f) // p
		beyond := append([]byte{0xee}, field[1:]...)
		for name, x := range map[string][]byte{"p": field, "p+1": beyond, "ones": bytes.Repeat([]byte{0xff}, 32), "p signed": append(field[:31:31], 0xff)} {
			c.variant(name, jwkInvalid, func(a *attempt) { a.bind(okpKey().WithPublic(okpKey().Public.With("x", testkit.B64(x)))) })
		}
		for _, y := range []byte{2, 3, 4, 5, 6, 7} { // not all of them have an x
			c.variant("small", badSignature, func(a *attempt) {
				a.bind(okpKey().WithPublic(okpKey().Public.With("x", testkit.B64(append([]byte{y}, make([]byte, 31)...)))))
			})
		}
	},
	"I91": func(c *run) {
		top := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
		for name, n := range map[string]*big.Int{"zero": new(big.Int), "n": orderOfP256, "n+1": new(big.Int).Add(orderOfP256, big.NewInt(1)), "ones": top, "one": big.NewInt(1)} {
			c.variant("r "+name, badSignature, half(false, n))
			c.variant("s "+name, badSignature, half(true, n))
		}
	},
	"I92": one(accepted, func(a *attempt) { a.head("alg", testkit.Raw(`"\u0045\u0053256"`)); a.proof.Algorithm = "ES256" }),
	"I93": func(c *run) {
		a, b := c.use(), c.attempt()
		b.accessToken = a.accessToken
		b.reproof()
		b.rewrite(parts(func(h, p, _ string) string { return h + "." + p + "." + strings.Split(a.write(), ".")[2] }))
		c.expect(b, badSignature)
	},
	"I94": func(c *run) {
		a := c.use()
		for name, change := range map[string]func(*attempt){
			"signer":  func(b *attempt) { b.proof.Key = client2 },
			"payload": func(b *attempt) { b.claim("extra", "aaaa"); b.rewrite(changeClaim(`"aaaa"`, `"aaab"`)) },
			"bit":     signed(func(_, s []byte) []byte { s[40] ^= 2; return s }),
		} {
			b := c.attempt()
			b.accessToken = a.accessToken
			b.reproof()
			change(b)
			if c.expect(b, badSignature); c.Failed() {
				c.Fatal(name)
			}
		}
		d := c.attempt()
		d.accessToken = a.accessToken
		d.reproof()
		c.must(d, accepted)
	},
	"I95": func(c *run) {
		a := c.use()
		for _, alg := range []string{"EdDSA", "PS256", "Ed25519"} {
			b := c.attempt()
			b.accessToken = a.accessToken
			b.reproof()
			b.head("alg", alg)
			b.proof.Algorithm = "ES256"
			c.expect(b, keyMismatch)
		}
	},
})
