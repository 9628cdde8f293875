// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// Cases of the attack catalogue (testdata/vectors/attacks.json) that need a clock which
// does what no running process can be made to wait for. integration/attacks names them.

// TestNonceClockStepsBack is M31: an expired nonce, and then the clock steps back. What
// was expired and is within its life again is live again, since nothing says that it ever
// was not, but a proof that was used with it stays used; and a nonce made before the step
// is one from the future.
func TestNonceClockStepsBack(t *testing.T) {
	for _, store := range []string{"memory", "storage"} {
		t.Run(store, func(t *testing.T) {
			n := start(t, site("\nissuer $ISSUER\naudience https://api.test\nreplay "+store+"\nnonce required\n"))
			n.client().get("/").refused(401, "nonce_missing", wantsNonce) // the store begins with the first request
			n.clock.Advance(2 * time.Hour)                                // far from its cut-off
			begin := n.clock.Now()
			c := n.client()
			live := c.signed("", 0).refused(401, "nonce_missing", wantsNonce).nonce()
			used := c.proof("GET", n.url("/")).Set("nonce", live)
			c.present(used, "GET", n.url("/")).passed()

			// Expired: a challenge, with another nonce.
			n.clock.Advance(5*time.Minute + time.Second)
			later := c.signed(live, 0).refused(401, "nonce_stale", staleNonce).nonce()
			if later == live {
				t.Error("challenged with the nonce just used")
			}
			c.present(used, "GET", n.url("/")).refused(401, "nonce_stale", staleNonce)

			// Back by less than what nonces are computed ahead for.
			n.clock.Advance(-100 * time.Second)
			c.signed(later, 0).refused(401, "nonce_unknown", alienNonce)

			// Back to where it was live.
			n.clock.Set(begin)
			c.present(used, "GET", n.url("/")).refusedFor("jti_replayed")
			c.signed(live, 0).passed()
			c.signed(later, 0).refused(401, "nonce_unknown", alienNonce) // five minutes ahead

			// Back to before it was made: expired or not, it is none of this time's.
			n.clock.Set(begin.Add(-time.Hour))
			now := c.signed(live, 0).refused(401, "nonce_unknown", alienNonce).nonce()
			c.present(used, "GET", n.url("/")).refused(401, "nonce_unknown", alienNonce)
			n.client().signed(now, 0).passed()

			// Far ahead, so that everything is forgotten, and back again. (A fetch of
			// keys that began a day before would count as that old.)
			must(t, n.app.sets[0].Refresh(t.Context()))
			n.clock.Set(begin.Add(24 * time.Hour))
			n.client().signed(n.client().signed("", 0).nonce(), 0).passed()
			n.clock.Set(begin)
			if a := c.present(used, "GET", n.url("/")); a.status != http.StatusUnauthorized {
				t.Errorf("a used proof is answered %d %s", a.status, a.reason())
			}
		})
	}
}

// TestKeySetStaleForLong is P22: the issuer is down, and its keys are used until the last
// fetch is a day ago, no longer: for tokens in the cache neither says anything, for others
// it is 503 and never the token's fault.
func TestKeySetStaleForLong(t *testing.T) {
	n := start(t, site(oneIssuer))
	n.client().get("/r").passed()
	fetched := n.clock.Now()
	n.issuer.Fault(testkit.PathJWKS, testkit.Status(http.StatusInternalServerError, "text/plain", "down"))

	n.clock.Set(fetched.Add(24*time.Hour - time.Second))
	n.client().get("/r").passed()
	n.clock.Set(fetched.Add(24 * time.Hour))
	a := n.client().get("/r").refused(503, "keys_unavailable")
	if a.header.Get("Retry-After") == "" || a.header.Get("WWW-Authenticate") != "" {
		t.Errorf("Retry-After %q, WWW-Authenticate %q", a.header.Get("Retry-After"), a.header.Get("WWW-Authenticate"))
	}
	forged := n.bound(testkit.P256("client"))
	forged.Key = testkit.P256("thief")
	n.client().with(forged).get("/r").refused(503, "keys_unavailable") // nothing is known against it either

	// It heals with the issuer.
	n.issuer.Fault(testkit.PathJWKS, nil)
	must(t, n.app.sets[0].Refresh(t.Context()))
	n.client().get("/r").passed()
	n.client().with(forged).get("/r").refusedFor("token_signature_invalid")
}
