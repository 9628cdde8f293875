// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const page = "https://app.example"

// wantHeader compares all values of a field.
func (a answer) wantHeader(name string, values ...string) answer {
	a.t.Helper()
	if got := a.header[http.CanonicalHeaderKey(name)]; !slices.Equal(got, values) {
		a.t.Errorf("%s is %q, want %q", name, got, values)
	}
	return a
}

func TestCORS(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	dpop {`+oneIssuer+`
		cors https://app.example http://localhost:3000
		nonce optional
	}
	reverse_proxy /down 127.0.0.1:1
	reverse_proxy $UPSTREAM
`+echo+`
}
`)
	c := n.client()
	preflight := func(origin string) answer {
		return n.send("OPTIONS", n.url("/x"), "Origin", origin, "Access-Control-Request-Method", "DELETE",
			"Access-Control-Request-Headers", "DPoP, X-Custom,authorization, bad field")
	}

	for _, origin := range []string{page, "http://localhost:3000"} {
		a := preflight(origin)
		if a.status != 204 || a.hits != 0 {
			t.Errorf("preflight: %d, %d hits", a.status, a.hits)
		}
		a.wantHeader("Access-Control-Allow-Origin", origin).
			wantHeader("Access-Control-Allow-Methods", "DELETE").
			wantHeader("Access-Control-Allow-Headers", "authorization, dpop, x-custom").
			wantHeader("Access-Control-Max-Age", "600").
			wantHeader("Access-Control-Allow-Credentials").
			wantHeader("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	}

	// An origin that is not listed is never reflected, in no answer.
	for _, origin := range []string{"https://evil.example", "https://app.example.evil.example", "https://APP.example", "https://app.example:8443", "http://app.example", "null", ""} {
		preflight(origin).refusedFor("no_credentials").wantHeader("Access-Control-Allow-Origin").wantHeader("Access-Control-Allow-Methods").wantHeader("Vary", "Origin")
		c.get("/", "Origin", origin).passed().wantHeader("Access-Control-Allow-Origin").wantHeader("Vary", "Origin")
	}
	// Other OPTIONS are requests like all others.
	n.send("OPTIONS", n.url("/x"), "Origin", page).refusedFor("no_credentials")
	c.send("OPTIONS", n.url("/x"), "Origin", page).passed()

	// Every other answer can be read by the page.
	readable := func(a answer, exposed ...string) {
		t.Helper()
		a.wantHeader("Access-Control-Allow-Origin", page).wantHeader("Vary", "Origin").
			wantHeader("Access-Control-Expose-Headers", strings.Join(append(exposed, "DPoP-Nonce", "WWW-Authenticate"), ", "))
	}
	readable(c.get("/", "Origin", page).passed())
	readable(n.send("GET", n.url("/"), "Origin", page).refused(401, "no_credentials", challenged("", "")))
	a := c.present(c.proof("GET", n.url("/")).Set("iat", 1), "GET", n.url("/"), "Origin", page)
	readable(a.refused(401, "iat_challenged", clockNonce))
	a.nonce()
	a = c.send("GET", n.url("/down"), "Origin", page)
	if a.status != 502 {
		t.Errorf("status %d", a.status)
	}
	readable(a)

	// What the upstream sends is replaced, or merged where both count.
	n.upstream.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Access-Control-Expose-Headers", "X-Total, dpop-nonce")
		w.Header().Set("Vary", "Accept")
		w.WriteHeader(http.StatusTeapot)
	})
	a = c.get("/", "Origin", page)
	a.wantHeader("Access-Control-Allow-Origin", page).
		wantHeader("Access-Control-Expose-Headers", "X-Total, dpop-nonce, WWW-Authenticate").
		wantHeader("Vary", "Accept", "Origin")
	if a.status != http.StatusTeapot {
		t.Errorf("status %d", a.status)
	}
	c.get("/", "Origin", "https://evil.example").wantHeader("Access-Control-Allow-Origin").wantHeader("Access-Control-Allow-Credentials")
}

func TestCORSEveryone(t *testing.T) {
	n := start(t, site(oneIssuer+"cors *\n"))
	c := n.client()
	c.get("/", "Origin", "https://any.example").passed().wantHeader("Access-Control-Allow-Origin", "*").wantHeader("Access-Control-Allow-Credentials")
	c.get("/").passed().wantHeader("Access-Control-Allow-Origin")
	a := n.send("OPTIONS", n.url("/"), "Origin", "https://any.example", "Access-Control-Request-Method", "PUT")
	if a.status != 204 {
		t.Errorf("preflight: %d", a.status)
	}
	a.wantHeader("Access-Control-Allow-Origin", "*").wantHeader("Access-Control-Allow-Headers", "authorization, dpop")
}

// TestHeadersThatWin: a nonce of the upstream's is not ours.
func TestHeadersThatWin(t *testing.T) {
	n := start(t, site(oneIssuer+"nonce optional\n"))
	c := n.client()
	nonce := c.signed("", time.Hour).nonce()
	n.clock.Advance(200 * time.Second)
	for control, want := range map[string][]string{
		"":                    {"private"},
		"no-store":            {"no-store"},
		"private, max-age=60": {"private, max-age=60"},
		"public, max-age=60":  {"public, max-age=60", "private"},
	} {
		n.upstream.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("DPoP-Nonce", "the upstream's")
			if control != "" {
				w.Header().Set("Cache-Control", control)
			}
			_, _ = w.Write([]byte("x"))
		})
		a := c.signed(nonce, 0).passed().wantHeader("Cache-Control", want...)
		if got := a.nonce(); got == "the upstream's" || got == nonce {
			t.Errorf("DPoP-Nonce %q", got)
		}
	}
}
