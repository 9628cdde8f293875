// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// forwarded are the fields by which proxies tell what was asked for.
func forwarded(host, path, method string) []testkit.Field {
	return []testkit.Field{
		{Name: "X-Forwarded-Host", Value: host},
		{Name: "X-Forwarded-Proto", Value: "https"},
		{Name: "X-Forwarded-Port", Value: "443"},
		{Name: "X-Forwarded-Prefix", Value: "/v1"},
		{Name: "X-Forwarded-Path", Value: path},
		{Name: "X-Forwarded-Uri", Value: path},
		{Name: "X-Forwarded-Method", Value: method},
		{Name: "X-Original-URL", Value: path},
		{Name: "X-Rewrite-URL", Value: path},
		{Name: "X-Original-Method", Value: method},
		{Name: "Forwarded", Value: `host=` + host + `;proto=https`},
		{Name: "X-Host", Value: host},
		{Name: "X-Forwarded-Server", Value: host},
		{Name: "X-HTTP-Host-Override", Value: host},
	}
}

func spoofed(fields ...testkit.Field) func(*attempt) {
	return func(a *attempt) { a.extra = append(a.extra, fields...) }
}

const evil = "https://evil.example"

// anywhere runs a test on the sites that choose a public URL by Host and the one that
// does not, and on one that a trusted proxy could stand before.
func anywhere(f test) test {
	return func(c *run) {
		for _, site := range []string{"ref", "main/hosts", "proxy/neighbour"} {
			at(site, f)(c)
		}
	}
}

// upgrade makes the attempt a WebSocket handshake.
func upgrade(a *attempt) {
	a.field("Connection", "Upgrade")
	a.field("Upgrade", "websocket")
	a.field("Sec-WebSocket-Version", "13")
	a.field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

// Group R: what stands between client and application.
var _ = add(cases{
	"R01": anywhere(one(htuMismatch, func(a *attempt) { spoofed(forwarded("evil.example", "/", "GET")...)(a); a.htu(evil + "/api/items") })),
	"R03": anywhere(all(
		each(htuMismatch, variants{
			"port":   func(a *attempt) { a.field("X-Forwarded-Port", "8443"); a.htu(origin + ":8443/api/items") },
			"prefix": func(a *attempt) { a.field("X-Forwarded-Prefix", "/v1"); a.htu(origin + "/v1/api/items") },
			"uri":    func(a *attempt) { a.field("X-Forwarded-Uri", "/other"); a.htu(origin + "/other") },
			"path":   func(a *attempt) { a.field("X-Forwarded-Path", "/other"); a.htu(origin + "/other") },
			"proto":  func(a *attempt) { a.field("X-Forwarded-Proto", "http"); a.htu("http://api.example.test/api/items") },
		}),
		one(htmMismatch, func(a *attempt) { a.field("X-Forwarded-Method", "PUT"); a.claim("htm", "PUT") }))),
	"R05": anywhere(all(
		each(htuMismatch, variants{
			"original": func(a *attempt) { a.field("X-Original-URL", "/other"); a.htu(origin + "/other") },
			"rewrite":  func(a *attempt) { a.field("X-Rewrite-URL", "/other"); a.htu(origin + "/other") },
			"uri":      func(a *attempt) { a.field("X-Original-URI", "/other"); a.htu(origin + "/other") },
			"origin":   func(a *attempt) { a.field("Origin", evil); a.field("Referer", evil+"/x"); a.htu(evil + "/api/items") },
		}),
		one(htmMismatch, func(a *attempt) { a.field("X-Original-Method", "PUT"); a.claim("htm", "PUT") }))),
	"R06": anywhere(func(c *run) {
		a := c.attempt()
		spoofed(forwarded("evil.example", "/other", "PUT")...)(a)
		for _, h := range c.expect(a, accepted).hits {
			if h.URI != basePath || h.Method != "GET" {
				c.Errorf("the upstream got %s %s", h.Method, h.URI)
			}
			if got := h.Header.Get("X-Forwarded-Host"); got == "evil.example" {
				c.Error("the upstream got the spoofed X-Forwarded-Host")
			}
		}
	}),
	"R08": at("proxy/trusted", func(c *run) {
		behind := func(w want, htu string, fields ...testkit.Field) {
			c.Helper()
			a := c.attempt()
			a.host = "10.0.0.5:8080" // what the front proxy calls us
			spoofed(fields...)(a)
			a.htu(htu + "/api/items")
			c.must(a, w)
		}
		host := func(v string) testkit.Field { return testkit.Field{Name: "X-Forwarded-Host", Value: v} }
		behind(accepted, origin, host("api.example.test"))
		behind(accepted, originB, host("b.example.test"))
		behind(wrongHost, evil, host("evil.example"))
		behind(wrongHost, evil, host("api.example.test, evil.example"))
		behind(wrongHost, origin)
		c.answered(htuMismatch)
		for _, fields := range [][]testkit.Field{{host("evil.example, api.example.test")}, {host("evil.example"), host("api.example.test")}} {
			behind(htuMismatch, evil, fields...)
			behind(accepted, origin, fields...) // the nearest proxy's word
		}
	}),
	"R10": at("proxy/neighbour", func(c *run) {
		a := c.attempt()
		a.field("X-Forwarded-Host", "b.example.test")
		a.htu(originB + "/api/items")
		c.expect(a, htuMismatch)
		b := c.attempt()
		b.host = "10.0.0.5"
		b.field("X-Forwarded-Host", "api.example.test")
		c.must(b, wrongHost)
	}),
	"R11": func(c *run) {
		send := func(site, authority, host, htu string) {
			c.Helper()
			a := newAttempt(c.site(site))
			a.htu(htu + "/api/items")
			r := a.sendH2(replaced(":authority", authority, "host", host))
			// Go's HTTP/2 takes the two names for a malformed request and resets the stream
			// (RFC 9113, section 8.1.1), which stands for 400.
			if !errors.Is(r.err, errReset) && r.Status != 400 || len(r.hits) != 0 {
				c.Errorf("authority %s and host %s: %d, %v", authority, host, r.Status, r.err)
			}
		}
		c.answered(caddyRefuses)
		for _, site := range []string{"main/ref", "main/hosts", "tls/api"} {
			for _, htu := range []string{origin, evil} {
				send(site, "evil.example", "api.example.test", htu)
				send(site, "api.example.test", "evil.example", htu)
			}
		}
		for site, w := range map[string]want{"main/hosts": wrongHost, "main/ref": htuMismatch} {
			a := newAttempt(c.site(site)) // the authority alone
			a.htu(evil + "/api/items")
			a.sendH2(replaced(":authority", "evil.example")).check(c, w)
		}
	},
	"R12": func(c *run) {
		a := newAttempt(c.site("main/hosts"))
		c.answered(accepted)
		a.sendH2(replaced(":authority", "", "host", "api.example.test")).check(c, accepted)
	},
	"R13": func(c *run) {
		for _, path := range []string{"api/items", "*x", "/api/items\x00", "http:"} {
			a := c.attempt()
			r := a.sendH2(replaced(":path", path))
			if r.err == nil && (r.Status != 400 || len(r.hits) != 0) {
				c.Errorf(":path %q is answered %d", path, r.Status)
			}
		}
		c.answered(caddyRefuses)
		c.answered(htuMismatch)
		b := c.attempt() // a blank is read as %20, which the proof does not name
		b.sendH2(replaced(":path", "/api /items")).check(c, htuMismatch)
		a := c.attempt()
		r := a.sendH2(replaced(":path", evil+"/api/items"))
		if r.err == nil && r.Status == 200 && (len(r.hits) != 1 || r.hits[0].URI != "/api/items") {
			c.Errorf("an absolute :path led to %v", r.hits)
		}
	},
	"R14": func(c *run) {
		a := newAttempt(c.site("tls/api"))
		a.htu("http://api.example.test/api/items")
		c.answered(htuMismatch)
		if r := a.sendH2(replaced(":scheme", "http")); r.err == nil && r.Status != 400 {
			r.check(c, htuMismatch)
		}
		b := newAttempt(c.site("main/any")) // clear text: the scheme is the connection's
		b.htu("https://api.example.test/api/items")
		b.sendH2(replaced(":scheme", "https")).check(c, htuMismatch)
	},
	"R17": func(c *run) {
		a := c.attempt()
		a.anonymous()
		a.field("Connection", "Upgrade, HTTP2-Settings")
		a.field("Upgrade", "h2c")
		a.field("HTTP2-Settings", "AAMAAABkAAQAAP__")
		r := a.send()
		c.answered(noCredentials)
		if r.Status == http.StatusSwitchingProtocols {
			c.Error("switched to h2c")
		}
		r.check(c, noCredentials)
	},
	"R18": each(noCredentials, variants{"GET": func(a *attempt) { upgrade(a); a.anonymous() }, "proof only": func(a *attempt) { upgrade(a); a.noAuth = true }}),
	"R20": one(htuInvalid, func(a *attempt) { upgrade(a); a.htu("wss://api.example.test/api/items") }),
	"R22": extendedConnect,
	"R23": each(noCredentials, variants{
		"protocol": func(a *attempt) {
			upgrade(a)
			a.noAuth = true
			a.field("Sec-WebSocket-Protocol", "access_token, "+a.accessToken)
		},
		"query": func(a *attempt) { upgrade(a); a.noAuth = true; a.target = "/api/items?access_token=" + a.accessToken },
	}),
	"R25": identity(
		testkit.Field{Name: "X_Auth_Subject", Value: "mallory"}, testkit.Field{Name: "X-Auth_Subject", Value: "mallory"}, testkit.Field{Name: "X_Auth-Subject", Value: "mallory"}),
	"R26": identity(testkit.Field{Name: "x-AUTH-subject", Value: "mallory"}, testkit.Field{Name: "X-AUTH-SUBJECT", Value: "mallory"}, testkit.Field{Name: "X-Dpop-jkt", Value: "mallory"}),
	"R27": identity(testkit.Field{Name: "Connection", Value: "X-Auth-Subject, X-Dpop-Jkt"}),
	"R28": func(c *run) {
		for _, sub := range []string{"a\r\nX-Evil: 1", "a\x00b", "a, b", "é✓", "a\nb", "{http.request.header.Authorization}", "{env.PATH}"} {
			a := c.attempt()
			a.token(func(t *testkit.JWS) { t.Set("sub", sub) })
			r := a.send()
			c.answered(accepted)
			if r.err != nil || r.Status != 200 && r.Status != 401 {
				c.Errorf("sub %q: %d, %v", sub, r.Status, r.err)
			}
			for _, h := range r.hits {
				if got := h.Header.Get("X-Auth-Subject"); h.Header.Get("X-Evil") != "" || strings.ContainsAny(got, "\r\n\x00") || strings.Contains(got, "DPoP ") || strings.Contains(got, "/bin") {
					c.Errorf("sub %q reached the upstream as %q", sub, got)
				}
			}
		}
	},
	"R32": func(c *run) {
		a := newAttempt(c.site("tls/api"))
		a.anonymous()
		a.host = "open.example.test"
		w := want{status: 421}
		c.answered(w)
		a.send().check(c, w)
	},
	"R33": at("main/guarded", each(noCredentials, variants{
		"upper": func(a *attempt) { a.request("GET", "/ADMIN/x"); a.anonymous() },
		"mixed": func(a *attempt) { a.request("GET", "/aDmin"); a.anonymous() },
	})),
	"R35": at("main/guarded", each(noCredentials, variants{
		"dots":    func(a *attempt) { a.request("GET", "/health/../admin"); a.anonymous() },
		"encoded": func(a *attempt) { a.request("GET", "/health/%2e%2e/admin"); a.anonymous() },
		"slashes": func(a *attempt) { a.request("GET", "//admin"); a.anonymous() },
		"letters": func(a *attempt) { a.request("GET", "/%61%64min"); a.anonymous() },
		"dot":     func(a *attempt) { a.request("GET", "/./admin"); a.anonymous() },
	})),
	"R38": at("main/redirect", func(c *run) {
		w := want{status: 308}
		a := c.attempt()
		a.request("GET", "/api/items")
		c.answered(w)
		r := a.send()
		r.check(c, w)
		if got := r.Header.Get("Location"); got != "https://api.example.test/api/items" {
			c.Errorf("Location %q", got)
		}
	}),
	"R40": func(c *run) {
		a := c.attempt()
		a.request("POST", "/api/items")
		a.claim("htm", "PUT")
		a.field("Content-Length", "1000000")
		conn, err := testkit.Dial(a.site.address)
		c.ok(err)
		defer conn.Close()
		c.ok(conn.Write(append(a.wire(), "just the beginning"...)))
		r := &result{attempt: a}
		start := time.Now()
		r.Answer, r.err = conn.Read("POST")
		c.answered(htmMismatch)
		r.check(c, htmMismatch)
		if took := time.Since(start); took > 3*time.Second {
			c.Errorf("the refusal waited %v for the body", took)
		}
	},
	"R41": func(c *run) {
		a := newAttempt(c.site("tls/api"))
		a.request("POST", "/pkg.Svc/M")
		a.field("Content-Type", "application/grpc")
		a.field("TE", "trailers")
		a.body = []byte{0, 0, 0, 0, 0}
		r := a.sendH2(nil)
		c.answered(accepted)
		r.check(c, accepted)
		if r.Trailer.Get("Grpc-Status") != "0" {
			c.Errorf("trailers %v", r.Trailer)
		}
		b := a.again()
		b.sendH2(nil).check(c, replayed)
	},
	"R42": func(c *run) {
		a := c.attempt()
		a.target = "/events"
		a.reproof()
		backend.on(a.name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				_ = http.NewResponseController(w).Flush()
			}
		})
		if r := c.expect(a, accepted); !bytes.Contains(r.Body, []byte("data: 2")) {
			c.Errorf("the stream was %q", r.Body)
		}
	},
	"R43": func(c *run) {
		a := c.attempt() // as a forward-auth caller would ask about another request
		a.target = "/verify"
		a.reproof()
		a.field("X-Forwarded-Uri", "/api/items")
		a.field("X-Forwarded-Method", "GET")
		a.field("X-Forwarded-Host", "api.example.test")
		a.htu(origin + "/api/items")
		c.expect(a, htuMismatch)
	},
	"R44": misconfigured,
	"R45": func(c *run) {
		a := c.attempt()
		for i := range 20 {
			a.field(fmt.Sprint("X-Filler-", i), strings.Repeat("x", 60000))
		}
		w := want{status: 431}
		c.answered(w)
		r := a.send()
		if r.err != nil && len(backend.of(a.name)) == 0 {
			return // closed while we were still writing
		}
		r.check(c, w)
	},
	"R46": at("main/getonly", func(c *run) {
		a := c.attempt()
		a.request("DELETE", "/api/items")
		a.anonymous()
		c.expect(a, noCredentials)
		b := c.attempt()
		b.request("DELETE", "/api/items")
		r := b.send()
		if r.Status != 405 || len(r.hits) != 0 {
			c.Errorf("DELETE with credentials: %d", r.Status)
		}
	}),
	"R48": func(c *run) {
		c.use()
		a := c.attempt()
		a.anonymous()
		c.expect(a, noCredentials)
	},
	"R49": func(c *run) {
		s := c.site("tls/api")
		client := h3client(s, nil)
		defer client.Close()
		a := newAttempt(s)
		c.answered(accepted)
		a.sendH3(client, "GET").check(c, accepted)
		a.again().sendH3(client, "GET").check(c, replayed)
		for w, change := range map[want]func(*attempt){
			htuMismatch: func(a *attempt) { a.htu(origin + "/other") }, noCredentials: func(a *attempt) { a.anonymous() },
			badProof("proof_repeated"): func(a *attempt) { a.dpop(a.write(), a.write()) }, badToken("jkt_mismatch"): func(a *attempt) { a.client = client2; a.reproof() },
		} {
			b := newAttempt(s)
			change(b)
			b.sendH3(client, "GET").check(c, w)
		}
	},
	"R50": func(c *run) {
		for _, host := range []string{"api%2Eexample.test", "api.example.test%00", "%61pi.example.test", "api.example.test."} {
			a := newAttempt(c.site("main/hosts"))
			a.host = host
			c.expect(a, wrongHost)
			b := c.attempt() // one public URL: Host is not looked at
			b.host = host
			c.must(b, accepted)
		}
	},
})
