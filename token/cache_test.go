// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// switchable is a liveness that a test turns off.
type switchable struct{ off atomic.Bool }

func (s *switchable) live() bool { return !s.off.Load() }

// hashInShard makes the n-th hash that falls into shard 0.
func hashInShard(n int) (h [sha256.Size]byte) {
	binary.BigEndian.PutUint64(h[8:], uint64(n))
	return h
}

func TestCache(t *testing.T) {
	t.Parallel()
	c := NewCache(0, nil)
	h := sha256.Sum256([]byte("token"))
	if c.Get(h, "a") != nil {
		t.Error("found what was never put in")
	}
	source := new(switchable)
	claims := &Claims{source: source}
	r := c.Put(h, "a", claims)
	if c.Get(h, "a") != r || r.Claims != claims || c.Len() != 1 {
		t.Error("not found")
	}
	if c.Get(h, "b") != nil {
		t.Error("found for another source")
	}
	other := h
	other[31]++
	if c.Get(other, "a") != nil {
		t.Error("found for another token")
	}
	header := new(int)
	r.Header.Store(header)
	if c.Put(h, "a", &Claims{}) != r {
		t.Error("live claims were replaced")
	}
	source.off.Store(true)
	fresh := &Claims{}
	next := c.Put(h, "a", fresh)
	if next == r || next.Claims != fresh || c.Get(h, "a") != next || next.Header.Load() != any(header) || c.Len() != 1 {
		t.Error("dead claims were not replaced, or the header was lost")
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	const each = 10
	clock := testkit.NewClock(epoch)
	c := NewCache(each*cacheShards, clock.Now)
	put := func(n int, claims *Claims) { c.Put(hashInShard(n), "s", claims) }
	held := func(n int) bool { return c.shards[0].records[cacheKey{hashInShard(n), "s"}] != nil }
	dead := new(switchable)
	for n := range each {
		claims := &Claims{Expiry: epoch.Add(time.Hour)}
		switch n {
		case 3:
			claims.Expiry = epoch.Add(time.Minute)
		case 5:
			claims.source = dead
		}
		put(n, claims)
		c.Get(hashInShard(n), "s") // all in use
	}
	clock.Advance(2 * time.Minute)
	dead.off.Store(true)

	put(100, &Claims{}) // takes the place of what has expired
	put(101, &Claims{}) // and of what is not live
	for n := range each {
		if held(n) != (n != 3 && n != 5) {
			t.Errorf("record %d: held is %v", n, held(n))
		}
	}
	// The hand has cleared 0 to 4; those used again since get another chance.
	c.Get(hashInShard(6), "s")
	c.Get(hashInShard(0), "s")
	put(102, &Claims{})
	put(103, &Claims{})
	if !held(6) {
		t.Error("a record in use was forgotten")
	}
	for n := range 10_000 {
		put(1000+n, &Claims{})
	}
	if n := c.Len(); n != each {
		t.Errorf("%d records", n)
	}
	for key, r := range c.shards[0].records {
		if c.shards[0].ring[r.slot] != r || r.key != key {
			t.Error("ring and table disagree")
		}
	}
}

func TestCacheInParallel(t *testing.T) {
	t.Parallel()
	c := NewCache(64*4, nil)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				h := hashInShard(i * (g%3 + 1) % 50)
				if r := c.Get(h, "s"); r != nil {
					r.Header.Store(t)
					continue
				}
				c.Put(h, "s", &Claims{})
			}
		})
	}
	wg.Wait()
	if n := c.Len(); n > 4 {
		t.Errorf("%d records", n)
	}
}

func TestCacheHitDoesNotAllocate(t *testing.T) {
	c := NewCache(0, nil)
	h := sha256.Sum256([]byte("token"))
	c.Put(h, "source", &Claims{})
	if n := testing.AllocsPerRun(100, func() {
		if c.Get(h, "source") == nil {
			t.Error("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
