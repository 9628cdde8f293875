// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// TestSeveral: all `dpop` that a request meets apply, each to the credentials
// as received, and a proof is used up once.
func TestSeveral(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	dpop {`+oneIssuer+`
		forward_as bearer
	}
	route /admin/* {
		dpop {`+oneIssuer+`
			scope admin
		}
		reverse_proxy $UPSTREAM
	}
	route /none/* {
		dpop {`+oneIssuer+`
			forward_as none
		}
		reverse_proxy $UPSTREAM
	}
	route /twice/* {
		dpop {`+oneIssuer+`
			max_age 30s
		}
		dpop {`+oneIssuer+`
			algorithms ES256
			forward_as bearer
		}
		reverse_proxy $UPSTREAM
	}
	reverse_proxy $UPSTREAM
`+echo+`
}
`)
	c := n.client()
	admin := c.with(n.bound(c.key).Set("scope", "admin"))

	c.get("/").passed()
	wantCredentials(t, n, []string{"Bearer " + c.token}, nil)

	admin.get("/admin/x").passed()
	if r := n.upstream.last(t); r.Header.Get("Authorization") != "DPoP "+admin.token || len(r.Header["Dpop"]) != 1 {
		t.Errorf("the inner dpop does not restore what was received: %q", r.Header)
	}
	c.get("/admin/x").refusedFor("scope_missing")
	c.get("/none/x").passed()
	wantCredentials(t, n, nil, nil)
	c.get("/twice/x").passed()
	wantCredentials(t, n, []string{"Bearer " + c.token}, nil)

	// What one of them claimed is used up for the next request.
	p := admin.proof("GET", n.url("/admin/y"))
	admin.present(p, "GET", n.url("/admin/y")).passed()
	admin.present(p, "GET", n.url("/admin/y")).refusedFor("jti_replayed")

	// The outer one lets this pass, an inner one does not.
	old := admin.proof("GET", n.url("/twice/x")).Set("iat", n.clock.Now().Unix())
	n.clock.Advance(61 * time.Second)
	admin.present(old, "GET", n.url("/twice/x")).refusedFor("iat_too_old")
	ed := &client{n, testkit.Ed25519("a"), ""}
	ed.with(n.bound(ed.key)).get("/twice/x").refusedFor("alg_unsupported")
	ed.with(n.bound(ed.key)).get("/").passed()
}

// TestChangedBetween: what request_header makes of the fields in between, in place,
// is no matter for the dpop that come after it, nor for the upstream.
func TestChangedBetween(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	route {
		dpop {`+oneIssuer+`
		}
		request_header Authorization ^DPoP Bearer
		request_header DPoP ^ey xx
		dpop {`+oneIssuer+`
		}
		request_header Authorization ^DPoP Basic
		request_header DPoP ^ey yy
		dpop {`+oneIssuer+`
		}
		reverse_proxy $UPSTREAM
	}
`+echo+`
}
`)
	c := n.client()
	p := c.proof("GET", n.url("/")).String()
	n.send("GET", n.url("/"), "Authorization", "DPoP "+c.token, "DPoP", p).passed()
	wantCredentials(t, n, []string{"DPoP " + c.token}, []string{p})
}

func wantCredentials(t *testing.T, n *node, authorization, proofs []string) {
	t.Helper()
	r := n.upstream.last(t)
	if got := r.Header["Authorization"]; !slices.Equal(got, authorization) {
		t.Errorf("the upstream got Authorization %.60q, want %.60q", got, authorization)
	}
	if got := r.Header["Dpop"]; !slices.Equal(got, proofs) {
		t.Errorf("the upstream got DPoP %.60q, want %.60q", got, proofs)
	}
}

// TestMatchers: each of two matched dpop applies where its matcher says.
func TestMatchers(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	dpop /a* {`+oneIssuer+`
	}
	dpop /ab* {`+oneIssuer+`
		scope admin
	}
	reverse_proxy $UPSTREAM
`+echo+`
}
`)
	c := n.client()
	n.send("GET", n.url("/public")).passed()
	n.send("GET", n.url("/a")).refusedFor("no_credentials")
	c.get("/a").passed()
	c.get("/abc").refusedFor("scope_missing")
	c.with(n.bound(c.key).Set("scope", "admin")).get("/abc").passed()
}

// TestErrorRoutes: a dpop on an error route sees the request's proof again and
// does not take its own claim for a replay.
func TestErrorRoutes(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	dpop /api/* {`+oneIssuer+`
	}
	reverse_proxy /api/down 127.0.0.1:1
	reverse_proxy $UPSTREAM
	handle_errors 502 {
		dpop {`+oneIssuer+`
		}
		respond "sorry, {http.auth.user.id}"
	}
	handle_errors {
		respond "reason={http.dpop.reason} error={http.dpop.error} "
	}
}
`)
	c := n.client()
	a := c.get("/api/down")
	if a.status != 502 || a.body != "sorry, alice" || a.header["Www-Authenticate"] != nil {
		t.Errorf("%d %q %v", a.status, a.body, a.header)
	}
	n.send("GET", n.url("/api/x")).refused(401, "no_credentials", challenged("", ""))
}

// TestForwardAs looks at what the upstream gets.
func TestForwardAs(t *testing.T) {
	n := start(t, sites(map[string]string{
		"api.test":    oneIssuer,
		"dpop.test":   oneIssuer + "forward_as dpop\n",
		"bearer.test": oneIssuer + "forward_as bearer\n",
		"none.test":   oneIssuer + "forward_as none\n",
	}))
	c := n.client()
	for _, test := range []struct {
		host         string
		token, proof bool
		scheme       string
	}{
		{"api.test", true, true, "DPoP "}, {"dpop.test", true, true, "DPoP "}, {"bearer.test", true, false, "Bearer "}, {"none.test", false, false, ""},
	} {
		url := "http://" + test.host + ":" + n.port + "/"
		p := c.proof("GET", url).String()
		n.send("GET", url, "Authorization", "DPoP "+c.token, "DPoP", p).passed()
		var authorization, proofs []string
		if test.token {
			authorization = []string{test.scheme + c.token}
		}
		if test.proof {
			proofs = []string{p}
		}
		wantCredentials(t, n, authorization, proofs)
	}
}

// TestMonitor: everything is evaluated, nothing is refused.
func TestMonitor(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	dpop {`+oneIssuer+`
		mode monitor
		forward_as bearer
	}
	reverse_proxy $UPSTREAM {
		header_up X-User "{http.auth.user.id}"
		header_up X-Sub "{http.dpop.claims.sub}"
		header_up X-Reason "{http.dpop.reason}"
		header_up X-Error "{http.dpop.error}"
	}
}
`)
	c := n.client()
	good := c.proof("GET", n.url("/"))
	c.present(good, "GET", n.url("/")).passed()
	r := n.upstream.last(t)
	if r.Header.Get("X-User") != "alice" || r.Header.Get("X-Sub") != "alice" || r.Header.Get("X-Reason") != "" {
		t.Errorf("accepted: %v", r.Header)
	}
	wantCredentials(t, n, []string{"Bearer " + c.token}, nil)

	for reason, send := range map[Reason]func() answer{
		"jti_replayed":         func() answer { return c.present(good, "GET", n.url("/")) },
		"htu_mismatch":         func() answer { return c.present(c.proof("GET", n.url("/x")), "GET", n.url("/")) },
		"token_issuer_unknown": func() answer { return c.with(n.bound(c.key).Set("iss", "https://other.test")).get("/") },
	} {
		a := send().passed()
		if a.header["Cache-Control"] != nil {
			t.Errorf("%s: Cache-Control %q", reason, a.header["Cache-Control"])
		}
		r := n.upstream.last(t)
		if r.Header.Get("X-User") != "" || r.Header.Get("X-Sub") != "" || r.Header.Get("X-Reason") != string(reason) {
			t.Errorf("%s: the upstream got %v", reason, r.Header)
		}
		if r.Header.Get("Authorization")[:5] != "DPoP " || len(r.Header["Dpop"]) != 1 {
			t.Errorf("%s: the request was touched: %v", reason, r.Header)
		}
		entries := n.log.entries(t, "http.handlers.dpop")
		if last := entries[len(entries)-1]; last["reason"] != string(reason) || last["monitor"] != true {
			t.Errorf("%s: logged %v", reason, last)
		}
	}
	n.send("GET", n.url("/"), "Authorization", "Bearer "+c.token).passed()
	n.send("GET", n.url("/")).passed()
	if got := n.upstream.last(t).Header.Get("X-Reason"); got != "no_credentials" {
		t.Errorf("reason %q", got)
	}
}

// TestMonitorOutage: a store that does not answer holds nobody up for long.
func TestMonitorOutage(t *testing.T) {
	n := start(t, site("\nissuer $ISSUER\naudience https://api.test\nmode monitor\nreplay dpop_test {\nstall\n}\n"))
	begin := time.Now()
	n.client().get("/").passed()
	if took := time.Since(begin); took < monitorTimeout || took > 10*monitorTimeout {
		t.Errorf("it took %v", took)
	}
	entries := n.log.entries(t, "http.handlers.dpop")
	if last := entries[len(entries)-1]; last["reason"] != "replay_unavailable" || last["monitor"] != true {
		t.Errorf("logged %v", last)
	}
}

// TestReplayOff leaves remembering to somebody behind.
func TestReplayOff(t *testing.T) {
	n := start(t, site("\nissuer $ISSUER\naudience https://api.test\nreplay off\n"))
	c := n.client()
	p := c.proof("GET", n.url("/"))
	c.present(p, "GET", n.url("/")).passed()
	c.present(p, "GET", n.url("/")).passed()
	warned := false
	for _, entry := range n.log.entries(t, "dpop") {
		warned = warned || entry["level"] == "warn"
	}
	if !warned {
		t.Error("no warning at start")
	}
}

// TestIdentityOfOthers: what another handler, or the client, said about who is
// asking does not outlive a dpop that knows.
func TestIdentityOfOthers(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	route {
		vars http.auth.user.id mallory
		dpop {`+oneIssuer+`
		}
		reverse_proxy $UPSTREAM {
			header_up X-User "{http.auth.user.id}"
		}
	}
}
`)
	n.client().get("/", "X-User", "mallory").passed()
	if got := n.upstream.last(t).Header["X-User"]; !slices.Equal(got, []string{"alice"}) {
		t.Errorf("X-User %q", got)
	}
	n.upstream.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	a := n.client().get("/")
	if a.status != 401 || a.header["Www-Authenticate"] != nil {
		t.Errorf("an upstream's 401 was changed: %d %v", a.status, a.header)
	}
}
