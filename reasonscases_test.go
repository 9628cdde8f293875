// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package dpop

import (
	"crypto/sha256"
	"crypto/tls"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/replay"
)

// reasonCase is one way to be refused. Its last request is the one that counts.
type reasonCase struct {
	reason Reason
	send   func(c *client) answer
	expect func(e *expectation) // what differs from the table of refusals; may be nil
}

// reasonGroup are the cases of one configuration.
type reasonGroup struct {
	name  string
	start func(t *testing.T) *watch
	cases []reasonCase
}

// reasonGroups produce each reason once, in a Caddy where nothing is made up but
// the clock, the authorization server and a storage that can be made to fail.
func reasonGroups() []reasonGroup {
	return []reasonGroup{
		{"plain", running(site(oneIssuer)), plainReasons()},
		{"bearer", running(sites(map[string]string{"api.test": oneIssuer + "bearer allow\n", "scope.test": oneIssuer + "scope admin\n"})), bearerReasons},
		{"client certificate", secured("client_auth {\nmode request\n}"), []reasonCase{{"certificate_mismatch", otherCertificate, nil}}},
		{"HTTP/3", secured(""), []reasonCase{{ReasonEarlyData, inEarlyData, nil}}},
		{"limits", running(site(oneIssuer), "dpop {\nmax_per_key 1\nmax_entries 2\n}"), limitReasons},
		{"window", clocked(site(oneIssuer)), []reasonCase{{ReasonWindowRaised, raisedWindow(oneIssuer), nil}}},
		{"nonces", running(sites(map[string]string{"api.test": oneIssuer + "nonce required\n", "optional.test": oneIssuer + "nonce optional\n"})), nonceReasons},
		{"nonce keys", startWithoutStorage, []reasonCase{{ReasonNonceUnavailable, get, nil}}},
		{"key set", startWithoutKeys, []reasonCase{{"keys_unavailable", get, nil}}},
		{"introspection", startIntrospection(""), introspectionReasons},
		{"replay storage", running(site("\nissuer $ISSUER\naudience https://api.test\nreplay storage\n")), []reasonCase{{ReasonReplayUnavailable, withoutStorage, nil}}},
	}
}

// running is a group's start by a configuration alone.
func running(config string, globals ...string) func(t *testing.T) *watch {
	return func(t *testing.T) *watch {
		t.Helper()
		return watched(t, config, globals...)
	}
}

func get(c *client) answer {
	c.n.t.Helper()
	return c.get("/r")
}

// plainReasons are those of the site of oneIssuer, each once: refusals_test.go has
// more ways to some.
func plainReasons() []reasonCase {
	var cases []reasonCase
	for _, test := range slices.Concat(credentialRefusals, proofRefusals, tokenRefusals) {
		if !slices.ContainsFunc(cases, func(c reasonCase) bool { return c.reason == test.reason }) {
			cases = append(cases, reasonCase{test.reason, test.send, nil})
		}
	}
	return append(cases,
		reasonCase{"keys_not_refreshed", func(c *client) answer {
			unknown := bentToken(func(token *testkit.JWS) { token.Head("kid", "another") })
			unknown(c) // has the key set fetched, unless it just was
			return unknown(c)
		}, nil},
		reasonCase{ReasonHostUnknown, func(c *client) answer { return c.get("/r", "Host", "api.test:1") }, nil},
	)
}

var bearerReasons = []reasonCase{
	{"bearer_bound", plain("Authorization", "Bearer $TOKEN"), inBearer},
	{ReasonProofWithBearer, plain("Authorization", "Bearer $TOKEN", "DPoP", "a.b.c"), inBearer},
	{"scope_missing", func(c *client) answer { return c.send("GET", "http://scope.test:"+c.n.port+"/r") }, withoutScope},
}

func withoutScope(e *expectation) {
	e.challenges = []string{`DPoP error="insufficient_scope", error_description="` + e.description + `", scope="admin", ` + algs}
}

// inBearer expects `error` in the challenge of the scheme that was tried.
func inBearer(e *expectation) {
	e.challenges = []string{challenged("", ""), `Bearer error="` + e.code + `", error_description="` + e.description + `"`}
}

// secured starts an https site; policy goes into its tls block.
func secured(policy string) func(t *testing.T) *watch {
	return func(t *testing.T) *watch {
		t.Helper()
		w := watching(t)
		w.n.reload(logged(secure(t, w.n, site(oneIssuer), policy)))
		return w
	}
}

// otherCertificate presents a token that is bound to another certificate as well.
func otherCertificate(c *client) answer {
	t := c.n.t
	t.Helper()
	sum := sha256.Sum256(certificate(t, "client").Certificate[0])
	c = c.with(c.n.bound(c.key).Set("cnf", testkit.Object{
		{Name: "jkt", Value: c.key.Thumbprint()},
		{Name: "x5t#S256", Value: testkit.B64(sum[:])},
	}))
	transport := c.n.transport()
	transport.TLSClientConfig.Certificates = []tls.Certificate{certificate(t, "another")}
	return c.n.sendVia(transport, "GET", c.n.secureURL("/r"),
		"Authorization", "DPoP "+c.token, "DPoP", c.proof("GET", c.n.secureURL("/r")).String())
}

func inEarlyData(c *client) answer {
	c.n.t.Helper()
	early, _ := c.n.inEarlyData(c)
	return early
}

var limitReasons = []reasonCase{
	{ReasonKeyOverLimit, func(c *client) answer {
		c.get("/1").passed()
		return c.get("/2")
	}, nil},
	{ReasonReplayFull, func(c *client) answer {
		other := func(name string) *client {
			key := testkit.P256(name)
			return &client{c.n, key, c.n.bound(key).String()}
		}
		other("second").get("/1").passed()
		return other("third").get("/1")
	}, nil},
}

// clocked starts with a table of used proofs that has the clock of the test.
func clocked(config string) func(t *testing.T) *watch {
	return func(t *testing.T) *watch {
		t.Helper()
		w := watching(t)
		var held []string
		_, err := acquire(&held, "replay_table\x00", func() (*pooledTable, error) {
			return &pooledTable{replay.NewTable(replay.TableConfig{Now: w.n.clock.Now})}, nil
		})
		must(t, err)
		t.Cleanup(func() { must(t, release(held)) })
		w.n.reload(logged(config))
		return w
	}
}

// raisedWindow sends a proof from before max_age was raised.
func raisedWindow(options string) func(c *client) answer {
	return func(c *client) answer {
		c.n.t.Helper()
		c.n.clock.Advance(time.Second) // past the cut-off of the table
		p := c.proof("GET", c.n.url("/r"))
		c.n.reload(logged(site(options + "max_age 10m\n")))
		c.n.clock.Advance(2 * time.Minute)
		return c.present(p, "GET", c.n.url("/r"))
	}
}

var nonceReasons = []reasonCase{
	{"nonce_missing", get, nil},
	{"nonce_unknown", func(c *client) answer { return c.signed("of another server", 0) }, nil},
	{"nonce_stale", func(c *client) answer {
		nonce := c.signed("", 0).nonce()
		c.n.clock.Advance(6 * time.Minute)
		return c.signed(nonce, 0)
	}, nil},
	{"iat_challenged", func(c *client) answer {
		url := "http://optional.test:" + c.n.port + "/r"
		return c.present(c.proof("GET", url).Set("iat", c.n.clock.Now().Add(-time.Hour).Unix()), "GET", url)
	}, nil},
}

func startWithoutStorage(t *testing.T) *watch {
	t.Helper()
	storageFails.Store(true)
	t.Cleanup(func() { storageFails.Store(false) })
	return watched(t, site(oneIssuer+"nonce required\n"))
}

func startWithoutKeys(t *testing.T) *watch {
	t.Helper()
	w := watching(t)
	w.n.issuer.Fault(testkit.PathJWKS, testkit.Status(http.StatusInternalServerError, "text/plain", "down"))
	w.n.reload(logged(site(oneIssuer)))
	return w
}

func startIntrospection(options string) func(t *testing.T) *watch {
	return func(t *testing.T) *watch {
		t.Helper()
		t.Setenv("DPOP_SECRET", "the secret of the resource server")
		return watched(t, site(byIntrospection+options))
	}
}

var introspectionReasons = []reasonCase{
	{"token_inactive", func(c *client) answer { return (&client{c.n, c.key, "revoked-token"}).get("/r") }, nil},
	{"introspection_unavailable", faultyIntrospection(http.StatusInternalServerError, "down"), nil},
	{"introspection_invalid", faultyIntrospection(http.StatusOK, `{"active":"yes"}`), nil},
}

func faultyIntrospection(status int, body string) func(c *client) answer {
	return func(c *client) answer {
		c.n.t.Helper()
		c.n.issuer.Fault(testkit.PathIntrospect, testkit.Status(status, "application/json", body))
		defer c.n.issuer.Fault(testkit.PathIntrospect, nil)
		return c.n.opaque(c.key).get("/r")
	}
}

// knownToken sends an opaque token for the second time.
func knownToken(c *client) answer {
	c.n.t.Helper()
	c = c.n.opaque(c.key)
	c.get("/1")
	return c.get("/2")
}

// withoutStorage uses a proof while the storage is down.
func withoutStorage(c *client) answer {
	c.n.t.Helper()
	c.n.clock.Set(time.Now().Truncate(time.Second).Add(10 * time.Second)) // past the cut-off of the store
	c.get("/r").passed()
	storageFails.Store(true)
	defer storageFails.Store(false)
	return c.get("/r")
}

// reasonsElsewhere are refusals that an option changes, or what is told of them.
func reasonsElsewhere() []reasonGroup {
	return []reasonGroup{
		{"nonce optional", clocked(site(oneIssuer + "nonce optional\n")), []reasonCase{
			{ReasonIssuedBeforeStart, bent(at("iat", -30*time.Second)), asNonceChallenge},
			{ReasonWindowRaised, raisedWindow(oneIssuer + "nonce optional\n"), asNonceChallenge},
		}},
		{"proof_only", running(site(proofOnly + "nonce optional\n")), []reasonCase{
			{ReasonProofMissing, plain(), tokenEndpoint},
			{"typ_invalid", bent(func(p *testkit.JWS) { p.Head("typ", "JWT") }), tokenEndpoint},
			{"iat_challenged", bent(at("iat", -time.Hour)), tokenEndpoint},
		}},
		{"introspection", startIntrospection("scope admin\n"), []reasonCase{{"scope_missing", knownToken, withoutScope}}},
		{"mode monitor", running(site(oneIssuer + "nonce required\nmode monitor\n")), []reasonCase{
			{ReasonNoCredentials, plain(), monitored},
			{"nonce_missing", get, monitored},
		}},
	}
}

func asNonceChallenge(e *expectation) {
	e.code, e.description = errUseNonce, nonceRefusals[e.reason].description
	e.challenges = []string{challenged(e.code, e.description)}
}

func tokenEndpoint(e *expectation) {
	e.status, e.challenges = http.StatusBadRequest, nil
	e.body = `{"error":"` + e.code + `","error_description":"` + e.description + `"}`
}

func monitored(e *expectation) {
	e.monitored, e.challenges, e.body = true, nil, "from the upstream"
}
