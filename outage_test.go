// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// sites makes one site for each host, all on the node's port.
func sites(options map[string]string) string {
	var b strings.Builder
	for host, o := range options {
		b.WriteString(strings.Replace(site(o), "api.test", host, 1))
	}
	return b.String()
}

// TestStoreRefusals covers what a replay store can say besides "used".
func TestStoreRefusals(t *testing.T) {
	const issuer = "\nissuer $ISSUER\naudience https://api.test\n"
	for _, test := range []struct {
		answer     string
		reason     Reason
		status     int
		retryAfter string
		challenges []string
	}{
		{"too_early", "issued_before_start", 401, "", []string{challenged("invalid_dpop_proof", "The proof is older than the memory of used proofs")}},
		{"too_old", "window_raised", 401, "", []string{challenged("invalid_dpop_proof", "The proof is older than the memory of used proofs reaches")}},
		{"full", "replay_full", 503, "1", nil},
		{"owner_full", "key_over_limit", 429, "17", nil},
		{"unavailable", "replay_unavailable", 503, "1", nil},
		{"odd", "replay_unavailable", 503, "1", nil},
	} {
		t.Run(test.answer, func(t *testing.T) {
			n := start(t, site(issuer+"replay dpop_test {\n"+test.answer+"\n}\n"))
			a := n.client().get("/r").refused(test.status, test.reason, test.challenges...)
			if got := a.header.Get("Retry-After"); got != test.retryAfter {
				t.Errorf("Retry-After %q, want %q", got, test.retryAfter)
			}

			// With nonces a client whose proof is too early heals itself.
			n.reload(site(issuer + "nonce optional\nreplay dpop_test {\n" + test.answer + "\n}\n"))
			a = n.client().get("/r")
			if test.status != 401 {
				a.refused(test.status, test.reason)
				return
			}
			challenge := strings.Replace(test.challenges[0], "invalid_dpop_proof", "use_dpop_nonce", 1)
			a.refused(401, test.reason, strings.Replace(challenge, `", algs`, `, use the nonce of this answer", algs`, 1))
			if a.header.Get("DPoP-Nonce") == "" {
				t.Error("a nonce challenge without DPoP-Nonce")
			}
		})
	}
}

// TestLimits fills the real table up to what the app allows.
func TestLimits(t *testing.T) {
	t.Run("per key", func(t *testing.T) {
		n := start(t, site(oneIssuer), "dpop {\nmax_per_key 2\n}")
		c := n.client()
		c.get("/1").passed()
		c.get("/2").passed()
		a := c.get("/3").refused(429, "key_over_limit")
		if got := a.header.Get("Retry-After"); got != "9" {
			t.Errorf("Retry-After %q, want a tenth of the window", got)
		}
		other := &client{n, testkit.P256("other"), ""}
		other.with(n.bound(other.key)).get("/4").passed()
	})
	t.Run("overall", func(t *testing.T) {
		n := start(t, site(oneIssuer), "dpop {\nmax_entries 2\n}")
		c := n.client()
		first := c.proof("GET", n.url("/1"))
		c.present(first, "GET", n.url("/1")).passed()
		c.get("/2").passed()
		a := c.get("/3").refused(503, "replay_full")
		if got := a.header.Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After %q", got)
		}
		// Full or not: nothing is forgotten.
		c.present(first, "GET", n.url("/1")).refusedFor("jti_replayed")
	})
	t.Run("no token cache", func(t *testing.T) {
		n := start(t, site(oneIssuer), "dpop {\ntoken_cache 0\n}")
		c := n.client()
		c.get("/1").passed()
		c.get("/2").passed()
	})
}

// TestKeySetOutage: whatever is wrong at the issuer is never the token's fault.
func TestKeySetOutage(t *testing.T) {
	n := prepare(t)
	n.issuer.Fault(testkit.PathJWKS, testkit.Status(http.StatusInternalServerError, "text/plain", "down"))
	n.reload(site(oneIssuer))
	a := n.client().get("/r").refused(503, "keys_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	if nonce := a.header["Dpop-Nonce"]; nonce != nil {
		t.Errorf("an outage with a DPoP-Nonce: %q", nonce)
	}

	// It heals without a restart.
	n.issuer.Fault(testkit.PathJWKS, nil)
	must(t, n.app.sets[0].Refresh(t.Context()))
	c := n.client()
	c.get("/r").passed()

	// And from then on an outage disturbs nobody.
	n.issuer.Fault(testkit.PathJWKS, testkit.Status(http.StatusInternalServerError, "text/plain", "down"))
	c.get("/r").passed()
}

// TestUnknownKey: the first token with an unknown key causes a fetch, the next
// has to wait, since nothing is known against it.
func TestUnknownKey(t *testing.T) {
	n := start(t, site(oneIssuer))
	n.client().get("/r").passed()
	unknown := bentToken(func(t *testkit.JWS) { t.Head("kid", "unknown") })
	unknown(n.client()).refusedFor("token_key_unknown")
	fetches := n.issuer.Count(testkit.PathJWKS)
	for range 20 {
		a := unknown(n.client()).refused(503, "keys_not_refreshed")
		if a.header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
	}
	if got := n.issuer.Count(testkit.PathJWKS) - fetches; got != 0 {
		t.Errorf("%d fetches within the interval", got)
	}
	n.client().get("/r").passed()
}

// TestRotation: a token signed by a new key passes at once.
func TestRotation(t *testing.T) {
	n := start(t, site(oneIssuer))
	old := n.client()
	old.get("/r").passed()
	n.issuer.Rotate("second", false)
	n.client().get("/r").passed()
	old.get("/r").passed()
}

// TestNonceKeysOutage: without the storage there are no nonces, and that is
// not the client's fault either.
func TestNonceKeysOutage(t *testing.T) {
	storageFails.Store(true)
	t.Cleanup(func() { storageFails.Store(false) })
	n := start(t, site(oneIssuer+"nonce required\n"))
	a := n.client().get("/r").refused(503, "nonce_unavailable")
	if a.header.Get("Retry-After") == "" || a.header["Dpop-Nonce"] != nil {
		t.Errorf("Retry-After %q, DPoP-Nonce %q", a.header["Retry-After"], a.header["Dpop-Nonce"])
	}
	storageFails.Store(false)
	n.client().get("/r").refused(401, "nonce_missing", challenged("use_dpop_nonce", "The proof needs the nonce of this answer"))
}
