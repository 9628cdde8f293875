// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// live is an issuer in a synctest bubble: its clock is the bubble's.
type liveIssuer struct {
	*fixture
	config KeySetConfig
}

func newLive(t testing.TB, c KeySetConfig) *liveIssuer {
	t.Helper()
	f := &liveIssuer{fixture: &fixture{web: newWeb(), key: testkit.P256("issuer")}, config: c}
	f.web.on(testJWKSURI, jwks(f.key.JWK("k1")))
	f.config.URI, f.config.Client = testJWKSURI, f.web.client()
	f.restart(t)
	return f
}

// restart makes the key set anew, as a restarted process would.
func (f *liveIssuer) restart(t testing.TB) {
	t.Helper()
	f.keys = newKeySet(t, f.config)
	f.issuer = newIssuer(t, f.keys, time.Now)
}

func (f *liveIssuer) verify(ctx context.Context, k *testkit.Key, kid string) (*Claims, error) {
	return f.issuer.Verify(ctx, newToken(k, kid, time.Now()).String())
}

func TestKeySetIsFetchedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t, KeySetConfig{})
		f.web.slow(time.Second)
		parallel(100, func(int) error {
			_, err := f.verify(t.Context(), f.key, "k1")
			return err
		})(t, "")
		if n := f.web.total(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

// parallel runs f n times at once; the result fails the test unless all have the
// reason.
func parallel(n int, f func(int) error) func(testing.TB, Reason) {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return func(t testing.TB, want Reason) {
		t.Helper()
		for _, err := range errs {
			wantReason(t, err, want)
		}
	}
}

func TestFetchSurvivesItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t, KeySetConfig{})
		f.web.slow(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := f.verify(ctx, f.key, "k1")
		wantReason(t, err, KeysUnavailable)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
		if n := f.web.total(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestHangingIssuer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t, KeySetConfig{})
		f.web.slow(30 * time.Second)
		start := time.Now()
		_, err := f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, KeysUnavailable)
		if waited := time.Since(start); waited != DefaultMaxWait {
			t.Errorf("the first waited %v", waited)
		}
		start = time.Now()
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, KeysUnavailable)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the second waited %v", waited)
		}
		f.web.slow(0)
		time.Sleep(DefaultFetchTimeout)
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
	})
}

func TestFirstStartWithoutIssuer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t, KeySetConfig{})
		f.web.on(testJWKSURI, nil)
		f.keys.Start()
		defer f.keys.Close()
		synctest.Wait()
		_, err := f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, KeysUnavailable)
		if e, _ := errors.AsType[*Error](err); e.RetryAfter < time.Second {
			t.Errorf("Retry-After is %v", e.RetryAfter)
		}
		// 0, 100, 300, 700 ms, 1.5, 3.1, 6.3, 11.3, 16.3 s and so on.
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := f.web.total(); n != 9 {
			t.Errorf("%d fetches in 20 s", n)
		}
		f.web.on(testJWKSURI, jwks(f.key.JWK("k1")))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
		if st := f.keys.Status(); st.LastError != "" || st.Failures != 9 || st.Fetches != 10 || len(st.Keys) != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestFloodOfUnknownKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		first  Reason
	}{
		{"healthy", nil, KeyUnknown},
		{"failing", testkit.Status(http.StatusInternalServerError, "text/plain", "no"), KeysNotRefreshed},
		{"empty", jwks(), KeysNotRefreshed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newLive(t, KeySetConfig{})
				_, err := f.verify(t.Context(), f.key, "k1")
				wantReason(t, err, "")
				if tt.answer != nil {
					f.web.on(testJWKSURI, tt.answer)
				}
				thief := testkit.P256("thief")
				_, claims, _ := newToken(thief, "x", time.Now()).Segments()
				flood := func(i int) string { // not signed anew: nobody gets as far as the signature
					header := testkit.B64(fmt.Appendf(nil, `{"typ":"at+jwt","alg":"ES256","kid":"unknown%d"}`, i))
					return header + "." + claims + "." + testkit.B64(make([]byte, 64))
				}
				before := f.web.total()
				for i := range 10_000 {
					_, err := f.issuer.Verify(t.Context(), flood(i))
					if want := tt.first; i > 0 && ReasonOf(err) != KeysNotRefreshed || i == 0 && ReasonOf(err) != want {
						t.Fatalf("token %d: %v", i, err)
					}
					if i > 0 {
						if e, _ := errors.AsType[*Error](err); e.RetryAfter != DefaultMinInterval {
							t.Fatalf("Retry-After is %v", e.RetryAfter)
						}
					}
				}
				if n := f.web.total() - before; n != 1 {
					t.Errorf("%d fetches", n)
				}
				// The flood goes on; a new key is found within the interval all the same.
				key := testkit.P256("issuer 2")
				f.web.on(testJWKSURI, jwks(f.key.JWK("k1"), key.JWK("k2")))
				_, err = f.verify(t.Context(), key, "k2")
				wantReason(t, err, KeysNotRefreshed)
				time.Sleep(DefaultMinInterval)
				_, _ = f.verify(t.Context(), thief, "unknown")
				_, err = f.verify(t.Context(), key, "k2")
				wantReason(t, err, "")
				if n := f.web.total() - before; n != 2 {
					t.Errorf("%d fetches", n)
				}
			})
		})
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t, KeySetConfig{})
		f.keys.Start()
		defer f.keys.Close()
		claims, err := f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
		f.web.slow(50 * time.Millisecond)

		// At once after the start, with tokens of both keys in flight.
		next := testkit.P256("issuer 2")
		f.web.on(testJWKSURI, jwks(f.key.JWK("k1"), next.JWK("k2")))
		before := f.web.total()
		parallel(200, func(i int) error {
			key, kid := f.key, "k1"
			if i%2 == 1 {
				key, kid = next, "k2"
			}
			_, err := f.verify(t.Context(), key, kid)
			return err
		})(t, "")
		if n := f.web.total() - before; n != 1 {
			t.Errorf("%d fetches for a rotation", n)
		}
		if !claims.Live() {
			t.Error("claims of a key that is still there are not live")
		}

		// The old key is withdrawn and noticed by the next scheduled fetch.
		f.web.on(testJWKSURI, jwks(next.JWK("k2")))
		time.Sleep(DefaultRefreshInterval + time.Second)
		synctest.Wait()
		if claims.Live() {
			t.Error("claims of a withdrawn key are live")
		}
		time.Sleep(DefaultMinInterval)
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, KeyUnknown)
	})
}

func TestRotationWithoutKid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t, KeySetConfig{})
		next := testkit.P256("issuer 2")
		_, err := f.verify(t.Context(), f.key, "")
		wantReason(t, err, "")
		f.web.on(testJWKSURI, jwks(next.JWK("")))
		_, err = f.verify(t.Context(), next, "")
		wantReason(t, err, "")
		_, err = f.verify(t.Context(), f.key, "")
		wantReason(t, err, SignatureInvalid)
		if n := f.web.total(); n != 2 {
			t.Errorf("%d fetches", n)
		}
	})
}

// TestTokenDuringScheduledFetch: what a fetch that began before the token cannot
// prove, it must not prove.
func TestTokenDuringScheduledFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t, KeySetConfig{})
		_, err := f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")

		next := testkit.P256("issuer 2")
		published := false
		f.web.on(testJWKSURI, func(w http.ResponseWriter, r *http.Request) {
			keys := []testkit.Object{f.key.JWK("k1")}
			if published {
				keys = append(keys, next.JWK("k2"))
			}
			jwks(keys...)(w, r)
			if !published { // the answer is on its way, and then the key is made
				published = true
				time.Sleep(time.Second)
			}
		})
		go func() { _ = f.keys.Refresh(context.Background()) }()
		time.Sleep(500 * time.Millisecond)
		_, err = f.verify(t.Context(), next, "k2")
		wantReason(t, err, "")
	})
}

func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLive(t, KeySetConfig{})
		f.keys.Start()
		defer f.keys.Close()
		synctest.Wait()
		claims, err := f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
		for _, answer := range []http.HandlerFunc{
			nil, jwks(), testkit.Redirect("https://canary.example/jwks"), testkit.Status(200, "text/html", "<html>"),
		} {
			f.web.on(testJWKSURI, answer)
			time.Sleep(5 * time.Hour)
			_, err = f.verify(t.Context(), f.key, "k1")
			wantReason(t, err, "")
			if !claims.Live() {
				t.Error("claims are not live although the copy is still good")
			}
		}
		if n := f.web.count("https://canary.example/jwks"); n != 0 {
			t.Error("a redirect was followed")
		}
		time.Sleep(5 * time.Hour)
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, KeysUnavailable)
		if claims.Live() {
			t.Error("claims outlive the hard limit")
		}
		f.web.on(testJWKSURI, jwks(f.key.JWK("k1")))
		time.Sleep(maxInitialRetry) // without keys, tried as often as at the start
		synctest.Wait()
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
		if !claims.Live() {
			t.Error("claims did not come back with the same key")
		}
	})
}

func TestClockSetBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	wantReason(t, judge(t, f, policy(), f.token(f.key, "k1").String()), "")
	if f.keys.fetchIfDue() != nil {
		t.Error("due at once after a fetch")
	}
	f.clock.Advance(-time.Hour)
	if f.keys.fetchIfDue() == nil {
		t.Error("the schedule waits for the old time")
	}
	next := testkit.P256("issuer 2")
	f.web.on(testJWKSURI, jwks(next.JWK("k2")))
	wantReason(t, judge(t, f, policy(), f.token(next, "k2").String()), "")
}

func TestCloseEndsTheLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // which fails when a goroutine stays
		f := newLive(t, KeySetConfig{})
		f.keys.Start()
		f.keys.Start()
		f.keys.Close()
		f.keys.Close()
		claims, err := f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
		if claims.Live() {
			t.Error("claims are live although nobody would notice that their key is withdrawn")
		}
		n := f.web.total()
		time.Sleep(time.Hour)
		if f.web.total() != n {
			t.Error("fetched after Close")
		}
	})
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.keys.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.web.on(testJWKSURI, nil)
	if err := f.keys.Refresh(t.Context()); err == nil {
		t.Error("a failed refresh reports no error")
	}
	st := f.keys.Status()
	if st.ID != "uri "+testJWKSURI || st.URI != testJWKSURI || len(st.Keys) != 1 || st.Keys[0] != (KeyStatus{"k1", "EC", "ES256"}) ||
		!st.Fetched.Equal(epoch) || st.LastError == "" || st.Fetches != 2 || st.Failures != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestNewKeySet(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config KeySetConfig
		ok     bool
	}{
		{"issuer", KeySetConfig{Issuer: testIssuer}, true},
		{"issuer with a path", KeySetConfig{Issuer: testIssuer + "/tenant/"}, true},
		{"loopback", KeySetConfig{Issuer: "http://localhost:8080"}, true},
		{"loopback address", KeySetConfig{URI: "http://127.0.0.1:1/jwks"}, true},
		{"loopback IPv6", KeySetConfig{URI: "http://[::1]:1/jwks"}, true},
		{"loopback name", KeySetConfig{URI: "http://auth.localhost/jwks"}, true},
		{"issuer unused beside a file", KeySetConfig{Issuer: "anything", File: "keys.json"}, true},
		{"nothing", KeySetConfig{}, false},
		{"http", KeySetConfig{URI: "http://auth.example.com/jwks"}, false},
		{"http that looks local", KeySetConfig{URI: "http://localhost.example.com/jwks"}, false},
		{"http issuer", KeySetConfig{Issuer: "http://auth.example.com"}, false},
		{"issuer with a query", KeySetConfig{Issuer: testIssuer + "?x"}, false},
		{"issuer with a fragment", KeySetConfig{Issuer: testIssuer + "#x"}, false},
		{"issuer with a user", KeySetConfig{Issuer: "https://u:p@auth.example.com"}, false},
		{"issuer that is no URL", KeySetConfig{Issuer: "auth"}, false},
		{"file scheme", KeySetConfig{URI: "file:///etc/passwd"}, false},
		{"URI and file", KeySetConfig{URI: testJWKSURI, File: "keys.json"}, false},
		{"negative interval", KeySetConfig{URI: testJWKSURI, Timeout: -1}, false},
	} {
		if _, err := NewKeySet(tt.config); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
