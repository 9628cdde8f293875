// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// answers sends tokens about which the endpoint says these things. A string is the body
// as it stands; a function answers by itself.
func answers(w want, values map[string]any) test {
	return at("introspect/opaque", func(c *run) {
		for _, name := range sortedKeys(values) {
			c.answered(w)
			a := c.attempt()
			token := "opaque-" + testkit.NewID() + testkit.NewID()
			a.site.issuer.Introspects(token, values[name])
			a.useToken(token)
			if r := a.send(); true {
				r.check(c, w)
				if c.Failed() {
					c.Fatalf("answer %q", name)
				}
			}
		}
	})
}

// active are good answers with something changed.
func active(w want, changes map[string]func(*testkit.Object)) test {
	return at("introspect/opaque", func(c *run) {
		for _, name := range sortedKeys(changes) {
			c.variant(name, w, func(a *attempt) { a.introspected(changes[name]) })
		}
	})
}

func set(name string, v any) func(*testkit.Object) {
	return func(o *testkit.Object) { o.Set(name, v) }
}

func handler(f http.HandlerFunc) http.HandlerFunc { return f }

var (
	inactive = badToken("token_inactive")
	noAnswer = unavailable("introspection_unavailable")
	lying    = unavailable("introspection_invalid")
)

// signedAnswer makes an introspection answer as a JWT (RFC 9701), bent by change.
func signedAnswer(change func(*testkit.JWS)) func(*attempt) {
	return func(a *attempt) {
		token := "opaque-" + testkit.NewID() + testkit.NewID()
		t := a.site.issuer.Token(testkit.TokenClaims{Audience: "rs"}, time.Now())
		t.Head("typ", "token-introspection+jwt")
		t.Set("token_introspection", obj("active", true, "iss", a.site.issuer.URL, "aud", a.site.audience, "sub", "alice", "client_id", "app", "scope", "read",
			"exp", time.Now().Add(time.Hour).Unix(), "cnf", obj("jkt", a.client.Thumbprint())))
		t.Claims = t.Claims.Without("sub", "client_id", "exp", "jti")
		if change != nil {
			change(t)
		}
		compact := t.String()
		a.site.issuer.Introspects(token, handler(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/token-introspection+jwt")
			_, _ = w.Write([]byte(compact))
		}))
		a.useToken(token)
	}
}

func signedAnswers(w want, changes map[string]func(*testkit.JWS)) test {
	return at("introspect/opaque", func(c *run) {
		for _, name := range sortedKeys(changes) {
			c.variant(name, w, signedAnswer(changes[name]))
		}
	})
}

// Group O: introspection.
var _ = add(cases{
	"O01": answers(inactive, map[string]any{"plain": `{"active":false}`, "with claims": `{"active":false,"sub":"alice","scope":"read"}`}),
	"O02": answers(lying, map[string]any{"true": `{"active":"true"}`, "1": `{"active":1}`, "false": `{"active":"false"}`, "null": `{"active":null}`}),
	"O03": answers(lying, map[string]any{"object": `{}`, "array": `[]`, "null": `null`, "string": `"active"`, "empty": ``, "case": `{"Active":true}`}),
	"O05": at("introspect/mixed", one(bearerError("invalid_token", "bearer_bound"), func(a *attempt) { a.bearer() })),
	"O08": active(badToken("bearer_bound"), map[string]func(*testkit.Object){"Bearer": set("token_type", "Bearer"), "bearer": set("token_type", "bearer")}),
	"O09": active(accepted, map[string]func(*testkit.Object){"dpop": set("token_type", "dpop"), "none": func(o *testkit.Object) { o.Delete("token_type") }}),
	"O11": active(badToken("token_not_yet_valid"), map[string]func(*testkit.Object){"nbf": set("nbf", time.Now().Add(time.Hour).Unix())}),
	"O13": at("introspect/scoped", one(noScope, func(*attempt) {})),
	"O14": answers(noAnswer, map[string]any{"500": testkit.Status(500, "text/plain", "no"), "502": testkit.Status(502, "text/html", "<h1>no"), "429": testkit.Status(429, "text/plain", "")}),
	"O15": all(answers(noAnswer, map[string]any{"reset": handler(testkit.Reset)}), at("introspect/closed", one(noAnswer, func(*attempt) {}))),
	"O16": at("introspect/opaque", func(c *run) {
		a := c.attempt()
		token := "opaque-" + testkit.NewID() + testkit.NewID()
		a.site.issuer.Introspects(token, testkit.Hang(time.Minute))
		a.useToken(token)
		r := c.expect(a, noAnswer)
		if r.Took > 15*time.Second {
			c.Errorf("the answer took %v", r.Took)
		}
		c.must(c.attempt(), accepted)
	}),
	"O18": answers(noAnswer, map[string]any{"401": testkit.Status(401, "application/json", `{"error":"invalid_client"}`), "403": testkit.Status(403, "application/json", `{}`)}),
	"O20": answers(lying, map[string]any{"cut": `{"active":true`, "two": `{"active":true}{"active":false}`, "rubbish": `{"active":true}x`, "twice": `{"active":false,"active":true}`, "bom": "\xef\xbb\xbf{\"active\":true}"}),
	"O21": answers(noAnswer, map[string]any{"endless": handler(testkit.Flood), "bomb": handler(gzipBomb)}),
	"O22": quiet(answers(noAnswer, map[string]any{"canary": testkit.Redirect(canary.URL + "/x"), "file": testkit.Redirect("file:///etc/passwd"), "307": handler(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", canary.URL+"/y")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})})),
	"O24": at("introspect/brief", func(c *run) {
		a := c.use()
		a.site.issuer.Introspects(a.accessToken, obj("active", false))
		reuse := func() *result {
			b := c.attempt()
			b.accessToken = a.accessToken
			b.reproof()
			return b.send()
		}
		c.answered(accepted)
		reuse().check(c, accepted)
		c.eventually(10*time.Second, func() bool {
			r := reuse()
			if r.Status != 200 {
				r.check(c, inactive)
			}
			return r.Status != 200
		})
	}),
	"O25": at("introspect/opaque", func(c *run) {
		a := c.attempt()
		// The skew of ten seconds counts here too, so this one has three left.
		a.introspected(set("exp", time.Now().Add(-7*time.Second).Unix()))
		c.must(a, accepted)
		c.answered(badToken("token_expired"))
		c.eventually(15*time.Second, func() bool {
			b := c.attempt()
			b.accessToken = a.accessToken
			b.reproof()
			r := b.send()
			if r.Status != 200 {
				r.check(c, badToken("token_expired"))
			}
			return r.Status != 200
		})
	}),
	"O29": at("introspect/opaque", func(c *run) {
		for _, s := range []string{"+/~.-_", "a+b/c~d.e-f_g==", "100~+"} {
			a := c.attempt()
			token := testkit.NewID() + s
			a.site.issuer.Introspects(token, obj("active", true, "iss", a.site.issuer.URL, "aud", audience, "exp", time.Now().Add(time.Hour).Unix(), "cnf", obj("jkt", jkt1())))
			a.useToken(token)
			c.expect(a, accepted)
		}
	}),
	"O31": at("introspect/opaque", func(c *run) {
		a := c.attempt()
		prefix := strings.Repeat("x", 1000)
		a.site.issuer.Introspects(prefix+"a", obj("active", true, "iss", a.site.issuer.URL, "aud", audience, "cnf", obj("jkt", jkt1()), "exp", time.Now().Add(time.Hour).Unix()))
		a.useToken(prefix + "a")
		c.must(a, accepted)
		b := c.attempt()
		b.useToken(prefix + "b")
		c.expect(b, inactive)
	}),
	"O32": at("introspect/opaque", func(c *run) {
		s := c.site(c.on)
		c.answered(inactive)
		before := s.issuer.Count(testkit.PathIntrospect)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					a := newAttempt(s)
					a.useToken(testkit.NewID() + testkit.NewID())
					if r := a.send(); r.Status != 503 {
						r.check(c, inactive)
					}
				}
			})
		}
		wg.Wait()
		// Other cases ask as well; a flood may cost one call per token and no more.
		if n := s.issuer.Count(testkit.PathIntrospect) - before; n > 1200 {
			c.Errorf("800 unknown tokens caused %d calls", n)
		}
	}),
	"O33": at("introspect/opaque", func(c *run) {
		s := c.site(c.on)
		for name, w := range map[string]want{"signature": badSignature, "ath": badProof("ath_mismatch"), "typ": typInvalid} {
			for range 5 {
				a := c.attempt()
				token := testkit.NewID() + testkit.NewID()
				a.useToken(token)
				switch name {
				case "signature":
					a.proof.Key = client2
				case "ath":
					a.claim("ath", testkit.ATH("another"))
				case "typ":
					a.head("typ", "JWT")
				}
				c.expect(a, w)
				for _, q := range s.issuer.Requests() {
					if len(q.Form["token"]) == 1 && q.Form["token"][0] == token {
						c.Fatalf("introspected for a proof with a wrong %s", name)
					}
				}
			}
		}
	}),
	"O35": all(at("introspect/opaque", func(c *run) {
		a := c.attempt()
		signedAnswer(nil)(a)
		c.must(a, accepted)
	}), signedAnswers(lying, map[string]func(*testkit.JWS){
		"JWT": func(t *testkit.JWS) { t.Head("typ", "JWT") }, "at+jwt": func(t *testkit.JWS) { t.Head("typ", "at+jwt") }, "absent": func(t *testkit.JWS) { t.Header.Delete("typ") },
	})),
	"O36": signedAnswers(lying, map[string]func(*testkit.JWS){
		"aud": func(t *testkit.JWS) { t.Set("aud", "another") }, "no aud": func(t *testkit.JWS) { t.Claims.Delete("aud") }, "iss": func(t *testkit.JWS) { t.Set("iss", "https://evil.example") },
	}),
	"O37": signedAnswers(lying, map[string]func(*testkit.JWS){
		"none": func(t *testkit.JWS) { t.Head("alg", "none"); t.Signature = func(_, _ []byte) []byte { return nil } }, "key": func(t *testkit.JWS) { t.Key = client2 },
		"HS256": func(t *testkit.JWS) {
			t.Head("alg", "HS256")
			t.Signature = func(input, _ []byte) []byte { return testkit.SignHMAC([]byte(clientSecret), input) }
		},
	}),
	"O39": at("introspect/jwt", one(badToken("token_typ_invalid"), func(a *attempt) {
		a.token(func(t *testkit.JWS) { t.Head("typ", "token-introspection+jwt") })
	})),
	"O40": signedAnswers(lying, map[string]func(*testkit.JWS){
		"old": func(t *testkit.JWS) { t.Set("iat", time.Now().Add(-time.Hour).Unix()) },
	}),
	"O41": at("introspect/untrusted", one(noAnswer, func(*attempt) {})),
	"O42": at("introspect/opaque", func(c *run) {
		a := c.attempt()
		token := testkit.NewID() + testkit.NewID()
		a.site.issuer.Introspects(token, testkit.Status(500, "text/plain", ""))
		a.useToken(token)
		c.must(a, noAnswer)
		a.site.issuer.Introspects(token, obj("active", true, "iss", a.site.issuer.URL, "aud", audience, "cnf", obj("jkt", jkt1()), "exp", time.Now().Add(time.Hour).Unix()))
		c.eventually(10*time.Second, func() bool {
			b := c.attempt()
			b.useToken(token)
			return b.send().Status == 200
		})
		b := c.attempt()
		b.useToken(token)
		c.expect(b, accepted)
	}),
})

// gzipBomb is a small body that unpacks to a hundred megabytes.
func gzipBomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = fmt.Fprint(z, `{"active":true,"filler":"`)
	chunk := []byte(strings.Repeat("x", 1<<20))
	for range 100 {
		if _, err := z.Write(chunk); err != nil {
			return
		}
	}
	_, _ = fmt.Fprint(z, `"}`)
	_ = z.Close()
}
