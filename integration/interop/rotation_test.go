// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/proof"
)

// keyInterval is the least time between two fetches of the key set that tokens with an
// unknown key cause, as docs/operations.md has it.
const keyInterval = 10 * time.Second

// TestRotation: an issuer that signs with a new key from one moment to the next, while
// clients call the API all the time, loses none of them.
func TestRotation(t *testing.T) {
	t.Run("key set server", func(t *testing.T) {
		issuer := testkit.NewIssuer("rotation")
		t.Cleanup(issuer.Close)
		var mu sync.Mutex // the issuer's present key is not for two goroutines
		s := &stand{issuer: issuer.URL, base: "http://" + process.FreeAddress(), backend: startBackend(t)}
		startCaddy(t, s.api(fmt.Sprintf("issuer %s\naudience %s", s.issuer, audience)))
		n := 0
		s.rotateUnderLoad(t, func(signer *proof.Signer) string {
			mu.Lock()
			defer mu.Unlock()
			claims := testkit.TokenClaims{Audience: audience, Thumbprint: signer.Thumbprint()}
			return issuer.Token(claims, time.Now()).String()
		}, func() {
			mu.Lock()
			defer mu.Unlock()
			n++
			issuer.Rotate(fmt.Sprint(n), false)
		})
	})
	t.Run("oidc-provider", func(t *testing.T) {
		issuer, _ := startProvider(t, "NONCE=off")
		s := startStand(t, issuer, audience, fmt.Sprintf("issuer %s\naudience %s", issuer, audience))
		s.rotateUnderLoad(t, func(signer *proof.Signer) string { return s.token(t, signer) }, func() {
			res, err := http.Post(issuer+"/test/rotate", "", nil)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
		})
	})
}

// rotateUnderLoad has workers call the API with ever new tokens while the issuer changes
// its key, waits until tokens with the new key have been accepted, does it once more when
// the key set may be fetched again, and wants no request refused.
func (s *stand) rotateUnderLoad(t *testing.T, token func(*proof.Signer) string, rotate func()) {
	t.Helper()
	s.awaitWith(t, token)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sent atomic.Int64
	var workers sync.WaitGroup
	for range 8 {
		signer := newSigner(t)
		workers.Go(func() {
			for ctx.Err() == nil {
				res, err := signedGet(t, http.DefaultClient, signer, token(signer), s.base+"/api/load", s.base+"/api/load")
				sent.Add(1)
				if err != nil || res.StatusCode != http.StatusOK {
					t.Errorf("a valid request during a rotation: %v %v", statusOf(res), err)
					return
				}
			}
		})
	}
	await := func(more int64) {
		deadline := time.Now().Add(30 * time.Second)
		for goal := sent.Load() + more; sent.Load() < goal && !t.Failed() && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
	}
	await(50)
	for i := range 2 {
		if i > 0 {
			time.Sleep(keyInterval)
		}
		rotate()
		await(100) // with the new key, but for the first few
	}
	stop()
	workers.Wait()
	if n := len(s.backend.of(http.MethodGet, "/api/load")); int64(n) != sent.Load() {
		t.Errorf("%d requests reached the backend, %d were sent", n, sent.Load())
	}
}
