// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
)

// slot is one remembered entry: 24 bytes, no pointer, so the garbage collector never looks at the table.
type slot struct {
	lo, hi uint64 // the ID
	state  uint32 // expiry as a tick, and flags; 0: the slot is empty
	owner  uint32 // owner tag; 0: nobody's, an entry of another node
}

const (
	// flagPending marks an entry that this process has announced and not yet decided.
	flagPending uint32 = 1 << 31
	// flagContested marks a pending entry that another node has too: it will be refused.
	flagContested uint32 = 1 << 30
	tickMask      uint32 = flagContested - 1
)

func (s *slot) tick() uint32 { return s.state & tickMask }

// seed keys the order of slots, so that nobody who chooses jtis can choose where they land.
type seed struct{ lo, hi uint64 }

func splitID(id ID) (lo, hi uint64) {
	return binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])
}

func joinID(lo, hi uint64) (id ID) {
	binary.LittleEndian.PutUint64(id[:8], lo)
	binary.LittleEndian.PutUint64(id[8:], hi)
	return id
}

func (k seed) hash(lo, hi uint64) uint64 {
	h, l := bits.Mul64(lo^k.lo, hi^k.hi)
	return h ^ l
}

// shard is a part of the table: an array of slots in the order of their hash, with gaps (linear probing, kept
// sorted). An entry stands at its home, the place its hash has in the array, or to the right of it with no gap
// between. Three things follow from the order. A search for an absent entry ends at the first larger hash, so
// the array can be nine tenths full. Any size will do, not only powers of two, so it can grow by an eighth and
// waste little. And expired entries are taken out by one pass from left to right that needs no second array.
//
// A shard is small (see entriesPerShard), so that no pass takes more than some tens of microseconds.
// Expired entries stay until the shard has no room left; then a pass takes out all of them, and only if that
// freed less than a sixteenth does the array grow. Expiry therefore costs a constant number of slots visited per
// entry, needs no timer and never stops the world.
type shard struct {
	mu      sync.Mutex
	slots   []slot
	used    int32
	soonest uint32 // no entry expires before this tick: a pass before it would find nothing
	_       [16]byte
}

// slack is the room to the right of the last home, for entries that their neighbours have pushed out.
const slack = 16

// minSlots is the capacity of a shard that holds anything at all.
const minSlots = 8

// home returns the place of a hash among n homes; it grows with the hash.
func home(hash uint64, n int) int {
	place, _ := bits.Mul64(hash, uint64(n))
	return int(place)
}

func (s *shard) homes() int { return len(s.slots) - slack }

// find returns the place of the entry, or the place where it would have to be put. The place may be
// len(s.slots): then there is no room for it there.
func (s *shard) find(k seed, hash, lo, hi uint64) (place int, found bool) {
	if s.slots == nil {
		return 0, false
	}
	i := home(hash, s.homes())
	for ; i < len(s.slots); i++ {
		e := &s.slots[i]
		if e.state == 0 {
			return i, false
		}
		if e.lo == lo && e.hi == hi {
			return i, true
		}
		if k.hash(e.lo, e.hi) > hash {
			return i, false
		}
	}
	return i, false
}

// full reports whether another entry would make the array more than nine tenths full.
func (s *shard) full() bool {
	return s.slots == nil || int(s.used)+1 > s.homes()*9/10
}

// insert puts e at the place that find returned. False means that its neighbourhood is full up to the end of
// the array, which has to grow first.
func (s *shard) insert(place int, e slot) bool {
	end := place
	for end < len(s.slots) && s.slots[end].state != 0 {
		end++
	}
	if end >= len(s.slots) {
		return false
	}
	copy(s.slots[place+1:end+1], s.slots[place:end])
	s.slots[place] = e
	if s.used == 0 || e.tick() < s.soonest {
		s.soonest = e.tick()
	}
	s.used++
	return true
}

// expire takes out the entries that dead names, in place, and returns how many there were.
func (s *shard) expire(k seed, dead func(*slot) bool) int {
	next, freed, n := 0, 0, s.homes()
	s.soonest = tickMask
	for i := range s.slots {
		e := s.slots[i]
		if e.state == 0 {
			continue
		}
		s.slots[i] = slot{}
		if dead(&e) {
			freed++
			continue
		}
		// Never to the right of i: each entry moves left, into what has been freed, or stays.
		place := max(home(k.hash(e.lo, e.hi), n), next)
		s.slots[place] = e
		next = place + 1
		s.soonest = min(s.soonest, e.tick())
	}
	s.used -= int32(freed)
	return freed
}

// resize moves the entries to an array with at least n homes.
func (s *shard) resize(k seed, n int) {
	for {
		// Grow rounds up to what the allocator hands out anyway; take all of it.
		slots := slices.Grow([]slot(nil), max(n, minSlots)+slack)
		slots = slots[:cap(slots)]
		if s.moveTo(k, slots) {
			s.slots = slots
			return
		}
		n += n/8 + slack // the last homes were crowded
	}
}

func (s *shard) moveTo(k seed, slots []slot) bool {
	next, n := 0, len(slots)-slack
	for i := range s.slots {
		e := &s.slots[i]
		if e.state == 0 {
			continue
		}
		place := max(home(k.hash(e.lo, e.hi), n), next)
		if place >= len(slots) {
			return false
		}
		slots[place] = *e
		next = place + 1
	}
	return true
}
