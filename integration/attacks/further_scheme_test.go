// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// unbound makes the token one that anybody can use, before change bends it further.
func unbound(change func(*testkit.JWS)) func(*attempt) {
	return func(a *attempt) {
		a.token(func(t *testkit.JWS) {
			t.Claims.Delete("cnf")
			if change != nil {
				change(t)
			}
		})
		a.bearer()
	}
}

// bearers presents tokens with these values of cnf as Bearer.
func bearers(w want, changes map[string]func(*testkit.JWS)) test {
	return at("mixed/bearer", func(c *run) {
		for _, name := range sortedKeys(changes) {
			c.variant(name, w, func(a *attempt) { a.token(changes[name]); a.bearer() })
		}
	})
}

func setCnf(v any) func(*testkit.JWS) { return func(t *testkit.JWS) { t.Set("cnf", v) } }

// Group B, further: schemes and what looks like them.
var _ = add(cases{
	"B80": all(
		everywhere(badToken("bearer_refused"), func(a *attempt) { a.bearer(); a.authorization("bEaReR " + a.accessToken) }),
		each(badToken("bearer_refused"), variants{
			"upper":      func(a *attempt) { a.bearer(); a.authorization("BEARER " + a.accessToken) },
			"two blanks": func(a *attempt) { a.bearer(); a.authorization("Bearer  " + a.accessToken) },
			"with proof": func(a *attempt) { a.authorization("BeArEr " + a.accessToken) },
			"field":      func(a *attempt) { a.anonymous(); a.field("AUTHORIZATION", "bearer "+a.accessToken) },
		})),
	"B81": at("mixed/bearer", func(c *run) {
		for _, scheme := range []string{"Bearer: ", `"Bearer" `, "Bearer=", "(Bearer) ", "Bearer, ", "Bearer/1 "} {
			c.variant(scheme, badRequest("authorization_malformed"), func(a *attempt) {
				unbound(nil)(a)
				a.authorization(scheme + a.accessToken)
			})
		}
	}),
	"B82": func(c *run) {
		for _, scheme := range []string{"Basic", "Negotiate", "MAC", "DPoPx", "DPo", "JWT", "Token", "PoP", "GNAP", "D", "DPoP2", "DPoP-Bearer"} {
			c.variant(scheme, want{status: 401, reason: "scheme_unsupported"}, func(a *attempt) { a.authorization(scheme + " " + a.accessToken) })
		}
	},
	"B83": each(badRequest("authorization_malformed"), variants{
		"empty": func(a *attempt) { a.authorization("") },
		"blank": func(a *attempt) { a.authorization("   ") },
	}),
	"B84": at("mixed/bearer", all(
		each(badBearer("authorization_malformed"), variants{
			"Bearer": func(a *attempt) { a.bearer(); a.authorization("Bearer") },
			"blanks": func(a *attempt) { a.bearer(); a.authorization("Bearer   ") },
		}),
		one(badRequest("authorization_malformed"), func(a *attempt) { a.authorization("DPoP") }))),
	"B85": each(badRequest("authorization_malformed"), variants{
		"token":  func(a *attempt) { a.authorization(`DPoP token="` + a.accessToken + `"`) },
		"nonce":  func(a *attempt) { a.authorization("DPoP " + a.accessToken + ", nonce=x") },
		"realm":  func(a *attempt) { a.authorization("DPoP realm=x") },
		"quoted": func(a *attempt) { a.authorization(`DPoP "` + a.accessToken + `"`) },
	}),
	"B86": at("introspect/opaque", func(c *run) {
		for _, token := range []string{"a", "-._~+/", "09azAZ-._~+/", "~=", "a==", "a====", "+/+/=", strings.Repeat("~", 500)} {
			a := c.attempt()
			token = testkit.NewID() + token
			a.site.issuer.Introspects(token, goodAnswer(a, nil))
			a.useToken(token)
			c.expect(a, accepted)
		}
	}),
	"B87": one(accepted, func(a *attempt) { a.authorization("DPoP  " + a.accessToken + "   ") }),
	"B88": at("mixed/bearer", one(badBearer("proof_with_bearer"), func(a *attempt) {
		unbound(nil)(a)
		a.noProof = false
		a.dpop("")
	})),
	"B89": bearers(bearerError("invalid_token", "bearer_bound"), map[string]func(*testkit.JWS){
		"null": setCnf(nil), "empty": setCnf(obj()), "text": setCnf("x"), "number": setCnf(1), "list": setCnf([]any{}), "false": setCnf(false),
		"jwk": setCnf(obj("jwk", k1)), "kid": setCnf(obj("kid", "x")), "unknown": setCnf(obj("x", obj())), "certificate": setCnf(obj("x5t#S256", testkit.ATH("x"))),
		"null jkt": setCnf(obj("jkt", nil)), "escaped": func(t *testkit.JWS) { t.Claims.Rename("cnf", `"c\u006ef"`) },
	}),
	"B90": bearers(bearerError("invalid_token", "token_claims_invalid"), map[string]func(*testkit.JWS){
		"CNF": func(t *testkit.JWS) { t.Claims.Rename("cnf", "CNF") }, "Cnf": func(t *testkit.JWS) { t.Claims.Rename("cnf", "Cnf") },
		"escaped": func(t *testkit.JWS) { t.Claims.Rename("cnf", `"\u0043nf"`) }, "twice": func(t *testkit.JWS) { t.Claims.Add("cnf", obj()) },
	}),
	"B91": at("mixed/bearer", func(c *run) {
		for reason, change := range map[string]func(*testkit.JWS){
			"token_expired":           func(t *testkit.JWS) { t.Set("exp", now().Add(-time.Hour).Unix()) },
			"token_audience_mismatch": func(t *testkit.JWS) { t.Set("aud", "https://other.example.test") },
			"token_issuer_unknown":    func(t *testkit.JWS) { t.Set("iss", "https://other.example.test") },
			"token_signature_invalid": func(t *testkit.JWS) { t.Key = client2 },
			"token_alg_unsupported":   func(t *testkit.JWS) { t.Head("alg", "none") },
			"token_typ_invalid":       func(t *testkit.JWS) { t.Head("typ", "dpop+jwt") },
		} {
			c.variant(reason, bearerError("invalid_token", reason), unbound(change))
		}
		c.variant("garbage", bearerError("invalid_token", "token_malformed"), func(a *attempt) { a.bearer(); a.authorization("Bearer " + testkit.NewID()) })
	}),
	"B92": at("further/mixed", func(c *run) {
		w := want{403, "insufficient_scope", "scope_missing", "Bearer"}
		a := c.attempt()
		unbound(func(t *testkit.JWS) { t.Set("scope", "write") })(a)
		all := challengesOf(c, c.expect(a, w))
		if len(all) != 2 || all[1].Params["scope"] != "read" || all[0].Params["scope"] != "" {
			c.Errorf("challenges %v", all)
		}
	}),
	"B93": at("mixed/bearer", func(c *run) {
		a := c.use()
		b := c.attempt()
		b.accessToken = a.accessToken
		b.bearer()
		c.expect(b, bearerError("invalid_token", "bearer_bound"))
	}),
	"B94": each(badToken("bearer_refused"), variants{
		"garbage": func(a *attempt) { a.bearer(); a.authorization("Bearer !") },
		"large":   func(a *attempt) { a.bearer(); a.authorization("Bearer " + strings.Repeat("a", 17000)) },
		"none":    func(a *attempt) { a.bearer(); a.authorization("Bearer") },
	}),
	"B95": at("mixed/bearer", one(noCredentials, func(a *attempt) {
		unbound(nil)(a)
		a.noAuth = true
		a.target += "&access_token=" + a.accessToken
	})),
	"B96": at("mixed/bearer", one(accepted, func(a *attempt) {
		unbound(nil)(a)
		a.target += "&access_token=another"
	})),
})

// goodAnswer is what the introspection endpoint says about a token of the attempt's
// client, bent by change.
func goodAnswer(a *attempt, change func(*testkit.Object)) testkit.Object {
	answer := obj("active", true, "iss", a.site.issuer.URL, "aud", a.site.audience, "sub", "alice", "client_id", "app", "scope", a.site.scope,
		"exp", now().Add(time.Hour).Unix(), "token_type", "DPoP", "cnf", obj("jkt", a.client.Thumbprint()))
	if change != nil {
		change(&answer)
	}
	return answer
}

// Group C, further: ath and where the proof is.
var _ = add(cases{
	"C80": one(accepted, func(a *attempt) {
		a.claim("iss", "app")
		a.claim("sub", "app")
		a.claim("aud", []string{origin, "x"})
		a.claim("client_id", "app")
		a.claim("nested", obj("a", []any{1, obj("b", nil)}))
		a.claim("typ", "x")
	}),
	"C81": func(c *run) {
		for name, change := range map[string]func(string) string{"upper": strings.ToUpper, "lower": strings.ToLower, "one letter": otherCase} {
			c.variant(name, badProof("ath_mismatch"), func(a *attempt) { a.claim("ath", change(testkit.ATH(a.accessToken))) })
		}
	},
	"C82": ath(func(a *attempt) []string {
		t := a.accessToken
		return []string{
			testkit.ATH(t + "\n"), testkit.ATH(t + " "), testkit.ATH(t + "="), testkit.ATH(strings.ToLower(t)), testkit.ATH(testkit.B64([]byte(t))),
			testkit.ATH(string(testkit.UnB64(strings.Split(t, ".")[1]))), testkit.B64([]byte(t))[:43], testkit.ATH(testkit.ATH(t)),
		}
	}),
	"C83": at("introspect/opaque", func(c *run) {
		bare := testkit.NewID()
		a := c.attempt()
		a.site.issuer.Introspects(bare+"==", goodAnswer(a, nil))
		a.useToken(bare + "==")
		a.claim("ath", testkit.ATH(bare))
		c.expect(a, badProof("ath_mismatch"))
		b := c.attempt()
		b.useToken(bare + "==")
		c.must(b, accepted)
	}),
	"C84": func(c *run) {
		a := c.attempt()
		a.authorization("DPoP   " + a.accessToken)
		c.expect(a, accepted)
		b := c.attempt()
		b.authorization("DPoP   " + b.accessToken)
		b.claim("ath", testkit.ATH("  "+b.accessToken))
		c.must(b, badProof("ath_mismatch"))
	},
	"C85": all(
		each(badProof("ath_missing"), variants{
			"at_hash": func(a *attempt) { a.proof.Claims.Delete("ath"); a.claim("at_hash", otherHash("half", a.accessToken)) },
			"s256":    func(a *attempt) { a.proof.Claims.Rename("ath", "ath#S256") },
		}),
		one(claimsInvalid, func(a *attempt) { a.proof.Claims.Rename("ath", "ATH") })),
	"C86": one(accepted, func(a *attempt) { a.target += "&dpop=garbage&DPoP=x" }),
	"C87": at("mixed/bearer", each(badProof("proof_missing"), variants{
		"bound":   func(a *attempt) { a.noProof = true },
		"unbound": func(a *attempt) { unbound(nil)(a); a.authorization("DPoP " + a.accessToken) },
	})),
	"C88": at("mixed/bearer", one(noCredentials, func(a *attempt) { a.noAuth = true })),
})

// otherCase changes the case of one letter.
func otherCase(s string) string {
	i := strings.IndexFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' })
	return s[:i] + string(s[i]^0x20) + s[i+1:]
}
