// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"net/http"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// absolute makes the request line name a whole URI, and the proof that URI.
func absolute(a *attempt, line, htu string) {
	a.target = line
	a.proof = testkit.NewProof(a.client, a.method, htu, a.accessToken, now())
	a.compact = ""
}

// chained is a site on which two handlers judge each request: it passes, once.
func chained(site string) test {
	return at("replays/"+site, func(c *run) {
		a := c.attempt()
		c.expect(a, accepted)
		c.must(a.again(), replayed)
		c.must(c.elsewhereAgain(a, "replays/memory"), replayed)
		c.must(c.elsewhereAgain(a, "replays/stored"), replayed)
	})
}

// Cases of several groups that came up on the way.
var _ = add(cases{
	"A98": func(c *run) {
		a := c.attempt()
		a.request("POST", "/api/items")
		a.field("Content-Length", "5")
		a.field("Expect", "100-continue")
		if line := firstLine(c, a); line != "HTTP/1.1 100 Continue" {
			c.Errorf("the answer begins with %q", line)
		}
		b := c.attempt()
		b.request("POST", "/api/items")
		b.field("Expect", "100-continue")
		b.body = []byte("hello")
		c.expect(b, accepted)
	},
	"A99": func(c *run) {
		for _, site := range []string{"ref", "tls/api"} {
			for name, edit := range map[string]func([]hpack.HeaderField) []hpack.HeaderField{
				"method twice": func(f []hpack.HeaderField) []hpack.HeaderField { return append(f[:1:1], f...) },
				"path behind": func(f []hpack.HeaderField) []hpack.HeaderField {
					return append(f, hpack.HeaderField{Name: ":path", Value: "/other"})
				},
				"unknown": func(f []hpack.HeaderField) []hpack.HeaderField {
					return append([]hpack.HeaderField{{Name: ":dpop", Value: "x"}}, f...)
				},
				"authority twice": func(f []hpack.HeaderField) []hpack.HeaderField {
					return append([]hpack.HeaderField{{Name: ":authority", Value: "evil.example"}}, f...)
				},
				"status": func(f []hpack.HeaderField) []hpack.HeaderField {
					return append([]hpack.HeaderField{{Name: ":status", Value: "200"}}, f...)
				},
			} {
				if c.refusedByServer(newAttempt(c.site(site)).sendH2(edit)); c.Failed() {
					c.Fatal(name)
				}
			}
		}
	},
	"B97": at("mixed/bearer", one(badBearer("proof_with_bearer"), func(a *attempt) {
		unbound(nil)(a)
		a.noProof = false
		a.dpop(a.write(), a.write())
	})),
	"D76": at("main/hosts", func(c *run) {
		a := c.attempt()
		absolute(a, "http://u:p@api.example.test"+basePath, origin+"/api/items")
		for _, h := range c.expect(a, accepted).hits {
			if h.URI != basePath || strings.Contains(h.Host, "@") || h.Header.Get("Authorization") != "DPoP "+a.accessToken {
				c.Errorf("the upstream was asked for %s at %s", h.URI, h.Host)
			}
		}
	}),
	"D77": at("main/hosts", each(accepted, variants{
		"slash": func(a *attempt) { absolute(a, "http://api.example.test", origin+"/") },
		"none":  func(a *attempt) { absolute(a, "http://api.example.test", origin) },
		"query": func(a *attempt) { absolute(a, "http://api.example.test?x=1", origin) },
	})),
	"D78": at("main/hosts", each(wrongHost, variants{
		"80":   func(a *attempt) { absolute(a, "http://api.example.test:80"+basePath, origin+"/api/items") },
		"8443": func(a *attempt) { absolute(a, "https://api.example.test:8443"+basePath, origin+":8443/api/items") },
	})),
	"D79": paths(htuMismatch, map[string][2]string{
		"without": {"/api/items#x", "/api/items"}, "with": {"/api/items#x", "/api/items#x"}, "behind a query": {"/api/items#x?y", "/api/items"}, "other": {"/api/items#x", "/api/items%23y"},
	}),
	"E89": func(c *run) {
		for _, authority := range []string{"api.example.test:443", "evil.example:443", "127.0.0.1:80"} {
			for _, htu := range []string{origin, origin + "/", origin + ":443", "https://evil.example"} {
				a := c.attempt()
				a.request("CONNECT", "/")
				a.target = authority
				a.htu(htu)
				c.expect(a, htuMismatch)
				b := c.attempt()
				b.claim("htm", "CONNECT")
				b.htu(htu)
				b.host = authority
				b.sendH2(replaced(":method", "CONNECT", ":scheme", "", ":path", "")).check(c, htuMismatch)
			}
		}
	},
	"H92": func(c *run) {
		parameters := func(n int) func(*attempt) {
			return func(a *attempt) {
				for i := range n {
					a.head("a"+string(rune('A'+i)), i)
				}
			}
		}
		// The members of jwk count while it is read.
		c.variant("more", headerInvalid, parameters(62))
		a := c.attempt()
		parameters(50)(a)
		c.must(a, accepted)
	},
	"L97": all(chained("two stores"), at("replays/wrong order", func(c *run) {
		// memory first has not asked the other nodes: a fault of the configuration, not a replay.
		c.must(c.attempt(), unavailable("replay_unavailable"))
	})),
	"L98": chained("watched"),
	"L99": chained("forgetful"),
	"M97": required(func(c *run) {
		a := c.withNonce()
		backend.on(a.name, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("DPoP-Nonce", "of-the-upstream") })
		if r := c.expect(a, accepted); len(r.Header.Values("Dpop-Nonce")) != 0 {
			c.Errorf("DPoP-Nonce %q", r.Header.Values("Dpop-Nonce"))
		}
		b := newAttempt(c.site("ref")) // where there are none, it is the upstream's to say
		backend.on(b.name, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("DPoP-Nonce", "of-the-upstream") })
		if r := c.must(b, accepted); r.Header.Get("Dpop-Nonce") != "of-the-upstream" {
			c.Errorf("DPoP-Nonce %q", r.Header.Values("Dpop-Nonce"))
		}
	}),
	"P96": func(c *run) {
		c.on = "keysets/P96 two"
		c.expect(c.attempt(), accepted)
		a := c.attempt()
		a.token(func(t *testkit.JWS) { t.Key = testkit.P256("the other of that name") })
		c.expect(a, accepted)
	},
	"Q95": at("further/corshosts", func(c *run) {
		readable := func(r *result) {
			c.Helper()
			if got := r.Header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != app || !listed(r.Header, "Vary", "Origin") {
				c.Errorf("%d: %v", r.Status, r.Header)
			}
		}
		a := c.attempt()
		crossOrigin(a, app)
		a.host = "evil.example"
		readable(c.expect(a, wrongHost))
		for _, status := range []int{404, 500} {
			b := c.attempt()
			crossOrigin(b, app)
			backend.on(b.name, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
			r := b.send()
			if r.Status != status {
				c.Errorf("%d instead of %d", r.Status, status)
			}
			readable(r)
		}
		d := newAttempt(c.site("further/corsdown"))
		crossOrigin(d, app)
		r := d.send()
		if r.Status != 502 {
			c.Errorf("%d instead of 502", r.Status)
		}
		readable(r)
	}),
	"R76": at("names/literal", func(c *run) {
		c.expect(c.attempt(), accepted)
		a := c.attempt()
		a.htu(strings.Replace(a.site.origin, "[::1]", "[0:0::1]", 1) + "/api/items")
		c.must(a, accepted)
		b := c.attempt()
		b.htu(strings.Replace(b.site.origin, "[::1]", "[::2]", 1) + "/api/items")
		c.must(b, htuMismatch)
	}),
})
