// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"fmt"
	"strings"
	"testing"
)

// TestHostRule: without a public URL a dpop stands in a site with exact hosts,
// however it got there.
func TestHostRule(t *testing.T) {
	const sentence = "add `public_url https://your.name`"
	const dpop = "dpop {" + oneIssuer + "}\n"
	for name, test := range map[string]struct {
		config string
		ok     bool
	}{
		"exact host":                {"http://api.test:$PORT {\n" + dpop + "}", true},
		"two exact hosts":           {"http://api.test:$PORT, http://www.test:$PORT {\n" + dpop + "}", true},
		"IPv4 address":              {"http://127.0.0.1:$PORT {\n" + dpop + "}", true},
		"catch-all":                 {"http://:$PORT {\n" + dpop + "}", false},
		"port only":                 {":$PORT {\n" + dpop + "}", false},
		"wildcard":                  {"http://*.test:$PORT {\n" + dpop + "}", false},
		"exact and wildcard":        {"http://api.test:$PORT, http://*.test:$PORT {\n" + dpop + "}", false},
		"catch-all, one public URL": {"http://:$PORT {\ndpop {" + oneIssuer + "public_url https://api.test\n}\n}", true},
		"catch-all, any":            {"http://:$PORT {\ndpop {" + oneIssuer + "public_url any\n}\n}", true},
		"catch-all, in defaults":    {"http://:$PORT {\n" + dpop + "}", false},

		"matcher of dpop":      {"http://:$PORT {\n@h host api.test\ndpop @h {" + oneIssuer + "}\n}", true},
		"matcher around dpop":  {"http://*.test:$PORT {\n@h host api.test\nhandle @h {\n" + dpop + "}\n}", true},
		"wildcard matcher":     {"http://:$PORT {\n@h host *.test\ndpop @h {" + oneIssuer + "}\n}", false},
		"placeholder matcher":  {"http://:$PORT {\n@h host {http.vars.x}\ndpop @h {" + oneIssuer + "}\n}", false},
		"other matcher":        {"http://:$PORT {\n@h path /x\ndpop @h {" + oneIssuer + "}\n}", false},
		"excluding matcher":    {"http://:$PORT {\n@h not host evil.test\ndpop @h {" + oneIssuer + "}\n}", false},
		"host and path":        {"http://:$PORT {\n@h {\nhost api.test\npath /x*\n}\ndpop @h {" + oneIssuer + "}\n}", true},
		"expression":           {"http://:$PORT {\n@h `{http.request.host} == \"api.test\"`\ndpop @h {" + oneIssuer + "}\n}", false},
		"nested in exact":      {"http://api.test:$PORT {\nroute /a* {\nhandle_path /a/b* {\n" + dpop + "}\n}\n}", true},
		"nested in catch-all":  {"http://:$PORT {\nroute /a* {\nhandle_path /a/b* {\n" + dpop + "}\n}\n}", false},
		"error route":          {"http://api.test:$PORT {\nhandle_errors {\n" + dpop + "}\n}", true},
		"error route, any":     {"http://:$PORT {\nhandle_errors {\n" + dpop + "}\n}", false},
		"handle_response":      {"http://api.test:$PORT {\nreverse_proxy $UPSTREAM {\nhandle_response {\n" + dpop + "}\n}\n}", true},
		"handle_response, any": {"http://:$PORT {\nreverse_proxy $UPSTREAM {\nhandle_response {\n" + dpop + "}\n}\n}", false},
		"intercept, any":       {"http://:$PORT {\nintercept {\nhandle_response {\n" + dpop + "}\n}\n}", false},
		"forward_auth":         {"http://api.test:$PORT {\nforward_auth $UPSTREAM {\nuri /x\n}\n" + dpop + "}", true},
		"named, exact":         {"&(protected) {\n" + dpop + "}\nhttp://api.test:$PORT {\ninvoke protected\n}", true},
		"named, any":           {"&(protected) {\n" + dpop + "}\nhttp://:$PORT {\ninvoke protected\n}", false},
		"named, exact and any": {"&(protected) {\n" + dpop + "}\nhttp://api.test:$PORT {\ninvoke protected\n}\nhttp://:$PORT {\ninvoke protected\n}", false},
		"snippet, one is any":  {"(protected) {\n" + dpop + "}\nhttp://api.test:$PORT {\nimport protected\n}\nhttp://*.test:$PORT {\nimport protected\n}", false},
	} {
		t.Run(name, func(t *testing.T) {
			n := prepare(t)
			err := n.load(test.config)
			switch {
			case test.ok && err != nil:
				t.Error(err)
			case !test.ok && err == nil:
				t.Error("loaded")
			case !test.ok && !strings.Contains(err.Error(), sentence):
				t.Errorf("the error does not say what to add: %v", err)
			}
		})
	}
}

// TestInvocations: however deep a named route stands, and however often, every way to it
// counts, and a circle ends.
func TestInvocations(t *testing.T) {
	const dpop = "dpop {" + oneIssuer + "}\n"
	// chain makes routes r0, r1 and so on, each of which says body of the next.
	chain := func(length int, body func(next string) string) string {
		var b strings.Builder
		for i := range length {
			fmt.Fprintf(&b, "&(r%d) {\nroute {\n%s\n}\n}\n", i, body(fmt.Sprint("invoke r", i+1)))
		}
		return fmt.Sprintf("%s&(r%d) {\n%s}\n", b.String(), length, dpop)
	}
	once := func(next string) string { return next }
	twice := func(next string) string { return next + "\n" + next }
	const exact, wildcard = "http://api.test:$PORT {\ninvoke r0\n}\n", "http://*.test:$PORT {\ninvoke r0\n}\n"
	for name, test := range map[string]struct {
		config string
		ok     bool
	}{
		"a hundred deep":                     {chain(100, once) + exact, true},
		"a hundred deep, wildcard":           {chain(100, once) + wildcard, false},
		"exact at once, a wildcard far away": {chain(100, once) + "http://api.test:$PORT {\ninvoke r100\n}\n" + wildcard, false},
		"each twice":                         {chain(40, twice) + exact, true},
		"each twice, wildcard":               {chain(40, twice) + wildcard, false},
		"a circle":                           {"&(r0) {\nroute {\ninvoke r0\n" + dpop + "}\n}\n" + exact, true},
		"a circle, wildcard":                 {"&(r0) {\nroute {\ninvoke r0\n" + dpop + "}\n}\n" + wildcard, false},
		"a circle, both":                     {"&(r0) {\nroute {\ninvoke r0\n" + dpop + "}\n}\n" + exact + wildcard, false},
		"a circle with a host within":        {"&(r0) {\nroute {\n@h host api.test\nhandle @h {\ninvoke r0\n}\n@i host api.test\nhandle @i {\n" + dpop + "}\n}\n}\n" + wildcard, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := prepare(t).load(test.config)
			switch {
			case test.ok && err != nil:
				t.Error(err)
			case !test.ok && (err == nil || !strings.Contains(err.Error(), "add `public_url https://your.name`")):
				t.Errorf("loaded, or not for what was expected: %v", err)
			}
		})
	}
}

// TestInvokedRoute: a named route knows the hosts of those who invoke it. (Of
// several handlers without matcher Caddy keeps only the first in a named route,
// hence the route block.)
func TestInvokedRoute(t *testing.T) {
	n := start(t, "&(protected) {\nroute {\ndpop {"+oneIssuer+"}\nreverse_proxy $UPSTREAM\n}\n}\n"+
		"http://api.test:$PORT {\ninvoke protected\n"+echo+"}\nhttp://www.test:$PORT {\nhandle_path /v1/* {\ninvoke protected\n}\n"+echo+"}\n")
	c := n.client()
	c.get("/x").passed()
	www := "http://www.test:" + n.port + "/v1/x"
	c.send("GET", www).passed()
	c.present(c.proof("GET", n.url("/v1/x")), "GET", www).refusedFor("htu_mismatch")
}

// TestKnownHosts: clients choose how they spell Host, so what is kept of it is
// bounded.
func TestKnownHosts(t *testing.T) {
	s := &siteHosts{exact: map[string]bool{"api.test": true}}
	for i := range 3 * maxKnownHosts {
		host := []byte("api.test:1000")
		host[12] += byte(i % 10)
		host[11] += byte(i / 10 % 10)
		host[10] += byte(i / 100 % 10)
		if _, err := s.origin("http", string(host)); err != nil {
			t.Fatal(err)
		}
	}
	if kept := len(*s.known.Load()); kept != maxKnownHosts {
		t.Errorf("%d spellings kept", kept)
	}
	for _, host := range []string{"evil.test", "api.test.evil.test", "evil.test:80", "api.test/x", "api.test?x", "api.test#x", "u@api.test", "api.test:x", "api.test\\@evil.test", ""} {
		if o, err := s.origin("http", host); err == nil {
			t.Errorf("%q is taken for %s", host, o)
		}
	}
}
