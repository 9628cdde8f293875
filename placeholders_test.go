// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// TestPlaceholders asks for each of them, as a reverse_proxy would.
func TestPlaceholders(t *testing.T) {
	names := []string{
		"http.auth.user.id", "http.dpop.jkt", "http.dpop.client_id", "http.dpop.scope", "http.dpop.issuer",
		"http.dpop.error", "http.dpop.reason",
		"http.dpop.claims.sub", "http.dpop.claims.act/sub", "http.dpop.claims.act/act/sub", "http.dpop.claims.groups", "http.dpop.claims.act",
		"http.dpop.claims.mixed", "http.dpop.claims.large", "http.dpop.claims.small", "http.dpop.claims.yes",
		"http.dpop.claims.nothing", "http.dpop.claims.absent", "http.dpop.claims.act/absent", "http.dpop.claims.sub/x",
		"http.dpop.claims.cnf/jkt", "http.dpop.claims.empty", "http.dpop.claims.https://api.test/role",
	}
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name + "=<{" + name + "}>\n")
	}
	n := start(t, `http://api.test:$PORT {
	dpop {`+oneIssuer+`
	}
	respond `+"`"+b.String()+"`"+`
	handle_errors {
		respond `+"`"+b.String()+"`"+`
	}
}
`)
	read := func(a answer) map[string]string {
		values := make(map[string]string)
		for line := range strings.Lines(a.body) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			values[name] = strings.TrimSuffix(strings.TrimPrefix(value, "<"), ">")
		}
		return values
	}
	c := n.client()
	token := n.bound(c.key)
	for name, raw := range map[string]string{
		"act":     `{"sub":"helper","act":{"sub":"deep"}}`,
		"groups":  `["admins","staff"]`,
		"mixed":   `["a",1]`,
		"large":   `9007199254740993`,
		"small":   `1.50`,
		"yes":     `true`,
		"nothing": `null`,
		"empty":   `[]`,
	} {
		token.Set(name, testkit.Raw(raw))
	}
	c = c.with(token)
	want := map[string]string{
		"http.auth.user.id":            "alice",
		"http.dpop.jkt":                c.key.Thumbprint(),
		"http.dpop.client_id":          "app",
		"http.dpop.scope":              "read write",
		"http.dpop.issuer":             n.issuer.URL,
		"http.dpop.claims.sub":         "alice",
		"http.dpop.claims.act/sub":     "helper",
		"http.dpop.claims.act/act/sub": "deep",
		"http.dpop.claims.groups":      "admins staff",
		"http.dpop.claims.act":         `{"act":{"sub":"deep"},"sub":"helper"}`,
		"http.dpop.claims.mixed":       `["a",1]`,
		"http.dpop.claims.large":       "9007199254740993",
		"http.dpop.claims.small":       "1.50",
		"http.dpop.claims.yes":         "true",
		"http.dpop.claims.cnf/jkt":     c.key.Thumbprint(),
	}
	a := c.get("/")
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	got := read(a)
	for _, name := range names {
		if got[name] != want[name] {
			t.Errorf("{%s} is %q, want %q", name, got[name], want[name])
		}
	}

	// After a refusal everything about the client is empty.
	got = read(c.present(c.proof("GET", n.url("/other")), "GET", n.url("/")))
	for _, name := range names {
		want := map[string]string{
			"http.dpop.error": "invalid_dpop_proof", "http.dpop.reason": "htu_mismatch",
		}[name]
		if got[name] != want {
			t.Errorf("refused: {%s} is %q, want %q", name, got[name], want)
		}
	}
}

// TestUserOfSeveralIssuers: a subject is unique at its issuer only.
func TestUserOfSeveralIssuers(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	dpop {
		issuer $ISSUER
		issuer https://other.test
		audience any
		replay memory
	}
	reverse_proxy $UPSTREAM {
		header_up X-User "{http.auth.user.id}"
	}
}
`)
	c := n.client()
	c.get("/").passed()
	if got := n.upstream.last(t).Header.Get("X-User"); got != n.issuer.URL+"|alice" {
		t.Errorf("user %q", got)
	}
	token := n.bound(c.key)
	token.Claims.Delete("sub")
	c.with(token).get("/").passed()
	if got := n.upstream.last(t).Header.Get("X-User"); got != "" {
		t.Errorf("a token without subject makes the user %q", got)
	}
}

// TestPlaceholdersOfOuter: what an outer dpop found out is gone when an inner
// one refuses, so that no error page is made out to somebody.
func TestPlaceholdersOfOuter(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	dpop {`+oneIssuer+`
	}
	route {
		dpop {`+oneIssuer+`
			scope admin
		}
		reverse_proxy $UPSTREAM
	}
	handle_errors {
		respond "<{http.dpop.reason}><{http.dpop.jkt}><{http.dpop.claims.sub}><{http.dpop.client_id}>"
	}
}
`)
	if a := n.client().get("/"); a.body != "<scope_missing><><><>" {
		t.Errorf("%q", a.body)
	}
}

// TestAccessLog: who it was, or why it was refused.
func TestAccessLog(t *testing.T) {
	n := start(t, strings.Replace(site(oneIssuer), "{\n", "{\n\tlog\n", 1))
	c := n.client()
	c.get("/good").passed()
	c.present(c.proof("GET", n.url("/")), "GET", n.url("/bad")).refusedFor("htu_mismatch")
	n.send("GET", n.url("/none")).refusedFor("no_credentials")

	entry := func(uri string) (found map[string]any) {
		eventually(t, "access log of "+uri, func() bool {
			for _, e := range n.log.entries(t, "http.log.access") {
				if request, _ := e["request"].(map[string]any); request["uri"] == uri {
					found = e
				}
			}
			return found != nil
		})
		return found
	}
	good := entry("/good")
	fields, _ := good["dpop"].(map[string]any)
	if good["user_id"] != "alice" || fields["jkt"] != c.key.Thumbprint() || fields["client_id"] != "app" || fields["reason"] != nil {
		t.Errorf("good: %v, %v", good["user_id"], fields)
	}
	bad := entry("/bad")
	fields, _ = bad["dpop"].(map[string]any)
	if bad["user_id"] != "" || fields["reason"] != "htu_mismatch" || fields["error"] != "invalid_dpop_proof" || fields["jkt"] != nil {
		t.Errorf("bad: %v, %v", bad["user_id"], fields)
	}
	none := entry("/none")
	if fields, _ = none["dpop"].(map[string]any); fields["reason"] != "no_credentials" || fields["error"] != nil {
		t.Errorf("none: %v", fields)
	}
}

// TestRefusalLog: one line per refusal, with what an operator needs to see why.
func TestRefusalLog(t *testing.T) {
	n := start(t, site(oneIssuer))
	c := n.client()
	line := func() map[string]any {
		entries := n.log.entries(t, "http.handlers.dpop")
		return entries[len(entries)-1]
	}
	c.present(c.proof("GET", "HTTP://OTHER.test:80/%7ea?x#y"), "GET", n.url("/bad")).refusedFor("htu_mismatch")
	e := line()
	for name, want := range map[string]any{
		"level": "info", "reason": "htu_mismatch", "error": "invalid_dpop_proof", "status": 401.0, "method": "GET", "client_ip": "127.0.0.1",
		"host": "api.test:" + n.port, "monitor": false, "jkt": c.key.Thumbprint(),
		"htu_claimed": "http://other.test/~a", "htu_expected": n.url("/bad"),
	} {
		if e[name] != want {
			t.Errorf("htu_mismatch: %s is %v, want %v", name, e[name], want)
		}
	}
	for _, test := range []struct {
		reason            Reason
		name, want        string
		claimed, expected any
	}{
		{"token_issuer_unknown", "iss", n.issuer.URL + "/", n.issuer.URL + "/", []any{n.issuer.URL}},
		{"token_issuer_unknown", "iss", strings.Repeat("i", 2*maxLogged), strings.Repeat("i", maxLogged), []any{n.issuer.URL}},
		{"token_audience_mismatch", "aud", "https://other.test", []any{"https://other.test"}, []any{"https://api.test"}},
	} {
		c.with(n.bound(c.key).Set(test.name, test.want)).get("/").refusedFor(test.reason)
		e := line()
		if got := e[test.name+"_claimed"]; !reflect.DeepEqual(got, test.claimed) {
			t.Errorf("%s: claimed %v, want %v", test.reason, got, test.claimed)
		}
		if got := e[test.name+"_expected"]; !reflect.DeepEqual(got, test.expected) {
			t.Errorf("%s: expected %v, want %v", test.reason, got, test.expected)
		}
	}
	c.present(c.proof("GET", n.url("/")).Set("iat", n.clock.Now().Unix()-600), "GET", n.url("/")).refusedFor("iat_too_old")
	if e = line(); e["clock_offset"] != -600.0 {
		t.Errorf("iat_too_old: clock_offset %v", e["clock_offset"])
	}
	c.get("/").passed()
	if got := line(); got["ts"] != e["ts"] {
		t.Errorf("an accepted request was logged: %v", got)
	}
	if e["logger"] != "http.handlers.dpop" || strings.Count(n.log.String(), "request refused") != 5 {
		t.Error("not one line per refusal")
	}
}
