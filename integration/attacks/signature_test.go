// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// canary is a server that nobody may ask for anything.
var canary = testkit.NewIssuer("canary")

// quiet runs a test and then looks whether the canary was asked.
func quiet(f test) test {
	return func(c *run) {
		f(c)
		for _, r := range canary.Requests() {
			c.Errorf("somebody fetched %s %s from the canary", r.Method, r.Path)
		}
	}
}

// header sends proofs with one header parameter set to each of the values.
func header(w want, name string, values ...any) test {
	return func(c *run) {
		for i, v := range values {
			c.variant(fmt.Sprint(name, " ", i+1), w, func(a *attempt) { a.head(name, v) })
		}
	}
}

var (
	typInvalid    = badProof("typ_invalid")
	algorithmOut  = badProof("alg_unsupported")
	badSignature  = badProof("signature_invalid")
	critRefused   = badProof("crit_unsupported")
	jwkInvalid    = badProof("jwk_invalid")
	jwkMissing    = badProof("jwk_missing")
	keyRefused    = badProof("key_unacceptable")
	keyMismatch   = badProof("key_mismatch")
	headerInvalid = badProof("header_invalid")
	claimsInvalid = badProof("claims_invalid")
	malformed     = badProof("proof_malformed")
)

// Group H: what the header says besides algorithm and key.
var _ = add(cases{
	"H04": header(typInvalid, "typ", "application/dpop+jwt", "APPLICATION/DPOP+JWT"),
	"H05": header(typInvalid, "typ", 1, nil, true, []string{}, testkit.Object{}, []string{"dpop+jwt"}, testkit.Object{{Name: "dpop+jwt", Value: 1}}),
	"H06": header(typInvalid, "typ", " dpop+jwt", "dpop+jwt ", "dpop+jwt\x00", "dpop+jwt\n", "", "dpop+JWT;v=1"),
	"H07": all(header(typInvalid, "typ", "JWT", "at+jwt", "client-authentication+jwt", "openid4vci-proof+jwt", "jwt", "id_token", "dpop", "kb+jwt"),
		one(typInvalid, func(a *attempt) { a.proof.Header.Delete("typ") })),
	"H09": header(critRefused, "crit", []string{}, "b64", nil, []int{1}, []string{"x", "x"}, []string{"not-there"}, testkit.Object{}, false),
	"H10": header(critRefused, "crit", []string{"alg"}, []string{"jwk"}, []string{"typ"}),
	"H11": all(
		one(malformed, func(a *attempt) { // the URI in the payload has dots
			a.head("crit", []string{"b64"})
			a.head("b64", false)
			a.proof.EncodeClaims = func(b []byte) string { return string(b) }
		}),
		one(critRefused, func(a *attempt) { a.head("crit", []string{"b64"}); a.head("b64", false) }),
		header(headerInvalid, "b64", false, nil, "false", 0)),
	"H13": each(critRefused, variants{
		"with crit": func(a *attempt) { a.head("crit", []string{"b64"}); a.head("b64", true) },
	}),
	"H15": header(headerInvalid, "cty", "JWT", "jwt", "application/JWT"),
	"H16": header(accepted, "kid", "key-1", "", testkit.NewID()),
	"H17": func(c *run) {
		other, err := certificateFor(client2, "other")
		c.ok(err)
		for _, v := range []testkit.Object{{{Name: "x5c", Value: []string{other}}}, {{Name: "x5t", Value: testkit.B64(make([]byte, 20))}}} {
			a := c.attempt()
			a.head(v[0].Name, v[0].Value)
			c.expect(a, accepted)
			// Signed by the certificate's key instead of jwk's.
			b := c.attempt()
			b.head(v[0].Name, v[0].Value)
			b.proof.Key = client2
			c.must(b, badSignature)
		}
	},
	"H18": quiet(all(header(accepted, "jku", canary.URL+"/jwks"), header(accepted, "x5u", canary.URL+"/cert"))),
	"H19": quiet(func(c *run) {
		own, err := certificateFor(client1, "own")
		c.ok(err)
		for name, v := range map[string]any{"jku": canary.URL + "/jwks", "x5u": canary.URL + "/cert", "x5c": []string{own}, "kid": "k1", "kid of the key": client1.Thumbprint()} {
			c.variant(name, jwkMissing, func(a *attempt) {
				a.proof.Header.Delete("jwk")
				a.head(name[:3], v)
			})
		}
	}),
})

// signed makes the signature with another key or in another way.
func signed(f func(input, signature []byte) []byte) func(*attempt) {
	return func(a *attempt) { a.proof.Signature = f }
}

// macWith signs with HMAC-SHA-256 under a secret made of the public key.
func macWith(secret []byte) func(*attempt) {
	return func(a *attempt) {
		a.head("alg", "HS256")
		a.proof.Signature = func(input, _ []byte) []byte { return testkit.SignHMAC(secret, input) }
	}
}

func publicPEM(k *testkit.Key) []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Private.Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// withKey signs by another key, token bound to it.
func withKey(k func() *testkit.Key, then func(*attempt)) func(*attempt) {
	return func(a *attempt) {
		a.bind(k())
		if then != nil {
			then(a)
		}
	}
}

func rsaKey() *testkit.Key { return testkit.RSA(2048, "client") }
func okpKey() *testkit.Key { return testkit.Ed25519("client") }

func salted(n int) func(*attempt) {
	return withKey(rsaKey, func(a *attempt) {
		a.proof.Signature = func(input, _ []byte) []byte { return testkit.SaltOf(a.client, input, n) }
	})
}

// Group I: algorithms and signatures.
var _ = add(cases{
	"I03": header(algorithmOut, "alg", "none", "None", "NONE", ""),
	"I06": header(algorithmOut, "alg", "ES257", "X", "HS0", "RSA-OAEP", "ES256K", nil, 7, []string{"ES256"}),
	"I07": header(algorithmOut, "alg", "es256", " ES256", "ES256\n", "ES256\x00", "Es256", "eddsa", "ED25519"),
	"I08": each(algorithmOut, variants{
		"jwk":  macWith(client1.Public.JSON()),
		"pem":  macWith(publicPEM(client1)),
		"xy":   macWith(append(testkit.UnB64(client1.Public.Get("x").(string)), testkit.UnB64(client1.Public.Get("y").(string))...)),
		"file": macWith(bytes.TrimSpace(publicPEM(client1))),
	}),
	"I09": one(algorithmOut, func(a *attempt) {
		macWith([]byte("0123456789abcdef0123456789abcdef"))(a)
		a.head("jwk", testkit.Object{{Name: "kty", Value: "oct"}, {Name: "k", Value: testkit.B64([]byte("0123456789abcdef0123456789abcdef"))}})
	}),
	"I10": each(algorithmOut, variants{
		"rsa": func(a *attempt) { macWith(nil)(a); a.head("jwk", rsaKey().Public) },
		"oct": func(a *attempt) {
			macWith(nil)(a)
			a.head("jwk", testkit.Object{{Name: "kty", Value: "oct"}, {Name: "k", Value: ""}})
		},
	}),
	"I11": one(algorithmOut, withKey(rsaKey, func(a *attempt) {
		a.head("alg", "RS1")
		a.proof.Signature = func(input, _ []byte) []byte {
			return testkit.SignPKCS1(a.client.Private.(*rsa.PrivateKey), crypto.SHA1, input)
		}
	})),
	"I12": one(algorithmOut, withKey(rsaKey, func(a *attempt) { a.head("alg", "RS256") })),
	"I13": one(accepted, withKey(rsaKey, nil)),
	"I14": all(
		one(badSignature, withKey(rsaKey, func(a *attempt) { a.proof.Algorithm = "RS256" })),
		one(algorithmOut, withKey(rsaKey, func(a *attempt) { a.head("alg", "RS256"); a.proof.Algorithm = "PS256" }))),
	"I15": each(badSignature, variants{"none": salted(0), "20": salted(20), "longest": salted(-1)}),
	"I17": one(algorithmOut, withKey(func() *testkit.Key { return testkit.Secp256k1("client") }, nil)),
	"I18": each(algorithmOut, variants{
		"ES384": withKey(func() *testkit.Key { return testkit.P384("client") }, nil),
		"ES512": withKey(func() *testkit.Key { return testkit.P521("client") }, nil),
		"RS512": withKey(rsaKey, func(a *attempt) { a.head("alg", "RS512") }),
		"PS384": withKey(rsaKey, func(a *attempt) { a.head("alg", "PS384") }),
	}),
	"I20": each(keyMismatch, variants{
		"ES256 RSA":    withKey(rsaKey, func(a *attempt) { a.head("alg", "ES256") }),
		"PS256 EC":     func(a *attempt) { a.head("alg", "PS256") },
		"EdDSA EC":     func(a *attempt) { a.head("alg", "EdDSA") },
		"ES256 OKP":    withKey(okpKey, func(a *attempt) { a.head("alg", "ES256") }),
		"ES256 P-384":  withKey(func() *testkit.Key { return testkit.P384("client") }, func(a *attempt) { a.head("alg", "ES256") }),
		"EdDSA RSA":    withKey(rsaKey, func(a *attempt) { a.head("alg", "EdDSA") }),
		"alg in jwk":   func(a *attempt) { a.head("jwk", client1.Public.With("alg", "ES384")) },
		"Ed25519 on P": func(a *attempt) { a.head("alg", "Ed25519") },
	}),
	"I22": each(accepted, variants{
		"Ed25519": withKey(okpKey, func(a *attempt) { a.head("alg", "Ed25519") }),
		"EdDSA":   withKey(okpKey, nil),
	}),
	"I23": all(
		header(algorithmOut, "alg", "Ed448"),
		each(jwkInvalid, variants{
			"Ed448": func(a *attempt) {
				a.head("alg", "EdDSA")
				a.head("jwk", testkit.Object{{Name: "kty", Value: "OKP"}, {Name: "crv", Value: "Ed448"}, {Name: "x", Value: testkit.B64(make([]byte, 57))}})
				signed(func(_, _ []byte) []byte { return make([]byte, 114) })(a)
			},
			"X25519": withKey(okpKey, func(a *attempt) { a.head("jwk", a.client.Public.With("crv", "X25519")) }),
		})),
	"I24": each(badSignature, variants{
		"payload":     func(a *attempt) { a.claim("extra", "aaaa"); a.rewrite(changeClaim(`"aaaa"`, `"aaab"`)) },
		"header":      func(a *attempt) { a.head("kid", "aaaa"); a.rewrite(changeHeader(`"aaaa"`, `"aaab"`)) },
		"signature":   signed(func(_, s []byte) []byte { s[20] ^= 1; return s }),
		"signature r": signed(func(_, s []byte) []byte { s[0] ^= 0x80; return s }),
		"signature s": signed(func(_, s []byte) []byte { s[63] ^= 1; return s }),
	}),
	"I25": one(malformed, func(a *attempt) {
		a.rewrite(func(s string) string { return segment(s, 2, func(string) string { return "" }) })
	}),
	"I26": each(badSignature, variants{
		"63": signed(func(_, s []byte) []byte { return s[:63] }),
		"65": signed(func(_, s []byte) []byte { return append(s, 0) }),
		"66": signed(func(_, s []byte) []byte {
			return append([]byte{0}, append(s[:32:32], append([]byte{0}, s[32:]...)...)...)
		}),
		"32":   signed(func(_, s []byte) []byte { return s[:32] }),
		"1":    signed(func(_, s []byte) []byte { return s[:1] }),
		"128":  signed(func(_, s []byte) []byte { return append(s, make([]byte, 64)...) }),
		"zero": signed(func(_, _ []byte) []byte { return make([]byte, 64) }),
		"der": signed(func(_, s []byte) []byte {
			return append([]byte{0x30, 0x44, 2, 32}, append(s[:32:32], append([]byte{2, 32}, s[32:]...)...)...)
		}),
		"r plus n": signed(func(_, s []byte) []byte { return append(bytes.Repeat([]byte{0xff}, 32), s[32:]...) }),
	}),
	"I30": func(c *run) {
		a := c.attempt()
		original := a.again()
		a.rewrite(func(s string) string { return testkit.WithSignature(s, testkit.MalleateECDSA) })
		c.expect(a, accepted)
		c.must(original, replayed)
	},
	"I31": func(c *run) {
		c.variant("K1 signed by K2", badSignature, func(a *attempt) { a.proof.Key = client2 })
		c.variant("K2 signed by K1, token bound to K2", badSignature, func(a *attempt) { a.bind(client2); a.proof.Key = client1 })
		// The thumbprint is compared before the signature is checked.
		c.variant("K2 signed by K1, token bound to K1", badToken("jkt_mismatch"), func(a *attempt) { a.head("jwk", client2.Public) })
	},
	"I32": one(badSignature, withKey(okpKey, signed(func(_, s []byte) []byte { return testkit.MalleateEd25519(s) }))),
	"I33": func(c *run) {
		for name, x := range smallOrder() {
			c.variant(name, keyRefused, func(a *attempt) {
				k := okpKey().WithPublic(testkit.Object{{Name: "kty", Value: "OKP"}, {Name: "crv", Value: "Ed25519"}, {Name: "x", Value: testkit.B64(x)}})
				// R = the identity and S = 0 verify under the identity for any message.
				k.SignWith = func(string, []byte) []byte {
					return append(append([]byte{1}, make([]byte, 31)...), make([]byte, 32)...)
				}
				a.bind(k)
			})
		}
	},
	"I35": one(keyRefused, func(a *attempt) {
		k := testkit.RSAWithExponent(2048, 3)
		a.bind(k)
		a.proof.Signature = func(input, _ []byte) []byte { return testkit.ForgeLowExponent(k.Modulus(), input) }
	}),
	"I37": each(algorithmOut, variants{
		"AKP": func(a *attempt) {
			a.head("alg", "ML-DSA-44")
			a.head("jwk", testkit.Object{{Name: "kty", Value: "AKP"}, {Name: "alg", Value: "ML-DSA-44"}, {Name: "pub", Value: testkit.B64(make([]byte, 1312))}})
		},
	}),
	"I39": each(badSignature, variants{
		"SHA-384": signed(func(input, _ []byte) []byte {
			return testkit.SignECDSA(client1.Private.(*ecdsa.PrivateKey), crypto.SHA384, input)
		}),
		"SHA-1": signed(func(input, _ []byte) []byte {
			return testkit.SignECDSA(client1.Private.(*ecdsa.PrivateKey), crypto.SHA1, input)
		}),
	}),
	"I40": one(badToken("jkt_mismatch"), func(a *attempt) {
		a.head("jwk", a.site.issuer.Key.Public)
		a.rewrite(func(s string) string {
			return segment(s, 2, func(string) string { return a.accessToken[len(a.accessToken)-86:] })
		})
	}),
})

// smallOrder are points of Ed25519 whose order divides eight (RFC 7748 and 8032 leave
// it to the protocol to refuse them).
func smallOrder() map[string][]byte {
	identity := append([]byte{1}, make([]byte, 31)...)
	order8, _ := new(big.Int).SetString("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", 16)
	order2 := append([]byte{0xec}, bytes.Repeat([]byte{0xff}, 31)...)
	order2[31] = 0x7f
	return map[string][]byte{"identity": identity, "order 8": order8.FillBytes(make([]byte, 32)), "order 2": order2, "order 4": make([]byte, 32)}
}

// changeClaim and changeHeader edit a written proof without signing it again.
func changeClaim(from, to string) func(string) string  { return changeSegment(1, from, to) }
func changeHeader(from, to string) func(string) string { return changeSegment(0, from, to) }

func changeSegment(i int, from, to string) func(string) string {
	return func(compact string) string {
		return segment(compact, i, func(s string) string {
			return testkit.B64(bytes.Replace(testkit.UnB64(s), []byte(from), []byte(to), 1))
		})
	}
}

var stdEncoding = base64.RawStdEncoding
