// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	// DefaultMaxEntries is the default of [TableConfig.MaxEntries]: some 120 MB, and 44,000 proofs a second at
	// the default window.
	DefaultMaxEntries = 4_000_000

	// DefaultMaxPerKey is the default of [TableConfig.MaxPerKey]: 111 proofs a second from one key at the
	// default window. Four hundred such keys fill a table of the default size.
	DefaultMaxPerKey = 10_000

	// entriesPerShard at the limit: with fewer, the shards themselves fall out of the processor's cache, and each
	// claim waits for memory twice; with more, a pass through one keeps its claims waiting.
	entriesPerShard = 8192
)

// TableConfig configures a [Table].
type TableConfig struct {
	// MaxEntries is the number of entries that the table may hold, DefaultMaxEntries when zero. When it is
	// reached, claims end with ErrFull until entries expire. An entry takes about 30 bytes.
	MaxEntries int

	// MaxPerKey is the number of live entries that one owner may have, DefaultMaxPerKey when zero. When it is
	// reached, the owner's claims end with ErrOwnerFull. As large as MaxEntries, it lets one client fill the table.
	MaxPerKey int

	// Now is the clock, time.Now when nil. It may step.
	Now func() time.Time
}

// Table is the memory of one process, and by itself the store of a single node.
//
// It is split into shards by a keyed hash of the ID, each with its own lock, so that claims do not wait for one
// another. Under a shard's lock a claim is looked up and inserted at once: of two copies of a proof, one finds
// the other. The entry is found by its ID alone, so a second proof with the same key and jti is a replay
// whatever its iat says.
type Table struct {
	config  TableConfig
	born    int64 // cut-off: the second in which the table was made
	epoch   int64 // second of tick 0
	key     seed
	history history
	owners  owners
	shards  []shard

	maxEntries, maxPerKey atomic.Int64 // see SetLimits

	count   atomic.Int64 // entries, never above MaxEntries
	bytes   atomic.Int64
	horizon atomic.Int64 // mark: the latest expiry among entries dropped so far
	newest  atomic.Int64 // the latest issue among claims so far

	reclaiming sync.Mutex
	reclaimed  int64 // second of the last walk through all shards; guarded by reclaiming
}

var _ Store = (*Table)(nil)

// NewTable returns an empty table. Claims issued up to the present second are refused with [ErrTooEarly], since
// an earlier process may have accepted them. [Table.SetWindow] has to be called before the first claim.
func NewTable(config TableConfig) *Table {
	if config.MaxEntries <= 0 {
		config.MaxEntries = DefaultMaxEntries
	}
	if config.MaxPerKey <= 0 {
		config.MaxPerKey = DefaultMaxPerKey
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	t := &Table{
		config: config,
		key:    seed{lo: rand.Uint64(), hi: rand.Uint64()}, //nolint:gosec // seeded by the system, and never shown
		owners: owners{
			key:    seed{lo: rand.Uint64(), hi: rand.Uint64()}, //nolint:gosec // as above
			shards: make([]ownerShard, min(1<<bits.Len(uint(config.MaxEntries/1024)), 256)),
		},
		shards: make([]shard, 1<<bits.Len(uint(config.MaxEntries/entriesPerShard))),
	}
	t.SetLimits(config.MaxEntries, config.MaxPerKey)
	t.born = t.now()
	t.epoch = t.born - 1<<29 // ticks reach 17 years to either side
	t.horizon.Store(t.epoch)
	t.newest.Store(t.epoch)
	t.bytes.Store(int64(len(t.shards)) * int64(unsafe.Sizeof(shard{})))
	return t
}

// SetLimits changes [TableConfig.MaxEntries] and [TableConfig.MaxPerKey]; zero means their defaults. A lower limit
// forgets nothing: it refuses until enough has expired.
func (t *Table) SetLimits(maxEntries, maxPerKey int) {
	if maxEntries <= 0 {
		maxEntries = DefaultMaxEntries
	}
	if maxPerKey <= 0 {
		maxPerKey = DefaultMaxPerKey
	}
	t.maxEntries.Store(int64(maxEntries))
	t.maxPerKey.Store(int64(maxPerKey))
}

// SetWindow implements [Store].
func (t *Table) SetWindow(w Window) {
	t.history.set(w.limits(), max(t.now(), t.newest.Load()))
}

// Claim implements [Store]. It does not wait for anything and does not look at ctx.
func (t *Table) Claim(_ context.Context, c Claim) error {
	if c.issued() <= t.born {
		return ErrTooEarly
	}
	_, _, err := t.admit(c, 0)
	return err
}

// Stats implements [Store].
func (t *Table) Stats() Stats {
	return Stats{
		Kind:       "memory",
		Entries:    int(t.count.Load()),
		MaxEntries: int(t.maxEntries.Load()),
		Bytes:      int(t.bytes.Load()) + t.owners.bytes(),
		CutOff:     time.Unix(t.born, 0),
		Nodes:      1,
	}
}

// Close implements [Store]. A table has nothing to end: it stays usable.
func (t *Table) Close(context.Context) error { return nil }

func (t *Table) now() int64 { return t.config.Now().Unix() }

// admit inserts the claim's entry with the flags given, or says why not. It returns the entry's expiry, and the
// second that has to be later than any mark or clock for the claim to pass (see windows.judge).
func (t *Table) admit(c Claim, flags uint32) (expiry, check int64, err error) {
	expiry, check = t.history.load().judge(c)
	tick := t.tick(expiry)
	if tick == tickMask {
		return 0, 0, fmt.Errorf("%w: it expires in the far future", ErrTooOld)
	}
	lo, hi := splitID(c.ID)
	hash := t.key.hash(lo, hi)
	s := t.shard(hash)
	e := slot{lo: lo, hi: hi, state: tick | flags, owner: t.owners.tag(c.Owner)}

	now := t.now()
	err = t.insert(s, hash, e, check, now)
	if (errors.Is(err, ErrFull) || errors.Is(err, ErrOwnerFull)) && t.reclaim(now) {
		err = t.insert(s, hash, e, check, now)
	}
	switch {
	case errors.Is(err, ErrOwnerFull):
		// A steady client sees a tenth of its entries expire in a tenth of the window.
		return 0, 0, OwnerFull(time.Duration(expiry-c.issued()) * time.Second / 10)
	case err != nil:
		return 0, 0, err
	}
	raise(&t.newest, c.issued())
	return expiry, check, nil
}

func (t *Table) insert(s *shard, hash uint64, e slot, check, now int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	place, found := s.find(t.key, hash, e.lo, e.hi)
	if found && t.second(s.slots[place].tick()) > now {
		return ErrReplayed
	}
	if found {
		// The jti is used again after its time. Dropping the old entry is what leaves the mark.
		t.expire(s, now)
		place, _ = s.find(t.key, hash, e.lo, e.hi)
	}
	if check <= now || check <= t.horizon.Load() {
		return ErrTooOld
	}
	if t.count.Add(1) > t.maxEntries.Load() {
		t.count.Add(-1)
		return ErrFull
	}
	if !t.owners.reserve(e.owner, int(t.maxPerKey.Load())) {
		t.count.Add(-1)
		return ErrOwnerFull
	}
	t.put(s, hash, place, e, now)
	return nil
}

// put inserts an entry that has been counted, and makes room for it first if need be.
func (t *Table) put(s *shard, hash uint64, place int, e slot, now int64) {
	if s.full() {
		before := int(s.used)
		if freed := t.expire(s, now); freed*16 < before+1 {
			t.grow(s)
		} else if n := s.homes(); n > 64 && int(s.used)*5 < n*2 {
			t.resize(s, int(s.used)*5/4+minSlots)
		}
		place, _ = s.find(t.key, hash, e.lo, e.hi)
	}
	for !s.insert(place, e) {
		t.grow(s)
		place, _ = s.find(t.key, hash, e.lo, e.hi)
	}
}

func (t *Table) grow(s *shard) {
	n := minSlots
	if s.slots != nil {
		n = s.homes() + max(s.homes()/8, minSlots)
	}
	t.resize(s, n)
}

func (t *Table) resize(s *shard, n int) {
	before := len(s.slots)
	s.resize(t.key, n)
	t.bytes.Add(int64(len(s.slots)-before) * int64(unsafe.Sizeof(slot{})))
}

// expire drops the expired entries of a shard, and raises the mark before its lock is released.
func (t *Table) expire(s *shard, now int64) int {
	limit := t.tick(now)
	if s.used == 0 || s.soonest > limit {
		return 0
	}
	latest := uint32(0)
	freed := s.expire(t.key, func(e *slot) bool {
		if e.tick() > limit {
			return false
		}
		latest = max(latest, e.tick())
		t.owners.release(e.owner)
		return true
	})
	raise(&t.horizon, t.second(latest))
	t.count.Add(-int64(freed))
	return freed
}

// reclaim drops all expired entries, one shard at a time, at most once in a second. It reports whether it is
// worth trying again.
func (t *Table) reclaim(now int64) bool {
	t.reclaiming.Lock()
	defer t.reclaiming.Unlock()
	if t.reclaimed == now {
		return t.count.Load() < t.maxEntries.Load()
	}
	t.reclaimed = now
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		t.expire(s, now)
		s.mu.Unlock()
	}
	return true
}

func (t *Table) shard(hash uint64) *shard {
	return &t.shards[hash&uint64(len(t.shards)-1)]
}

// tick converts a second to what a slot holds; seconds out of reach become the nearest within.
func (t *Table) tick(second int64) uint32 {
	return uint32(min(max(second-t.epoch, 1), int64(tickMask)))
}

func (t *Table) second(tick uint32) int64 { return t.epoch + int64(tick) }

// raise sets v to x if x is larger.
func raise(v *atomic.Int64, x int64) {
	for {
		old := v.Load()
		if x <= old || v.CompareAndSwap(old, x) {
			return
		}
	}
}
