// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"encoding/json"
	"fmt"
	"strings"
)

// misconfigured: a configuration that would weaken the check is refused at load, and
// what ran before goes on.
func misconfigured(c *run) {
	c.site("reload/ref")
	reloading.Lock()
	defer reloading.Unlock()
	s := c.site("reload/ref")
	c.on = "reload/ref"
	for name, edit := range map[string][2]string{
		"no audience":      {"audience " + audience, ""},
		"empty issuer":     {"issuer " + s.issuer.URL, `issuer ""`},
		"no issuer":        {"issuer " + s.issuer.URL, ""},
		"unknown option":   {"replay memory", "replays memory"},
		"unknown store":    {"replay memory", "replay nowhere"},
		"unknown alg":      {"algorithms ES256", "algorithms ES257"},
		"no algs":          {"algorithms ES256 PS256 EdDSA Ed25519", "algorithms"},
		"symmetric alg":    {"algorithms ES256", "algorithms HS256"},
		"none":             {"algorithms ES256", "algorithms none"},
		"negative age":     {"max_age 50s", "max_age -1s"},
		"negative skew":    {"clock_skew 10s", "clock_skew -1s"},
		"large skew":       {"clock_skew 10s", "clock_skew 2m"},
		"repeated":         {"max_age 50s", "max_age 50s\n\t\tmax_age 60s"},
		"surplus":          {"replay memory", "replay memory please"},
		"bearer":           {"replay memory", "replay memory\n\t\tbearer maybe"},
		"nonce":            {"replay memory", "replay memory\n\t\tnonce on"},
		"mode":             {"replay memory", "replay memory\n\t\tmode off"},
		"proof_only":       {"replay memory", "replay memory\n\t\tproof_only"},
		"catch-all":        {"public_url " + origin, ""},
		"relative url":     {"public_url " + origin, "public_url api.example.test"},
		"url with a query": {"public_url " + origin, "public_url " + origin + "/?x=1"},
		"empty scope":      {"replay memory", "replay memory\n\t\tscope"},
	} {
		text := strings.Replace(s.server.Text, edit[0], edit[1], 1)
		if err := s.server.Reload(text); err == nil {
			c.Errorf("%s: the configuration was loaded", name)
			c.ok(s.server.Reload(s.server.Text))
		} else if strings.Contains(err.Error(), "connection refused") {
			c.Fatalf("%s: %v", name, err)
		}
	}
	w := want{status: 401, reason: "no_credentials"}
	a := c.attempt()
	a.anonymous()
	c.answered(w)
	a.send().check(c, w)
	c.ok(warm(s))
}

// Group U: policy, metadata, operation.
var _ = add(cases{
	"U01": at("meta/ref", func(c *run) {
		m := metadata(c, "/.well-known/oauth-protected-resource")
		if m["resource"] != origin && m["resource"] != origin+"/" {
			c.Errorf("resource %v", m["resource"])
		}
	}),
	"U02": at("meta/ref", func(c *run) {
		m := metadata(c, "/.well-known/oauth-protected-resource")
		if m["dpop_bound_access_tokens_required"] != true || fmt.Sprint(m["dpop_signing_alg_values_supported"]) != "[ES256 PS256 EdDSA Ed25519]" {
			c.Errorf("metadata %v", m)
		}
		if fmt.Sprint(m["authorization_servers"]) != fmt.Sprint([]string{c.site(c.on).issuer.URL}) {
			c.Errorf("metadata %v", m)
		}
		a := c.attempt()
		a.anonymous()
		all := challengesOf(c, c.must(a, noCredentials))
		if got := all[0].Params["resource_metadata"]; got != origin+"/.well-known/oauth-protected-resource" {
			c.Errorf("resource_metadata %q", got)
		}
	}),
	"U04": at("meta/path", func(c *run) {
		m := metadata(c, "/.well-known/oauth-protected-resource/api")
		if m["resource"] != "https://p.example.test/api" {
			c.Errorf("resource %v", m["resource"])
		}
	}),
	"U05": misconfigured,
	"U06": onReload(func(c *run, s *site) {
		c.answered(noCredentials)
		done := make(chan struct{})
		go func() {
			defer close(done)
			parallel(2000, func(int) {
				a := newAttempt(s)
				a.anonymous()
				// Caddy closes its listeners with what waits in their queues.
				if r := a.send(); r.err == nil {
					r.check(c, noCredentials)
				} else if len(backend.of(a.name)) != 0 {
					c.Error("the upstream was reached")
				}
			})
		}()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				if err := s.server.Reload(changed(s, fmt.Sprint("policy ", i))); err != nil {
					c.Error(err)
					<-done
					return
				}
			}
		}
	}),
	"U07": each(noCredentials, variants{
		"HEAD":    func(a *attempt) { a.request("HEAD", "/api/items"); a.anonymous() },
		"OPTIONS": func(a *attempt) { a.request("OPTIONS", "/api/items"); a.anonymous() },
		"PUT":     func(a *attempt) { a.request("PUT", "/api/items"); a.anonymous() },
		"PRI":     func(a *attempt) { a.request("BREW", "/api/items"); a.anonymous() },
	}),
	"U08": at("main/nested", func(c *run) {
		for path, w := range map[string]want{"/api/admin/x": noScope, "/api/items": accepted, "/api/%61dmin/x": noScope, "/api//admin/x": noScope, "/api/ADMIN/x": noScope} {
			a := c.attempt()
			a.request("GET", path)
			c.must(a, w)
			b := c.attempt()
			b.request("GET", path)
			b.anonymous()
			c.expect(b, noCredentials)
		}
	}),
	"U09": at("main/nested", func(c *run) {
		a := c.attempt()
		c.must(a, accepted)
		b := c.attempt()
		b.accessToken = a.accessToken
		b.request("GET", "/api/admin/x")
		c.expect(b, noScope)
	}),
	"U10": func(c *run) {
		a := newAttempt(c.site("main/tenantb"))
		a.accessToken = newAttempt(c.site("ref")).accessToken
		a.reproof()
		c.expect(a, issuerUnknown)
	},
	"U11": func(c *run) {
		a := c.use()
		b := newAttempt(c.site("main/tenantb"))
		b.claim("jti", a.proof.Claims.Get("jti"))
		c.expect(b, replayed)
	},
	"U13": func(c *run) {
		for _, path := range []string{"/dpop/status", "/metrics", "/config/", "/debug/pprof/"} {
			a := c.attempt() // on the public site these are the upstream's paths, and guarded
			a.request("GET", path)
			a.anonymous()
			c.expect(a, noCredentials)
		}
		if strings.Contains(c.site("ref").server.Text, "admin off") {
			return
		}
		c.Error("the reference profile has an admin API")
	},
})

// metadata fetches a protected-resource metadata document without credentials.
func metadata(c *run, path string) map[string]any {
	c.Helper()
	a := c.attempt()
	a.request("GET", path)
	a.anonymous()
	a.field("Origin", app)
	r := a.send()
	c.answered(accepted)
	r.check(c, accepted)
	if len(r.hits) != 0 {
		c.Error("the metadata came from the upstream")
	}
	if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		c.Errorf("header %v", r.Header)
	}
	var m map[string]any
	if err := json.Unmarshal(r.Body, &m); err != nil {
		c.Fatalf("%v in %s", err, r.Body)
	}
	return m
}
