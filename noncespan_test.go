// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"testing"
	"time"
)

// TestNonceOutlivesIAT: a proof with a nonce that passed where nonces are off
// stays used for as long as a handler with nonces would let it pass.
func TestNonceOutlivesIAT(t *testing.T) {
	n := start(t, "http://api.test:$PORT {\n\tdpop /a {"+oneIssuer+"}\n"+
		"\t@later header X-Nonces on\n\tdpop @later {"+oneIssuer+"nonce optional\n}\n"+
		"\treverse_proxy $UPSTREAM\n"+echo+"}\n")
	c := n.client()
	challenge := c.present(c.proof(http.MethodGet, n.url("/b")).Set("iat", n.clock.Now().Add(-time.Hour).Unix()), http.MethodGet, n.url("/b"), "X-Nonces", "on").
		refusedFor("iat_challenged")
	nonce := challenge.header.Get("DPoP-Nonce")
	if nonce == "" {
		t.Fatal("no nonce")
	}
	proof := c.proof(http.MethodGet, n.url("/a")).Set("nonce", nonce)
	c.present(proof, http.MethodGet, n.url("/a")).passed()
	n.clock.Advance(2 * time.Minute) // past max_age and clock_skew, within the nonce's life
	c.present(proof, http.MethodGet, n.url("/a"), "X-Nonces", "on").refusedFor("iat_too_old")
	n.reload(site(oneIssuer + "nonce optional\n"))
	c.present(proof, http.MethodGet, n.url("/a")).refusedFor(ReasonReplayed)
}
