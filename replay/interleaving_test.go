// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// simSteps is the length of a schedule.
const simSteps = 120

// schedules returns how many schedules to run: DPOP_SCHEDULES, or as many as take some seconds.
func schedules(t *testing.T) uint64 {
	if s := os.Getenv("DPOP_SCHEDULES"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("DPOP_SCHEDULES: %v", err)
		}
		return n
	}
	switch {
	case testing.Short():
		return 2_000
	case raceEnabled:
		return 3_000
	}
	return 100_000
}

// explore runs schedules until one accepts a proof twice, and returns its seed. The other results are summed up.
func explore(count uint64, hooks mutation) (seed uint64, found bool, total simStats) {
	var next, bad atomic.Uint64
	bad.Store(^uint64(0))
	var mu sync.Mutex
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			var sum simStats
			for {
				seed := next.Add(1) - 1
				if seed >= count || seed > bad.Load() {
					break
				}
				w := simulate(seed, hooks, simSteps, false)
				sum.add(w.stats)
				if w.double != nil {
					for old := bad.Load(); seed < old && !bad.CompareAndSwap(old, seed); old = bad.Load() {
					}
				}
			}
			mu.Lock()
			total.add(sum)
			mu.Unlock()
		})
	}
	group.Wait()
	return bad.Load(), bad.Load() != ^uint64(0), total
}

func (s *simStats) add(o simStats) {
	s.accepts += o.accepts
	s.replays += o.replays
	s.old += o.old
	s.failures += o.failures
	s.crashes += o.crashes
	s.late += o.late
	s.sweeps += o.sweeps
	s.seals += o.seals
	s.closings += o.closings
}

// TestInterleavings: no schedule accepts a proof twice. DPOP_SCHEDULES sets their number, DPOP_SEED runs a single
// one and prints what happened in it.
func TestInterleavings(t *testing.T) {
	t.Parallel()
	if s := os.Getenv("DPOP_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("DPOP_SEED: %v", err)
		}
		w := simulate(seed, 0, simSteps, true)
		t.Logf("%s\n%v", strings.Join(w.trace, "\n"), w.double)
		return
	}
	count := schedules(t)
	seed, found, total := explore(count, 0)
	t.Logf("%d schedules: %+v", count, total)
	if found {
		w := simulate(seed, 0, simSteps, true)
		t.Fatalf("DPOP_SEED=%d: %v\n%s", seed, w.double, strings.Join(w.trace, "\n"))
	}
	if total.accepts == 0 || total.replays == 0 || total.old == 0 || total.failures == 0 || total.sweeps == 0 ||
		total.seals == 0 || total.closings == 0 || total.late == 0 || total.crashes == 0 {
		t.Fatal("something was never tried")
	}
}

// TestMutations takes one rule at a time out of the protocol. If the interleavings did not find that out, they
// would prove nothing about the rule.
func TestMutations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		hooks mutation
	}{
		{"look, then announce", lookThenAnnounce},
		{"a claim counts without its pass", ignorePass},
		{"marks are not heeded", ignoreMarks},
		{"the same name after a failed write", keepName},
		{"a missing seal holds nothing", ignoreMissingSeal},
		{"a contested entry passes", ignoreContest},
		{"a name is closed when it is first seen without its pass", closeAtFirstSight},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			seed, found, total := explore(200_000, test.hooks)
			if !found {
				t.Fatalf("not found out: %+v", total)
			}
			t.Logf("found out by seed %d", seed)
		})
	}
}
