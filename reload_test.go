// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// TestReload: what was used stays used, and nothing is fetched or verified anew.
func TestReload(t *testing.T) {
	n := start(t, site(oneIssuer))
	c := n.client()
	p := c.proof("GET", n.url("/"))
	c.present(p, "GET", n.url("/")).passed()
	fetches := n.issuer.Total()
	n.issuer.Fault(testkit.PathJWKS, testkit.Status(http.StatusInternalServerError, "text/plain", "down"))
	n.issuer.Fault(testkit.PathMetadata, testkit.Status(http.StatusInternalServerError, "text/plain", "down"))

	seen := n.app.tokens.Len()
	for _, config := range []string{
		site(oneIssuer),
		site(oneIssuer + "max_age 2m\nclock_skew 10s\nnonce optional\n"),
		strings.Replace(site(oneIssuer), "reverse_proxy", "header X-New 1\n\treverse_proxy", 1),
	} {
		n.reload(config)
		if got := n.app.tokens.Len(); got != seen {
			t.Errorf("%d tokens in the cache, want %d", got, seen)
		}
		c.present(p, "GET", n.url("/")).refusedFor("jti_replayed")
		c.get("/").passed()
		n.client().get("/").passed() // a new token: the keys are still there
		seen++
	}
	if got := n.issuer.Total() - fetches; got != 0 {
		t.Errorf("%d requests to the issuer", got)
	}
}

// TestFailedReload: a configuration that does not load changes nothing.
func TestFailedReload(t *testing.T) {
	n := start(t, site(oneIssuer))
	c := n.client()
	p := c.proof("GET", n.url("/"))
	c.present(p, "GET", n.url("/")).passed()
	for _, broken := range []string{
		site(oneIssuer + "mode off\n"),
		strings.Replace(site(oneIssuer), "api.test", "*.test", 1), // fails in Start
	} {
		if err := n.load(broken); err == nil {
			t.Fatal("loaded")
		}
		c.present(p, "GET", n.url("/")).refusedFor("jti_replayed")
		c.get("/").passed()
	}
}

// TestReloadUnderLoad: no request is lost, and no proof passes twice.
func TestReloadUnderLoad(t *testing.T) {
	configs := []string{site(oneIssuer), site(oneIssuer + "max_age 90s\n")}
	n := start(t, configs[0])
	c := n.client()
	transport := n.transport()
	done := make(chan struct{})
	var workers sync.WaitGroup
	var passed atomic.Int64
	for range 4 {
		workers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				p := c.proof("GET", n.url("/")).String()
				for _, want := range []int{200, 401} {
					r, _ := http.NewRequest("GET", n.url("/"), nil)
					r.Header.Set("Authorization", "DPoP "+c.token)
					r.Header.Set("DPoP", p)
					res, err := transport.RoundTrip(r)
					if err != nil {
						break // a connection to the old listener
					}
					_ = res.Body.Close()
					if res.StatusCode != want {
						t.Errorf("status %d, want %d", res.StatusCode, want)
					}
					passed.Add(1)
				}
			}
		})
	}
	for i := 0; i < 10 || passed.Load() < 40 && !t.Failed(); i++ {
		n.reload(configs[i%2])
	}
	close(done)
	workers.Wait()
}

// TestCleanup: when the last configuration is gone nothing is held any more.
func TestCleanup(t *testing.T) {
	n := start(t, site(oneIssuer+"nonce optional\n"))
	n.client().get("/").passed()
	n.reload(site(oneIssuer))
	_ = n.load(site(oneIssuer + "mode off\n"))
	_ = n.load(strings.Replace(site(oneIssuer), "api.test", "*.test", 1))
	must(t, caddy.Stop())
	eventually(t, "an empty pool", func() bool {
		held := 0
		pool.Range(func(key, _ any) bool {
			held++
			return true
		})
		return held == 0
	})
}
