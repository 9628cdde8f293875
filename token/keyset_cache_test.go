// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// memoryCache is a KeyCache that can fail and stall.
type memoryCache struct {
	mu     sync.Mutex
	values map[string][]byte
	err    error
	stall  chan struct{} // not nil: Load waits for it, whatever its context says
	hold   chan struct{} // not nil: Store waits for it, whatever its context says
	stores int
}

func newMemoryCache() *memoryCache { return &memoryCache{values: make(map[string][]byte)} }

func (c *memoryCache) Load(_ context.Context, key string) ([]byte, error) {
	if c.stall != nil {
		<-c.stall
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	value, ok := c.values[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return value, nil
}

func (c *memoryCache) Store(_ context.Context, key string, value []byte) error {
	if c.hold != nil {
		<-c.hold
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.stores++
	c.values[key] = value
	return nil
}

func TestRestartDuringOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache := newMemoryCache()
		f := newLive(t, KeySetConfig{Cache: cache})
		_, err := f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
		synctest.Wait()

		f.web.on(testJWKSURI, nil)
		time.Sleep(23 * time.Hour)
		f.restart(t)
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
		if st := f.keys.Status(); !st.Restored || st.Age != (23*time.Hour).Seconds() {
			t.Errorf("status %+v", st)
		}
		_, err = f.verify(t.Context(), testkit.P256("issuer 2"), "k2")
		wantReason(t, err, KeysNotRefreshed)

		// It keeps its age: the hard limit is not put off by restarts.
		time.Sleep(time.Hour)
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, KeysUnavailable)
		f.restart(t)
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, KeysUnavailable)
		synctest.Wait()
	})
}

// TestRestoredCopyServesAtOnce: an issuer that hangs does not hold up requests when
// there is a copy.
func TestRestoredCopyServesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache := newMemoryCache()
		f := newLive(t, KeySetConfig{Cache: cache})
		_, err := f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
		synctest.Wait()
		f.web.slow(time.Minute)
		f.restart(t)
		start := time.Now()
		_, err = f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		time.Sleep(DefaultFetchTimeout)
		synctest.Wait()
	})
}

func TestWhatIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache := newMemoryCache()
		f := newLive(t, KeySetConfig{Cache: cache})
		private := testkit.P256("leaked").PrivateJWK()
		f.web.on(testJWKSURI, jwks(f.key.JWK("k1"), private))
		if err := f.keys.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		names := slices.Collect(maps.Keys(cache.values))
		if len(names) != 1 || !regexp.MustCompile(`^dpop/keys/[0-9a-f]{64}$`).MatchString(names[0]) {
			t.Fatalf("stored as %q", names)
		}
		if d, _ := private.Get("d").(string); d == "" || bytes.Contains(cache.values[names[0]], []byte(d)) {
			t.Error("a private key was stored")
		}
		for range 10 { // unchanged and young: nothing to store
			if err := f.keys.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if cache.stores != 1 {
			t.Errorf("stored %d times", cache.stores)
		}
		time.Sleep(DefaultRefreshInterval)
		if err := f.keys.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if cache.stores != 2 {
			t.Errorf("stored %d times: its age is not renewed", cache.stores)
		}
	})
}

// A copy that takes long to store does not land on one that was fetched after it.
func TestNewestIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache := newMemoryCache()
		cache.hold = make(chan struct{})
		f := newLive(t, KeySetConfig{Cache: cache})
		for _, kid := range []string{"k1", "k2", "k3", "k3"} { // all fetched while the first is on its way
			f.web.on(testJWKSURI, jwks(f.key.JWK(kid)))
			if err := f.keys.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		close(cache.hold)
		synctest.Wait()
		if stored := cache.values[f.keys.cacheKey()]; !bytes.Contains(stored, []byte(`"kid":"k3"`)) || cache.stores != 2 {
			t.Errorf("stored %d times, at last %s", cache.stores, stored)
		}
		if err := f.keys.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if cache.stores != 2 {
			t.Error("stored again, though nothing has changed")
		}
	})
}

func TestCacheFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault func(*memoryCache, *KeySet)
	}{
		{"error", func(c *memoryCache, _ *KeySet) { c.err = errors.New("disk full") }},
		{"garbage", func(c *memoryCache, s *KeySet) { c.values[s.cacheKey()] = []byte(`{"keys":`) }},
		{"no time", func(c *memoryCache, s *KeySet) {
			c.values[s.cacheKey()] = jwksBytes(testkit.P256("old").JWK("k0"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cache := newMemoryCache()
				f := newLive(t, KeySetConfig{Cache: cache})
				tt.fault(cache, f.keys)
				_, err := f.verify(t.Context(), f.key, "k1")
				wantReason(t, err, "")
				_, err = f.verify(t.Context(), testkit.P256("old"), "k0")
				wantReason(t, err, KeyUnknown)
				synctest.Wait()
			})
		})
	}
}

// TestCacheThatStalls: not every storage looks at its context.
func TestCacheThatStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache := newMemoryCache()
		cache.stall = make(chan struct{})
		f := newLive(t, KeySetConfig{Cache: cache})
		f.keys.Start()
		defer f.keys.Close()
		synctest.Wait()
		_, err := f.verify(t.Context(), f.key, "k1")
		wantReason(t, err, "")

		g := newLive(t, KeySetConfig{Cache: cache})
		g.web.on(testJWKSURI, nil)
		start := time.Now()
		_, err = g.verify(t.Context(), g.key, "k1")
		wantReason(t, err, KeysUnavailable)
		if waited := time.Since(start); waited > cacheTimeout {
			t.Errorf("waited %v", waited)
		}

		// What comes late must not replace what is newer.
		old := testkit.P256("old")
		cache.mu.Lock()
		cache.values[f.keys.cacheKey()] = append([]byte(`{"fetched":"2000-01-01T00:00:00Z",`), jwksBytes(old.JWK("k0"))[1:]...)
		cache.mu.Unlock()
		close(cache.stall)
		synctest.Wait()
		if st := f.keys.Status(); st.Restored || len(st.Keys) != 1 || st.Keys[0].ID != "k1" {
			t.Errorf("status %+v", st)
		}
	})
}
