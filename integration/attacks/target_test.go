// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// htus sends proofs with these values of htu.
func htus(w want, values map[string]string) test {
	return func(c *run) {
		for _, name := range sortedKeys(values) {
			c.variant(name, w, func(a *attempt) { a.htu(values[name]) })
		}
	}
}

// target sends a request to one path with a proof for a URI.
func target(w want, path, htu string) test {
	return one(w, func(a *attempt) { a.target = path; a.reproof(); a.htu(htu) })
}

var (
	htuMismatch = badProof("htu_mismatch")
	htuInvalid  = badProof("htu_invalid")
)

// Group D: which URI the proof names and which one was asked for.
var _ = add(cases{
	"D01": htus(accepted, map[string]string{"exact": origin + "/api/items"}),
	"D02": htus(accepted, map[string]string{"upper": "HTTPS://API.EXAMPLE.TEST/api/items", "mixed": "hTTps://Api.eXample.Test/api/items"}),
	"D03": htus(accepted, map[string]string{"443": origin + ":443/api/items"}),
	"D04": htus(accepted, map[string]string{"empty": origin + ":/api/items"}),
	"D05": htus(htuInvalid, map[string]string{"0443": origin + ":0443/api/items", "00443": origin + ":00443/api/items"}),
	"D06": htus(htuMismatch, map[string]string{"8443": origin + ":8443/api/items", "80": origin + ":80/api/items", "4430": origin + ":4430/api/items"}),
	"D07": htus(htuMismatch, map[string]string{"http": "http://api.example.test/api/items", "http 443": "http://api.example.test:443/api/items"}),
	"D09": func(c *run) {
		at("main/hosts", one(wrongHost, func(a *attempt) { a.host += "." }))(c)
		a := c.attempt() // one public URL: Host is not looked at
		a.host += "."
		c.must(a, accepted)
	},
	"D10": htus(htuMismatch, map[string]string{"slash": origin + "/api/items/"}),
	"D11": target(htuMismatch, "/api/items/", origin+"/api/items"),
	"D13": all(target(accepted, "/", origin), target(accepted, "/?x=1", origin), target(accepted, "/", origin+"/")),
	"D14": htus(accepted, map[string]string{"letters": origin + "/api/%69tem%73", "tilde": origin + "/%61pi/items"}),
	"D15": func(c *run) {
		a := c.attempt()
		a.target = "/api/%69tems"
		a.reproof()
		a.htu(origin + "/api/items")
		r := c.expect(a, accepted)
		for _, h := range r.hits {
			if h.URI != "/api/%69tems" && h.URI != "/api/items" {
				c.Errorf("the upstream was asked for %s", h.URI)
			}
		}
		// The matcher sees through the encoding as well, so the guard cannot be passed by.
		b := newAttempt(c.site("main/guarded"))
		b.request("GET", "/%61dmin/x")
		b.anonymous()
		c.must(b, noCredentials)
	},
	"D16": all(target(accepted, "/api/%c3%a9", origin+"/api/%C3%A9"), target(accepted, "/api/%C3%A9", origin+"/api/%c3%a9")),
	"D17": htus(htuMismatch, map[string]string{"upper": origin + "/api%2Fitems", "lower": origin + "/api%2fitems"}),
	"D18": func(c *run) {
		a := c.attempt()
		a.request("GET", "/api/a%2Fb")
		for _, h := range c.expect(a, accepted).hits {
			if h.URI != "/api/a%2Fb" {
				c.Errorf("the upstream was asked for %s", h.URI)
			}
		}
	},
	"D19": target(htuMismatch, "/api/a%2Fb", origin+"/api/a/b"),
	"D22": htus(accepted, map[string]string{"encoded": origin + "/x/%2e%2E/api/items", "plain": origin + "/x/../api/./items"}),
	"D24": at("main/guarded", all(
		each(accepted, variants{
			"same path":  func(a *attempt) { a.request("GET", "/public/../admin") },
			"normalised": func(a *attempt) { a.request("GET", "/public/../admin"); a.htu(origin + "/admin") },
		}),
		func(c *run) {
			for _, credentials := range []bool{true, false} {
				a := c.attempt()
				a.request("GET", "/public/../admin")
				a.htu(origin + "/public/x")
				if credentials {
					c.must(a, htuMismatch)
				} else {
					a.anonymous()
					c.must(a, noCredentials)
				}
			}
		})),
	"D26": all(htus(htuMismatch, map[string]string{"in htu": origin + "/api/items;v=1"}),
		target(htuMismatch, "/api/items;v=1", origin+"/api/items")),
	"D28": htus(htuMismatch, map[string]string{"first": origin + "//api/items", "second": origin + "/api//items", "last": origin + "/api/items//"}),
	"D29": all(target(htuMismatch, "//api/items", origin+"/api/items"), target(htuMismatch, "/api//items", origin+"/api/items")),
	"D30": each(htuMismatch, variants{
		"https": func(a *attempt) {
			a.request("GET", "//evil.example/api/items")
			a.htu("https://evil.example/api/items")
		},
		"cut": func(a *attempt) { a.request("GET", "//evil.example/api/items"); a.htu(origin + "/api/items") },
	}),
	"D31": htus(accepted, map[string]string{"query": origin + "/api/items?x=1", "empty": origin + "/api/items?"}),
	"D32": htus(accepted, map[string]string{"fragment": origin + "/api/items#frag", "both": origin + "/api/items?x=1#frag"}),
	"D33": htus(accepted, map[string]string{"other": origin + "/api/items?x=2"}),
	"D34": htus(htuMismatch, map[string]string{"encoded": origin + "/api/items%3Fx=1", "lower": origin + "/api/items%3fx=1", "hash": origin + "/api/items%23"}),
	"D36": htus(htuInvalid, map[string]string{
		"both": "https://u:p@api.example.test/api/items", "empty": "https://@api.example.test/api/items",
		"other host": "https://api.example.test@evil.example/api/items",
	}),
	"D38": at("main/idn", htus(htuInvalid, map[string]string{"U-label": "https://bücher.example.test/api/items", "encoded": "https://b%C3%BCcher.example.test/api/items"})),
	"D39": at("main/idn", htus(accepted, map[string]string{"upper": "https://XN--BCHER-KVA.example.test/api/items"})),
	"D40": htus(htuInvalid, map[string]string{
		"full width": "https://ａpi.example.test/api/items", "cyrillic": "https://\u0430pi.example.test/api/items",
		"soft hyphen": "https://api\u00ad.example.test/api/items", "joiner": "https://api\u200d.example.test/api/items",
		"full stop": "https://api。example.test/api/items",
	}),
	"D41": at("main/ipv6", htus(accepted, map[string]string{"same": originIPv6 + "/api/items"})),
	"D43": at("main/linklocal", htus(accepted, map[string]string{"upper": "https://[FE80::A]/api/items"})),
	"D44": htus(htuInvalid, map[string]string{
		"zone": "https://[fe80::1%25eth0]/api/items", "name": "https://[api.example.test]/api/items",
		"open": "https://[::1/api/items", "close": "https://::1]/api/items",
	}),
	"D45": at("main/ipv4", all(
		htus(htuMismatch, map[string]string{
			"decimal": "https://2130706433/api/items", "hex": "https://0x7f.1/api/items", "short": "https://127.1/api/items",
			"octal": "https://0177.0.0.1/api/items",
		}),
		htus(htuMismatch, map[string]string{"mapped": "https://[::ffff:127.0.0.1]/api/items"}))),
	"D46": htus(htuInvalid, map[string]string{
		"path": "/api/items", "relative": "api/items", "network": "//api.example.test/api/items",
		"empty": "", "opaque": "https:api.example.test/api/items", "one slash": "https:/api.example.test/api/items", "other scheme": "ftp://api.example.test/api/items",
	}),
	"D52": htus(htuInvalid, map[string]string{
		"before": " " + origin + "/api/items", "after": origin + "/api/items ", "nbsp": origin + "/api/items\u00a0",
		"newline": origin + "/api/items\n", "inside": origin + "/api/ items", "tab": "\t" + origin + "/api/items",
	}),
	"D53": htus(htuMismatch, map[string]string{
		"path": origin + "/api/other", "root": origin, "case": origin + "/API/items", "host": "https://evil.example/api/items",
		"suffix": "https://api.example.test.evil.example/api/items",
	}),
	"D55": func(c *run) {
		relay := func(a *attempt) { a.host = "evil.example"; a.htu("https://evil.example/api/items") }
		at("main/hosts", one(wrongHost, relay))(c)
		a := c.attempt() // one public URL: Host is not looked at, htu must be ours
		relay(a)
		c.must(a, htuMismatch)
	},
	"D56": all(hostOf(caddyRefuses, "api.example.test/api/items?"), hostOf(caddyRefuses, "api.example.test/api/items#"),
		hostOf(caddyRefuses, "u:p@api.example.test"), hostOf(caddyRefuses, `api.example.test\evil`), hostOf(caddyRefuses, "evil.example, api.example.test")),
	"D61": each(caddyRefuses, variants{
		"ours first":   func(a *attempt) { a.field("Host", "evil.example") },
		"theirs first": func(a *attempt) { a.first = []testkit.Field{{Name: "Host", Value: "evil.example"}} },
		"the same":     func(a *attempt) { a.field("Host", a.host) },
	}),
	"D62": all(hostOf(caddyRefuses, " "), hostOf(caddyRefuses, "\t")),
	"D63": func(c *run) {
		old := func(a *attempt) { a.host = ""; a.version = "HTTP/1.0"; a.field("Connection", "close") }
		one(accepted, old)(c) // the origin is fixed by configuration
		a := newAttempt(c.site("main/hosts"))
		old(a)
		c.must(a, wrongHost)
		b := c.attempt()
		b.host = "" // HTTP/1.1 without Host
		c.must(b, caddyRefuses)
	},
	"D65": absoluteForm,
	"D67": at("main/stripped", one(accepted, func(*attempt) {})),
	"D68": all(at("main/stripped", htus(htuMismatch, map[string]string{"internal": origin + "/items"})),
		at("main/rewritten", func(c *run) {
			a := c.attempt()
			c.must(a, accepted)
			b := c.attempt()
			b.htu(origin + "/internal/api/items")
			c.must(b, htuMismatch)
			d := c.attempt()
			d.claim("htm", "PUT") // what `method` made of it
			c.must(d, badProof("htm_mismatch"))
		})),
	"D69": at("main/stripped", htus(htuMismatch, map[string]string{"private": "http://10.0.0.5:9000/items", "upstream": "http://127.0.0.1:9000/items"})),
	"D72": each(caddyRefuses, variants{
		"zz":      func(a *attempt) { a.target = "/api/%zz" },
		"cut":     func(a *attempt) { a.target = "/api/%4" },
		"percent": func(a *attempt) { a.target = "/api/%" },
	}),
	"D74": all(target(htuMismatch, "/api/%252e%252e/admin", origin+"/api/%2e%2e/admin"), target(htuMismatch, "/api/%2569tems", origin+"/api/%69tems")),
	"D75": func(c *run) {
		for _, path := range []string{"/api%5c..%5cadmin", "/api/items%00.txt"} {
			a := c.attempt()
			a.request("GET", path)
			for _, h := range c.expect(a, accepted).hits {
				if h.URI != path {
					c.Errorf("asked for %s, the upstream for %s", path, h.URI)
				}
			}
		}
		a := c.attempt()
		a.target = "/api%5c..%5cadmin"
		a.reproof()
		a.htu(origin + "/admin")
		c.must(a, htuMismatch)
	},
})

func hostOf(w want, host string) test {
	return func(c *run) {
		c.Run(host, func(t *testing.T) {
			d := &run{T: t, id: c.id, on: c.on}
			for _, site := range []string{"main/ref", "main/hosts", "main/any"} {
				a := newAttempt(d.site(site))
				a.request("GET", "/api/admin")
				a.host = host
				a.htu(strings.SplitN(a.site.origin, "//", 2)[0] + "//api.example.test/api/items")
				d.must(a, w)
			}
		})
		c.answered(w)
	}
}

// absoluteForm: the request line rules over Host (RFC 9112, section 3.2.2), and a name
// in either that is not ours is not served.
func absoluteForm(c *run) {
	send := func(site, line, host, htu string, w want, decides bool) {
		c.Helper()
		a := newAttempt(c.site(site))
		a.target = line + basePath
		a.host = host
		a.proof = testkit.NewProof(a.client, "GET", htu, a.accessToken, now())
		if decides {
			c.expect(a, w)
		} else {
			c.must(a, w)
		}
	}
	const ours, theirs = "api.example.test", "evil.example"
	send("main/hosts", "http://"+theirs, ours, origin+"/api/items", wrongHost, true)
	send("main/hosts", "http://"+theirs, ours, "http://"+theirs+"/api/items", wrongHost, true)
	send("main/hosts", "http://"+ours, theirs, origin+"/api/items", accepted, true)
	send("main/hosts", "http://"+ours, theirs, "http://"+theirs+"/api/items", htuMismatch, true)
	// One public URL: neither is looked at, htu must be ours.
	send("main/ref", "http://"+theirs, ours, "http://"+theirs+"/api/items", htuMismatch, false)
	send("main/ref", "http://"+ours, theirs, "http://"+theirs+"/api/items", htuMismatch, false)
	send("main/ref", "https://"+ours, ours, origin+"/api/items", accepted, false)
}
