// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const referenceAlgs = `algs="ES256 PS256 EdDSA Ed25519"`

// crossOrigin makes the attempt one of a page at that origin.
func crossOrigin(a *attempt, origin string) { a.field("Origin", origin) }

// asks makes the attempt a preflight for a method and fields.
func asks(a *attempt, origin, method, fields string) {
	a.request("OPTIONS", "/api/items")
	a.anonymous()
	a.field("Origin", origin)
	a.field("Access-Control-Request-Method", method)
	if fields != "" {
		a.field("Access-Control-Request-Headers", fields)
	}
}

var preflightAnswer = want{status: 204}

// Group Q, further.
var _ = add(cases{
	"Q80": func(c *run) {
		for _, site := range []string{"main/bare", "ref"} {
			a := newAttempt(c.site(site))
			a.claim("htm", "PUT")
			r := c.expect(a, htmMismatch)
			exact(c, r, `DPoP error="invalid_dpop_proof", error_description="The htm of the proof is not the method of the request", `+referenceAlgs)
			b := newAttempt(c.site(site))
			b.anonymous()
			exact(c, c.must(b, noCredentials), `DPoP `+referenceAlgs)
		}
	},
	"Q81": func(c *run) {
		for description, change := range map[string]func(*attempt){
			"More than one Authorization field":        func(a *attempt) { a.authorization("DPoP "+a.accessToken, "DPoP "+a.accessToken) },
			"The Authorization field cannot be parsed": func(a *attempt) { a.authorization("DPoP a b") },
		} {
			a := newAttempt(c.site("main/bare"))
			change(a)
			r := a.send()
			w := want{400, "invalid_request", "", ""}
			c.answered(w)
			r.check(c, w)
			exact(c, r, `DPoP error="invalid_request", error_description="`+description+`", `+referenceAlgs)
		}
	},
	"Q82": at("further/mixed", func(c *run) {
		const plain, bearer = `DPoP ` + referenceAlgs + `, realm="Example API"`, `Bearer realm="Example API"`
		a := c.attempt()
		a.anonymous()
		exact(c, c.must(a, noCredentials), plain, bearer)
		b := c.attempt()
		b.bearer()
		exact(c, c.expect(b, bearerError("invalid_token", "bearer_bound")), plain,
			`Bearer error="invalid_token", error_description="The access token is bound to a key and cannot be used as a bearer token", realm="Example API"`)
		d := c.attempt()
		d.client = client2
		d.reproof()
		exact(c, c.expect(d, badToken("jkt_mismatch")),
			`DPoP error="invalid_token", error_description="The access token is bound to another key", `+referenceAlgs+`, realm="Example API"`, bearer)
		e := c.attempt()
		e.token(func(t *testkit.JWS) { t.Set("scope", "write") })
		exact(c, c.must(e, noScope),
			`DPoP error="insufficient_scope", error_description="The access token lacks a scope", scope="read", `+referenceAlgs+`, realm="Example API"`, bearer)
	}),
	"Q83": at("tls/api", func(c *run) {
		const line = `DPoP error="invalid_dpop_proof", error_description="The htu of the proof is not the URI of the request", ` + referenceAlgs
		other := func() *attempt {
			a := c.attempt()
			a.htu(origin + "/other")
			return a
		}
		exact(c, c.expect(other(), htuMismatch), line)
		old := other()
		old.version = "HTTP/1.0"
		exact(c, c.must(old, htuMismatch), line)
		exact(c, other().sendH2(nil), line)
		client := h3client(c.site(c.on), nil)
		defer client.Close()
		exact(c, other().sendH3(client, "GET"), line)
	}),
	"Q84": at("further/hosts", func(c *run) {
		a := c.attempt()
		a.host = "evil.example"
		r := c.expect(a, wrongHost)
		if r.Header.Get("Www-Authenticate") != "" || r.Header.Get("Dpop-Nonce") != "" {
			c.Errorf("header %v", r.Header)
		}
	}),
	"Q85": at("cors/ref", func(c *run) {
		for _, origin := range []string{"HTTPS://APP.EXAMPLE.TEST", app + "/", app + ":443", app + ":8443", "https://x.app.example.test", app + ".evil.example", "null", "http://app.example.test", "", "*"} {
			a := c.attempt()
			asks(a, origin, "POST", "authorization, dpop")
			r := c.expect(a, noCredentials)
			for name := range r.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					c.Errorf("%s: %s", origin, name)
				}
			}
		}
	}),
	"Q86": at("cors/ref", each(noCredentials, variants{
		"none":  func(a *attempt) { a.request("OPTIONS", "/api/items"); a.anonymous(); crossOrigin(a, app) },
		"empty": func(a *attempt) { asks(a, app, "", "dpop") },
		"odd":   func(a *attempt) { asks(a, app, "P OST", "dpop") },
		"list":  func(a *attempt) { asks(a, app, "GET,POST", "dpop") },
		"HEAD":  func(a *attempt) { asks(a, app, "POST", "dpop"); a.method = "HEAD" },
	})),
	"Q87": at("cors/ref", func(c *run) {
		for _, asked := range []string{"dpop, DPOP, dPoP", "x y, @, \"q\", , ,x-good", strings.Repeat("x-name, ", 100), "authorization,dpop,content-type,x-good", "<script>, x-good", "x-good;q=1"} {
			a := c.attempt()
			asks(a, app, "POST", asked)
			r := c.expect(a, preflightAnswer)
			names := strings.Split(r.Header.Get("Access-Control-Allow-Headers"), ", ")
			slices.Sort(names)
			if len(slices.Compact(slices.Clone(names))) != len(names) || strings.ContainsAny(strings.Join(names, ""), " \t\"<>@;") || !slices.Contains(names, "dpop") || !slices.Contains(names, "authorization") {
				c.Errorf("asked for %q, allowed are %q", asked, names)
			}
			if len(r.hits) != 0 || len(r.Header.Values("Access-Control-Allow-Headers")) != 1 {
				c.Errorf("%d hits, %v", len(r.hits), r.Header)
			}
		}
	}),
	"Q88": at("cors/ref", func(c *run) {
		for _, method := range []string{"PATCH", "delete", "QUERY", "GET", "M-SEARCH"} {
			a := c.attempt()
			asks(a, app, method, "")
			r := c.expect(a, preflightAnswer)
			if got := r.Header.Get("Access-Control-Allow-Methods"); got != method || len(r.Body) != 0 || len(r.hits) != 0 {
				c.Errorf("%s: %q", method, got)
			}
		}
	}),
	"Q89": at("further/everyone", func(c *run) {
		for _, from := range []string{"https://any.example", "null", "http://localhost:3000", "chrome-extension://x"} {
			a := c.attempt()
			asks(a, from, "POST", "dpop, authorization")
			b := c.attempt()
			crossOrigin(b, from)
			b.anonymous()
			d := c.attempt()
			crossOrigin(d, from)
			for _, r := range []*result{c.expect(a, preflightAnswer), c.must(b, noCredentials), c.must(d, accepted)} {
				if got := r.Header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != "*" || r.Header.Get("Access-Control-Allow-Credentials") != "" {
					c.Errorf("%s: %d %v", from, r.Status, r.Header)
				}
			}
		}
	}),
	"Q90": at("cors/ref", func(c *run) {
		for _, from := range []string{evil, "null", app + ".evil.example"} {
			a := c.attempt()
			crossOrigin(a, from)
			a.anonymous()
			b := c.attempt()
			crossOrigin(b, from)
			for _, r := range []*result{c.expect(a, noCredentials), c.must(b, accepted)} {
				if r.Header.Get("Access-Control-Allow-Origin") != "" || !listed(r.Header, "Vary", "Origin") {
					c.Errorf("%s: %d %v", from, r.Status, r.Header)
				}
			}
		}
	}),
	"Q91": at("further/cors", func(c *run) {
		a := c.attempt()
		crossOrigin(a, app)
		backend.on(a.name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Add("Access-Control-Allow-Origin", "https://other.example.test")
			w.Header().Set("Access-Control-Expose-Headers", "X-Total, dpop-nonce")
			w.Header().Set("Vary", "Accept")
		})
		r := c.expect(a, accepted)
		if got := r.Header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != app {
			c.Errorf("Access-Control-Allow-Origin %q", got)
		}
		if !listed(r.Header, "Access-Control-Expose-Headers", "x-total") || !listed(r.Header, "Access-Control-Expose-Headers", "www-authenticate") || !listed(r.Header, "Vary", "accept") || !listed(r.Header, "Vary", "origin") {
			c.Errorf("header %v", r.Header)
		}
	}),
	"Q92": at("main/bare", func(c *run) {
		a := c.attempt()
		a.claim("htm", "PUT")
		r := c.expect(a, htmMismatch)
		if len(r.Body) != 0 || r.Header.Get("Content-Length") != "0" || r.Header.Get("Content-Type") != "" {
			c.Errorf("%q, %v", r.Body, r.Header)
		}
	}),
	"Q93": func(c *run) {
		for reason, change := range map[string]func(*attempt){ // the parser of challenges holds the words to what is allowed
			"htm_mismatch": func(a *attempt) { a.claim("htm", "<b>\"") }, "htu_invalid": func(a *attempt) { a.htu("\"'><script>") }, "iat_invalid": func(a *attempt) { a.claim("iat", "\"\\") },
			"jti_invalid": func(a *attempt) { a.claim("jti", []string{"\x1b[31m"}) }, "ath_mismatch": func(a *attempt) { a.claim("ath", "é\u2028") }, "typ_invalid": func(a *attempt) { a.head("typ", "\"; error=\"x") },
			"alg_unsupported": func(a *attempt) { a.head("alg", "\r\nX-Evil: 1") }, "jwk_invalid": func(a *attempt) { a.head("jwk", obj("kty", "\"")) }, "key_mismatch": func(a *attempt) { a.head("alg", "PS256") },
			"exp_passed": func(a *attempt) { a.claim("exp", 0) }, "crit_unsupported": func(a *attempt) { a.head("crit", []string{"\""}) }, "header_invalid": func(a *attempt) { a.head("cty", "JWT") },
			"nonce_invalid": func(a *attempt) { a.claim("nonce", []string{"\""}) }, "proof_malformed": func(a *attempt) { a.dpop("\"") }, "proof_missing": func(a *attempt) { a.noProof = true },
		} {
			a := c.attempt()
			change(a)
			r := c.expect(a, badProof(reason))
			if all := challengesOf(c, r); len(all) != 1 || r.Header.Get("X-Evil") != "" {
				c.Errorf("%s: %v", reason, r.Header)
			}
		}
	},
	"Q94": func(c *run) {
		for _, change := range []func(*attempt){func(a *attempt) { a.version = "HTTP/1.0" }, func(a *attempt) { a.field("Connection", "close") }} {
			a := c.attempt()
			a.claim("htm", "PUT")
			change(a)
			conn, err := testkit.Dial(a.site.address)
			c.ok(err)
			c.ok(conn.Write(a.wire()))
			r := &result{attempt: a}
			r.Answer, r.err = conn.Read("GET")
			c.answered(htmMismatch)
			r.check(c, htmMismatch)
			if !conn.Closed(2 * time.Second) {
				c.Error("the connection stays open")
			}
			conn.Close()
		}
	},
})
