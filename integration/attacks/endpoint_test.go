// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// Group T: the token endpoint, which stands behind Caddy. What is the authorization
// server's own duty is marked so in decisions_test.go.
func endpoint(f test) test { return at("endpoint/token", f) }

func badEndpointProof(reason string) want { return want{400, "invalid_dpop_proof", reason, ""} }

// refusedEndpoint sends requests that a token endpoint must refuse, and reads the JSON.
func refusedEndpoint(reason string, v variants) test {
	return endpoint(func(c *run) {
		for _, name := range sortedKeys(v) {
			a := c.attempt()
			v[name](a)
			a.field("Content-Type", "application/x-www-form-urlencoded")
			a.body = []byte("grant_type=client_credentials")
			r := a.send()
			c.answered(badEndpointProof(reason))
			if r.err != nil || r.Status != 400 || len(backend.of(a.name)) != 0 {
				c.Errorf("%s: %d, %v, upstream reached %d times", name, r.Status, r.err, len(backend.of(a.name)))
				continue
			}
			var body struct {
				Error       string `json:"error"`
				Description string `json:"error_description"`
			}
			if err := json.Unmarshal(r.Body, &body); err != nil || body.Error != "invalid_dpop_proof" || body.Description == "" {
				c.Errorf("%s: %v in %s", name, err, r.Body)
			}
			if r.Header.Get("Content-Type") != "application/json" || !strings.Contains(r.Header.Get("Cache-Control"), "no-store") {
				c.Errorf("%s: %v", name, r.Header)
			}
			if r.reason() != reason {
				c.Errorf("%s: reason %q, want %q", name, r.reason(), reason)
			}
			if leak := secrets.find(r.Body); leak != "" {
				c.Errorf("%s: the body holds %s", name, leak)
			}
		}
	})
}

var _ = add(cases{
	"T01": endpoint(func(c *run) {
		a := c.attempt()
		for _, h := range c.expect(a, accepted).hits {
			if got := h.Header.Get("X-Dpop-Jkt"); got != client1.Thumbprint() {
				c.Errorf("the upstream is told jkt %q", got)
			}
		}
	}),
	"T03": refusedEndpoint("proof_repeated", variants{"two": func(a *attempt) { a.dpop(a.write(), a.write()) }}),
	"T05": refusedEndpoint("htm_mismatch", variants{"GET": func(a *attempt) { a.claim("htm", "GET") }}),
	"T06": refusedEndpoint("proof_missing", variants{"none": func(a *attempt) { a.noProof = true }}),
	"T09": refusedEndpoint("proof_missing", variants{"refresh": func(a *attempt) { a.noProof = true }}),
	"T10": endpoint(one(accepted, func(a *attempt) { a.bind(client2) })),
	"T11": endpoint(func(c *run) {
		for _, spoofed := range []bool{false, true} {
			s := newAuthorizationServer(c)
			code := s.bind(client1.Thumbprint())
			a := c.attempt()
			a.client = client2
			a.reproof()
			if spoofed { // what the guard says cannot be said by the client
				a.field("X-Dpop-Jkt", client1.Thumbprint())
			}
			s.answers(c, a, url.Values{"grant_type": {"authorization_code"}, "code": {code}}, want{status: 400, err: "invalid_grant"})
		}
	}),
	"T12": endpoint(func(c *run) {
		a := c.attempt()
		a.request("POST", "/par")
		newAuthorizationServer(c).answers(c, a, url.Values{"dpop_jkt": {client2.Thumbprint()}}, badEndpointProof(""))
	}),
	"T13": endpoint(func(c *run) {
		s := newAuthorizationServer(c)
		a := c.attempt()
		a.request("POST", "/par")
		code := s.must(c, a, url.Values{"response_type": {"code"}}, want{status: 201})["code"]
		b := c.attempt()
		b.client = client2
		b.reproof()
		s.answers(c, b, url.Values{"grant_type": {"authorization_code"}, "code": {code}}, want{status: 400, err: "invalid_grant"})
		s.must(c, c.attempt(), url.Values{"grant_type": {"authorization_code"}, "code": {code}}, accepted)
	}),
	"T15": endpoint(one(accepted, func(a *attempt) { a.claim("ath", testkit.ATH("whatever")) })),
	"T16": endpoint(func(c *run) {
		a := c.attempt()
		c.must(a, accepted)
		refusedEndpoint("jti_replayed", variants{"again": func(b *attempt) { b.compact = a.write() }})(c)
	}),
	"T19": elsewhere,
	"T20": elsewhere,
	"T21": refusedEndpoint("jwk_private", variants{"d": func(a *attempt) { a.head("jwk", client1.PrivateJWK()) }}),
	"T23": refusedEndpoint("typ_invalid", variants{
		"JWT": func(a *attempt) { a.head("typ", "JWT") }, "assertion": func(a *attempt) { a.head("typ", "client-authentication+jwt") }, "none": func(a *attempt) { a.proof.Header.Delete("typ") },
	}),
	"T25": endpoint(func(c *run) {
		s := newAuthorizationServer(c)
		for _, grant := range []string{
			"authorization_code", "client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
			"urn:openid:params:grant-type:ciba", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer",
		} {
			token := s.answers(c, c.attempt(), url.Values{"grant_type": {grant}}, accepted)["access_token"]
			// What the guard said of the key is what the resource server will hold it to.
			a := newAttempt(c.site("ref"))
			a.useToken(token)
			c.must(a, accepted)
			b := newAttempt(c.site("ref"))
			b.client = client2
			b.useToken(token)
			c.must(b, badToken("jkt_mismatch"))
		}
	}),
	"T26": refusedEndpoint("proof_missing", variants{"downgrade": func(a *attempt) { a.noProof = true; a.field("Authorization", "Bearer "+testkit.NewID()) }}),

	// A layer above: what it signs reaches the application as the client sent it.
	"V01": elsewhere, "V05": elsewhere, "V06": elsewhere, "V07": elsewhere,
	"V08": func(c *run) {
		a := c.attempt()
		a.request("POST", "/api/items")
		a.body = []byte(`{"hello": "world"}`)
		signed := map[string]string{
			"Content-Digest":  "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
			"Signature-Input": `sig1=("@method" "@target-uri" "content-digest" "authorization" "dpop");created=1618884473;keyid="k1";tag="fapi-2-request"`,
			"Signature":       "sig1=:LAH8BjcfcOcLojiuOBFWn0P5keD3xAOuJRGziCLuD8r5MW9S0RoXXLzLSRfGY/3SF8kVIkHjE13SEFdTo4Af/fJ/Pu9wheqoLVdwXyY/UkBIS1M8Brc8IODsn5DFIrG0IrburbLi0uCc+E2ZIIb6HbUJ+o+jP58JelMTe0QE3IpWINTEzpxjqDf5/Df+InHCAkQCTuKsamjWXUpyOT1Wkxi7YPVNOjW4MfNuTZ9HdbD2Tr65+BXeTG9ZS/9SWuXAc+BZ8WyPz0QRz//ec3uWXd7bYYODSjRAxHqX+S1ag3LZElYyUKaAIjZ8MGOt4gXEwCSLDv/zqxZeWLj/PDkn6w==:",
			"Authorization":   "DPoP " + a.accessToken,
			"Dpop":            a.write(),
		}
		for name, value := range signed {
			if name != "Authorization" && name != "Dpop" {
				a.field(name, value)
			}
		}
		for _, h := range c.expect(a, accepted).hits {
			if h.Method != "POST" || h.URI != "/api/items" || h.Body != len(a.body) {
				c.Errorf("%s %s with %d bytes", h.Method, h.URI, h.Body)
			}
			for name, value := range signed {
				if got := h.Header.Values(name); len(got) != 1 || got[0] != value {
					c.Errorf("%s arrives as %q", name, got)
				}
			}
		}
	},
})

// authorizationServer stands behind the guard of its token endpoint and of its endpoint
// for pushed requests, and believes what that says of the proof's key.
type authorizationServer struct {
	issuer *testkit.Issuer // of the resource server that takes its tokens

	mu    sync.Mutex
	bound map[string]string // codes, and the keys that they are bound to
}

func newAuthorizationServer(c *run) *authorizationServer {
	return &authorizationServer{issuer: c.site("ref").issuer, bound: map[string]string{}}
}

// bind makes a code for a key, as an authorization request with dpop_jkt does.
func (s *authorizationServer) bind(jkt string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := testkit.NewID()
	s.bound[code] = jkt
	return code
}

func (s *authorizationServer) serve(w http.ResponseWriter, r *http.Request) {
	jkt := r.Header.Get("X-Dpop-Jkt")
	say := func(status int, body map[string]string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	if r.URL.Path == "/par" {
		if asked := r.PostFormValue("dpop_jkt"); asked != "" && asked != jkt {
			say(400, map[string]string{"error": "invalid_dpop_proof"})
			return
		}
		say(201, map[string]string{"code": s.bind(jkt)}) // what would come of the request in time
		return
	}
	s.mu.Lock()
	bound := s.bound[r.PostFormValue("code")]
	s.mu.Unlock()
	if bound != "" && bound != jkt {
		say(400, map[string]string{"error": "invalid_grant"})
		return
	}
	token := s.issuer.Token(testkit.TokenClaims{Audience: audience, Subject: "alice", ClientID: "app", Thumbprint: jkt}, time.Now())
	say(200, map[string]string{"access_token": token.String(), "token_type": "DPoP"})
}

// answers sends a form through the guard; what the authorization server answers decides
// the case.
func (s *authorizationServer) answers(c *run, a *attempt, form url.Values, w want) map[string]string {
	c.Helper()
	c.answered(w)
	return s.must(c, a, form, w)
}

func (s *authorizationServer) must(c *run, a *attempt, form url.Values, w want) map[string]string {
	c.Helper()
	backend.on(a.name, s.serve)
	a.field("Content-Type", "application/x-www-form-urlencoded")
	a.body = []byte(form.Encode())
	r := a.send()
	var body map[string]string
	if r.err != nil || r.Status != w.status || len(r.hits) != 1 || json.Unmarshal(r.Body, &body) != nil || body["error"] != w.err {
		c.Fatalf("%d %s, %v, %d hits; want %d %q of the authorization server", r.Status, r.Body, r.err, len(r.hits), w.status, w.err)
	}
	return body
}
