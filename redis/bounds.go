// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// bounds counts the live entries that this process has put into Redis, per owner and together. Redis cannot count
// by owner in the round trip of the claim, so the limits hold per process: in a fleet of n, one client can have n
// times max_per_key proofs alive. Redis' own memory limit bounds the whole, since it evicts nothing.
//
// Entries are counted in buckets of some seconds by their expiry, so an owner takes some bytes per bucket and
// nothing per entry.
type bounds struct {
	maxEntries, maxPerKey atomic.Int64

	total  atomic.Int64
	swept  atomic.Int64 // second of the last walk through all shards
	shards [64]boundShard
}

type boundShard struct {
	mu     sync.Mutex
	owners map[replay.Owner][]bucket
	swept  int64
}

// bucket counts entries that expire no later than the second until.
type bucket struct {
	until int64
	n     int64
}

const (
	bucketSeconds = 8
	sweepSeconds  = 64
)

// reserve counts one more entry, until the second expiry. The error is the one to answer if the entry turns out to
// be new.
func (b *bounds) reserve(owner replay.Owner, expiry, now int64) error {
	if b.total.Add(1) > b.maxEntries.Load() && !b.sweep(now) {
		b.total.Add(-1)
		return replay.ErrFull
	}
	until := roundUp(expiry)
	s := b.shard(owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owners == nil {
		s.owners = make(map[replay.Owner][]bucket)
	}
	if now-s.swept >= sweepSeconds {
		b.total.Add(-s.expire(now))
	}
	buckets, freed := live(s.owners[owner], now)
	b.total.Add(-freed)
	count, place := int64(0), -1
	for i := range buckets {
		count += buckets[i].n
		if buckets[i].until == until {
			place = i
		}
	}
	if count >= b.maxPerKey.Load() {
		b.total.Add(-1)
		s.owners[owner] = buckets
		// A steady client sees a tenth of its entries expire in a tenth of the window.
		return replay.OwnerFull(time.Duration(expiry-now) * time.Second / 10)
	}
	if place < 0 {
		buckets = append(buckets, bucket{until: until})
		place = len(buckets) - 1
	}
	buckets[place].n++
	s.owners[owner] = buckets
	return nil
}

// release takes back a reserve: there is no such entry.
func (b *bounds) release(owner replay.Owner, expiry int64) {
	until := roundUp(expiry)
	s := b.shard(owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.owners[owner] {
		if k := &s.owners[owner][i]; k.until == until && k.n > 0 {
			k.n--
			b.total.Add(-1)
			return
		}
	}
}

// sweep drops what has expired, at most once in a second, and reports whether there is room for what is counted.
func (b *bounds) sweep(now int64) bool {
	if before := b.swept.Load(); before != now && b.swept.CompareAndSwap(before, now) {
		for i := range b.shards {
			s := &b.shards[i]
			s.mu.Lock()
			b.total.Add(-s.expire(now))
			s.mu.Unlock()
		}
	}
	return b.total.Load() <= b.maxEntries.Load()
}

func (b *bounds) shard(owner replay.Owner) *boundShard {
	return &b.shards[binary.LittleEndian.Uint64(owner[:])%uint64(len(b.shards))]
}

// expire drops what has expired in all owners of the shard, and returns how much that was.
func (s *boundShard) expire(now int64) (freed int64) {
	s.swept = now
	for owner, buckets := range s.owners {
		rest, n := live(buckets, now)
		freed += n
		if len(rest) == 0 {
			delete(s.owners, owner)
		} else {
			s.owners[owner] = rest
		}
	}
	return freed
}

// live returns the buckets that have not expired, in place, and how many entries were in the others.
func live(buckets []bucket, now int64) (rest []bucket, freed int64) {
	rest = buckets[:0]
	for _, k := range buckets {
		if k.until <= now {
			freed += k.n
		} else {
			rest = append(rest, k)
		}
	}
	return rest, freed
}

func roundUp(second int64) int64 {
	return (second + bucketSeconds - 1) / bucketSeconds * bucketSeconds
}
