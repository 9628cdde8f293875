// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
)

// paths sends requests for these paths with a proof for those URIs, by name.
func paths(w want, pairs map[string][2]string) test {
	return func(c *run) {
		for _, name := range sortedKeys(pairs) {
			c.variant(name, w, func(a *attempt) {
				a.target = pairs[name][0]
				a.reproof()
				a.htu(a.site.origin + pairs[name][1])
			})
		}
	}
}

// escaped writes every character of s as an escape, in hexadecimal digits of that
// verb: %02X or %02x.
func escaped(verb, s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%"+verb, s[i])
	}
	return b.String()
}

const unreservedCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

// reservedPairs are each reserved character that a path may hold, against its escape.
func reservedPairs() map[string][2]string {
	pairs := map[string][2]string{}
	for _, r := range ";,@:+!*'()&=$" {
		plain, encoded := "/api/a"+string(r)+"b", "/api/a"+escaped("%02X", string(r))+"b"
		pairs["request "+string(r)] = [2]string{plain, encoded}
		pairs["htu "+string(r)] = [2]string{encoded, plain}
	}
	return pairs
}

// uris prepares values of htu that differ in what stands before the path.
func uris(prefixes ...string) map[string]string {
	values := map[string]string{}
	for _, p := range prefixes {
		values[p] = p + "/api/items"
	}
	return values
}

// Group D, further.
var _ = add(cases{
	"D80": at("main/hosts", func(c *run) {
		for _, htu := range []string{origin, origin + ":443"} {
			for _, host := range []string{"api.example.test:443", "api.example.test"} {
				a := c.attempt()
				a.host = host
				a.htu(htu + "/api/items")
				c.expect(a, accepted)
			}
		}
	}),
	"D81": at("main/hosts", each(wrongHost, variants{
		"8443": func(a *attempt) { a.host += ":8443"; a.htu(origin + ":8443/api/items") },
		"80":   func(a *attempt) { a.host += ":80" },
		"4430": func(a *attempt) { a.host += ":4430" },
	})),
	"D82": at("main/hosts", each(accepted, variants{
		"upper":     func(a *attempt) { a.host = strings.ToUpper(a.host) },
		"with port": func(a *attempt) { a.host = strings.ToUpper(a.host) + ":443" },
	})),
	"D83": paths(accepted, map[string][2]string{
		"query": {"/?x=1", "?x=1"}, "fragment": {"/", "#f"}, "both": {"/?x=1", "?x=1#f"}, "slash": {"/", "/?"}, "empty": {"/?", "?"}, "mark": {"/?a?b", "/"},
	}),
	"D84": paths(htuMismatch, reservedPairs()),
	"D85": paths(htuMismatch, map[string][2]string{
		"plus": {"/api/a+b", "/api/a%20b"}, "blank": {"/api/a%20b", "/api/a+b"}, "escaped plus": {"/api/a%2Bb", "/api/a%20b"},
	}),
	"D86": paths(accepted, map[string][2]string{
		"request upper": {"/api/x" + escaped("%02X", unreservedCharacters), "/api/x" + unreservedCharacters},
		"request lower": {"/api/x" + escaped("%02x", unreservedCharacters), "/api/x" + unreservedCharacters},
		"htu upper":     {"/api/x" + unreservedCharacters, "/api/x" + escaped("%02X", unreservedCharacters)},
		"htu lower":     {"/api/x" + unreservedCharacters, "/api/x" + escaped("%02x", unreservedCharacters)},
		"both":          {"/api/x%7e%41b", "/api/%78~A%62"},
		"pchar":         {"/api/a;b,c@d:e+f!g*h'i(j)k&l=m$n", "/api/a;b,c@d:e+f!g*h'i(j)k&l=m$n"},
	}),
	"D87": paths(accepted, map[string][2]string{
		"request":  {"/api/{}|^\"<>[]`", "/api/%7B%7D%7C%5E%22%3C%3E%5B%5D%60"},
		"the same": {"/api/{}|^\"<>[]`", "/api/{}|^\"<>[]`"},
		"htu":      {"/api/%7b%7d%7c", "/api/{}|"},
	}),
	"D88": all(paths(htuMismatch, map[string][2]string{
		"slash": {`/api\items`, "/api/items"}, "escape": {`/api\items`, "/api%5Citems"}, "dots": {`/api\..\items`, "/items"},
	}), paths(htuInvalid, map[string][2]string{"the same": {`/api\items`, `/api\items`}})),
	"D89": paths(htuMismatch, map[string][2]string{"escapes": {"/api/é", "/api/%C3%A9"}, "latin 1": {"/api/\xe9", "/api/%E9"}}),
	"D90": paths(htuInvalid, map[string][2]string{"composed": {"/api/%C3%A9", "/api/é"}, "kanji": {"/api/%E6%97%A5", "/api/日"}}),
	"D91": paths(htuMismatch, map[string][2]string{
		"above": {"/api/..%2Fitems", "/items"}, "as a segment": {"/api/..%2Fitems", "/api/items"}, "slash": {"/api/..%2Fitems", "/api/../items"},
		"lower": {"/api/.%2e%2fitems", "/items"}, "deeper": {"/api/x%2F..%2Fitems", "/api/items"},
	}),
	"D92": paths(accepted, map[string][2]string{
		"over the top": {"/../../api/items", "/api/items"}, "in htu": {"/api/items", "/../api/items"}, "dot at the end": {"/api/items/.", "/api/items/"},
		"two at the end": {"/api/x/..", "/api/"}, "dot first": {"/./api/items", "/api/items"}, "root": {"/..", "/"}, "alone": {"/.", ""},
	}),
	"D93": paths(htuMismatch, map[string][2]string{
		"three": {"/api/.../items", "/api/items"}, "hidden": {"/api/.items", "/api/items"}, "two and a name": {"/api/..items", "/items"},
		"three escaped": {"/api/%2e%2e%2e/items", "/items"}, "slash kept": {"/api/items/..", "/api"}, "doubled": {"/api//../items", "/items"},
	}),
	"D94": at("main/ipv6", htus(accepted, uris("https://[0:0:0:0:0:0:0:1]:8443", "https://[::0001]:8443", "https://[0000:0000:0000:0000:0000:0000:0000:0001]:8443", "https://[::0.0.0.1]:8443"))),
	"D95": htus(htuInvalid, uris("https://[v1.fe]", "https://[]", "https://[::1]x", "https://[::1", "https://[1.2.3.4]", "https://[::g]", "https://[:::1]", "https://[::1]]",
		"https://[[::1]]", "https://::1", "https://[::1%25lo]", "https://[::1%lo]", "https://[:]")),
	"D96": htus(htuInvalid, uris(origin+":0", origin+":65536", origin+":99999999999", origin+":+443", origin+":-1", origin+":4 43", origin+":0x1bb", origin+":443:443",
		origin+":https", origin+":443.", origin+":４４３", origin+":443%20", origin+":4_43")),
	"D97": htus(htuInvalid, uris("httpss://api.example.test", "https//api.example.test", `https:\\api.example.test`, "://api.example.test", "https::/api.example.test",
		"javascript:alert(1)//https://api.example.test", "h\u200bttps://api.example.test", "view-source:https://api.example.test", "https:///api.example.test", "http+tls://api.example.test",
		"https://", "urn:https://api.example.test")),
	"D98": htus(htuInvalid, map[string]string{
		"none": origin + "/api/items%", "one": origin + "/api/items%4", "letters": origin + "/api/%zz", "u": origin + "/api/%u0041", "minus": origin + "/api/%-1", "blank": origin + "/api/% 41",
		"double": origin + "/api/%%34items",
	}),
	"D99": func(c *run) {
		a := c.attempt()
		a.target = "/api" + strings.Repeat("/a/..", 600) + strings.Repeat("/.", 1400) + "/%69tems"
		a.reproof()
		a.htu(origin + "/api/items")
		if r := c.expect(a, accepted); r.Took > slowest {
			c.Errorf("it took %v", r.Took.Round(time.Millisecond))
		}
	},
})

// overrides are fields that frameworks take for the method, in the ways in which a CGI
// could not tell them from those with hyphens.
var overrides = []string{"X_HTTP_Method_Override", "X-HTTP_Method", "X_Method-Override", "X_HTTP_METHOD", "x-http-method_override"}

// Group E, further.
var _ = add(cases{
	"E80": one(accepted, func(a *attempt) { a.request("get", basePath) }),
	"E81": func(c *run) {
		for _, htm := range []string{"GET\x00", "\x00GET", "GET\n", "\tGET", "G\u200bET", "\ufeffGET", "GET\u00ad", "GET\u200d", "GET "} {
			c.variant(fmt.Sprintf("%q", htm), htmMismatch, func(a *attempt) { a.claim("htm", htm) })
		}
	},
	"E82": func(c *run) {
		for _, method := range []string{"M-SEARCH", "PROPFIND", "X!#$%&'*+-.^_|~9", "x"} {
			c.variant(method, accepted, func(a *attempt) { a.request(method, "/api/items") })
		}
	},
	"E83": each(htmMismatch, variants{
		"on the wire": func(a *attempt) { a.method = "Get" },
		"in the claim": func(a *attempt) {
			a.request("POST", "/api/items")
			a.claim("htm", "Post")
		},
	}),
	"E84": func(c *run) {
		c.answered(accepted)
		for _, credentials := range []bool{true, false} {
			a := c.attempt()
			a.request("OPTIONS", "*")
			a.htu(origin)
			a.noAuth, a.noProof = !credentials, !credentials
			r := a.send()
			if r.check(c, accepted); len(r.hits) != 0 {
				c.Error("OPTIONS * reached the upstream")
			}
			for _, site := range []string{"ref", "tls/api"} {
				b := newAttempt(c.site(site))
				b.request("OPTIONS", "*")
				b.htu(origin)
				b.noAuth, b.noProof = !credentials, !credentials
				if r := b.sendH2(nil); len(r.hits) != 0 || r.err == nil && r.Status != 200 && r.Status != 401 && r.Status != 400 {
					c.Errorf("over HTTP/2: %d, the upstream was reached %d times", r.Status, len(r.hits))
				}
			}
		}
	},
	"E85": func(c *run) {
		for _, name := range overrides {
			a := c.attempt()
			a.request("POST", "/api/items")
			a.field(name, "DELETE")
			for _, h := range c.expect(a, accepted).hits {
				for seen := range h.Header {
					if strings.EqualFold(strings.ReplaceAll(seen, "_", "-"), strings.ReplaceAll(name, "_", "-")) {
						c.Errorf("the upstream got %s", seen)
					}
				}
			}
		}
	},
	"E86": func(c *run) {
		for _, htm := range []string{"G\u0415T", "\uff27\uff25\uff34", "G\u00cbT", "GE\u0422", "G\u212eT"} {
			c.variant(htm, htmMismatch, func(a *attempt) { a.claim("htm", htm) })
		}
	},
	"E87": all(
		everywhere(htmMismatch, func(a *attempt) { a.request("HEAD", basePath); a.claim("htm", "GET") }),
		everywhere(htmMismatch, func(a *attempt) { a.request("POST", basePath); a.claim("htm", "GET") }),
		everywhere(htmMismatch, func(a *attempt) { a.claim("htm", "HEAD") }),
		func(c *run) { // the method is a pseudo-header field: one of that name is nothing
			a := c.attempt()
			a.claim("htm", "PUT")
			r := a.sendH2(func(fields []hpack.HeaderField) []hpack.HeaderField {
				return append(fields, hpack.HeaderField{Name: "method", Value: "PUT"})
			})
			r.check(c, htmMismatch)
		}),
	"E88": func(c *run) {
		a := c.attempt()
		a.request(strings.Repeat("M", 32), "/api/items")
		c.expect(a, accepted)
		b := c.attempt() // Caddy knows no longer ones
		b.request(strings.Repeat("M", 33), "/api/items")
		c.must(b, want{status: 405})
	},
})
