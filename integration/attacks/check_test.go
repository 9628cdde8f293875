// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// want is an expected answer. Reason is ours, exactly; it is empty where somebody
// before us answers (net/http, Caddy's own checks) or where the request is accepted.
type want struct {
	status int
	err    string
	reason string
	// scheme of the challenge that carries the error; empty means DPoP.
	scheme string
}

// The answers of DESIGN's table of refusals.
func badProof(reason string) want  { return want{401, "invalid_dpop_proof", reason, ""} }
func badToken(reason string) want  { return want{401, "invalid_token", reason, ""} }
func needNonce(reason string) want { return want{401, "use_dpop_nonce", reason, ""} }
func badRequest(reason string) want {
	return want{400, "invalid_request", reason, ""}
}

// badBearer is a bad request in the Bearer challenge.
func badBearer(reason string) want   { return want{400, "invalid_request", reason, "Bearer"} }
func unavailable(reason string) want { return want{503, "", reason, ""} }

var (
	accepted      = want{status: 200}
	noCredentials = want{status: 401, reason: "no_credentials"}
	// caddyRefuses is net/http's or Caddy's own refusal, before any handler.
	caddyRefuses = want{status: 400}
	noScope      = want{403, "insufficient_scope", "scope_missing", ""}
	wrongHost    = want{421, "", "host_unknown", ""}
)

func (w want) String() string { return fmt.Sprintf("%d %q %q", w.status, w.err, w.reason) }

// result is what came of an attempt.
type result struct {
	*testkit.Answer
	attempt *attempt
	hits    []hit
	err     error
}

// reason and code are what the site's error route says about the refusal.
func (r *result) reason() string { return echoed(r.Header.Get("X-Dpop-Reason")) }

func (r *result) code() string { return echoed(r.Header.Get("X-Dpop-Error")) }

func echoed(v string) string {
	if strings.HasPrefix(v, "{") { // a placeholder that nobody filled
		return ""
	}
	return v
}

// send puts the attempt on the wire: TLS where the site speaks it, else plain bytes.
func (a *attempt) send() *result {
	r := &result{attempt: a}
	if a.site.tls {
		r.Answer, r.err = a.overTLS()
	} else {
		r.Answer, r.err = testkit.Exchange(a.site.address, a.method, a.wire())
	}
	r.hits = backend.of(a.name)
	if r.Answer == nil {
		r.Answer = &testkit.Answer{Header: http.Header{}}
	}
	return r
}

func (a *attempt) overTLS() (*testkit.Answer, error) {
	name, _, _ := strings.Cut(strings.TrimPrefix(a.site.origin, "https://"), "/")
	c, err := testkit.DialTLS(a.site.address, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) // #nosec G402 -- the test's own certificate
	if err != nil {
		return nil, err
	}
	defer c.Close()
	start := time.Now()
	if err := c.Write(a.wire()); err != nil {
		return nil, err
	}
	answer, err := c.Read(a.method)
	if answer != nil {
		answer.Took = time.Since(start)
	}
	return answer, err
}

// check compares an answer with what is wanted, and asserts what holds for every
// answer of that kind.
func (r *result) check(t testing.TB, w want) {
	t.Helper()
	if r.err != nil {
		t.Errorf("want %v, got no answer: %v", w, r.err)
		return
	}
	if r.Status != w.status {
		t.Errorf("want %v, got %d %q %q", w, r.Status, r.code(), r.reason())
		return
	}
	if leak := secrets.find(r.Body); leak != "" {
		t.Errorf("the body of the answer holds %s", leak)
	}
	for name, values := range r.Header {
		for _, v := range values {
			if leak := secrets.find([]byte(v)); leak != "" && name != "Dpop-Nonce" {
				t.Errorf("the field %s of the answer holds %s", name, leak)
			}
		}
	}
	if w.status < 300 || w.status == http.StatusSwitchingProtocols {
		if r.Header.Values("Www-Authenticate") != nil {
			t.Errorf("a success with a challenge: %q", r.Header.Values("Www-Authenticate"))
		}
		return
	}
	r.checkRefusal(t, w)
}

// slowest is how long a refusal may take.
const slowest = time.Second

func (r *result) checkRefusal(t testing.TB, w want) {
	t.Helper()
	if n := len(backend.of(r.attempt.name)); n != 0 {
		t.Errorf("refused with %d, but the upstream was reached %d times", r.Status, n)
	}
	if w.reason == "" {
		return
	}
	if !r.attempt.site.silent {
		if got := r.reason(); got != w.reason {
			t.Errorf("reason %q, want %q", got, w.reason)
		}
		if got := r.code(); got != w.err {
			t.Errorf("error %q, want %q", got, w.err)
		}
	}
	if got := r.Header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
		t.Errorf("a refusal with Cache-Control %q", got)
	}
	if (w.status == 503 || w.status == 429) && r.Header.Get("Retry-After") == "" {
		t.Errorf("%d without Retry-After", w.status)
	}
	if w.status == 401 || w.status == 403 || w.err == "invalid_request" {
		r.checkChallenge(t, w)
	} else if w.status >= 500 && r.Header.Get("Www-Authenticate") != "" {
		t.Errorf("an outage looks like a challenge: %q", r.Header.Get("Www-Authenticate"))
	}
	nonces := r.Header.Values("Dpop-Nonce")
	if w.err == "use_dpop_nonce" && (len(nonces) != 1 || nonces[0] == "") {
		t.Errorf("a nonce challenge with DPoP-Nonce %q", nonces)
	}
}

// checkChallenge holds WWW-Authenticate to DESIGN section 5: the DPoP challenge comes in
// the first field of that name, with algs, and the error stands in the challenge of the
// scheme that was tried.
func (r *result) checkChallenge(t testing.TB, w want) {
	t.Helper()
	lines := r.Header.Values("Www-Authenticate")
	if len(lines) == 0 {
		t.Errorf("%d without WWW-Authenticate", w.status)
		return
	}
	all, err := testkit.ParseChallenges(lines)
	if err != nil {
		t.Errorf("WWW-Authenticate: %v", err)
		return
	}
	if !strings.HasPrefix(lines[0], "DPoP ") || all[0].Params["algs"] == "" {
		t.Errorf("the first challenge is not DPoP with algs: %q", lines[0])
	}
	scheme := w.scheme
	if scheme == "" {
		scheme = "DPoP"
	}
	for _, c := range all {
		expected := ""
		if c.Scheme == scheme {
			expected = w.err
		}
		if got := c.Params["error"]; got != expected {
			t.Errorf("%s challenge says %q, want %q: %q", c.Scheme, got, expected, lines)
		}
		if expected != "" && c.Params["error_description"] == "" {
			t.Errorf("%s challenge without error_description: %q", c.Scheme, lines)
		}
	}
}
