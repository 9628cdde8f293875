// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const (
	wantsNonce = `DPoP error="use_dpop_nonce", error_description="The proof needs the nonce of this answer", ` + algs
	staleNonce = `DPoP error="use_dpop_nonce", error_description="The nonce of the proof is no longer good, use that of this answer", ` + algs
	alienNonce = `DPoP error="use_dpop_nonce", error_description="The nonce of the proof is not ours, use that of this answer", ` + algs
	clockNonce = `DPoP error="use_dpop_nonce", error_description="The clock is off, use the nonce of this answer", ` + algs
)

// signed sends a good request with a nonce in its proof; iat is off by offset.
func (c *client) signed(nonce string, offset time.Duration) answer {
	c.n.t.Helper()
	p := c.proof("GET", c.n.url("/")).Set("iat", c.n.clock.Now().Add(offset).Unix())
	if nonce != "" {
		p.Set("nonce", nonce)
	}
	return c.present(p, "GET", c.n.url("/"))
}

// nonce is the one that an answer hands out.
func (a answer) nonce() string {
	a.t.Helper()
	got := a.header["Dpop-Nonce"]
	if len(got) != 1 || got[0] == "" {
		a.t.Fatalf("DPoP-Nonce %q", got)
	}
	return got[0]
}

func (a answer) withoutNonce() answer {
	a.t.Helper()
	if got := a.header["Dpop-Nonce"]; got != nil {
		a.t.Errorf("DPoP-Nonce %q", got)
	}
	return a
}

func TestNonceRequired(t *testing.T) {
	n := start(t, site(oneIssuer+"nonce required\n"))
	c := n.client()
	first := c.signed("", 0).refused(401, "nonce_missing", wantsNonce).nonce()
	a := c.signed(first, 0).passed().withoutNonce()
	if a.header["Cache-Control"] != nil {
		t.Errorf("Cache-Control %q without a nonce", a.header["Cache-Control"])
	}
	c.signed(first, 0).passed() // a nonce is not for one use

	// A live nonce stands in for iat, exp and nbf.
	c.signed(first, -time.Hour).passed()
	c.signed(first, time.Hour).passed()
	p := c.proof("GET", n.url("/")).Set("nonce", first).Set("exp", 1).Set("nbf", n.clock.Now().Add(time.Hour).Unix())
	c.present(p, "GET", n.url("/")).passed()
	c.present(p, "GET", n.url("/")).refusedFor("jti_replayed").withoutNonce()

	// Past half its life there is a new one, also on a later failure.
	n.clock.Advance(150 * time.Second)
	c.signed(first, 0).passed().withoutNonce()
	n.clock.Advance(time.Second)
	a = c.signed(first, 0).passed()
	second := a.nonce()
	if second == first || a.header.Get("Cache-Control") != "private" {
		t.Errorf("nonce %q after %q, Cache-Control %q", second, first, a.header["Cache-Control"])
	}
	spoilt := c.proof("GET", n.url("/")).Set("nonce", first)
	spoil(spoilt)
	if got := c.present(spoilt, "GET", n.url("/")).refused(401, "signature_invalid",
		challenged("invalid_dpop_proof", "The signature of the proof does not hold")).nonce(); got == first {
		t.Error("the nonce just used is handed out again")
	}

	// At the end of its life it is stale, and much later unknown.
	n.clock.Advance(149 * time.Second)
	c.signed(first, 0).passed()
	n.clock.Advance(time.Second)
	third := c.signed(first, 0).refused(401, "nonce_stale", staleNonce).nonce()
	if third == first || third == second {
		t.Error("an old nonce is handed out")
	}
	c.signed(third, 0).passed()
	n.clock.Advance(20 * time.Minute)
	c.signed(first, 0).refused(401, "nonce_unknown", alienNonce).nonce()
}

func TestNonceForgeries(t *testing.T) {
	n := start(t, sites(map[string]string{"api.test": oneIssuer + "nonce required\n", "optional.test": oneIssuer + "nonce optional\n"}))
	c := n.client()
	good := c.signed("", 0).nonce()
	for name, nonce := range map[string]string{
		"random":      testkit.ATH("x")[:32],
		"truncated":   good[:31],
		"longer":      good + "A",
		"selector":    good[:12] + testkit.ATH("x")[:20],
		"verifier":    "A" + strings.TrimPrefix(good[1:], "A"),
		"padded":      good + "=",
		"other chars": "!" + good[1:],
		"blank":       " ",
	} {
		t.Run(name, func(t *testing.T) {
			n.t = t
			if nonce == good {
				t.Skip("by chance the same")
			}
			if got := c.signed(nonce, 0).refused(401, "nonce_unknown", alienNonce).nonce(); got != good {
				t.Errorf("challenged with %q", got)
			}
			url := "http://optional.test:" + n.port + "/"
			c.present(c.proof("GET", url).Set("nonce", nonce), "GET", url).refused(401, "nonce_unknown", alienNonce)
		})
	}
	n.t = t
	c.present(c.proof("GET", n.url("/")).Set("nonce", ""), "GET", n.url("/")).refusedFor("nonce_unknown")
	c.present(c.proof("GET", n.url("/")).Set("nonce", strings.Repeat("n", 513)), "GET", n.url("/")).refusedFor("nonce_invalid").withoutNonce()

	// Nodes' clocks differ: up to clock_skew ahead is live.
	ahead := func(d time.Duration) string { return n.app.nonces.current(n.clock.Now().Add(d)) }
	c.signed(ahead(30*time.Second), 0).passed()
	c.signed(ahead(31*time.Second), 0).refused(401, "nonce_unknown", alienNonce)
	c.signed(ahead(24*time.Hour), 0).refused(401, "nonce_unknown", alienNonce)
}

func TestNonceOptional(t *testing.T) {
	n := start(t, site(oneIssuer+"nonce optional {\nlifetime 1m\n}\n"))
	c := n.client()
	c.signed("", 0).passed().withoutNonce()

	// A client whose clock is off heals itself.
	for _, offset := range []time.Duration{-91 * time.Second, 31 * time.Second, -100 * 24 * time.Hour} {
		nonce := c.signed("", offset).refused(401, "iat_challenged", clockNonce).nonce()
		c.signed(nonce, offset).passed()
	}

	// A dead nonce is always challenged.
	nonce := c.signed("", time.Hour).nonce()
	n.clock.Advance(61 * time.Second)
	c.signed(nonce, 0).refused(401, "nonce_stale", staleNonce)
}

// TestNonceReplay: an entry lives as long as the nonce could.
func TestNonceReplay(t *testing.T) {
	n := start(t, site(oneIssuer+"nonce required\nclock_skew 0s\nmax_age 1s\n"))
	c := n.client()
	nonce := c.signed("", 0).nonce()
	p := c.proof("GET", n.url("/")).Set("nonce", nonce).Set("iat", 1)
	c.present(p, "GET", n.url("/")).passed()
	for range 5 {
		n.clock.Advance(time.Minute)
		c.present(p, "GET", n.url("/")).refusedFor("jti_replayed")
	}
	n.clock.Advance(time.Second)
	c.present(p, "GET", n.url("/")).refusedFor("nonce_stale")
}

// TestNonceTooEarly: a client cannot heal itself with the nonce that it has
// just used, so it is not told to.
func TestNonceTooEarly(t *testing.T) {
	n := start(t, site("\nissuer $ISSUER\naudience https://api.test\nnonce required\nreplay dpop_test {\ntoo_early\n}\n"))
	c := n.client()
	nonce := c.signed("", 0).nonce()
	a := c.signed(nonce, 0).refused(503, "replay_unavailable").withoutNonce()
	if a.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", a.header["Retry-After"])
	}
	n.clock.Advance(time.Second)
	if got := c.signed(nonce, 0).refusedFor("issued_before_start").nonce(); got == nonce {
		t.Error("the nonce just used is handed out again")
	}
}

// TestNonceRestart: neither reload nor restart invalidates what is alive, and
// what the storage holds is enough.
func TestNonceRestart(t *testing.T) {
	config := site(oneIssuer + "nonce required\n")
	n := start(t, config)
	c := n.client()
	nonce := c.signed("", 0).nonce()
	n.clock.Advance(2 * time.Second)
	n.reload(config)
	c.signed(nonce, 0).passed()
	must(t, caddy.Stop())
	n.reload(config)
	n.clock.Set(time.Now().Truncate(time.Second).Add(20 * time.Second)) // past the new table's cut-off
	// The nonce is older than the new table, so it is replaced, but it is known.
	a := c.signed(nonce, 0)
	if a.reason() == "nonce_unknown" {
		t.Error("a restart made the nonce unknown")
	}
}

// TestNonceClockJump: a clock that jumped ahead and came back leaves no nonce
// unknown that is alive by the clock.
func TestNonceClockJump(t *testing.T) {
	n := start(t, site(oneIssuer+"nonce required\n"))
	c := n.client()
	nonce := c.signed("", 0).nonce()
	c.signed(nonce, 0).passed()
	n.clock.Advance(time.Hour)
	c.signed(nonce, 0).refusedFor("nonce_unknown")
	n.clock.Advance(-time.Hour)
	c.signed(nonce, 0).passed()
	n.clock.Advance(-time.Minute)
	c.signed(c.signed("", 0).nonce(), 0)
	n.clock.Advance(-time.Hour)
	nonce = c.signed("", 0).nonce()
	if a := c.signed(nonce, 0); a.reason() == "nonce_unknown" {
		t.Error("after the clock stepped back its own nonces are unknown")
	}
}
