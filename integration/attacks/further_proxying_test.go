// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// portless is a site's origin with its port removed, and the port.
func portless(s *site) (origin, port string) {
	i := strings.LastIndexByte(s.origin, ':')
	return s.origin[:i], s.origin[i+1:]
}

// behindProxy is a request by way of a front proxy that calls us otherwise and says
// what it was called.
func behindProxy(c *run, fields ...testkit.Field) *attempt {
	a := c.attempt()
	a.host = "10.0.0.5:8080"
	spoofed(fields...)(a)
	return a
}

func xf(name, value string) testkit.Field {
	return testkit.Field{Name: "X-Forwarded-" + name, Value: value}
}

// switches makes the upstream accept the upgrade of an attempt.
func switches(a *attempt) {
	backend.on(a.name, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"))
		time.Sleep(100 * time.Millisecond)
	})
}

// Group R, further.
var _ = add(cases{
	"R80": at("further/base", one(accepted, func(*attempt) {})),
	"R81": at("further/base", htus(htuMismatch, map[string]string{"as it came": origin + "/api/items", "twice": origin + "/v1/v1/api/items", "other": origin + "/v2/api/items", "longer": origin + "/v10/api/items", "upper": origin + "/V1/api/items"})),
	"R82": at("further/base", func(c *run) {
		for _, pair := range [][2]string{{"/../x", "/x"}, {"/../x", "/v1/../x"}, {"/%2e%2e/x", "/x"}, {"/../../x", "/x"}} {
			c.variant(pair[0]+" "+pair[1], htuMismatch, func(a *attempt) { a.target = pair[0]; a.reproof(); a.htu(origin + pair[1]) })
		}
	}),
	"R83": at("further/base", func(c *run) {
		root := func(htu string, w want) *attempt {
			a := c.attempt()
			a.request("GET", "/")
			a.htu(htu)
			return a
		}
		c.must(root(origin+"/v1/", accepted), accepted)
		c.must(root(origin+"/v1/?x=1", accepted), accepted)
		c.expect(root(origin+"/v1", htuMismatch), htuMismatch)
		c.expect(root(origin, htuMismatch), htuMismatch)
	}),
	"R84": at("proxy/trusted", func(c *run) {
		for _, host := range []string{"api.example.test:443", "API.EXAMPLE.TEST", "  api.example.test", "evil.example, api.example.test", "x,\tapi.example.test:443"} {
			c.expect(behindProxy(c, xf("Host", host), xf("Proto", "https")), accepted)
		}
	}),
	"R85": at("proxy/trusted", func(c *run) {
		for _, host := range []string{"", ",", "api.example.test,", "unknown", "https://api.example.test", "api.example.test/", `"api.example.test"`, "api.example.test;x", "api.example.test@evil.example"} {
			c.variant(host, wrongHost, func(a *attempt) { a.host = "10.0.0.5:8080"; spoofed(xf("Host", host))(a) })
		}
	}),
	"R86": at("proxy/trusted", func(c *run) {
		for _, proto := range []string{"http", "HTTP", "ws", "", "https, http"} {
			a := behindProxy(c, xf("Host", "api.example.test"), xf("Proto", proto))
			a.htu("http://api.example.test/api/items")
			c.expect(a, htuMismatch)
			c.must(behindProxy(c, xf("Host", "api.example.test"), xf("Proto", proto)), accepted)
		}
	}),
	"R87": at("names/exact", func(c *run) {
		c.expect(c.attempt(), accepted)
		bare, port := portless(c.site(c.on))
		a := c.attempt()
		a.host = "api.example.test"
		a.htu(bare + "/api/items")
		c.expect(a, accepted)
		b := c.attempt()
		b.host = strings.ToUpper(b.host)
		c.expect(b, accepted)
		d := c.attempt()
		d.htu("HTTP://API.example.test:" + port + "/api/%69tems")
		c.expect(d, accepted)
		e := c.attempt() // the port of one is not that of the other
		e.host = "api.example.test"
		c.must(e, htuMismatch)
	}),
	"R88": at("names/exact", func(c *run) {
		bare, port := portless(c.site(c.on))
		for _, other := range []string{"9999", "1", "65535", port + "0"} {
			if len(other) > 5 || other > "65535" && len(other) == 5 {
				continue
			}
			a := c.attempt()
			a.host = "api.example.test:" + other
			a.htu(bare + ":" + other + "/api/items")
			c.expect(a, wrongHost)
		}
	}),
	"R89": func(c *run) {
		for _, name := range []string{"names/exact", "names/behind"} {
			_, port := portless(c.site(name))
			for _, field := range []testkit.Field{xf("Host", "evil.example"), xf("Host", "evil.example:"+port), {Name: "Forwarded", Value: "host=evil.example"}} {
				for _, htu := range []string{"http://evil.example", "http://evil.example:" + port} {
					a := newAttempt(c.site(name))
					spoofed(field)(a)
					a.htu(htu + "/api/items")
					c.expect(a, htuMismatch)
				}
			}
		}
	},
	"R90": at("names/exact", func(c *run) {
		s := c.site(c.on)
		for _, fields := range [][]testkit.Field{nil, {xf("Proto", "https")}, {{Name: "Forwarded", Value: "proto=https"}}, {xf("Ssl", "on")}, {{Name: "Front-End-Https", Value: "on"}}} {
			a := c.attempt()
			spoofed(fields...)(a)
			a.htu(strings.Replace(s.origin, "http://", "https://", 1) + "/api/items")
			c.expect(a, htuMismatch)
		}
	}),
	"R91": at("names/behind", func(c *run) {
		s := c.site(c.on)
		for _, proto := range []string{"https", "HTTPS", "http, https", "http,https "} {
			a := c.attempt()
			spoofed(xf("Proto", proto))(a)
			a.htu(strings.Replace(s.origin, "http://", "https://", 1) + "/api/items")
			c.expect(a, accepted)
		}
		c.must(c.attempt(), accepted)
	}),
	"R92": at("main/hosts", func(c *run) {
		for _, host := range []string{"api.example.test:abc", "api.example.test:99999", "api.example.test:-1", "api .example.test", "[api.example.test]", "*", "api.example.test:443:443", "api.example.test:443abc", "[::1", "api_.example.test", "@api.example.test", "%61pi.example.test"} {
			a := c.attempt()
			a.host = host
			r := a.send()
			w := caddyRefuses
			if r.Status == 421 {
				w = wrongHost
			}
			c.answered(w)
			if r.check(c, w); c.Failed() {
				c.Fatal(host)
			}
		}
	}),
	"R93": at("further/bearer", func(c *run) {
		a := c.attempt()
		a.authorization("dpop   " + a.accessToken)
		for _, h := range c.expect(a, accepted).hits {
			if got := h.Header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer "+a.accessToken || h.Header.Values("Dpop") != nil {
				c.Error("the upstream gets other credentials")
			}
		}
		c.must(a.again(), replayed)
	}),
	"R94": at("further/none", func(c *run) {
		for _, connection := range []string{"keep-alive", "keep-alive, DPoP, Authorization"} {
			a := c.attempt()
			a.field("Connection", connection)
			for _, h := range c.expect(a, accepted).hits {
				if h.Header.Values("Authorization") != nil || h.Header.Values("Dpop") != nil {
					c.Error("the upstream gets credentials")
				}
				if got := h.Header.Get("X-Auth-Subject"); got != "alice" {
					c.Errorf("the upstream is told %q", got)
				}
			}
		}
	}),
	"R95": func(c *run) {
		w := want{status: 101}
		a := c.attempt()
		upgrade(a)
		switches(a)
		c.answered(w)
		r := a.send()
		if r.check(c, w); len(r.hits) != 1 {
			c.Errorf("the upstream was reached %d times", len(r.hits))
		}
		b := a.again()
		b.send().check(c, replayed)
	},
	"R96": one(accepted, func(a *attempt) {
		a.field("Connection", "Upgrade, HTTP2-Settings")
		a.field("Upgrade", "h2c")
		a.field("HTTP2-Settings", "AAMAAABkAAQAAP__")
	}),
	"R97": func(c *run) {
		for _, site := range []string{"ref", "tls/api"} {
			a := newAttempt(c.site(site))
			a.claim("htm", "CONNECT")
			r := a.sendH2(replaced(":method", "CONNECT", ":scheme", "", ":path", ""))
			c.answered(htuMismatch)
			if len(r.hits) != 0 {
				c.Error("the upstream was reached")
			}
			if r.err == nil && r.Status != 400 {
				r.check(c, htuMismatch)
			}
		}
	},
	"R98": at("further/monitor", func(c *run) {
		for name, change := range map[string]func(*attempt){
			"proof": func(a *attempt) { a.claim("htm", "PUT") }, "nothing": func(a *attempt) { a.anonymous() }, "bearer": func(a *attempt) { a.bearer() }, "key": func(a *attempt) { a.client = client2; a.reproof() },
			"token": func(a *attempt) { a.token(func(t *testkit.JWS) { t.Key = client2 }) },
		} {
			a := c.attempt()
			change(a)
			a.field("X-Auth-Subject", "mallory")
			for _, h := range c.expect(a, accepted).hits {
				if got := h.Header.Values("X-Auth-Subject"); len(got) > 1 || len(got) == 1 && got[0] != "" {
					c.Errorf("%s: the upstream is told %q", name, got)
				}
				if got := h.Header.Get("X-Dpop-Jkt"); got != "" {
					c.Errorf("%s: the upstream is told the key %q", name, got)
				}
			}
		}
	}),
	"R99": func(c *run) {
		a := c.attempt()
		upgrade(a)
		a.claim("htm", "CONNECT")
		c.expect(a, htmMismatch)
		b := c.use().again()
		upgrade(b)
		c.expect(b, replayed)
	},
})
