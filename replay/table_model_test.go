// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"math/rand/v2"
	"testing"
	"time"
)

// modelTable is the table as one would write it without thinking of speed: a map that forgets nothing, and so
// knows exactly what has been accepted.
type modelTable struct {
	expiry   map[ID]int64 // of the newest acceptance
	accepted map[Claim]int
}

// TestTableAgainstModel drives a table and the model with the same claims, on a clock that steps. Where the
// clock only moves forward, the answers must be the same; where it steps, the table may refuse more, but the
// same proof must never pass twice.
func TestTableAgainstModel(t *testing.T) {
	t.Parallel()
	for _, stepping := range []bool{false, true} {
		for seed := range uint64(60) {
			random := rand.New(rand.NewPCG(seed, 1))
			clock := newTestClock()
			table := newTestTable(clock, TableConfig{MaxEntries: 1 << (4 + random.IntN(10)), MaxPerKey: 1 << 20})
			model := modelTable{expiry: map[ID]int64{}, accepted: map[Claim]int{}}
			var seen []Claim
			for range 4000 {
				switch random.IntN(200) {
				case 0:
					clock.Add(time.Duration(random.IntN(60)) * time.Second)
				case 1:
					if stepping {
						clock.Add(time.Duration(random.IntN(7200)-3600) * time.Second)
					}
				}
				now := clock.Now().Unix()
				c := Claim{ID: testID(random.Uint64N(3000)), IssuedAt: now - random.Int64N(100) + 20}
				if len(seen) > 0 && random.IntN(3) == 0 {
					c = seen[random.IntN(len(seen))]
				}
				err := table.Claim(t.Context(), c)
				if !stepping {
					want := model.judge(c, now)
					if err == ErrFull {
						want = ErrFull // the model has no limit
						if n := model.live(now); n < table.config.MaxEntries {
							t.Fatalf("seed %d: full with %d of %d entries", seed, n, table.config.MaxEntries)
						}
					}
					if c.IssuedAt > table.born && err != want {
						t.Fatalf("seed %d: got %v, want %v", seed, err, want)
					}
				}
				if err == nil {
					seen = append(seen, c)
					model.expiry[c.ID] = testWindow.Expiry(c)
					if model.accepted[c]++; model.accepted[c] > 1 {
						t.Fatalf("seed %d: a proof was accepted twice", seed)
					}
				}
			}
			checkShards(t, table)
		}
	}
}

func (m *modelTable) judge(c Claim, now int64) error {
	if m.expiry[c.ID] > now {
		return ErrReplayed
	}
	if testWindow.Expiry(c) <= now {
		return ErrTooOld
	}
	return nil
}

func (m *modelTable) live(now int64) (n int) {
	for _, expiry := range m.expiry {
		if expiry > now {
			n++
		}
	}
	return n
}

// checkShards checks what the shards promise: order, no gap between an entry and its home, right counts.
func checkShards(t *testing.T, table *Table) {
	t.Helper()
	total, owned := 0, map[uint32]uint32{}
	for i := range table.shards {
		s := &table.shards[i]
		used, last := 0, uint64(0)
		for j := range s.slots {
			e := &s.slots[j]
			if e.state == 0 {
				continue
			}
			hash := table.key.hash(e.lo, e.hi)
			if hash < last {
				t.Fatalf("shard %d: slot %d out of order", i, j)
			}
			last = hash
			for k := home(hash, s.homes()); k < j; k++ {
				if s.slots[k].state == 0 {
					t.Fatalf("shard %d: gap before slot %d", i, j)
				}
			}
			if e.tick() < s.soonest {
				t.Fatalf("shard %d: slot %d expires before the shard's soonest", i, j)
			}
			used++
			if e.owner != 0 {
				owned[e.owner]++
			}
		}
		if used != int(s.used) {
			t.Fatalf("shard %d: %d entries, counted %d", i, used, s.used)
		}
		total += used
	}
	if got := table.Stats().Entries; got != total {
		t.Fatalf("%d entries, counted %d", total, got)
	}
	for i := range table.owners.shards {
		for _, c := range table.owners.shards[i].slots {
			if c.tag != 0 && owned[c.tag] != c.count {
				t.Fatalf("owner %d: %d entries, counted %d", c.tag, owned[c.tag], c.count)
			}
			delete(owned, c.tag)
		}
	}
	if len(owned) != 0 {
		t.Fatalf("%d owners are not counted", len(owned))
	}
}
