// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultCacheSize is how many tokens a [Cache] holds. With typical tokens that is
// up to 200 MB.
const DefaultCacheSize = 100_000

// cacheShards is how many parts the cache has, each with its own lock. A power of two.
const cacheShards = 64

// Cache remembers the claims of tokens that were verified, so that a client's second
// request costs no second verification. It holds facts and no verdicts: whoever
// takes claims from it checks [Claims.Live], the policy and the binding as on the
// first request.
//
// Only requests that passed everything may put tokens in, so that nobody without a
// valid token can push out those of others. A full cache forgets a token that has
// expired or is no longer live, else one that was not used since the last time
// room was needed (the clock algorithm, in each shard by itself).
type Cache struct {
	now    func() time.Time
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu      sync.RWMutex
	records map[cacheKey]*Record
	ring    []*Record // in the order of arrival; a new record takes its predecessor's place
	hand    int
	max     int
	_       [64]byte // keeps the locks of neighbours off one cache line
}

type cacheKey struct {
	hash   [sha256.Size]byte
	source string
}

// Record is what the cache knows about one token from one source.
type Record struct {
	// Claims are what the token says.
	Claims *Claims
	// Header is room for what the caller wants to remember with the token: the parsed
	// header of its last good proof. Always store the same type.
	Header atomic.Value

	key  cacheKey
	slot int // in the shard's ring
	used atomic.Bool
}

// NewCache makes a cache for about limit tokens; zero means [DefaultCacheSize].
// Nil for now means time.Now.
func NewCache(limit int, now func() time.Time) *Cache {
	if limit <= 0 {
		limit = DefaultCacheSize
	}
	if now == nil {
		now = time.Now
	}
	c := &Cache{now: now}
	for i := range c.shards {
		c.shards[i].records = make(map[cacheKey]*Record)
		c.shards[i].max = (limit + cacheShards - 1) / cacheShards
	}
	return c
}

// shard spreads tokens by the first byte of their hash.
func (c *Cache) shard(hash *[sha256.Size]byte) *cacheShard {
	return &c.shards[hash[0]%cacheShards]
}

// Get returns the record of the token with this SHA-256 hash from the source with
// this [Source.ID], or nil.
func (c *Cache) Get(hash [sha256.Size]byte, source string) *Record {
	s := c.shard(&hash)
	s.mu.RLock()
	r := s.records[cacheKey{hash, source}]
	s.mu.RUnlock()
	if r != nil && !r.used.Load() { // a write for each hit would make the processors fight for it
		r.used.Store(true)
	}
	return r
}

// Put records the claims of a token after a request with it has passed, and returns
// its record. Claims that are there already and live stay; claims that are not are
// replaced, and Header stays, since it belongs to the token.
func (c *Cache) Put(hash [sha256.Size]byte, source string, claims *Claims) *Record {
	s := c.shard(&hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Record{Claims: claims, key: cacheKey{hash, source}}
	if old := s.records[r.key]; old != nil {
		if old.Claims.Live() {
			return old
		}
		if header := old.Header.Load(); header != nil {
			r.Header.Store(header)
		}
		r.slot = old.slot
		s.ring[r.slot] = r
	} else {
		s.insert(r, c.now())
	}
	s.records[r.key] = r
	return r
}

func (s *cacheShard) insert(r *Record, now time.Time) {
	if len(s.ring) < s.max {
		r.slot = len(s.ring)
		s.ring = append(s.ring, r)
		return
	}
	// The hand passes each record at most twice: the first time clears used.
	for {
		victim := s.ring[s.hand]
		if spent(victim.Claims, now) || !victim.used.Swap(false) {
			delete(s.records, victim.key)
			r.slot = s.hand
			s.ring[s.hand] = r
			s.hand = (s.hand + 1) % len(s.ring)
			return
		}
		s.hand = (s.hand + 1) % len(s.ring)
	}
}

func spent(c *Claims, now time.Time) bool {
	return !c.Expiry.IsZero() && now.After(c.Expiry) || !c.Live()
}

// Len returns how many tokens the cache holds.
func (c *Cache) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.records)
		s.mu.RUnlock()
	}
	return n
}

// Resize changes how many tokens the cache holds. A cache that shrinks forgets all:
// it is a cache.
func (c *Cache) Resize(limit int) {
	if limit <= 0 {
		limit = DefaultCacheSize
	}
	perShard := (limit + cacheShards - 1) / cacheShards
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		if s.max = perShard; len(s.ring) > perShard {
			s.records, s.ring, s.hand = make(map[cacheKey]*Record), nil, 0
		}
		s.mu.Unlock()
	}
}
