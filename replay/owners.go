// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// owners counts the entries of each owner, in 8 bytes per owner. An owner is known by a 32-bit tag, which an
// entry has room for: a keyed hash, so nobody can make a key whose tag is somebody else's. Two owners share a
// tag, and then a limit of thousands, with a chance of one in four thousand million.
type owners struct {
	key    seed
	shards []ownerShard // a power of two, at most 256
}

type ownerShard struct {
	mu    sync.Mutex
	slots []ownerCount // power of two, linear probing, at most three quarters full
	used  int
	_     [24]byte
}

type ownerCount struct{ tag, count uint32 } // tag 0: empty

func (o *owners) tag(owner Owner) uint32 {
	x := binary.LittleEndian.Uint64(owner[:])
	h, l := bits.Mul64(x^o.key.lo, o.key.hi|1)
	h, l = bits.Mul64(h^l^o.key.hi, o.key.lo|1)
	return max(uint32(h^l), 1)
}

func (o *owners) shard(tag uint32) *ownerShard { return &o.shards[tag>>24&uint32(len(o.shards)-1)] }

// reserve counts one more entry for the owner, unless it has limit of them.
func (o *owners) reserve(tag uint32, limit int) bool {
	s := o.shard(tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	if (s.used+1)*4 > len(s.slots)*3 {
		s.grow()
	}
	i := s.find(tag)
	c := &s.slots[i]
	if c.tag == 0 {
		c.tag = tag
		s.used++
	}
	if int(c.count) >= limit {
		return false // limit is at least one, so the owner was there before
	}
	c.count++
	return true
}

// release takes back one reserve; tag 0 is nobody.
func (o *owners) release(tag uint32) {
	if tag == 0 {
		return
	}
	s := o.shard(tag)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(tag)
	if s.slots[i].count--; s.slots[i].count == 0 {
		s.remove(i)
	}
}

func (s *ownerShard) find(tag uint32) int {
	mask := uint32(len(s.slots) - 1)
	i := tag & mask
	for s.slots[i].tag != 0 && s.slots[i].tag != tag {
		i = (i + 1) & mask
	}
	return int(i)
}

// remove empties slot i and moves back what a search could no longer reach across the gap.
func (s *ownerShard) remove(i int) {
	mask := len(s.slots) - 1
	s.used--
	for j := (i + 1) & mask; s.slots[j].tag != 0; j = (j + 1) & mask {
		home := int(s.slots[j].tag) & mask
		if (j-home)&mask >= (j-i)&mask {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = ownerCount{}
	if len(s.slots) > 64 && s.used*8 < len(s.slots) {
		s.rehash(len(s.slots) / 2)
	}
}

func (s *ownerShard) grow() { s.rehash(max(2*len(s.slots), 8)) }

func (s *ownerShard) rehash(n int) {
	old := s.slots
	s.slots = make([]ownerCount, n)
	for _, c := range old {
		if c.tag != 0 {
			s.slots[s.find(c.tag)] = c
		}
	}
}

// bytes returns the memory taken.
func (o *owners) bytes() int {
	n := 0
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		n += 8 * len(s.slots)
		s.mu.Unlock()
	}
	return n
}
