// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// numbers sends proofs with each of these JSON texts as a claim. What stands for the
// present time in them is $.
func numbers(w want, claim string, texts ...string) test {
	return func(c *run) {
		for _, text := range texts {
			c.variant(claim+" "+text, w, func(a *attempt) {
				a.claim(claim, testkit.Raw(strings.ReplaceAll(text, "$", fmt.Sprint(now().Unix()))))
			})
		}
	}
}

// dated sends proofs with a claim so far from now.
func dated(w want, claim string, offsets ...time.Duration) test {
	return func(c *run) {
		for _, d := range offsets {
			c.variant(fmt.Sprint(claim, " ", d), w, func(a *attempt) { a.claim(claim, now().Add(d).Unix()) })
		}
	}
}

var (
	expPassed   = badProof("exp_passed")
	nbfInFuture = badProof("nbf_in_future")
)

// Group F, further: the skew is ten seconds, the largest age sixty with it.
var _ = add(cases{
	"F80": numbers(accepted, "iat", "$E0", "$e+0", "$0e-1", "$.0", "$.999", "$.000000001", "$00E-2"),
	"F81": all(numbers(badProof("iat_too_old"), "iat", "-0", "0.0", "-1.5", "1e-9", "-1e9", "0e0"), at("main/off", numbers(badProof("iat_too_old"), "iat", "-0"))),
	"F82": numbers(accepted, "iat", "$."+strings.Repeat("0", 21)),
	"F83": numbers(badProof("iat_invalid"), "iat", "$."+strings.Repeat("0", 22), "$."+strings.Repeat("0", 500)),
	"F84": dated(accepted, "exp", -7*time.Second, 0, time.Second),
	"F85": all(dated(expPassed, "exp", -12*time.Second, -time.Hour), numbers(expPassed, "exp", "0", "-1", "-1e9", "1.5")),
	"F86": dated(accepted, "nbf", 7*time.Second, 0, -time.Hour),
	"F87": dated(nbfInFuture, "nbf", 14*time.Second, time.Hour),
	"F88": numbers(accepted, "exp", "253402300799", "253402300799.5", "2.53402300799e11"),
	"F89": all(numbers(claimsInvalid, "exp", "1e30", "1e308", "-1e30"), numbers(claimsInvalid, "nbf", "-1e30", "1e30")),
	"F90": dated(badProof("iat_in_future"), "iat", 14*time.Second, 30*time.Second, time.Minute),
	"F91": one(accepted, func(a *attempt) {
		a.claim("issued_at", "x")
		a.claim("auth_time", nil)
		a.claim("updated_at", []int{1})
		a.claim("expires_in", testkit.Raw("-1e999"))
		a.claim("not_before", false)
	}),
	"F92": func(c *run) {
		for _, name := range []string{"IAT", "Iat", "Exp", "EXP", "nBf", "NBF"} {
			c.variant(name, claimsInvalid, func(a *attempt) { a.claim(name, now().Unix()) })
		}
	},
})

// sameKey sends proofs by one key with these jti, one after the other.
func sameKey(c *run, w want, values ...any) {
	c.Helper()
	first := c.attempt()
	fresh(first)
	for i, v := range values {
		a := c.attempt()
		a.client = first.client
		a.renew()
		a.claim("jti", v)
		if c.expect(a, w); c.Failed() {
			c.Fatalf("jti %d: %q", i, v)
		}
	}
}

// sameID sends a proof with the jti of one that was used, and something else.
func sameID(w want, change func(*attempt)) test {
	return func(c *run) {
		a := c.use()
		b := c.attempt()
		b.accessToken = a.accessToken
		b.reproof()
		change(b)
		b.claim("jti", a.proof.Claims.Get("jti"))
		c.expect(b, w)
	}
}

// Group G, further.
var _ = add(cases{
	"G80": jtis(strings.Repeat("🔑", 64), strings.Repeat("é", 128), strings.Repeat("日", 85)+"x"),
	"G81": func(c *run) {
		a := c.attempt()
		fresh(a)
		a.claim("jti", testkit.Raw(`"`+strings.Repeat(`\u0061`, 256)+`"`))
		c.expect(a, accepted)
		b := c.attempt()
		fresh(b)
		b.claim("jti", testkit.Raw(`"`+strings.Repeat(`\u0061`, 257)+`"`))
		c.must(b, badProof("jti_too_long"))
	},
	"G82": func(c *run) { sameKey(c, accepted, "caf\u00e9", "cafe\u0301", "CAF\u00c9", "\u212b", "\u00c5") },
	"G83": func(c *run) { sameKey(c, accepted, " a", "a ", "a", "a\n", "\ta", "a\t", "a\u00a0", "\u2003a") },
	"G84": func(c *run) {
		for _, v := range []string{`"\ud800"`, `"\udc00"`, `"\udc00\ud800"`, `"a\ud83d"`, `"\ud83dx"`} {
			c.variant(v, claimsInvalid, func(a *attempt) { a.claim("jti", testkit.Raw(v)) })
		}
	},
	"G85": jtis("\ufffd", "\u200b", "\ufeff", "\x01", "\uffff", "\U0010ffff", "\u061c"),
	"G86": each(badProof("jti_invalid"), variants{
		"em":        func(a *attempt) { a.claim("jti", "\u2003") },
		"full":      func(a *attempt) { a.claim("jti", "\u3000\u3000") },
		"next line": func(a *attempt) { a.claim("jti", "\u0085") },
		"separator": func(a *attempt) { a.claim("jti", testkit.Raw(`"\u2028"`)) },
	}),
	"G87": jtis(`{"a":1}`, "null", "1e5", "[]", `"`, `\`, `\u0061`, "true"),
	"G88": func(c *run) {
		a := c.attempt()
		fresh(a)
		a.claim("jti", testkit.Raw(`"a/b"`))
		c.must(a, accepted)
		for _, v := range []string{`"a\/b"`, `"a\u002fb"`, `"a\u002Fb"`} {
			b := c.attempt()
			b.client = a.client
			b.renew()
			b.claim("jti", testkit.Raw(v))
			c.expect(b, replayed)
		}
	},
	"G89": func(c *run) {
		var values []any
		for i := range 20 {
			values = append(values, strings.Repeat("j", 255)+string(rune('a'+i)))
		}
		sameKey(c, accepted, values...)
	},
	"G90": sameID(replayed, func(a *attempt) { a.renew() }),
	"G91": sameID(replayed, func(a *attempt) { a.request("POST", "/api/items") }),
})

// deep is a header parameter or claim so many levels deep, the object around it
// counted.
func deep(levels int) testkit.Raw {
	return testkit.Raw(strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1))
}

// Group H, further.
var _ = add(cases{
	"H80": header(accepted, "typ", "DPOP+JWT", "Dpop+Jwt", "dpop+JWT"),
	"H81": header(typInvalid, "typ", "dpop+jws", "dpop-jwt", "dpop jwt", "dpop+jwt+x", "xdpop+jwt", "dpop+jwt,", "dpop%2Bjwt", "dpop\u00a0+jwt", "dp\u03bfp+jwt", "dpop+j\u1e81t", "dpop", "jwt+dpop"),
	"H82": header(accepted, "b64", true),
	"H83": header(headerInvalid, "b64", "true", "false", 1, []string{}, testkit.Object{}, "True"),
	"H84": func(c *run) {
		for name, v := range map[string]any{
			"iat": now().Unix(), "nonce": "x", "zip": "DEF", "enc": "A128GCM", "epk": k1, "p2c": 1, "url": "https://evil.example", "x-anything": nil, "": "", "svt": []any{1, obj("a", nil)},
			"htm": "PUT", "apu": true, "ppt": "x",
		} {
			c.variant("with "+name, accepted, func(a *attempt) { a.head(name, v) })
		}
	},
	"H85": func(c *run) {
		for name, v := range map[string]any{"jku": 1, "x5u": []any{}, "x5c": obj(), "kid": 7, "x5t": nil, "x5t#S256": false} {
			c.variant(name, accepted, func(a *attempt) { a.head(name, v) })
		}
	},
	"H86": each(critRefused, variants{
		"exp":   func(a *attempt) { a.head("crit", []string{"exp"}); a.head("exp", now().Unix()+60) },
		"kid":   func(a *attempt) { a.head("crit", []string{"kid"}); a.head("kid", "1") },
		"nonce": func(a *attempt) { a.head("crit", []string{"nonce"}); a.head("nonce", "x") },
		"jwk":   func(a *attempt) { a.proof.Header.Prepend("crit", []string{"jwk"}) },
	}),
	"H87": header(accepted, "cty", "json", "application/json", `example;part="1/2"`, ""),
	"H88": each(accepted, variants{
		"names": func(a *attempt) {
			a.rawHeader(strings.NewReplacer(`"typ"`, `"t\u0079p"`, `"alg"`, `"\u0061lg"`, `"jwk"`, `"jw\u006b"`).Replace)
		},
		"values": func(a *attempt) {
			a.rawHeader(strings.NewReplacer(`"dpop+jwt"`, `"dpop\u002bjwt"`, `"ES256"`, `"\u0045S256"`, `"EC"`, `"\u0045C"`, `"P-256"`, `"P\u002D256"`).Replace)
		},
	}),
	"H89": func(c *run) {
		for _, name := range []string{"Typ", "ALG", "JWK", "Crit", "B64", "KID", "x5T#s256", `"\u004awk"`} {
			c.variant(name, headerInvalid, func(a *attempt) { a.head(name, "x") })
		}
	},
	"H90": header(accepted, "extra", deep(16), testkit.Raw(strings.Repeat(`{"a":`, 15)+"1"+strings.Repeat("}", 15))),
	"H91": header(headerInvalid, "extra", deep(17), deep(1400), testkit.Raw(strings.Repeat("[", 2000))),
})
