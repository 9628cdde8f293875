// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// slow answers what a good server would, but only after the callers have lost patience.
func slow(w http.ResponseWriter, r *http.Request) { testkit.Hang(20*time.Second)(w, r) }

// drip sends a header at once and then a byte a second.
func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for range 20 {
		if _, err := io.WriteString(w, " "); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// text answers 200 with a JSON text.
func text(body string) http.HandlerFunc {
	return testkit.Status(http.StatusOK, "application/json", body)
}

// thiefsKeys is a key set with the thief's key under the issuer's key id.
func thiefsKeys(issuer string) string {
	k := another.JWK("k1")
	return testkit.Object{{Name: "issuer", Value: issuer}, {Name: "keys", Value: []any{k}}}.String()
}

// TestIssuer breaks the issuer while its keys are in use: good tokens go on passing by
// the last good copy, bad ones never pass, and new keys are found once it has healed.
func TestIssuer(t *testing.T) {
	s := newStand(t, newStorage(t), `respond "ok"`)
	base := s.base()
	for _, fault := range []struct {
		name           string
		metadata, jwks http.HandlerFunc
	}{
		{"slow", nil, slow},
		{"drip", nil, drip},
		{"dead", testkit.Reset, testkit.Reset},
		{"down", testkit.Status(http.StatusBadGateway, "text/html", "<h1>no</h1>"), testkit.Status(http.StatusBadGateway, "text/html", "<h1>no</h1>")},
		{"endless", nil, testkit.Flood},
		{"another issuer", text(`{"issuer":"https://evil.example","jwks_uri":"` + s.issuer.URL + `/evil"}`), text(thiefsKeys("https://evil.example"))},
		{"no issuer", text(`{"jwks_uri":"` + s.issuer.URL + `/evil"}`), text(thiefsKeys(""))},
		{"symmetric key", nil, text(`{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0"}]}`)},
		{"no keys", nil, text(`{"keys":[]}`)},
		{"no JSON", nil, text(`{"keys":[`)},
	} {
		s.issuer.Fault(testkit.PathMetadata, fault.metadata)
		s.issuer.Fault(testkit.PathOpenID, fault.metadata)
		s.issuer.Fault(testkit.PathJWKS, fault.jwks)
		var all sync.WaitGroup
		all.Go(func() {
			if res, err := http.Post("http://"+s.caddy.Admin+"/dpop/keys/refresh", "", nil); err == nil {
				_ = res.Body.Close()
			}
		})
		for range 3 {
			all.Go(func() {
				token := s.token(s.jwt)
				if a := s.good(s.jwt, token); a.status != http.StatusOK || a.took > 15*time.Second {
					t.Errorf("%s: a good token is answered %d %s after %v", fault.name, a.status, a.reason, a.took)
				}
				s.bad(s.jwt, token)
			})
		}
		all.Wait()
		for _, path := range []string{testkit.PathMetadata, testkit.PathOpenID, testkit.PathJWKS} {
			s.issuer.Fault(path, nil)
		}
	}
	s.issuer.Rotate("healed", true)
	s.recovers(s.jwt, 40*time.Second)
	s.sound()
	s.settles(base)
}

// TestIssuerAtStart starts while the issuer is broken: 503 until it heals, never a
// verdict on the token, and no restart.
func TestIssuerAtStart(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{"dead": testkit.Reset, "slow": slow, "thief": text(thiefsKeys("x"))} {
		t.Run(name, func(t *testing.T) {
			s := prepare(t, newStorage(t), `respond "ok"`)
			path := testkit.PathJWKS
			if name == "thief" { // metadata of somebody else must not lead to their keys
				path = testkit.PathMetadata
				s.issuer.Fault(testkit.PathOpenID, testkit.Status(http.StatusNotFound, "text/plain", ""))
				fault = text(`{"issuer":"https://evil.example","jwks_uri":"` + s.issuer.URL + `/jwks"}`)
			}
			s.issuer.Fault(path, fault)
			s.start()
			for range 3 {
				a := s.good(s.jwt, s.token(s.jwt))
				if a.status != http.StatusServiceUnavailable || a.retryAfter == "" || a.took > 10*time.Second {
					t.Errorf("%d %s, Retry-After %q, after %v", a.status, a.reason, a.retryAfter, a.took)
				}
			}
			s.bad(s.jwt, s.token(s.jwt))
			s.issuer.Fault(path, nil)
			s.recovers(s.jwt, 30*time.Second)
			s.sound()
		})
	}
}

// TestFlappingIssuer has every other answer fail, while keys rotate.
func TestFlappingIssuer(t *testing.T) {
	s := newStand(t, newStorage(t), `respond "ok"`)
	base := s.base()
	var turn atomic.Int32
	flap := func(w http.ResponseWriter, r *http.Request) {
		if turn.Add(1)%2 == 1 {
			testkit.Reset(w, r)
			return
		}
		set := testkit.Object{{Name: "keys", Value: []any{s.issuer.Key.JWK(s.issuer.KeyID)}}}
		_, _ = w.Write(set.JSON())
	}
	s.issuer.Rotate("flapping", true)
	s.issuer.Fault(testkit.PathJWKS, flap)
	s.bad(s.jwt, s.token(s.jwt))
	s.recovers(s.jwt, 60*time.Second)
	s.bad(s.jwt, s.token(s.jwt))
	s.issuer.Fault(testkit.PathJWKS, nil)
	s.sound()
	s.settles(base)
}

// TestIntrospection breaks the endpoint: 503 or a pass, depending on what it says, and
// never a pass for what must not; the other site does not notice.
func TestIntrospection(t *testing.T) {
	s := newStand(t, newStorage(t), `respond "ok"`)
	base := s.base()
	var turn atomic.Int32
	for _, fault := range []struct {
		name     string
		f        http.HandlerFunc
		statuses []int
	}{
		{"slow", slow, []int{503}},
		{"drip", drip, []int{503}},
		{"dead", testkit.Reset, []int{503}},
		{"down", testkit.Status(http.StatusInternalServerError, "text/plain", "no"), []int{503}},
		{"endless", testkit.Flood, []int{503}},
		{"everything is active", text(`{"active":true}`), []int{401}},
		{"active for the thief", text(s.says(another).String()), []int{401}},
		{"active for nobody", text(s.says(key).Without("cnf").String()), []int{401}},
		{"active in words", text(`{"active":"true"}`), []int{503}},
		{"flapping", func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			if turn.Add(1)%2 == 1 {
				testkit.Reset(w, r)
				return
			}
			text(s.says(key).String())(w, r)
		}, []int{200, 503}},
	} {
		s.issuer.Fault(testkit.PathIntrospect, fault.f)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				a := s.good(s.opaque, s.token(s.opaque))
				known := false
				for _, status := range fault.statuses {
					known = known || a.status == status
				}
				if !known || a.took > 15*time.Second || a.status == 503 && a.retryAfter == "" {
					t.Errorf("%s: %d %s, Retry-After %q, after %v", fault.name, a.status, a.reason, a.retryAfter, a.took)
				}
			})
		}
		for range 4 {
			all.Go(func() {
				if a := s.good(s.jwt, s.token(s.jwt)); a.status != http.StatusOK || a.took > 5*time.Second {
					t.Errorf("%s: the other site: %d %s after %v", fault.name, a.status, a.reason, a.took)
				}
			})
		}
		if fault.name != "flapping" && fault.name != "active for the thief" { // these two vouch for any token
			all.Go(func() { s.bad(s.opaque, s.token(s.opaque)) })
		}
		all.Wait()
	}
	s.issuer.Fault(testkit.PathIntrospect, nil)
	s.recovers(s.opaque, 20*time.Second)
	s.sound()
	s.settles(base)
}
