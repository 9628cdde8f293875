// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// recorder is a testing.TB that remembers failures instead of failing.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// TestCheckNotices shows that the assertions about refusals can fail: each answer here
// is a good refusal with one thing wrong.
func TestCheckNotices(t *testing.T) {
	token := testkit.NewToken(client1, "k", testkit.TokenClaims{Issuer: "https://i.example"}, now()).String()
	secrets.add(token)
	good := func() *result {
		return &result{attempt: &attempt{site: &site{}, name: "nobody"}, Answer: &testkit.Answer{Status: 401, Header: http.Header{
			"X-Dpop-Reason": {"htu_mismatch"}, "X-Dpop-Error": {"invalid_dpop_proof"}, "Cache-Control": {"no-store"},
			"Www-Authenticate": {`DPoP error="invalid_dpop_proof", error_description="No", algs="ES256"`},
		}}}
	}
	w := badProof("htu_mismatch")
	var quiet recorder
	if good().check(&quiet, w); quiet.failures != nil {
		t.Fatalf("a good refusal is not: %q", quiet.failures)
	}
	for name, spoil := range map[string]func(*result){
		"no answer":    func(r *result) { r.err = http.ErrServerClosed },
		"status":       func(r *result) { r.Status = 400 },
		"server error": func(r *result) { r.Status = 500 },
		"reason":       func(r *result) { r.Header.Set("X-Dpop-Reason", "htm_mismatch") },
		"no reason":    func(r *result) { r.Header.Set("X-Dpop-Reason", "{http.dpop.reason}") },
		"error":        func(r *result) { r.Header.Set("X-Dpop-Error", "invalid_token") },
		"cacheable":    func(r *result) { r.Header.Del("Cache-Control") },
		"no challenge": func(r *result) { r.Header.Del("Www-Authenticate") },
		"other error": func(r *result) {
			r.Header.Set("Www-Authenticate", `DPoP error="invalid_token", error_description="No", algs="ES256"`)
		},
		"no algs": func(r *result) {
			r.Header.Set("Www-Authenticate", `DPoP error="invalid_dpop_proof", error_description="No"`)
		},
		"not quoted": func(r *result) {
			r.Header.Set("Www-Authenticate", `DPoP error=invalid_dpop_proof, error_description="No", algs="ES256"`)
		},
		"odd description": func(r *result) {
			r.Header.Set("Www-Authenticate", `DPoP error="invalid_dpop_proof", error_description="No_", algs="ES256"`)
		},
		"Bearer first": func(r *result) {
			r.Header["Www-Authenticate"] = append([]string{"Bearer"}, r.Header["Www-Authenticate"]...)
		},
		"token in the body": func(r *result) { r.Body = []byte("your token " + token) },
		"token in a field":  func(r *result) { r.Header.Set("X-Token", strings.Split(token, ".")[2]) },
	} {
		var noisy recorder
		r := good()
		if spoil(r); noisy.failures == nil {
			r.check(&noisy, w)
		}
		if noisy.failures == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// TestUpstreamReachedIsNoticed: a refusal after the upstream was reached is none.
func TestUpstreamReachedIsNoticed(t *testing.T) {
	a := &attempt{site: &site{silent: true}, name: "harness " + testkit.NewID(), method: "GET", target: "/", host: "upstream", noAuth: true, noProof: true}
	a.site.address = backend.address
	if r := a.send(); r.err != nil || len(r.hits) != 1 {
		t.Fatalf("%d hits, %v", len(r.hits), r.err)
	}
	var noisy recorder
	r := &result{attempt: a, Answer: &testkit.Answer{Status: 400, Header: http.Header{}}}
	if r.check(&noisy, caddyRefuses); len(noisy.failures) != 1 {
		t.Errorf("failures %q", noisy.failures)
	}
}

// TestLogsAreSearched: what a log must not hold is found in it.
func TestLogsAreSearched(t *testing.T) {
	proof := testkit.NewProof(client1, "GET", origin, "", now()).String()
	secrets.add(proof)
	secrets.add("a-secret-of-a-client-and-longer")
	parts := strings.Split(proof, ".")
	for name, line := range map[string]string{
		"proof": proof, "header": parts[0], "payload": parts[1], "signature": `"x":"` + parts[2] + `"`, "cut": parts[2][:20], "secret": "secret=a-secret-of-a-client-and-longer",
	} {
		if secrets.find([]byte(`{"msg":"`+line+`"}`)) == "" {
			t.Errorf("%s: not found", name)
		}
	}
	for _, line := range []string{`{"msg":"request refused","jkt":"` + client1.Thumbprint() + `"}`, "", "eyJ"} {
		if found := secrets.find([]byte(line)); found != "" {
			t.Errorf("%q is taken for %s", line, found)
		}
	}
}
