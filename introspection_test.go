// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"sync"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// byIntrospection are the options of a site that asks about opaque tokens.
const byIntrospection = `
		introspection $ISSUER/introspect {
			client_id api
			client_secret {env.DPOP_SECRET}
		}
		audience https://api.test
		replay memory
`

// opaque makes an opaque token for a key, which the endpoint knows; claims are
// set in its answer.
func (n *node) opaque(key *testkit.Key, claims ...testkit.Member) *client {
	c := &client{n, key, "opaque-" + testkit.NewID()}
	answer := testkit.Object{
		{Name: "active", Value: true},
		{Name: "iss", Value: n.issuer.URL},
		{Name: "sub", Value: "alice"},
		{Name: "client_id", Value: "app"},
		{Name: "aud", Value: "https://api.test"},
		{Name: "scope", Value: "read"},
		{Name: "exp", Value: n.clock.Now().Unix() + 3600},
		{Name: "token_type", Value: "DPoP"},
		{Name: "cnf", Value: testkit.Object{{Name: "jkt", Value: key.Thumbprint()}}},
	}
	for _, m := range claims {
		answer.Set(m.Name, m.Value)
	}
	n.issuer.Introspects(c.token, answer)
	return c
}

// TestIntrospectionRefusals: what the endpoint says, or that it says nothing.
func TestIntrospectionRefusals(t *testing.T) {
	t.Setenv("DPOP_SECRET", "the secret of the resource server")
	n := start(t, site(byIntrospection+"scope read\n"))
	n.secrets = append(n.secrets, "the secret of the resource server")
	key := testkit.P256("client")

	n.opaque(key).get("/").passed()
	(&client{n, key, "unknown-token"}).get("/").refused(401, "token_inactive", challenged("invalid_token", "The access token is not active"))
	n.opaque(key, testkit.Member{Name: "aud", Value: "https://other.test"}).get("/").refusedFor("token_audience_mismatch")
	n.opaque(key, testkit.Member{Name: "scope", Value: "write"}).get("/").refusedFor("scope_missing")
	n.opaque(key, testkit.Member{Name: "exp", Value: n.clock.Now().Unix() - 60}).get("/").refusedFor("token_expired")
	n.opaque(testkit.P256("other"), testkit.Member{Name: "cnf", Value: testkit.Object{{Name: "jkt", Value: key.Thumbprint()}}}).get("/").refusedFor("jkt_mismatch")
	n.opaque(key, testkit.Member{Name: "cnf", Value: testkit.Object{}}).get("/").refusedFor("token_cnf_invalid")

	for _, test := range []struct {
		reason Reason
		fault  http.HandlerFunc
	}{
		{"introspection_unavailable", testkit.Status(http.StatusInternalServerError, "text/plain", "down")},
		{"introspection_unavailable", testkit.Status(http.StatusUnauthorized, "text/plain", "who are you")},
		{"introspection_unavailable", testkit.Reset},
		{"introspection_invalid", testkit.Status(http.StatusOK, "application/json", `{"active":"yes"}`)},
		{"introspection_invalid", testkit.Status(http.StatusOK, "text/html", "<p>Welcome</p>")},
	} {
		known := n.opaque(key)
		known.get("/").passed()
		n.issuer.Fault(testkit.PathIntrospect, test.fault)
		a := n.opaque(key).get("/").refused(503, test.reason)
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%s: 503 without Retry-After", test.reason)
		}
		known.get("/").passed() // known tokens do not need the endpoint
		n.issuer.Fault(testkit.PathIntrospect, nil)
	}
}

// TestIntrospectionWaits: a stranger cannot make us call out, and many who ask
// about one token cause one question.
func TestIntrospectionWaits(t *testing.T) {
	t.Setenv("DPOP_SECRET", "the secret of the resource server")
	n := start(t, site(byIntrospection))
	key := testkit.P256("client")
	c := n.opaque(key)
	for _, test := range []struct {
		reason Reason
		bend   func(p *testkit.JWS)
	}{
		{"signature_invalid", spoil},
		{"htm_mismatch", func(p *testkit.JWS) { p.Set("htm", "PUT") }},
		{"ath_mismatch", func(p *testkit.JWS) { p.Set("ath", testkit.ATH("x")) }},
	} {
		p := c.proof("GET", n.url("/"))
		test.bend(p)
		c.present(p, "GET", n.url("/")).refusedFor(test.reason)
	}
	n.send("GET", n.url("/"), "Authorization", "DPoP "+c.token).refusedFor("proof_missing")
	n.send("GET", n.url("/"), "Authorization", "Bearer "+c.token).refusedFor("bearer_refused")
	if got := n.issuer.Count(testkit.PathIntrospect); got != 0 {
		t.Fatalf("%d questions for bad proofs", got)
	}

	transport := n.transport()
	var all sync.WaitGroup
	for range 200 {
		p := c.proof("GET", n.url("/")).String()
		all.Go(func() {
			r, _ := http.NewRequest("GET", n.url("/"), nil)
			r.Header.Set("Authorization", "DPoP "+c.token)
			r.Header.Set("DPoP", p)
			res, err := transport.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if res.StatusCode != 200 {
				t.Errorf("status %d", res.StatusCode)
			}
		})
	}
	all.Wait()
	if got := n.issuer.Count(testkit.PathIntrospect); got != 1 {
		t.Errorf("%d questions about one token", got)
	}
	if asked := n.issuer.Requests(); asked[len(asked)-1].Authorization == "" {
		t.Error("asked without authentication")
	}
}

// TestIntrospectionBeside: with both, the form of the token decides.
func TestIntrospectionBeside(t *testing.T) {
	t.Setenv("DPOP_SECRET", "the secret of the resource server")
	n := start(t, site("\nissuer $ISSUER\nbearer allow\n"+byIntrospection))
	key := testkit.P256("client")
	n.client().get("/").passed()
	if got := n.issuer.Count(testkit.PathIntrospect); got != 0 {
		t.Errorf("%d questions about a JWT", got)
	}
	opaque := n.opaque(key)
	opaque.get("/").passed()
	opaque.get("/").passed()
	if got := n.issuer.Count(testkit.PathIntrospect); got != 1 {
		t.Errorf("%d questions about an opaque token", got)
	}
	n.send("GET", n.url("/"), "Authorization", "Bearer "+opaque.token).refusedFor("bearer_bound")
	unbound := &client{n, key, "opaque-" + testkit.NewID()}
	n.issuer.Introspects(unbound.token, testkit.Object{{Name: "active", Value: true}, {Name: "aud", Value: "https://api.test"}})
	n.send("GET", n.url("/"), "Authorization", "Bearer "+unbound.token).passed()
	unbound.get("/").refusedFor("token_unbound")
}

// TestBearerAsksNobody: with `mtls` alone a token in the scheme Bearer is good with a
// certificate only, so without one nobody is asked about it.
func TestBearerAsksNobody(t *testing.T) {
	t.Setenv("DPOP_SECRET", "secret")
	n := start(t, site(byIntrospection+"mtls\n"))
	c := n.opaque(testkit.P256("client"))
	asked := n.issuer.Count(testkit.PathIntrospect)
	n.send("GET", n.url("/"), "Authorization", "Bearer "+c.token).refusedFor("bearer_refused")
	if got := n.issuer.Count(testkit.PathIntrospect) - asked; got != 0 {
		t.Errorf("asked %d times", got)
	}
}
