// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const (
	testIssuer   = "https://auth.example.com"
	testAudience = "https://api.example.com"
	testJWKSURI  = testIssuer + "/jwks"
)

// epoch is when tests without a clock of their own take place.
var epoch = time.Unix(1_800_000_000, 0)

// web is the network as the code under test sees it: answers by address, and what
// was asked for. It needs no sockets, so that synctest can stop the clock.
type web struct {
	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	asked   []string
	delay   time.Duration
}

func newWeb() *web {
	return &web{answers: make(map[string]http.HandlerFunc)}
}

func (w *web) client() *http.Client { return &http.Client{Transport: w} }

func (w *web) on(address string, answer http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[address] = answer
}

// slow makes every answer take so long.
func (w *web) slow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = d
}

func (w *web) count(address string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.asked {
		if a == address {
			n++
		}
	}
	return n
}

func (w *web) total() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

// RoundTrip implements http.RoundTripper.
func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	address := r.URL.String()
	w.mu.Lock()
	w.asked = append(w.asked, address)
	answer, delay := w.answers[address], w.delay
	w.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if answer == nil {
		return nil, errors.New("connection refused")
	}
	rec := &recorder{header: http.Header{}, status: http.StatusOK}
	answer(rec, r)
	return &http.Response{
		StatusCode: rec.status, Header: rec.header, Request: r,
		Body: io.NopCloser(&rec.body), ContentLength: -1, ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

func answerJSON(value any) http.HandlerFunc {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return testkit.Status(http.StatusOK, "application/json", string(b))
}

// jwks answers with a key set.
func jwks(keys ...testkit.Object) http.HandlerFunc {
	return testkit.Status(http.StatusOK, "application/jwk-set+json", string(jwksBytes(keys...)))
}

func jwksBytes(keys ...testkit.Object) []byte {
	if keys == nil {
		keys = []testkit.Object{}
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return b
}

// fixture is an issuer whose key set holds k1.
type fixture struct {
	web    *web
	clock  *testkit.Clock
	key    *testkit.Key
	keys   *KeySet
	issuer *Issuer
}

func newFixture(t testing.TB, published ...testkit.Object) *fixture {
	t.Helper()
	f := &fixture{web: newWeb(), clock: testkit.NewClock(epoch), key: testkit.P256("issuer")}
	if published == nil {
		published = []testkit.Object{f.key.JWK("k1")}
	}
	f.web.on(testJWKSURI, jwks(published...))
	f.keys = newKeySet(t, KeySetConfig{URI: testJWKSURI, Client: f.web.client(), Now: f.clock.Now})
	f.issuer = newIssuer(t, f.keys, f.clock.Now)
	return f
}

func newKeySet(t testing.TB, c KeySetConfig) *KeySet {
	t.Helper()
	s, err := NewKeySet(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newIssuer(t testing.TB, keys *KeySet, now func() time.Time) *Issuer {
	t.Helper()
	i, err := NewIssuer(IssuerConfig{Issuer: testIssuer, Keys: keys, ClockSkew: 30 * time.Second, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// token makes a good token by k, to be bent.
func (f *fixture) token(k *testkit.Key, kid string) *testkit.JWS {
	return newToken(k, kid, f.clock.Now())
}

func newToken(k *testkit.Key, kid string, now time.Time) *testkit.JWS {
	return testkit.NewToken(k, kid, testkit.TokenClaims{
		Issuer: testIssuer, Audience: testAudience, Subject: "alice", ClientID: "app", Scope: "read write",
		Thumbprint: testkit.P256("client").Thumbprint(),
	}, now)
}

// policy is one that a good token meets.
func policy() Policy {
	return Policy{Issuer: testIssuer, Audiences: []string{testAudience}, ClockSkew: 30 * time.Second}
}

// wantReason fails the test unless err has exactly this reason; "" means no error.
func wantReason(t testing.TB, err error, want Reason) {
	t.Helper()
	if got := ReasonOf(err); got != want || (want == "") != (err == nil) {
		t.Fatalf("got %v, want reason %q", err, want)
	}
}
