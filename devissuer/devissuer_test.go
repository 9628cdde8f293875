// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package devissuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const (
	testIssuer = "http://localhost:8080"
	tokenPath  = "/token"
)

var testStart = time.Unix(1_800_000_000, 0)

// newHandler provisions a handler with a clock that stands still.
func newHandler(t *testing.T, h *Handler) (*Handler, *testkit.Clock) {
	t.Helper()
	clock := testkit.NewClock(testStart)
	h.now = clock.Now
	if h.Issuer == "" {
		h.Issuer = testIssuer
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := h.Provision(ctx); err != nil {
		t.Fatalf("Provision: %v", err)
	}
	t.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			t.Errorf("Cleanup: %v", err)
		}
	})
	return h, clock
}

// passedOn is what the next handler answers.
const passedOn = http.StatusTeapot

func serve(t *testing.T, h *Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(passedOn)
		return nil
	})
	if err := h.ServeHTTP(w, r, next); err != nil {
		t.Fatalf("ServeHTTP: %v", err)
	}
	return w
}

// tokenRequest is a good request for a token but for what the form says.
func tokenRequest(form url.Values, proofs ...string) *http.Request {
	if form == nil {
		form = url.Values{"grant_type": {"client_credentials"}, "client_id": {"app"}}
	}
	r := httptest.NewRequest(http.MethodPost, tokenPath, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, p := range proofs {
		r.Header.Add("DPoP", p)
	}
	return r
}

func goodProof(now time.Time) *testkit.JWS {
	return testkit.NewProof(testkit.P256("client"), http.MethodPost, testIssuer+tokenPath, "", now)
}

func decodeBody(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatalf("body %q: %v", w.Body, err)
	}
	return m
}

func TestTokenIsBoundAndSigned(t *testing.T) {
	h, clock := newHandler(t, &Handler{Audience: []string{"https://api.example"}, Scopes: []string{"read", "write"}})
	w := serve(t, h, tokenRequest(nil, goodProof(clock.Now()).String()))
	if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, Cache-Control %q: %s", w.Code, w.Header().Get("Cache-Control"), w.Body)
	}
	answer := decodeBody(t, w)
	if answer["token_type"] != "DPoP" || answer["expires_in"] != 300.0 || answer["scope"] != "read write" {
		t.Errorf("answer %v", answer)
	}

	token, _ := answer["access_token"].(string)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q", token)
	}
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		if err := json.Unmarshal(testkit.UnB64(parts[i]), into); err != nil {
			t.Fatal(err)
		}
	}
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" {
		t.Errorf("header %v", header)
	}
	for name, want := range map[string]any{
		"iss": testIssuer, "sub": "app", "client_id": "app", "scope": "read write",
		"iat": float64(testStart.Unix()), "exp": float64(testStart.Unix() + 300),
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	if aud, _ := claims["aud"].([]any); len(aud) != 1 || aud[0] != "https://api.example" {
		t.Errorf("aud is %v", claims["aud"])
	}
	if cnf, _ := claims["cnf"].(map[string]any); cnf["jkt"] != testkit.P256("client").Thumbprint() {
		t.Errorf("cnf is %v", claims["cnf"])
	}
	if jti, _ := claims["jti"].(string); len(jti) < 20 {
		t.Errorf("jti is %q", jti)
	}
	if !verifies(t, h, header["kid"], parts) {
		t.Error("the key set does not verify the token")
	}
}

// verifies checks a token's signature with the published key, by hand.
func verifies(t *testing.T, h *Handler, kid any, parts []string) bool {
	t.Helper()
	w := serve(t, h, httptest.NewRequest(http.MethodGet, "/jwks", nil))
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("key set %s: %v", w.Body, err)
	}
	k := set.Keys[0]
	if k["d"] != "" || k["kid"] != kid || k["alg"] != "ES256" || k["use"] != "sig" {
		t.Fatalf("key %v, kid wanted %v", k, kid)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(),
		slices.Concat([]byte{4}, testkit.UnB64(k["x"]), testkit.UnB64(k["y"])))
	if err != nil {
		t.Fatal(err)
	}
	signature := testkit.UnB64(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}

func TestTokenRefusals(t *testing.T) {
	form := func(pairs ...string) url.Values {
		v := url.Values{"grant_type": {"client_credentials"}, "client_id": {"app"}}
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] == "" {
				v.Del(pairs[i])
			} else {
				v.Add(pairs[i], pairs[i+1])
			}
		}
		return v
	}
	good := goodProof(testStart).String
	tests := []struct {
		name        string
		request     func() *http.Request
		status      int
		code        string
		description string
	}{
		{"no proof", func() *http.Request { return tokenRequest(nil) }, 400, "invalid_dpop_proof", "the DPoP header is missing"},
		{"two proofs", func() *http.Request { return tokenRequest(nil, good(), good()) }, 400, "invalid_dpop_proof", "there are several DPoP headers"},
		{"htm", func() *http.Request { return tokenRequest(nil, goodProof(testStart).Set("htm", "GET").String()) }, 400, "invalid_dpop_proof", "the proof is refused: htm mismatch"},
		{"htu", func() *http.Request {
			return tokenRequest(nil, goodProof(testStart).Set("htu", testIssuer+"/jwks").String())
		}, 400, "invalid_dpop_proof", "the proof is refused: htu mismatch"},
		{"old", func() *http.Request { return tokenRequest(nil, goodProof(testStart.Add(-time.Hour)).String()) }, 400, "invalid_dpop_proof", "the proof is refused: iat too old"},
		{"no grant type", func() *http.Request { return tokenRequest(form("grant_type", ""), good()) }, 400, "invalid_request", "grant_type is missing"},
		{"other grant type", func() *http.Request {
			return tokenRequest(url.Values{"grant_type": {"password"}, "client_id": {"app"}}, good())
		}, 400, "unsupported_grant_type", "only client_credentials is supported"},
		{"no client", func() *http.Request { return tokenRequest(form("client_id", ""), good()) }, 400, "invalid_request", "client_id is missing"},
		{"strange client", func() *http.Request {
			return tokenRequest(url.Values{"grant_type": {"client_credentials"}, "client_id": {`a"b`}}, good())
		}, 400, "invalid_request", "client_id must have 1 to 64 letters, digits and -._~:/"},
		{"repeated", func() *http.Request { return tokenRequest(form("scope", "read", "scope", "write"), good()) }, 400, "invalid_request", "a parameter is repeated"},
		{"scope", func() *http.Request { return tokenRequest(form("scope", "admin"), good()) }, 400, "invalid_scope", "a scope is not supported"},
		{"scope with quote", func() *http.Request { return tokenRequest(form("scope", `re"ad`), good()) }, 400, "invalid_scope", "the scope is malformed"},
		{"resource", func() *http.Request { return tokenRequest(form("resource", "https://other.example"), good()) }, 400, "invalid_target", "the resource is not known here"},
		{"JSON", func() *http.Request {
			r := tokenRequest(nil, good())
			r.Header.Set("Content-Type", "application/json")
			return r
		}, 400, "invalid_request", "the body must be application/x-www-form-urlencoded"},
		{"too long", func() *http.Request { return tokenRequest(form("x", strings.Repeat("x", maxTokenRequest)), good()) }, 400, "invalid_request", "the body cannot be read"},
		{"GET", func() *http.Request { return httptest.NewRequest(http.MethodGet, tokenPath, nil) }, 405, "invalid_request", "the token endpoint takes POST only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := newHandler(t, &Handler{Scopes: []string{"read", "write"}})
			w := serve(t, h, tt.request())
			body := decodeBody(t, w)
			if w.Code != tt.status || body["error"] != tt.code || body["error_description"] != tt.description {
				t.Errorf("have %d %v, want %d %s: %s", w.Code, body, tt.status, tt.code, tt.description)
			}
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("DPoP-Nonce") != "" {
				t.Errorf("header %v", w.Header())
			}
		})
	}
}

func TestProofIsGoodOnce(t *testing.T) {
	h, clock := newHandler(t, &Handler{})
	signed := goodProof(clock.Now()).String()
	if w := serve(t, h, tokenRequest(nil, signed)); w.Code != http.StatusOK {
		t.Fatalf("first use: %d %s", w.Code, w.Body)
	}
	clock.Advance(80 * time.Second) // still within the proof's life
	w := serve(t, h, tokenRequest(nil, signed))
	if w.Code != http.StatusBadRequest || decodeBody(t, w)["error_description"] != "the proof was used before" {
		t.Errorf("second use: %d %s", w.Code, w.Body)
	}
}

func TestSeenProofs(t *testing.T) {
	t.Run("remembered in the next window", func(t *testing.T) {
		var s seenProofs
		if got := s.use("jkt", "jti", testStart); got != seenFirst {
			t.Fatalf("first use: %v", got)
		}
		if got := s.use("jkt", "jti", testStart.Add(seenWindow)); got != seenBefore {
			t.Errorf("in the next window: %v", got)
		}
		if got := s.use("jkt2", "jti", testStart); got != seenFirst {
			t.Errorf("same jti of another key: %v", got)
		}
	})
	t.Run("forgotten after two windows", func(t *testing.T) {
		var s seenProofs
		s.use("jkt", "jti", testStart)
		if got := s.use("jkt", "jti", testStart.Add(2*seenWindow)); got != seenFirst {
			t.Errorf("have %v", got)
		}
	})
	t.Run("full", func(t *testing.T) {
		s := seenProofs{began: testStart, now: make(map[[sha256.Size]byte]struct{})}
		for i := range seenLimit {
			s.now[sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})] = struct{}{}
		}
		if got := s.use("jkt", "new", testStart); got != seenFull {
			t.Errorf("have %v", got)
		}
	})
}

func TestNonce(t *testing.T) {
	h, clock := newHandler(t, &Handler{Nonce: true})
	w := serve(t, h, tokenRequest(nil, goodProof(clock.Now()).String()))
	nonce := w.Header().Get("DPoP-Nonce")
	if w.Code != http.StatusBadRequest || decodeBody(t, w)["error"] != "use_dpop_nonce" || nonce == "" {
		t.Fatalf("without a nonce: %d, DPoP-Nonce %q: %s", w.Code, nonce, w.Body)
	}
	if w := serve(t, h, tokenRequest(nil, goodProof(clock.Now()).Set("nonce", nonce).String())); w.Code != http.StatusOK {
		t.Errorf("with the nonce: %d %s", w.Code, w.Body)
	}
	forged := nonce[:len(nonce)-2] + "AA"
	if w := serve(t, h, tokenRequest(nil, goodProof(clock.Now()).Set("nonce", forged).String())); decodeBody(t, w)["error"] != "use_dpop_nonce" {
		t.Errorf("with a forged nonce: %d %s", w.Code, w.Body)
	}
	clock.Advance(nonceLifetime + time.Second)
	if w := serve(t, h, tokenRequest(nil, goodProof(clock.Now()).Set("nonce", nonce).String())); decodeBody(t, w)["error"] != "use_dpop_nonce" {
		t.Errorf("with a stale nonce: %d %s", w.Code, w.Body)
	}
}

func TestClients(t *testing.T) {
	clients := []Client{{ID: "app", Secret: "s3cret:+"}, {ID: "public"}}
	form := func(id, secret string) url.Values {
		v := url.Values{"grant_type": {"client_credentials"}}
		if id != "" {
			v.Set("client_id", id)
		}
		if secret != "" {
			v.Set("client_secret", secret)
		}
		return v
	}
	tests := []struct {
		name     string
		form     url.Values
		user, pw string
		status   int
		code     any
	}{
		{"body", form("app", "s3cret:+"), "", "", 200, nil},
		{"basic", form("", ""), "app", url.QueryEscape("s3cret:+"), 200, nil},
		{"public", form("public", ""), "", "", 200, nil},
		{"wrong secret", form("app", "guess"), "", "", 401, "invalid_client"},
		{"no secret", form("app", ""), "", "", 401, "invalid_client"},
		{"wrong basic", form("", ""), "app", "guess", 401, "invalid_client"},
		{"unknown", form("other", ""), "", "", 401, "invalid_client"},
		{"two ways", form("app", "s3cret:+"), "app", url.QueryEscape("s3cret:+"), 400, "invalid_request"},
		{"two names", form("public", ""), "app", url.QueryEscape("s3cret:+"), 401, "invalid_client"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, clock := newHandler(t, &Handler{Clients: clients})
			r := tokenRequest(tt.form, goodProof(clock.Now()).String())
			if tt.user != "" {
				r.SetBasicAuth(tt.user, tt.pw)
			}
			w := serve(t, h, r)
			if w.Code != tt.status || decodeBody(t, w)["error"] != tt.code {
				t.Errorf("have %d %s, want %d %v", w.Code, w.Body, tt.status, tt.code)
			}
			if basic := w.Header().Get("WWW-Authenticate") != ""; basic != (tt.status == 401 && tt.user != "") {
				t.Errorf("WWW-Authenticate is %q", w.Header().Get("WWW-Authenticate"))
			}
		})
	}
}
