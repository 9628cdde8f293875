// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// asTokenEndpoint checks an answer of RFC 6749, section 5.2.
func (a answer) asTokenEndpoint(code, description string) answer {
	a.t.Helper()
	want := `{"error":"` + code + `","error_description":"` + description + `"}`
	if a.status != 400 || a.body != want || a.hits != 0 {
		a.t.Errorf("%d %s, %d hits\nwant 400 %s", a.status, a.body, a.hits, want)
	}
	return a.wantHeader("Content-Type", "application/json").wantHeader("Cache-Control", "no-store").wantHeader("WWW-Authenticate")
}

const proofOnly = "\nproof_only\nreplay memory\n"

// TestProofOnly puts dpop in front of a token endpoint (RFC 9449, section 5).
func TestProofOnly(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	dpop /token {`+proofOnly+`
	}
	dpop /api {`+oneIssuer+`
	}
	reverse_proxy $UPSTREAM {
		header_up X-JKT {http.dpop.jkt}
		header_up X-Sub "{http.dpop.claims.sub}"
	}
`+echo+`
}
`)
	key := testkit.P256("client")
	proof := func() *testkit.JWS { return testkit.NewProof(key, "POST", n.url("/token"), "", n.clock.Now()) }
	send := func(fields ...string) answer { return n.send("POST", n.url("/token"), fields...) }

	p := proof()
	send("DPoP", p.String(), "Authorization", "Basic YXBwOnNlY3JldC1vZi10aGUtYXBw").passed()
	r := n.upstream.last(t)
	if r.Header.Get("X-JKT") != key.Thumbprint() || r.Header.Get("X-Sub") != "" || r.Header.Get("Authorization") != "Basic YXBwOnNlY3JldC1vZi10aGUtYXBw" || len(r.Header["Dpop"]) != 1 {
		t.Errorf("the upstream got %v", r.Header)
	}
	send("DPoP", proof().String()).passed()
	send("DPoP", proof().Set("ath", testkit.ATH("x")).String()).passed() // not looked at

	send("DPoP", p.String()).asTokenEndpoint("invalid_dpop_proof", "The proof was used before")
	send().asTokenEndpoint("invalid_dpop_proof", "No DPoP proof was sent")
	send("DPoP", "a", "DPoP", "b").asTokenEndpoint("invalid_dpop_proof", "More than one DPoP field")
	send("DPoP", proof().Set("htm", "GET").String()).asTokenEndpoint("invalid_dpop_proof", "The htm of the proof is not the method of the request")
	bad := proof()
	spoil(bad)
	send("DPoP", bad.String()).asTokenEndpoint("invalid_dpop_proof", "The signature of the proof does not hold")
	send("DPoP", proof().Set("iat", n.clock.Now().Add(-time.Hour).Unix()).String()).asTokenEndpoint("invalid_dpop_proof", "The proof is too old, check the clock")
	if got := n.log.entries(t, "http.handlers.dpop"); got[len(got)-1]["reason"] != "iat_too_old" {
		t.Errorf("logged %v", got[len(got)-1])
	}

	// Its table is its own: the same jti of the same key passes in the other.
	c := n.client()
	c.present(c.proof("GET", n.url("/api")).Set("jti", p.Claims.Get("jti")), "GET", n.url("/api")).passed()
	if n.app.handlers[0].store == n.app.handlers[1].store {
		t.Error("strangers can fill the table of those with a token")
	}
}

func TestProofOnlyNonce(t *testing.T) {
	n := start(t, site(proofOnly+"nonce required\ncors "+page+"\n"))
	key := testkit.P256("client")
	proof := testkit.NewProof(key, "GET", n.url("/"), "", n.clock.Now())
	a := n.send("GET", n.url("/"), "DPoP", proof.String(), "Origin", page).
		asTokenEndpoint("use_dpop_nonce", "The proof needs the nonce of this answer").
		wantHeader("Access-Control-Allow-Origin", page)
	n.send("GET", n.url("/"), "DPoP", proof.Set("nonce", a.nonce()).String()).passed()
}

// TestProofOnlyOutage: what is no fault of the client's is no 400.
func TestProofOnlyOutage(t *testing.T) {
	n := start(t, site("\nproof_only\nreplay dpop_test {\nfull\n}\n"))
	p := testkit.NewProof(testkit.P256("client"), "GET", n.url("/"), "", n.clock.Now())
	n.send("GET", n.url("/"), "DPoP", p.String()).refused(503, "replay_full").wantHeader("Retry-After", "1")
}
