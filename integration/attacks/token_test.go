// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// bend sends a token bent so, with a proof that is right for it.
func bend(w want, changes map[string]func(*testkit.JWS)) test {
	return func(c *run) {
		for _, name := range sortedKeys(changes) {
			c.variant(name, w, func(a *attempt) { a.token(changes[name]) })
		}
	}
}

// claims sends tokens with one claim set to each of the values; nil means null, and
// [absent] leaves it out.
func claims(w want, name string, values map[string]any) test {
	return func(c *run) {
		for _, label := range sortedKeys(values) {
			c.variant(label, w, func(a *attempt) {
				a.token(func(t *testkit.JWS) {
					if values[label] == absent {
						t.Claims.Delete(name)
					} else {
						t.Claims.Set(name, values[label])
					}
				})
			})
		}
	}
}

// absent stands for a claim that is left out.
var absent any = struct{ absent bool }{true}

func cnf(w want, values map[string]any) test { return claims(w, "cnf", values) }

var (
	cnfInvalid    = badToken("token_cnf_invalid")
	tokenInvalid  = badToken("token_claims_invalid")
	tokenMangled  = badToken("token_malformed")
	tokenForged   = badToken("token_signature_invalid")
	issuerUnknown = badToken("token_issuer_unknown")
)

func jkt1() string { return client1.Thumbprint() }

// Group N: JWT access tokens.
var _ = add(cases{
	"N04": func(c *run) {
		url := c.site("ref").issuer.URL
		claims(issuerUnknown, "iss", map[string]any{
			"other": "https://auth.example.test", "slash": url + "/", "upper": strings.ToUpper(url), "prefix": url + ".evil.example",
			"blank": url + " ", "empty": "",
		})(c)
		claims(tokenInvalid, "iss", map[string]any{"null": nil, "list": []string{url}, "absent": absent})(c)
	},
	"N07": all(
		claims(badToken("token_audience_mismatch"), "aud", map[string]any{"absent": absent, "other": "https://other.example.test", "slash": audience + "/", "list": []string{"a", "b"}, "empty": []string{}, "prefix": audience + ".evil"}),
		claims(tokenInvalid, "aud", map[string]any{"null": nil, "null in list": []any{nil}, "object": obj("0", audience), "mixed": []any{audience, 1}, "number": 1})),
	"N08": bend(badToken("token_alg_unsupported"), map[string]func(*testkit.JWS){
		"empty": func(t *testkit.JWS) { t.Head("alg", "none"); t.Signature = func(_, _ []byte) []byte { return nil } },
		"kept":  func(t *testkit.JWS) { t.Head("alg", "none"); t.Algorithm = "ES256" },
		"None":  func(t *testkit.JWS) { t.Head("alg", "None"); t.Signature = func(_, _ []byte) []byte { return nil } },
	}),
	"N09": func(c *run) {
		issuer := c.site("ref").issuer
		for name, secret := range map[string][]byte{"pem": publicPEM(issuer.Key), "jwk": issuer.Key.JWK("k1").JSON(), "public": issuer.Key.Public.JSON(), "empty": nil} {
			bend(badToken("token_alg_unsupported"), map[string]func(*testkit.JWS){name: func(t *testkit.JWS) {
				t.Head("alg", "HS256")
				t.Signature = func(input, _ []byte) []byte { return testkit.SignHMAC(secret, input) }
			}})(c)
		}
	},
	"N10": at("jwks/kidless", func(c *run) {
		c.must(c.attempt(), accepted)
		before := c.site(c.on).issuer.Count(testkit.PathJWKS)
		unknown := func(a *attempt) { a.token(func(t *testkit.JWS) { t.Head("kid", testkit.NewID()) }) }
		a := c.attempt()
		unknown(a)
		c.expect(a, badToken("token_key_unknown"))
		b := c.attempt()
		unknown(b)
		c.must(b, unavailable("keys_not_refreshed"))
		if n := c.site(c.on).issuer.Count(testkit.PathJWKS) - before; n != 1 {
			c.Errorf("two unknown keys caused %d fetches", n)
		}
	}),
	"N11": bend(accepted, map[string]func(*testkit.JWS){"no kid": func(t *testkit.JWS) { t.Header.Delete("kid") }}),
	"N13": quiet(func(c *run) {
		evil := testkit.P256("evil issuer")
		cert, err := certificateFor(evil, "evil")
		c.ok(err)
		for name, v := range map[string]any{"jku": canary.URL + "/jwks", "x5u": canary.URL + "/cert", "x5c": []string{cert}, "jwk": evil.Public} {
			bend(tokenForged, map[string]func(*testkit.JWS){name: func(t *testkit.JWS) { t.Key = evil; t.Head(name, v) }})(c)
		}
	}),
	"N14": all(
		bend(accepted, map[string]func(*testkit.JWS){"JWT": func(t *testkit.JWS) { t.Head("typ", "JWT") }, "absent": func(t *testkit.JWS) { t.Header.Delete("typ") }}),
		func(c *run) { // with `typ at+jwt`
			for _, typ := range []any{"JWT", "jwt", absent} {
				a := newAttempt(c.site("main/strict"))
				a.token(func(t *testkit.JWS) {
					if t.Head("typ", typ); typ == absent {
						t.Header.Delete("typ")
					}
				})
				c.must(a, badToken("token_typ_invalid"))
			}
		}),
	"N15": all(bend(accepted, map[string]func(*testkit.JWS){"full": func(t *testkit.JWS) { t.Head("typ", "application/at+jwt") }}),
		at("main/strict", bend(accepted, map[string]func(*testkit.JWS){"strict": func(t *testkit.JWS) { t.Head("typ", "application/at+jwt") }}))),
	"N16": at("main/strict", bend(accepted, map[string]func(*testkit.JWS){"upper": func(t *testkit.JWS) { t.Head("typ", "AT+JWT") }})),
	"N18": bend(badToken("token_typ_invalid"), map[string]func(*testkit.JWS){
		"proof": func(t *testkit.JWS) { t.Head("typ", "dpop+jwt") }, "introspection": func(t *testkit.JWS) { t.Head("typ", "token-introspection+jwt") },
		"logout": func(t *testkit.JWS) { t.Head("typ", "logout+jwt") }, "secevent": func(t *testkit.JWS) { t.Head("typ", "secevent+jwt") },
	}),
	"N19": all(
		each(tokenForged, variants{
			"payload": func(a *attempt) {
				a.useToken(changeClaim(`"alice"`, `"alicf"`)(a.accessToken))
			},
			"other token's": func(a *attempt) {
				other := a.newToken(nil)
				a.useToken(segment(a.accessToken, 2, func(string) string { return strings.Split(other, ".")[2] }))
			},
			"other key": func(a *attempt) { a.token(func(t *testkit.JWS) { t.Key = client2 }) },
			"bit":       func(a *attempt) { a.useToken(segment(a.accessToken, 2, flipBit)) },
		}),
		each(tokenMangled, variants{
			"two parts": func(a *attempt) { a.useToken(a.accessToken[:strings.LastIndexByte(a.accessToken, '.')]) },
			"unused":    func(a *attempt) { a.useToken(testkit.LooseBits(a.accessToken)) },
			"padded":    func(a *attempt) { a.useToken(a.accessToken + "=") },
		})),
	"N22": claims(tokenInvalid, "exp", map[string]any{"absent": absent, "text": "9999999999", "null": nil, "1e400": testkit.Raw("1e400"), "true": true, "NaN": testkit.Raw("NaN"), "list": []int{1}}),
	"N25": cnf(cnfInvalid, map[string]any{
		"null jkt": obj("jkt", nil), "number": obj("jkt", 1), "empty": obj("jkt", ""), "array": obj("jkt", []string{jkt1()}), "object": obj("jkt", obj()),
		"null": nil, "text": jkt1(), "list": []any{obj("jkt", jkt1())}, "nothing": obj(),
	}),
	"N26": func(c *run) {
		other := []byte(jkt1())
		for i, b := range other[:40] {
			if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' {
				other[i] ^= 0x20
				break
			}
		}
		cnf(badToken("jkt_mismatch"), map[string]any{"one letter": obj("jkt", string(other))})(c)
		for name, v := range map[string]string{"upper": strings.ToUpper(jkt1()), "lower": strings.ToLower(jkt1())} {
			a := c.attempt()
			a.token(cnfJKT(v))
			r := a.send() // the last character may not even be a valid one in that case
			r.check(c, want{401, "invalid_token", r.reason(), ""})
			if r.reason() != "jkt_mismatch" && r.reason() != "token_cnf_invalid" {
				c.Errorf("%s: reason %q", name, r.reason())
			}
		}
	},
	"N27": func(c *run) {
		cnf(cnfInvalid, map[string]any{"padded": obj("jkt", jkt1()+"="), "hex": obj("jkt", fmt.Sprintf("%x", testkit.UnB64(jkt1()))), "loose": obj("jkt", testkit.LooseBits(jkt1()))})(c)
		k := testkit.P256("thumbprint 0")
		for i := 1; !strings.ContainsAny(k.Thumbprint(), "-_"); i++ {
			k = testkit.P256(fmt.Sprint("thumbprint ", i))
		}
		a := c.attempt()
		a.bind(k)
		a.token(cnfJKT(stdEncoding.EncodeToString(testkit.UnB64(k.Thumbprint()))))
		c.expect(a, cnfInvalid)
	},
	"N28": cnf(cnfInvalid, map[string]any{"before": obj("jkt", " "+jkt1()), "after": obj("jkt", jkt1()+" "), "newline": obj("jkt", jkt1()+"\n")}),
	"N29": cnf(badToken("certificate_missing"), map[string]any{"both": obj("jkt", jkt1(), "x5t#S256", testkit.ATH("certificate"))}),
	"N32": cnf(accepted, map[string]any{"kid": obj("jkt", jkt1(), "kid", "a"), "others": obj("osc", obj(), "jkt", jkt1())}),
	"N33": bend(badToken("token_unbound"), map[string]func(*testkit.JWS){"top": func(t *testkit.JWS) { t.Claims.Delete("cnf"); t.Set("jkt", jkt1()) }}),
	"N34": cnf(cnfInvalid, map[string]any{"jwk": obj("jwk", k1), "kid": obj("kid", jkt1())}),
	"N35": all(cnf(cnfInvalid, map[string]any{"JKT": obj("JKT", jkt1()), "Jkt beside": obj("jkt", jkt1(), "Jkt", "x")}),
		bend(tokenInvalid, map[string]func(*testkit.JWS){"CNF": func(t *testkit.JWS) { t.Claims.Rename("cnf", "CNF") }, "CNF beside": func(t *testkit.JWS) { t.Claims.Add("CNF", obj()) }, "twice": func(t *testkit.JWS) { t.Claims.Add("cnf", obj("jkt", client2.Thumbprint())) }})),
	"N37": at("main/scoped", all(one(noScope, func(*attempt) {}), func(c *run) {
		a := c.attempt()
		r := c.must(a, noScope)
		all, err := testkit.ParseChallenges(r.Header.Values("Www-Authenticate"))
		if err != nil || len(all) == 0 || all[0].Params["scope"] != "admin" || all[0].Params["algs"] == "" {
			c.Errorf("challenge %v, %v", all, err)
		}
		for _, scope := range []any{"Admin", "administrator", "", []string{"read"}, absent} {
			b := c.attempt()
			b.token(func(t *testkit.JWS) {
				if t.Set("scope", scope); scope == absent {
					t.Claims.Delete("scope")
				}
			})
			c.must(b, noScope)
		}
	})),
	"N39": each(tokenMangled, variants{
		"RSA-OAEP": func(a *attempt) { a.useToken(jwe(`{"alg":"RSA-OAEP","enc":"A256GCM","typ":"at+jwt"}`)) },
		"dir":      func(a *attempt) { a.useToken(jwe(`{"alg":"dir","enc":"A128GCM"}`)) },
	}),
	"N40": one(tokenMangled, func(a *attempt) {
		inner := a.newToken(func(t *testkit.JWS) { t.Head("alg", "none"); t.Signature = func(_, _ []byte) []byte { return nil } })
		a.useToken(testkit.B64([]byte(`{"alg":"dir","enc":"A128GCM","cty":"JWT"}`)) + "..AAAAAAAAAAAAAAAA." + testkit.B64([]byte(inner)) + ".AAAAAAAAAAAAAAAAAAAAAA")
	}),
	"N41": at("main/two", func(c *run) {
		a := c.attempt()
		c.must(a, accepted)
		other := c.site("main/tenantb").issuer
		b := c.attempt()
		b.token(func(t *testkit.JWS) { t.Key = other.Key }) // same kid, other issuer's key
		c.expect(b, tokenForged)
		d := c.attempt()
		d.token(func(t *testkit.JWS) { t.Set("iss", other.URL) }) // the other way round
		c.expect(d, tokenForged)
	}),
	"N42": quiet(func(c *run) {
		claims(issuerUnknown, "iss", map[string]any{"canary": canary.URL, "file": "file:///etc/passwd", "canary with ours": canary.URL + "/" + c.site("ref").issuer.URL})(c)
	}),
	"N43": quiet(at("jwks/twice", func(c *run) {
		// Unknown keys: the first may be fetched for, the others wait for the interval.
		for _, kid := range []string{"../../../../dev/null", canary.URL + "/", "' OR '1'='1", "|id", "\x00", strings.Repeat("k", 4000)} {
			a := c.attempt()
			a.token(func(t *testkit.JWS) { t.Head("kid", kid) })
			r := a.send()
			w := badToken("token_key_unknown")
			if r.Status == 503 {
				w = unavailable("keys_not_refreshed")
			}
			r.check(c, w)
		}
		c.answered(badToken("token_key_unknown"))
		c.answered(unavailable("keys_not_refreshed"))
	})),
	"N45": func(c *run) {
		for _, token := range []string{testkit.NewID(), "a.b", "a.b.c.d", "2YotnFZFEjr1zCsicMWpAA", "~", "..", "a.b.c"} {
			c.variant(token, tokenMangled, func(a *attempt) { a.useToken(token) })
		}
	},
	"N46": at("short/ref", func(c *run) {
		a := c.attempt()
		a.token(func(t *testkit.JWS) { t.Set("exp", time.Now().Add(2*time.Second).Unix()) })
		c.must(a, accepted)
		c.answered(badToken("token_expired"))
		c.eventually(15*time.Second, func() bool {
			b := c.attempt()
			b.accessToken = a.accessToken
			b.reproof()
			r := b.send()
			if r.Status == 401 {
				r.check(c, badToken("token_expired"))
			}
			return r.Status == 401
		})
	}),
	"N48": func(c *run) {
		good := c.attempt()
		base := good.accessToken
		forged := segment(base, 2, flipBit)
		secrets.add(forged)
		var wg sync.WaitGroup
		for i := range 100 {
			a := c.attempt()
			w := accepted
			if a.accessToken = base; i%2 == 1 {
				a.accessToken, w = forged, tokenForged
			}
			a.reproof()
			wg.Go(func() { a.send().check(c, w) })
		}
		wg.Wait()
		c.answered(tokenForged)
	},
	"N49": func(c *run) {
		a := c.use()
		b := c.attempt()
		b.accessToken, b.client = a.accessToken, client2
		b.reproof()
		c.expect(b, badToken("jkt_mismatch"))
		// And the other way round: the stranger's header is not remembered.
		d := c.attempt()
		d.accessToken = a.accessToken
		d.reproof()
		c.must(d, accepted)
	},
	"N50": bend(tokenForged, map[string]func(*testkit.JWS){
		"zero":  func(t *testkit.JWS) { t.Signature = func(_, _ []byte) []byte { return make([]byte, 64) } },
		"short": func(t *testkit.JWS) { t.Signature = func(_, s []byte) []byte { return s[:63] } },
		"der":   func(t *testkit.JWS) { t.Signature = func(_, s []byte) []byte { return append([]byte{0x30, 68}, s...) } },
	}),
	"N52": func(c *run) {
		late := func(t *testkit.JWS) { t.Set("exp", time.Now().Unix()-1) }
		a := c.attempt()
		a.token(late)
		c.expect(a, accepted)
		b := newAttempt(c.site("main/tight"))
		b.token(late)
		c.must(b, badToken("token_expired"))
		d := c.attempt()
		d.token(func(t *testkit.JWS) { t.Set("exp", time.Now().Unix()-11) })
		c.must(d, badToken("token_expired"))
		e := c.attempt()
		e.token(func(t *testkit.JWS) { t.Set("nbf", time.Now().Unix()+60) })
		c.must(e, badToken("token_not_yet_valid"))
	},
	"N53": expiresDuringUpload,
	"N54": claims(accepted, "token_type", map[string]any{"Bearer": "Bearer", "DPoP": "DPoP"}),
	"N55": func(c *run) {
		for _, name := range []string{"sub", "client_id", "iat", "jti"} {
			claims(accepted, name, map[string]any{name: absent})(c)
			a := newAttempt(c.site("main/strict"))
			a.token(func(t *testkit.JWS) { t.Claims.Delete(name) })
			c.must(a, tokenInvalid)
		}
	},
})

// jwe is a token of five parts under this header.
func jwe(header string) string {
	return testkit.B64([]byte(header)) + "." + testkit.NewID() + ".AAAAAAAAAAAAAAAA." + testkit.NewID() + ".AAAAAAAAAAAAAAAAAAAAAA"
}

// expiresDuringUpload: what was good when the request came is served to its end, as
// long as nothing streams back.
func expiresDuringUpload(c *run) {
	s := c.site("short/ref")
	a := newAttempt(s)
	a.method, a.target = "POST", "/api/items"
	a.token(func(t *testkit.JWS) { t.Set("exp", time.Now().Add(time.Second).Unix()) })
	a.field("Content-Length", "40")
	conn, err := testkit.Dial(s.address)
	c.ok(err)
	defer conn.Close()
	c.ok(conn.Write(a.wire()))
	for range 40 { // four seconds, two after the token and its skew
		c.ok(conn.Write([]byte("x")))
		time.Sleep(100 * time.Millisecond)
	}
	r := &result{attempt: a, Answer: &testkit.Answer{Header: http.Header{}}}
	if answer, err := conn.Read("POST"); answer != nil {
		r.Answer, r.err = answer, err
	} else {
		r.err = err
	}
	c.answered(accepted)
	r.check(c, accepted)
}
