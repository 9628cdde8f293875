// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// keysOf sends proofs by that key, with each of these as its jwk.
func keysOf(k func() *testkit.Key, w want, jwks map[string]testkit.Object) test {
	return func(c *run) {
		for _, name := range sortedKeys(jwks) {
			c.variant(name, w, withKey(k, func(a *attempt) { a.head("jwk", jwks[name]) }))
		}
	}
}

func ecKey1() *testkit.Key { return client1 }

// spoken is a public key with every member that says something about it.
func spoken(k *testkit.Key) testkit.Object {
	return k.JWK("key 1").With("key_ops", []string{"verify"}).With("ext", true).With("iat", 1).With("exp", 2).With("nbf", 0).With("key_id", "x")
}

// negated is the key of the other point with the same x.
func negated(k *testkit.Key) *testkit.Key {
	y := new(big.Int).SetBytes(testkit.UnB64(k.Public.Get("y").(string)))
	return k.WithPublic(k.Public.With("y", testkit.B64(y.Sub(p256(), y).FillBytes(make([]byte, 32)))))
}

// zeroP521 is a P-521 key whose coordinate begins with a zero octet.
func zeroP521(coordinate string) *testkit.Key {
	for i := 0; ; i++ {
		k := testkit.P521(fmt.Sprint("leading zero ", i))
		if testkit.UnB64(k.Public.Get(coordinate).(string))[0] == 0 {
			return k
		}
	}
}

// Group J, further.
var _ = add(cases{
	"J80": all(
		keysOf(ecKey1, accepted, map[string]testkit.Object{"EC": spoken(client1)}),
		keysOf(rsaKey, accepted, map[string]testkit.Object{"RSA": spoken(rsaKey())}),
		keysOf(okpKey, accepted, map[string]testkit.Object{"OKP": spoken(okpKey())})),
	"J81": all(
		keysOf(ecKey1, accepted, map[string]testkit.Object{"two": k1.With("key_ops", []string{"sign", "verify"}), "last": k1.With("key_ops", []string{"deriveKey", "sign", "verify"})}),
		each(accepted, variants{
			"Ed25519 named EdDSA": withKey(okpKey, func(a *attempt) { a.head("alg", "Ed25519"); a.head("jwk", okpKey().Public.With("alg", "EdDSA")) }),
			"EdDSA named Ed25519": withKey(okpKey, func(a *attempt) { a.head("jwk", okpKey().Public.With("alg", "Ed25519")) }),
		})),
	"J82": all(
		keysOf(rsaKey, jwkInvalid, map[string]testkit.Object{"n": rsaKey().Public.With("n", testkit.B64(append([]byte{0}, rsaKey().Modulus().Bytes()...)))}),
		keysOf(rsaKey, keyRefused, map[string]testkit.Object{"e": rsaKey().Public.With("e", "AAEAAQ"), "more": rsaKey().Public.With("e", "AQABAA"), "zeros": rsaKey().Public.With("e", "AAAAAAEAAQ")})),
	"J83": keysOf(rsaKey, jwkInvalid, map[string]testkit.Object{
		"number": rsaKey().Public.With("e", 65537), "array": rsaKey().Public.With("n", []string{"x"}), "null": rsaKey().Public.With("e", nil), "padded": rsaKey().Public.With("e", "AQAB=="),
		"decimal": rsaKey().Public.With("n", 123), "true": rsaKey().Public.With("n", true),
	}),
	"J84": all(
		keysOf(ecKey1, accepted, map[string]testkit.Object{"EC": k1.With("n", "AQAB").With("e", "AQAB")}),
		keysOf(okpKey, accepted, map[string]testkit.Object{"OKP": okpKey().Public.With("y", member("y"))}),
		keysOf(rsaKey, accepted, map[string]testkit.Object{"RSA": rsaKey().Public.With("crv", "P-256").With("x", member("x")).With("y", member("y"))})),
	"J85": all(
		keysOf(ecKey1, jwkInvalid, map[string]testkit.Object{"use": k1.With("use", nil), "key_ops": k1.With("key_ops", nil)}),
		keysOf(ecKey1, keyMismatch, map[string]testkit.Object{"alg": k1.With("alg", nil)})),
	"J86": everyAlgorithm(func(c *run) {
		for _, coordinate := range []string{"x", "y"} {
			k := zeroP521(coordinate)
			value := testkit.UnB64(k.Public.Get(coordinate).(string))
			c.variant("65 "+coordinate, jwkInvalid, func(a *attempt) { a.bind(k.WithPublic(k.Public.With(coordinate, testkit.B64(value[1:])))) })
			c.variant("67 "+coordinate, jwkInvalid, func(a *attempt) {
				a.bind(k.WithPublic(k.Public.With(coordinate, testkit.B64(append([]byte{0}, value...)))))
			})
			a := c.attempt()
			a.bind(k)
			c.must(a, accepted)
		}
	}),
	"J87": everyAlgorithm(all(
		keysOf(p521Key, jwkInvalid, map[string]testkit.Object{"P-384 as P-521": p384Key().Public.With("crv", "P-521")}),
		keysOf(p384Key, jwkInvalid, map[string]testkit.Object{"P-521 as P-384": p521Key().Public.With("crv", "P-384"), "P-256 as P-384": k1.With("crv", "P-384")}))),
	"J88": one(badSignature, func(a *attempt) { a.bind(negated(client1)) }),
	"J89": one(badToken("jkt_mismatch"), func(a *attempt) { a.head("jwk", negated(client1).Public) }),
	"J90": keysOf(ecKey1, accepted, map[string]testkit.Object{
		"kid": k1.With("kid", strings.Repeat("k", 2048)), "nested": k1.With("about", obj("a", obj("b", []any{strings.Repeat("x", 2000), nil}))),
	}),
	"J91": func(c *run) {
		own, err := certificateFor(client1, "own")
		c.ok(err)
		keysOf(ecKey1, accepted, map[string]testkit.Object{"x5c": k1.With("x5c", []string{own})})(c)
	},
	"J92": func(c *run) {
		first := func(s string) string { return fmt.Sprintf(`\u%04x`, s[0]) + s[1:] }
		c.variant("values", accepted, func(a *attempt) {
			a.rawHeader(func(s string) string {
				return strings.NewReplacer(member("x"), first(member("x")), member("y"), first(member("y")), `"EC"`, `"\u0045C"`, `"P-256"`, `"P-\u0032\u0035\u0036"`).Replace(s)
			})
		})
		c.variant("names", accepted, func(a *attempt) {
			a.rawHeader(strings.NewReplacer(`"kty"`, `"\u006bty"`, `"x"`, `"\u0078"`, `"y"`, `"\u0079"`, `"crv"`, `"cr\u0076"`).Replace)
		})
	},
	"J93": func(c *run) {
		for _, name := range []string{"kty", "x", "crv"} {
			c.variant(name, headerInvalid, func(a *attempt) {
				k := k1.Clone()
				k.Add(name, k1.Get(name))
				a.head("jwk", k)
			})
		}
		c.variant("kid", headerInvalid, func(a *attempt) {
			k := k1.With("kid", "1")
			k.Add(`"\u006bid"`, "1")
			a.head("jwk", k)
		})
	},
	"J94": each(accepted, variants{
		"2056": withKey(func() *testkit.Key { return testkit.RSA(2056, "client") }, nil), "3000": withKey(func() *testkit.Key { return testkit.RSA(3000, "client") }, nil),
	}),
	"J95": func(c *run) {
		for _, name := range []string{"p", "q", "dp", "dq", "qi", "oth", "k", "priv", "d"} {
			c.variant("EC "+name, badProof("jwk_private"), func(a *attempt) { a.head("jwk", k1.With(name, nil)) })
			c.variant("OKP "+name, badProof("jwk_private"), withKey(okpKey, func(a *attempt) { a.head("jwk", okpKey().Public.With(name, "AA")) }))
		}
		c.variant("escaped", badProof("jwk_private"), func(a *attempt) { a.head("jwk", k1.With(`"\u0064"`, "AA")) })
	},
	"J96": keysOf(ecKey1, jwkInvalid, map[string]testkit.Object{
		"number": k1.With("key_ops", []any{"verify", 1}), "text": k1.With("key_ops", "verify"), "object": k1.With("key_ops", obj("verify", 1)), "case": k1.With("key_ops", []string{"Verify"}),
		"nested": k1.With("key_ops", []any{[]string{"verify"}}), "null": k1.With("key_ops", []any{"verify", nil}), "blank": k1.With("key_ops", []string{"verify "}),
	}),
})
