// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

func TestAccepted(t *testing.T) {
	n := start(t, site(oneIssuer))
	c := n.client()
	a := c.get("/hello?x=1").passed()
	if a.body != "from the upstream" {
		t.Errorf("body %q", a.body)
	}
	for name := range a.header {
		if slices.Contains([]string{"Www-Authenticate", "Dpop-Nonce", "Cache-Control", "Vary"}, name) {
			t.Errorf("%s on a success", name)
		}
	}
	// Again: now the token and the header of the proof are known.
	c.get("/hello").passed()
	c.send("POST", n.url("/a%2Fb")).passed()
	c.send("HEAD", n.url("/")).passed()
}

// TestAlgorithms: each default algorithm passes, the others on request only.
func TestAlgorithms(t *testing.T) {
	n := start(t, sites(map[string]string{
		"api.test":   oneIssuer,
		"every.test": oneIssuer + "algorithms ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA Ed25519\n",
		"es256.test": oneIssuer + "algorithms ES256\n",
	}))
	rsa := testkit.RSA(2048, "client")
	for _, test := range []struct {
		algorithm string
		key       *testkit.Key
		standard  bool
	}{
		{"ES256", testkit.P256("a"), true},
		{"ES384", testkit.P384("a"), false},
		{"ES512", testkit.P521("a"), false},
		{"EdDSA", testkit.Ed25519("a"), true},
		{"Ed25519", testkit.Ed25519("a"), true},
		{"PS256", rsa, true},
		{"PS384", rsa, false},
		{"PS512", rsa, false},
		{"RS256", rsa, true},
		{"RS384", rsa, false},
		{"RS512", rsa, false},
	} {
		t.Run(test.algorithm, func(t *testing.T) {
			n.t = t
			c := &client{n, test.key, n.bound(test.key).String()}
			send := func(url string) answer {
				return c.present(c.proof("GET", url).Head("alg", test.algorithm), "GET", url)
			}
			send("http://every.test:" + n.port + "/").passed()
			if a := send(n.url("/")); test.standard {
				a.passed()
			} else {
				a.refusedFor("alg_unsupported")
			}
			if a := send("http://es256.test:" + n.port + "/"); test.algorithm == "ES256" {
				a.passed()
			} else {
				a.refused(401, "alg_unsupported", `DPoP error="invalid_dpop_proof", error_description="The algorithm of the proof is not accepted here", algs="ES256"`)
			}
		})
	}
}

// TestOrder sends requests with two things wrong. The answer names the one that
// is checked first: cheap before dear, and using up the jti last.
func TestOrder(t *testing.T) {
	n := start(t, site(oneIssuer+"scope admin\n"))
	type request struct {
		token, proof *testkit.JWS
		fields       []string
	}
	flaws := []struct {
		reason Reason
		bend   func(r *request)
	}{
		{"authorization_repeated", func(r *request) { r.fields = append(r.fields, "Authorization", "DPoP x") }},
		{"proof_repeated", func(r *request) { r.fields = append(r.fields, "DPoP", "x") }},
		{"typ_invalid", func(r *request) { r.proof.Head("typ", "JWT") }},
		{"alg_unsupported", func(r *request) { r.proof.Head("alg", "none") }},
		{"htm_mismatch", func(r *request) { r.proof.Set("htm", "PUT") }},
		{"htu_mismatch", func(r *request) { r.proof.Set("htu", "http://other.test/") }},
		{"iat_too_old", func(r *request) { r.proof.Set("iat", 1) }},
		{"ath_mismatch", func(r *request) { r.proof.Set("ath", testkit.ATH("other")) }},
		{"token_audience_mismatch", func(r *request) { r.token.Set("aud", "https://other.test") }},
		{"jkt_mismatch", func(r *request) {
			r.token.Set("cnf", testkit.Object{{Name: "jkt", Value: testkit.P256("other").Thumbprint()}})
		}},
		{"signature_invalid", func(r *request) { spoil(r.proof) }},
		{"scope_missing", func(r *request) { r.token.Set("scope", "read") }},
		{"jti_replayed", func(r *request) { r.proof.Set("jti", "used up") }},
	}
	key := testkit.P256("client")
	send := func(bend ...func(r *request)) answer {
		token := n.bound(key).Set("scope", "admin read")
		r := &request{token: token, proof: testkit.NewProof(key, "GET", n.url("/"), "-", n.clock.Now())}
		for _, b := range bend {
			b(r)
		}
		compact := r.token.String()
		if r.proof.Claims.Get("ath") == testkit.ATH("-") {
			r.proof.Set("ath", testkit.ATH(compact))
		}
		return n.send("GET", n.url("/"), append([]string{"Authorization", "DPoP " + compact, "DPoP", r.proof.String()}, r.fields...)...)
	}
	send().passed()
	send(func(r *request) { r.proof.Set("jti", "used up") }).passed()
	for i, first := range flaws {
		send(first.bend).refusedFor(first.reason)
		for _, second := range flaws[i+1:] {
			a := send(first.bend, second.bend)
			if a.reason() != first.reason {
				t.Errorf("%s and %s: answered %q", first.reason, second.reason, a.reason())
			}
		}
	}
}

// TestRefusedProofsAreNotUsedUp: whoever has no valid token can neither fill
// the store nor use up somebody else's jti.
func TestRefusedProofsAreNotUsedUp(t *testing.T) {
	n := start(t, site(oneIssuer+"scope admin\n"))
	good := n.client()
	good = good.with(n.bound(good.key).Set("scope", "admin"))
	p := good.proof("GET", n.url("/"))
	for reason, attempt := range map[Reason]func() answer{
		"scope_missing": func() answer {
			poor := n.client()
			return poor.present(poor.proof("GET", n.url("/")).Set("jti", p.Claims.Get("jti")), "GET", n.url("/"))
		},
		"signature_invalid": func() answer {
			bad := p.Clone()
			spoil(bad)
			return good.present(bad, "GET", n.url("/"))
		},
		"jkt_mismatch": func() answer {
			thief := &client{n, testkit.P256("thief"), good.token}
			return thief.present(thief.proof("GET", n.url("/")).Set("jti", p.Claims.Get("jti")), "GET", n.url("/"))
		},
		"htm_mismatch": func() answer { return good.present(p, "POST", n.url("/")) },
	} {
		attempt().refusedFor(reason)
	}
	good.present(p, "GET", n.url("/")).passed()
	good.present(p, "GET", n.url("/")).refusedFor("jti_replayed")

	// Another key may use the same jti.
	other := &client{n, testkit.P256("other"), ""}
	other = other.with(n.bound(other.key).Set("scope", "admin"))
	other.present(other.proof("GET", n.url("/")).Set("jti", p.Claims.Get("jti")), "GET", n.url("/")).passed()
}

// TestScope wants every scope, and says in the challenge which.
func TestScope(t *testing.T) {
	n := start(t, site(oneIssuer+"scope read admin\nrealm \"the API\"\n"))
	n.client().get("/").refused(403, "scope_missing",
		`DPoP error="insufficient_scope", error_description="The access token lacks a scope", scope="read admin", `+algs+`, realm="the API"`)
	c := n.client()
	c.with(n.bound(c.key).Set("scope", "admin readers")).get("/").refusedFor("scope_missing")
	c.with(n.bound(c.key).Set("scope", "admin other read")).get("/").passed()
	n.send("GET", n.url("/")).refused(401, "no_credentials", `DPoP `+algs+`, realm="the API"`)
}

// TestIssuers: with several, a token's issuer alone decides who judges it.
func TestIssuers(t *testing.T) {
	second := testkit.NewIssuer("second")
	t.Cleanup(second.Close)
	n := start(t, strings.ReplaceAll(site(`
		issuer $ISSUER {
			audience https://one.test
			typ at+jwt
		}
		issuer $SECOND {
			algorithms ES256
		}
		audience https://api.test
		replay memory
`), "$SECOND", second.URL))
	key := testkit.P256("client")
	c := &client{n, key, ""}
	at := func(issuer *testkit.Issuer, audience string) *testkit.JWS {
		claims := n.claims(key)
		claims.Audience = audience
		return issuer.Token(claims, n.clock.Now())
	}
	c.with(at(n.issuer, "https://one.test")).get("/").passed()
	c.with(at(second, "https://api.test")).get("/").passed()
	c.with(at(n.issuer, "https://api.test")).get("/").refusedFor("token_audience_mismatch")
	c.with(at(second, "https://one.test")).get("/").refusedFor("token_audience_mismatch")
	c.with(at(n.issuer, "https://one.test").Head("typ", "JWT")).get("/").refusedFor("token_typ_invalid")
	c.with(at(second, "https://api.test").Head("typ", "JWT")).get("/").passed()

	// One issuer cannot speak for another.
	c.with(at(second, "https://one.test").Set("iss", n.issuer.URL)).get("/").refusedFor("token_signature_invalid")
	c.with(at(second, "https://api.test").Set("iss", "https://third.test")).get("/").refusedFor("token_issuer_unknown")
	(&client{n, key, "opaque"}).get("/").refusedFor("token_malformed")
}

// TestPoliciesAreNotShared: the token cache holds claims, never verdicts.
func TestPoliciesAreNotShared(t *testing.T) {
	options := func(issuer string) string { return "\nissuer $ISSUER {\n" + issuer + "\n}\nreplay memory\n" }
	n := start(t, sites(map[string]string{
		"api.test":    options("audience https://api.test"),
		"other.test":  options("audience https://other.test"),
		"typed.test":  options("audience any\ntyp at+jwt"),
		"signed.test": options("audience any\nalgorithms PS256"),
		"exact.test":  options("audience any") + "clock_skew 0s\n",
		"scoped.test": options("audience any") + "scope admin\n",
	}))
	c := n.client()
	c = c.with(n.bound(c.key).Head("typ", "JWT"))
	for range 2 { // new, then cached
		c.get("/").passed()
		for host, reason := range map[string]Reason{
			"other": "token_audience_mismatch", "typed": "token_typ_invalid", "signed": "token_alg_unsupported", "scoped": "scope_missing",
		} {
			c.send("GET", "http://"+host+".test:"+n.port+"/").refusedFor(reason)
		}
	}
	c.send("GET", "http://exact.test:"+n.port+"/").passed()
	n.clock.Advance(time.Hour)
	c.get("/").passed()
	c.send("GET", "http://exact.test:"+n.port+"/").refusedFor("token_expired")
}

// TestEarlyData: a request in 0-RTT data can be replayed by the network.
func TestEarlyData(t *testing.T) {
	n := start(t, site(oneIssuer))
	h := n.app.handlers[0]
	c := n.client()
	serve := func(state *tls.ConnectionState) (status int, header http.Header) {
		r := httptest.NewRequest("GET", n.url("/"), nil)
		r.TLS = state
		r.Header.Set("Authorization", "DPoP "+c.token)
		r.Header.Set("DPoP", c.proof("GET", "https://api.test/").String())
		r.Host = "api.test"
		w := httptest.NewRecorder()
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
		err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}))
		if herr, ok := err.(caddyhttp.HandlerError); ok { //nolint:errorlint // as Caddy does
			return herr.StatusCode, w.Header()
		}
		return w.Code, w.Header()
	}
	if status, header := serve(&tls.ConnectionState{}); status != 425 || header["Www-Authenticate"] != nil || header.Get("Cache-Control") != "no-store" {
		t.Errorf("early data: %d %v", status, header)
	}
	if status, _ := serve(&tls.ConnectionState{HandshakeComplete: true}); status != 204 {
		t.Errorf("after the handshake: %d", status)
	}
}
