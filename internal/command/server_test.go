// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/proof"
)

var testNow = time.Unix(1_800_000_000, 0)

// fault is something that a server does wrong.
type fault string

// server is an authorization server and an API in one, made by hand so that
// each check can be left out on its own. It shares nothing with the plugin but
// the verification of signatures.
type server struct {
	*httptest.Server
	faults   map[fault]bool
	asNonce  string // the nonce that the token endpoint wants
	nonce    string // the nonce that the API wants
	metadata bool
	origin   string // allowed to call from a browser

	mu     sync.Mutex
	seen   map[string]bool
	tokens map[string]string // token to thumbprint
	// passed and asked count requests that reached the API and the token endpoint.
	passed, asked int
	lastForm      url.Values
	lastUser      string
	lastBody      string
	lastHeader    http.Header
}

func newServer(t *testing.T, faults ...fault) *server {
	t.Helper()
	s := &server{faults: make(map[fault]bool), seen: make(map[string]bool), tokens: make(map[string]string)}
	for _, f := range faults {
		s.faults[f] = true
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.serverMetadata)
	mux.HandleFunc("GET /.well-known/oauth-protected-resource", s.resourceMetadata)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("/api/", s.api)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *server) has(f fault) bool { return s.faults[f] }

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *server) serverMetadata(w http.ResponseWriter, _ *http.Request) {
	issuer := s.URL
	if s.has("issuer mismatch") {
		issuer = "https://other.example"
	}
	reply(w, 200, map[string]any{"issuer": issuer, "token_endpoint": s.URL + "/token"})
}

func (s *server) resourceMetadata(w http.ResponseWriter, _ *http.Request) {
	resource := s.URL
	if s.has("foreign metadata") {
		resource = "https://other.example"
	}
	reply(w, 200, map[string]any{
		"resource": resource, "authorization_servers": []string{s.URL}, "dpop_bound_access_tokens_required": true,
	})
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	user, _, _ := r.BasicAuth()
	s.mu.Lock()
	s.asked++
	s.lastForm, s.lastUser = r.PostForm, user
	s.mu.Unlock()
	j, err := decodeJWS(r.Header.Get("DPoP"))
	if err != nil || j.claims["htu"] != s.URL+"/token" || j.claims["htm"] != "POST" {
		reply(w, 400, map[string]string{"error": "invalid_dpop_proof", "error_description": "no"})
		return
	}
	if s.asNonce != "" && j.claims["nonce"] != s.asNonce {
		w.Header().Set("DPoP-Nonce", s.asNonce)
		reply(w, 400, map[string]string{"error": "use_dpop_nonce"})
		return
	}
	if s.has("no token") {
		reply(w, 401, map[string]string{"error": "invalid_client", "error_description": "who are you"})
		return
	}
	verifier, _ := proof.NewVerifier(proof.Config{MaxAge: anyAge})
	p, err := verifier.Parse(j.compact, nil)
	if err != nil {
		reply(w, 400, map[string]string{"error": "invalid_dpop_proof"})
		return
	}
	token := s.newToken(p.Header.Thumbprint())
	kind := "DPoP"
	if s.has("unbound token") {
		kind = "Bearer"
	}
	reply(w, 200, map[string]any{"access_token": token, "token_type": kind, "expires_in": 300})
}

func (s *server) newToken(jkt string) string {
	token := testkit.NewToken(testkit.P256("issuer"), "1", testkit.TokenClaims{
		Issuer: s.URL, Audience: "api", Subject: "me", ClientID: "me", Thumbprint: jkt,
	}, testNow).String()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = jkt
	return token
}

// refusal is why the API refuses; "" when it does not.
type refusal struct{ code, description string }

func (s *server) api(w http.ResponseWriter, r *http.Request) {
	if s.origin != "" && r.Header.Get("Origin") == s.origin && s.cors(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bad := s.judge(r)
	if bad == nil || s.has("open") {
		s.passed++
		s.lastHeader = r.Header
		b := new(bytes.Buffer)
		_, _ = b.ReadFrom(r.Body)
		s.lastBody = b.String()
		switch {
		case s.has("broken API"):
			w.WriteHeader(502)
		case s.has("challenge on success"):
			w.Header().Set("WWW-Authenticate", "DPoP")
			reply(w, 200, map[string]string{"hello": "world"})
		default:
			reply(w, 200, map[string]string{"hello": "world"})
		}
		return
	}
	s.refuse(w, bad)
}

func (s *server) refuse(w http.ResponseWriter, bad *refusal) {
	challenge := `DPoP algs="ES256"`
	if bad.code != "" {
		challenge = fmt.Sprintf(`DPoP error="%s", error_description="%s", algs="ES256"`, bad.code, bad.description)
	}
	if s.metadata {
		challenge += fmt.Sprintf(`, resource_metadata="%s/.well-known/oauth-protected-resource"`, s.URL)
	}
	switch {
	case s.has("Bearer challenge first"):
		w.Header().Add("WWW-Authenticate", `Bearer realm="x"`)
	case s.has("wrong error"):
		challenge = `DPoP error="nope", algs="ES256"`
	}
	w.Header().Add("WWW-Authenticate", challenge)
	if bad.code == "use_dpop_nonce" {
		w.Header().Set("DPoP-Nonce", s.nonce)
	}
	if bad.description == "down" {
		w.WriteHeader(503)
		return
	}
	w.WriteHeader(401)
}

// cors lets pages of s.origin in, and reports whether that was the answer.
func (s *server) cors(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Access-Control-Allow-Origin", s.origin)
	if !s.has("nothing exposed") {
		w.Header().Set("Access-Control-Expose-Headers", "DPoP-Nonce, WWW-Authenticate")
	}
	if r.Method != http.MethodOptions {
		return false
	}
	switch {
	case s.has("any header"):
		w.Header().Set("Access-Control-Allow-Headers", "*")
	case s.has("no DPoP field"):
		w.Header().Set("Access-Control-Allow-Headers", "Authorization")
	default:
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, DPoP")
	}
	if s.has("preflight needs a token") {
		return false
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// judge goes through the checks of RFC 9449, sections 4.3 and 7, all but those
// that are to be missing. The caller holds the lock.
func (s *server) judge(r *http.Request) *refusal {
	authorization, proofs := r.Header.Values("Authorization"), r.Header.Values("DPoP")
	if len(authorization) == 0 {
		return &refusal{}
	}
	if len(authorization) > 1 && !s.has("two tokens") {
		return &refusal{"invalid_request", "two"}
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	jkt, known := s.tokens[token]
	if !known && !s.has("token signature") {
		return &refusal{"invalid_token", "unknown"}
	}
	if strings.EqualFold(scheme, "Bearer") {
		if s.has("bearer") {
			return nil
		}
		return &refusal{"invalid_token", "bound"}
	}
	if !strings.EqualFold(scheme, "DPoP") || (s.has("case") && scheme != "DPoP") {
		return &refusal{"invalid_token", "scheme"}
	}
	if len(proofs) == 0 || (len(proofs) > 1 && !s.has("two proofs")) {
		return &refusal{"invalid_dpop_proof", "number"}
	}
	j, err := decodeJWS(proofs[0])
	if err != nil {
		return &refusal{"invalid_dpop_proof", "malformed"}
	}
	if s.has("one-time nonces") {
		good := j.claims["nonce"] == s.nonce
		s.nonce = newID()
		if !good {
			return &refusal{"use_dpop_nonce", "used"}
		}
		defer func() { s.nonce = s.nonce + "x" }() // not even the new one is good for long
	}
	for _, check := range []struct {
		missing fault
		ok      bool
	}{
		{"typ", j.header["typ"] == "dpop+jwt"},
		{"alg", j.header["alg"] == "ES256"},
		{"signature", s.signed(j)},
		{"private", !hasPrivate(j)},
		{"htm", j.claims["htm"] == r.Method},
		{"htu", j.claims["htu"] == s.URL+r.URL.Path},
		{"ath", j.claims["ath"] == testkit.ATH(token)},
		{"jti", j.claims["jti"] != nil},
		{"iat", s.recent(j)},
	} {
		if !check.ok && !s.has(check.missing) {
			return &refusal{"invalid_dpop_proof", string(check.missing)}
		}
	}
	if s.has("replay store down") && s.passed > 0 {
		return &refusal{"", "down"}
	}
	if s.nonce != "" && !s.has("one-time nonces") && j.claims["nonce"] != s.nonce && (!s.has("any nonce") || j.claims["nonce"] == nil) {
		return &refusal{"use_dpop_nonce", "nonce"}
	}
	if known && thumbprintOf(j) != jkt && !s.has("key") {
		return &refusal{"invalid_token", "key"}
	}
	if id := fmt.Sprint(j.claims["jti"]); j.claims["jti"] != nil && !s.has("replay") {
		if s.seen[id] {
			return &refusal{"invalid_dpop_proof", "replay"}
		}
		s.seen[id] = true
	}
	return nil
}

func (s *server) signed(j *jws) bool {
	if j.header["alg"] != "ES256" || hasPrivate(j) || j.header["typ"] != "dpop+jwt" {
		return true // another check's business
	}
	verifier, _ := proof.NewVerifier(proof.Config{MaxAge: anyAge})
	p, err := verifier.Parse(j.compact, nil)
	if err != nil {
		return true
	}
	return p.VerifySignature() == nil
}

func (s *server) recent(j *jws) bool {
	n, _ := j.claims["iat"].(json.Number)
	iat, err := n.Int64()
	return err == nil && iat >= testNow.Unix()-60 && iat <= testNow.Unix()+60
}

func hasPrivate(j *jws) bool {
	jwk, _ := j.header["jwk"].(map[string]any)
	return jwk["d"] != nil
}

func thumbprintOf(j *jws) string {
	jwk, _ := j.header["jwk"].(map[string]any)
	text := func(name string) string { s, _ := jwk[name].(string); return s }
	return testkit.Thumbprint(testkit.Object{{Name: "kty", Value: "EC"}, {Name: "crv", Value: "P-256"}, {Name: "x", Value: text("x")}, {Name: "y", Value: text("y")}})
}

// result is what a command did.
type result struct {
	code     int
	out, err string
}

// runCommand runs `caddy dpop <args>` with an input.
func runCommand(t *testing.T, input string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	e := &env{
		in: strings.NewReader(input), out: &out, err: &err,
		now:    func() time.Time { return testNow },
		ticker: func() (<-chan time.Time, func()) { return nil, func() {} },
	}
	root := &cobra.Command{Use: "caddy"}
	dpop := &cobra.Command{Use: "dpop"}
	root.AddCommand(dpop)
	addCommands(dpop, e)
	root.SetArgs(append([]string{"dpop"}, args...))
	root.SetOut(&out)
	root.SetErr(&err)
	if failure := root.ExecuteContext(context.Background()); failure != nil && e.code == 0 {
		e.code = exitFailed // cobra's own: a flag or the number of arguments
	}
	return result{code: e.code, out: out.String(), err: err.String()}
}
