// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

// What a table does for a store that shares it with other nodes: an entry is first pending (announced, not
// decided), entries of other nodes come in, and those that meet are contested.

// addRemote notes an entry of another node. If this process has the same one pending, that is contested from
// now on, whoever waits for it. ErrFull means that the entry could not be noted, so nothing may be accepted.
func (t *Table) addRemote(id ID, expiry int64) error {
	lo, hi := splitID(id)
	hash := t.key.hash(lo, hi)
	s := t.shard(hash)
	now := t.now()
	err := t.insertRemote(s, hash, slot{lo: lo, hi: hi, state: t.tick(expiry)}, now)
	if err != nil && t.reclaim(now) {
		err = t.insertRemote(s, hash, slot{lo: lo, hi: hi, state: t.tick(expiry)}, now)
	}
	return err
}

func (t *Table) insertRemote(s *shard, hash uint64, e slot, now int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	place, found := s.find(t.key, hash, e.lo, e.hi)
	if found {
		known := &s.slots[place]
		flags := known.state &^ tickMask
		if flags&flagPending != 0 {
			flags |= flagContested
		}
		known.state = max(known.tick(), e.tick()) | flags
		return nil
	}
	if e.tick() <= t.tick(now) {
		raise(&t.horizon, t.second(e.tick())) // not noted is dropped
		return nil
	}
	if t.count.Add(1) > t.maxEntries.Load() {
		t.count.Add(-1)
		return ErrFull
	}
	t.put(s, hash, place, e, now)
	return nil
}

// settle decides a pending entry: nil if this process alone has had it up to now. After it the entry stands as
// any other. The caller has made sure that check is later than every mark of other nodes.
func (t *Table) settle(id ID, check int64) error {
	lo, hi := splitID(id)
	hash := t.key.hash(lo, hi)
	s := t.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if check <= t.now() || check <= t.horizon.Load() {
		return ErrTooOld // it may have been dropped, and even be pending again for somebody else
	}
	place, found := s.find(t.key, hash, lo, hi)
	if !found {
		return ErrTooOld
	}
	e := &s.slots[place]
	contested := e.state&flagContested != 0
	e.state &= tickMask
	if contested {
		return ErrReplayed
	}
	return nil
}

// entry is an entry as nodes tell each other.
type entry struct {
	id     ID
	expiry int64
}

// live calls f with the unexpired entries of one shard after the other, until f fails.
func (t *Table) live(f func([]entry) error) error {
	var batch []entry
	for i := range t.shards {
		s := &t.shards[i]
		batch = batch[:0]
		limit := t.tick(t.now())
		s.mu.Lock()
		for j := range s.slots {
			if e := &s.slots[j]; e.state != 0 && e.tick() > limit {
				batch = append(batch, entry{id: joinID(e.lo, e.hi), expiry: t.second(e.tick())})
			}
		}
		s.mu.Unlock()
		if err := f(batch); err != nil {
			return err
		}
	}
	return nil
}

// has reports whether there is an entry with this ID.
func (t *Table) has(id ID) bool {
	lo, hi := splitID(id)
	hash := t.key.hash(lo, hi)
	s := t.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.find(t.key, hash, lo, hi)
	return found
}
