// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"net/http"
	"strings"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const app = "https://app.example.test"

// preflight makes the attempt what a browser sends before a cross-origin call.
func preflight(a *attempt) {
	a.request("OPTIONS", "/api/items")
	a.anonymous()
	a.field("Origin", app)
	a.field("Access-Control-Request-Method", "POST")
	a.field("Access-Control-Request-Headers", "authorization, dpop, content-type")
}

// listed says whether a list field holds a name.
func listed(h http.Header, field, name string) bool {
	for _, v := range strings.Split(strings.Join(h.Values(field), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(v), name) {
			return true
		}
	}
	return false
}

// challengesOf parses WWW-Authenticate strictly.
func challengesOf(c *run, r *result) []testkit.Challenge {
	c.Helper()
	all, err := testkit.ParseChallenges(r.Header.Values("Www-Authenticate"))
	c.ok(err)
	return all
}

// Group Q: how refusals look, and browsers.
var _ = add(cases{
	"Q02": func(c *run) {
		for _, site := range []string{"ref", "mixed/bearer"} {
			a := newAttempt(c.site(site))
			a.anonymous()
			r := a.send()
			c.answered(noCredentials)
			r.check(c, noCredentials)
			for _, ch := range challengesOf(c, r) {
				if ch.Params["error"] != "" || ch.Params["error_description"] != "" {
					c.Errorf("%s: %v", ch.Scheme, ch.Params)
				}
			}
		}
	},
	"Q04": at("mixed/bearer", func(c *run) {
		a := c.attempt()
		a.anonymous()
		r := c.expect(a, noCredentials)
		all := challengesOf(c, r)
		if len(all) != 2 || all[0].Scheme != "DPoP" || all[1].Scheme != "Bearer" {
			c.Errorf("challenges %v", all)
		}
		b := c.attempt()
		b.bearer()
		if all := challengesOf(c, c.must(b, bearerError("invalid_token", "bearer_bound"))); len(all) != 2 {
			c.Errorf("challenges %v", all)
		}
	}),
	"Q05": func(c *run) {
		nasty := "x\"\\\r\nX-Evil: 1\r\n\r\n<script>é\x7f"
		for name, w := range map[string]want{"htm": htmMismatch, "htu": htuInvalid, "ath": badProof("ath_mismatch")} {
			a := c.attempt()
			a.claim(name, nasty)
			r := c.expect(a, w)
			if r.Header.Get("X-Evil") != "" || strings.Contains(string(r.Body), "<script") || strings.Contains(strings.Join(r.Header.Values("Www-Authenticate"), ""), "<script") {
				c.Errorf("%s is repeated in the answer", name)
			}
		}
		for name, w := range map[string]want{"typ": typInvalid, "alg": algorithmOut} {
			a := c.attempt()
			a.head(name, nasty)
			c.expect(a, w)
		}
	},
	"Q08": required(func(c *run) {
		r := c.expect(c.attempt(), needNonce("nonce_missing"))
		if r.Header.Get("Cache-Control") != "no-store" {
			c.Errorf("Cache-Control %q", r.Header.Get("Cache-Control"))
		}
	}),
	"Q09": at("cors/ref", func(c *run) {
		a := c.attempt()
		preflight(a)
		w := want{status: 204}
		c.answered(w)
		r := a.send()
		r.check(c, w)
		if len(r.hits) != 0 {
			c.Error("the preflight reached the upstream")
		}
		for _, name := range []string{"authorization", "dpop"} {
			if !listed(r.Header, "Access-Control-Allow-Headers", name) {
				c.Errorf("Access-Control-Allow-Headers %q", r.Header.Values("Access-Control-Allow-Headers"))
			}
		}
		if got := r.Header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != app {
			c.Errorf("Access-Control-Allow-Origin %q", got)
		}
		b := c.attempt() // from elsewhere
		preflight(b)
		b.extra[0].Value = "https://evil.example"
		if r := b.send(); r.Header.Get("Access-Control-Allow-Origin") != "" || len(r.hits) != 0 {
			c.Errorf("an origin that is not listed gets %d %v", r.Status, r.Header)
		}
	}),
	"Q10": at("cors/ref", one(noCredentials, func(a *attempt) { a.request("OPTIONS", "/api/items"); a.anonymous() })),
	"Q11": at("cors/ref", func(c *run) {
		a := c.attempt()
		preflight(a)
		a.field("X-HTTP-Method-Override", "POST")
		a.body = []byte("delete everything")
		w := want{status: 204}
		c.answered(w)
		r := a.send()
		r.check(c, w)
		if len(r.hits) != 0 {
			c.Error("the preflight reached the upstream")
		}
	}),
	"Q12": func(c *run) {
		a := newAttempt(c.site("cors/nonce"))
		a.field("Origin", app)
		refused := a.send()
		c.answered(needNonce("nonce_missing"))
		refused.check(c, needNonce("nonce_missing"))
		b := newAttempt(c.site("cors/nonce"))
		b.field("Origin", app)
		b.claim("nonce", refused.Header.Get("Dpop-Nonce"))
		passed := b.send()
		passed.check(c, accepted)
		for _, r := range []*result{refused, passed} {
			for _, name := range []string{"WWW-Authenticate", "DPoP-Nonce"} {
				if !listed(r.Header, "Access-Control-Expose-Headers", name) {
					c.Errorf("%d exposes %q", r.Status, r.Header.Values("Access-Control-Expose-Headers"))
				}
			}
			if got := r.Header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != app {
				c.Errorf("%d: Access-Control-Allow-Origin %q", r.Status, got)
			}
			if !listed(r.Header, "Vary", "Origin") {
				c.Errorf("%d: Vary %q", r.Status, r.Header.Values("Vary"))
			}
		}
	},
	"Q14": func(c *run) {
		head, get := c.attempt(), c.attempt()
		head.request("HEAD", "/api/items")
		head.anonymous()
		get.anonymous()
		r := c.expect(head, noCredentials)
		g := c.must(get, noCredentials)
		if len(r.Body) != 0 {
			c.Error("HEAD with a body")
		}
		if r.Header.Get("Www-Authenticate") != g.Header.Get("Www-Authenticate") {
			c.Errorf("HEAD %q, GET %q", r.Header, g.Header)
		}
	},
	"Q15": func(c *run) {
		for range 5 {
			a := c.attempt()
			a.token(func(t *testkit.JWS) { t.Set("exp", 1) })
			a.claim("htm", "PUT")
			c.expect(a, htmMismatch)
		}
	},
	"Q16": at("mixed/bearer", func(c *run) {
		a := c.attempt()
		a.anonymous()
		r := c.expect(a, noCredentials)
		if testkit.FindChallenge(challengesOf(c, r), "DPoP") == nil {
			c.Error("DPoP is not offered")
		}
	}),
	"Q18": each(noCredentials, variants{ // every other 401 of this run is held to it too
		"nothing":      func(a *attempt) { a.anonymous() },
		"proof only":   func(a *attempt) { a.noAuth = true },
		"other method": func(a *attempt) { a.request("DELETE", "/"); a.anonymous() },
	}),
	"Q20": at("main/bare", func(c *run) {
		for _, accept := range []string{"application/json", "text/html", "*/*"} {
			a := c.attempt()
			a.target = "/%3Cscript%3Ealert(1)%3C/script%3E"
			a.reproof()
			a.claim("htm", "PUT")
			a.field("Accept", accept)
			r := c.expect(a, htmMismatch)
			if strings.Contains(string(r.Body), "script") {
				c.Error("the path is repeated in the body")
			}
			if len(r.Body) > 0 && (r.Header.Get("Content-Type") == "" || r.Header.Get("X-Content-Type-Options") != "nosniff") {
				c.Errorf("a body as %q", r.Header)
			}
		}
	}),
	"Q21": all(
		one(badToken("jkt_mismatch"), func(a *attempt) { a.client = client2; a.reproof() }),
		one(tokenForged, func(a *attempt) { a.token(func(t *testkit.JWS) { t.Key = client2 }) }),
		one(tokenMangled, func(a *attempt) { a.useToken(testkit.NewID()) }),
		func(c *run) {
			a := c.attempt()
			a.client = client2
			a.reproof()
			r := a.send()
			all := strings.Join(r.Header.Values("Www-Authenticate"), "") + string(r.Body)
			for _, detail := range []string{client1.Thumbprint(), client2.Thumbprint(), a.site.issuer.KeyID + `"`, a.site.issuer.URL} {
				if strings.Contains(all, detail) {
					c.Errorf("the answer says %s", detail)
				}
			}
		}),
})
