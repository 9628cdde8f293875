// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// TestOriginalRequest: a proof is held against what the client asked for, not
// against what the site made of it.
func TestOriginalRequest(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	rewrite /rewritten* /elsewhere?x=1
	method /method* PUT
	uri /stripped* strip_prefix /stripped
	uri /replaced* replace /replaced /elsewhere
	handle_path /handled/* {
		dpop {`+oneIssuer+`
		}
		reverse_proxy $UPSTREAM
	}
	handle_path /outer/* {
		handle_path /inner/* {
			dpop {`+oneIssuer+`
			}
			reverse_proxy $UPSTREAM
		}
	}
	handle {
		dpop {`+oneIssuer+`
		}
		reverse_proxy $UPSTREAM
	}
`+echo+`
}
`)
	c := n.client()
	for _, test := range []struct{ asked, method, path string }{
		{"/rewritten/a?q=1", "GET", "/elsewhere"},
		{"/method", "PUT", "/method"},
		{"/stripped/b", "GET", "/b"},
		{"/replaced/b", "GET", "/elsewhere/b"},
		{"/handled/c", "GET", "/c"},
		{"/outer/inner/d", "GET", "/d"},
		{"/outer/inner/x%2Fy//z", "GET", "/x%2Fy/z"},
		{"/a/../b//c%2e%2E", "GET", ""},
	} {
		c.get(test.asked).passed()
		r := n.upstream.last(t)
		if test.path != "" && (r.Method != test.method || r.URL.EscapedPath() != test.path) {
			t.Errorf("%s reached the upstream as %s %s", test.asked, r.Method, r.URL.EscapedPath())
		}
		if test.method != "GET" {
			c.present(c.proof(test.method, n.url(test.asked)), "GET", n.url(test.asked)).refusedFor("htm_mismatch")
		} else if test.path != "" {
			c.present(c.proof("GET", n.url(test.path)), "GET", n.url(test.asked)).refusedFor("htu_mismatch")
		}
	}
}

// TestTarget: which htu is good for http://api.test:PORT/a%2Fb/c.
func TestTarget(t *testing.T) {
	n := start(t, site(oneIssuer))
	c := n.client()
	for htu, reason := range map[string]Reason{
		"http://api.test:$PORT/a%2Fb/c":     "",
		"http://api.test:$PORT/a%2fb/c":     "",
		"HTTP://API.test:$PORT/a%2Fb/c?x#y": "",
		"http://api.test:$PORT/%61%2Fb/c":   "",
		"http://api.test:$PORT/a/b/c":       "htu_mismatch",
		"http://api.test:$PORT/a%2Fb/C":     "htu_mismatch",
		"http://api.test:$PORT/a%2Fb/c/":    "htu_mismatch",
		"http://api.test/a%2Fb/c":           "htu_mismatch",
		"https://api.test:$PORT/a%2Fb/c":    "htu_mismatch",
		"http://u@api.test:$PORT/a%2Fb/c":   "htu_invalid",
	} {
		url := n.url("/a%2Fb/c?q=1")
		a := c.present(c.proof("GET", strings.ReplaceAll(htu, "$PORT", n.port)), "GET", url)
		if reason == "" {
			a.passed()
		} else {
			a.refusedFor(reason)
		}
	}
}

// TestProxied: forwarded headers count from trusted proxies only.
func TestProxied(t *testing.T) {
	const (
		trusted = "servers {\ntrusted_proxies static 127.0.0.0/8\n}"
		others  = "servers {\ntrusted_proxies static 192.0.2.0/24\n}"
	)
	https := []string{"Host", "api.test", "X-Forwarded-Proto", "https"}
	for _, test := range []struct {
		name    string
		globals string
		options string
		fields  []string
		good    string // the htu that passes; "" when the request is misdirected
		bad     string // one that must not
	}{
		{"trusted, https", trusted, "", https, "https://api.test/x", "http://api.test/x"},
		{"trusted, last of several", trusted, "", []string{"Host", "api.test", "X-Forwarded-Proto", "http, https"}, "https://api.test/x", "http://api.test/x"},
		{"trusted, last field", trusted, "", []string{"Host", "api.test", "X-Forwarded-Proto", "https", "X-Forwarded-Proto", "http"}, "http://api.test/x", "https://api.test/x"},
		{"trusted, nonsense", trusted, "", []string{"Host", "api.test", "X-Forwarded-Proto", "gopher"}, "http://api.test/x", "gopher://api.test/x"},
		{"untrusted, https", others, "", https, "http://api.test/x", "https://api.test/x"},
		{"nobody trusted", "", "", https, "http://api.test/x", "https://api.test/x"},
		{"exact site ignores forwarded host", trusted, "", []string{"Host", "api.test", "X-Forwarded-Host", "evil.test"}, "http://api.test/x", "http://evil.test/x"},
		{"one public URL", "", "public_url https://www.test\n", []string{"Host", "api.test"}, "https://www.test/x", "http://api.test/x"},
		{"one public URL, whatever is forwarded", trusted, "public_url https://www.test\n", []string{"Host", "api.test", "X-Forwarded-Host", "evil.test", "X-Forwarded-Proto", "http"}, "https://www.test/x", "http://www.test/x"},
		{"public URL with a base path", "", "public_url https://www.test/v1\n", nil, "https://www.test/v1/x", "https://www.test/x"},
		{"several, Host chooses", "", "public_url https://www.test https://api.test\n", []string{"Host", "api.test"}, "https://api.test/x", "https://www.test/x"},
		{"several, forwarded host chooses", trusted, "public_url https://www.test https://api.test\n", []string{"Host", "api.test", "X-Forwarded-Host", "WWW.test"}, "https://www.test/x", "https://api.test/x"},
		{"several, default port", "", "public_url https://www.test https://api.test\n", []string{"Host", "api.test:443"}, "https://api.test/x", "https://www.test/x"},
		{"several, spoofed host does not choose", others, "public_url https://www.test https://api.test\n", []string{"Host", "api.test", "X-Forwarded-Host", "www.test"}, "https://api.test/x", "https://www.test/x"},
		{"several, scheme chooses", trusted, "public_url https://api.test http://api.test:80\n", []string{"Host", "api.test", "X-Forwarded-Proto", "https"}, "https://api.test/x", "http://api.test/x"},
		{"several, none has that port", "", "public_url https://www.test https://api.test\n", []string{"Host", "api.test:8443"}, "", ""},
		{"several, a path is no host", trusted, "public_url https://www.test https://api.test\n", []string{"Host", "api.test", "X-Forwarded-Host", "www.test/x"}, "", ""},
		{"several, none is forwarded", trusted, "public_url https://www.test https://api.test\n", []string{"Host", "api.test", "X-Forwarded-Host", "evil.test"}, "", ""},
		{"any, Host", "", "public_url any\n", []string{"Host", "api.test:1234"}, "http://api.test:1234/x", "http://api.test/x"},
		{"any, forwarded", trusted, "public_url any\n", []string{"Host", "api.test", "X-Forwarded-Host", "evil.test", "X-Forwarded-Proto", "https"}, "https://evil.test/x", "http://api.test/x"},
		{"any, spoofed", others, "public_url any\n", []string{"Host", "api.test", "X-Forwarded-Host", "evil.test"}, "http://api.test/x", "http://evil.test/x"},
		{"exact site, letter case", "", "", []string{"Host", "API.Test"}, "http://api.test/x", "http://api.test/y"},
		{"exact site, port of another server", "", "", []string{"Host", "api.test:1"}, "", ""},
		{"Origin and Referer", "", "", []string{"Host", "api.test", "Origin", "https://evil.test", "Referer", "https://evil.test/x"}, "http://api.test/x", "https://evil.test/x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := start(t, site(oneIssuer+test.options), test.globals)
			c := n.client()
			send := func(htu string) answer {
				return c.present(c.proof("GET", htu), "GET", n.url("/x"), test.fields...)
			}
			if test.good == "" {
				send("https://api.test/x").refused(421, "host_unknown")
				return
			}
			send(test.good).passed()
			send(test.bad).refused(401, map[bool]Reason{true: "htu_invalid", false: "htu_mismatch"}[strings.HasPrefix(test.bad, "gopher")],
				challenged("invalid_dpop_proof", map[bool]string{
					true:  "The htu of the proof is not an absolute http or https URI",
					false: "The htu of the proof is not the URI of the request",
				}[strings.HasPrefix(test.bad, "gopher")]))
		})
	}
}

// TestAbsoluteForm: the request line does not choose the scheme or the host.
func TestAbsoluteForm(t *testing.T) {
	n := start(t, site(oneIssuer))
	c := n.client()
	send := func(target, htu string) *testkit.Answer {
		m := testkit.Message{Method: "GET", Target: target, Fields: []testkit.Field{
			{Name: "Host", Value: "api.test:" + n.port},
			{Name: "Connection", Value: "close"},
			{Name: "Authorization", Value: "DPoP " + c.token},
			{Name: "DPoP", Value: c.proof("GET", htu).String()},
		}}
		a, err := testkit.Exchange("127.0.0.1:"+n.port, "GET", m.Bytes())
		must(t, err)
		return a
	}
	if a := send("https://api.test:"+n.port+"/x", "https://api.test:"+n.port+"/x"); a.Status != 401 || !strings.HasPrefix(string(a.Body), "reason=htu_mismatch ") {
		t.Errorf("scheme of the request line: %d %s", a.Status, a.Body)
	}
	if a := send("https://api.test:"+n.port+"/x", n.url("/x")); a.Status != 200 {
		t.Errorf("scheme of the connection: %d %s", a.Status, a.Body)
	}
	if a := send("http://evil.test/x", "http://evil.test/x"); n.upstream.hits() != 1 {
		t.Errorf("host of the request line: %d %s", a.Status, a.Body)
	}
}
