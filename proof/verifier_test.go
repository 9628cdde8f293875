// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

func TestNewVerifierErrors(t *testing.T) {
	t.Parallel()
	seconds := func(n int) *time.Duration { d := time.Duration(n) * time.Second; return &d }
	for _, c := range []struct {
		name   string
		config proof.Config
		want   string
	}{
		{"unknown algorithm", proof.Config{Algorithms: []string{"ES256", "es384"}}, `unknown proof algorithm "es384", must be one of ES256, ES384, ES512, EdDSA, Ed25519, PS256, PS384, PS512, RS256, RS384, RS512`},
		{"none", proof.Config{Algorithms: []string{"none"}}, `unknown proof algorithm "none"`},
		{"symmetric algorithm", proof.Config{Algorithms: []string{"HS256"}}, `unknown proof algorithm "HS256"`},
		{"algorithm twice", proof.Config{Algorithms: []string{"ES256", "ES256"}}, `proof algorithm "ES256" is listed twice`},
		{"negative age", proof.Config{MaxAge: -time.Second}, "maximum age of a proof is -1s, must be positive"},
		{"negative skew", proof.Config{ClockSkew: seconds(-1)}, "clock skew is -1s, must be between 0s and 1m0s"},
		{"skew over a minute", proof.Config{ClockSkew: seconds(61)}, "clock skew is 1m1s, must be between 0s and 1m0s"},
		{"negative size", proof.Config{MaxSize: -1}, "maximum size of a proof is -1 bytes, must be positive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := proof.NewVerifier(c.config); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprint(mustVerifier(t, proof.Config{}).Algorithms()); got != "[ES256 EdDSA Ed25519 PS256 RS256]" {
		t.Errorf("by default %s", got)
	}
	v := mustVerifier(t, proof.Config{Algorithms: []string{"RS256", "ES256"}})
	v.Algorithms()[0] = "none"
	if got := fmt.Sprint(v.Algorithms()); got != "[RS256 ES256]" {
		t.Errorf("configured order: %s", got)
	}
}

// The example of RFC 9449, section 7.1, with the access token of section 7.1 and the
// thumbprint of section 6.1.
func TestExampleOfTheRFC(t *testing.T) {
	t.Parallel()
	const compact = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19" +
		".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9" +
		".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	hash := sha256.Sum256([]byte("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"))
	p, err := mustVerifier(t, proof.Config{}).Verify(compact, &proof.Request{
		Method:          "GET",
		Target:          mustOrigin(t, "https://resource.example.org").Target("/protectedresource"),
		AccessTokenHash: &hash,
		Now:             time.Unix(1562262620, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Header.Thumbprint(); got != "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" {
		t.Errorf("thumbprint %s", got)
	}
	if p.ID != "e1j3V_bKic8-LAEB" || p.Method != "GET" || p.URI != "https://resource.example.org/protectedresource" || p.Header.Algorithm() != "ES256" {
		t.Errorf("read %+v", p)
	}
	if got := p.Offset(time.Unix(1562262620, 0)); got != -2*time.Second {
		t.Errorf("offset %v", got)
	}
}

// signed makes a proof with the key for ES256.
func signed(tb testing.TB, r proof.SignRequest) string {
	tb.Helper()
	s, err := proof.NewSigner(keyFor(tb, "ES256"), "ES256")
	if err != nil {
		tb.Fatal(err)
	}
	compact, err := s.Sign(r)
	if err != nil {
		tb.Fatal(err)
	}
	return compact
}

func TestErrorFields(t *testing.T) {
	t.Parallel()
	now := time.Unix(1764000000, 0)
	v := mustVerifier(t, proof.Config{})
	nonces := &vectorNonces{}
	for _, c := range []struct {
		name   string
		sign   proof.SignRequest
		nonces proof.NonceChecker
		want   proof.Error
	}{
		{
			"other URI",
			proof.SignRequest{URI: "HTTPS://A.example/%7ex?secret", Now: now},
			nil,
			proof.Error{Reason: proof.ReasonHTUMismatch, Claimed: "https://a.example/~x", Target: "https://a.example/items"},
		},
		{
			"an hour old",
			proof.SignRequest{URI: "https://a.example/items", Now: now.Add(-time.Hour)},
			nil,
			proof.Error{Reason: proof.ReasonIATTooOld, Offset: -time.Hour},
		},
		{
			"an hour ahead",
			proof.SignRequest{URI: "https://a.example/items", Now: now.Add(time.Hour)},
			nil,
			proof.Error{Reason: proof.ReasonIATInFuture, Offset: time.Hour},
		},
		{
			"an hour ahead, nonces optional",
			proof.SignRequest{URI: "https://a.example/items", Now: now.Add(time.Hour)},
			nonces,
			proof.Error{Reason: proof.ReasonIATChallenged, Offset: time.Hour},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.sign.Method = "GET"
			_, err := v.Verify(signed(t, c.sign), &proof.Request{
				Method: "GET", Target: mustOrigin(t, "https://a.example").Target("/items"), Now: now, Nonces: c.nonces,
			})
			wrapped := fmt.Errorf("wrapped: %w", err)
			var e *proof.Error
			if !errors.As(wrapped, &e) || *e != c.want || proof.ReasonOf(wrapped) != c.want.Reason {
				t.Errorf("got %#v, want %#v", err, c.want)
			}
		})
	}
	if got := proof.ReasonOf(errors.New("other")); got != "" {
		t.Errorf("reason of another error: %q", got)
	}
}

// No refusal repeats anything that a client wrote.
func TestErrorsAreFixedWords(t *testing.T) {
	t.Parallel()
	messages := make(map[string]bool)
	for _, set := range loadVectors(t) {
		for _, c := range set {
			if _, err := c.verifier(t).Verify(c.Proof, c.request(t)); err != nil {
				messages[err.Error()] = true
			}
		}
	}
	if len(messages) > 100 {
		t.Errorf("%d different messages", len(messages))
	}
	for m := range messages {
		for _, word := range []string{"example", "ES257", "canary", "eyJ", "1764", "P-999"} {
			if strings.Contains(m, word) {
				t.Errorf("message quotes the proof: %s", m)
			}
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	seen := make(map[proof.Reason]bool)
	var challenges []proof.Reason
	for _, r := range proof.Reasons() {
		if seen[r] || strings.Trim(string(r), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("reason %q is listed twice or is no snake case", r)
		}
		seen[r] = true
		if r.Challenge() {
			challenges = append(challenges, r)
		}
	}
	if got := fmt.Sprint(challenges); got != "[nonce_missing nonce_unknown nonce_stale iat_challenged]" {
		t.Errorf("answered with a nonce: %s", got)
	}
}

func TestMatchNonce(t *testing.T) {
	t.Parallel()
	now := time.Unix(1764000000, 0)
	issued := now.Add(-time.Minute)
	v := mustVerifier(t, proof.Config{})
	r := &proof.Request{Method: "GET", Target: mustOrigin(t, "https://a.example").Target("/"), Now: now}
	p, err := v.Parse(signed(t, proof.SignRequest{Method: "GET", URI: "https://a.example/", Nonce: "n", Now: now}), nil)
	if err != nil {
		t.Fatal(err)
	}

	r.RequireNonce = true
	if got := proof.ReasonOf(v.Match(p, r)); got != proof.ReasonNonceMissing {
		t.Errorf("nonce required and nobody who knows nonces: %q", got)
	}
	r.Nonces = &vectorNonces{Live: map[string]int64{"n": issued.Unix()}}
	if err := v.Match(p, r); err != nil || !p.NonceIssuedAt.Equal(issued) {
		t.Errorf("live nonce: %v, issued %v", err, p.NonceIssuedAt)
	}
	r.Nonces, r.RequireNonce = nil, false
	if err := v.Match(p, r); err != nil || !p.NonceIssuedAt.IsZero() {
		t.Errorf("matched again without nonces: %v, issued %v", err, p.NonceIssuedAt)
	}
}

// A live nonce stands in for a clock that is hours off, not for one that is years ahead.
func TestMatchNonceFarAhead(t *testing.T) {
	t.Parallel()
	now := time.Unix(1764000000, 0)
	v := mustVerifier(t, proof.Config{})
	r := &proof.Request{
		Method: "GET", Target: mustOrigin(t, "https://a.example").Target("/"), Now: now,
		Nonces: &vectorNonces{Live: map[string]int64{"n": now.Unix()}},
	}
	for ahead, want := range map[time.Duration]proof.Reason{
		-10 * 365 * 24 * time.Hour: "",
		24 * time.Hour:             "",
		24*time.Hour + time.Second: proof.ReasonIATInFuture,
	} {
		p, err := v.Parse(signed(t, proof.SignRequest{Method: "GET", URI: "https://a.example/", Nonce: "n", Now: now.Add(ahead)}), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := proof.ReasonOf(v.Match(p, r)); got != want {
			t.Errorf("%v ahead: %q, want %q", ahead, got, want)
		}
	}
}

// A header that passed one verifier is held to the algorithms of the next.
func TestKnownHeaderOfAnotherVerifier(t *testing.T) {
	t.Parallel()
	compact := signed(t, proof.SignRequest{Method: "GET", URI: "https://a.example/"})
	p, err := mustVerifier(t, proof.Config{}).Parse(compact, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = mustVerifier(t, proof.Config{Algorithms: []string{"RS256"}}).Parse(compact, p.Header)
	if got := proof.ReasonOf(err); got != proof.ReasonAlgUnsupported {
		t.Errorf("got %q", got)
	}
}

// What a further proof of a client costs beyond the signature check.
func TestAllocations(t *testing.T) {
	set := newBenched(t, "ES256")
	raw := testing.AllocsPerRun(50, func() { set.raw[0]() })
	if got := testing.AllocsPerRun(50, func() { set.check(t, 0, set.known) }); got > raw+4 {
		t.Errorf("%v allocations, the signature check alone %v", got, raw)
	}
}
