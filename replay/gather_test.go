// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slow takes its time for each Store.
type slow struct {
	restless
	takes time.Duration
}

func (s *slow) Store(ctx context.Context, key string, value []byte) error {
	time.Sleep(s.takes)
	return s.restless.Store(ctx, key, value)
}

// A claim alone, and then a batch of as many as come meanwhile, take a Store each. Some come during the second, some
// after it: the third begins when enough have come, or when it has waited for long enough.
func TestGather(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		takes         time.Duration // a Store
		second        int           // claims that come during the first batch
		during, after int           // claims that come during the second, and a quarter of a millisecond after it
		busy          bool
		waits         time.Duration
		third         int
	}{
		"nobody else":                        {takes: ms, second: 1, during: 1, waits: 0, third: 1},
		"few, who wait for nobody":           {takes: ms, second: 3, during: 3, after: 3, waits: 0, third: 3},
		"as many as wait already":            {takes: ms, second: 4, during: 28, after: 4, waits: 0, third: 28},
		"the last of seven eighths":          {takes: ms, second: 16, during: 8, after: 13, waits: ms / 4, third: 21},
		"one too few":                        {takes: ms, second: 16, during: 8, after: 12, waits: ms, third: 20},
		"nobody yet":                         {takes: ms, second: 16, during: 0, after: 14, waits: ms / 4, third: 14},
		"one too few, fast storage":          {takes: ms / 2, second: 16, during: 8, after: 12, waits: ms / 2, third: 20},
		"one too few, slow storage":          {takes: 9 * ms, second: 16, during: 8, after: 12, waits: gatherAtMost, third: 20},
		"one too few, short of CPU time":     {takes: ms, second: 16, during: 8, after: 12, busy: true, waits: gatherBusy, third: 20},
		"enough, short of CPU time":          {takes: ms, second: 16, during: 8, after: 13, busy: true, waits: ms / 4, third: 21},
		"few, who wait for nobody even then": {takes: ms, second: 3, during: 3, after: 3, busy: true, waits: 0, third: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				type batch struct {
					claims int
					ended  time.Time
				}
				var batches []batch // the log is locked meanwhile
				storage := &slow{restless: restless{objects: map[string][]byte{}}}
				log := NewLog(LogConfig{Storage: storage, OnBatch: func(claims int) {
					batches = append(batches, batch{claims, time.Now()})
				}})
				defer log.Close(context.WithoutCancel(t.Context()))
				log.SetWindow(testWindow)
				if err := log.Check(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // past the cut-off
				storage.takes = tt.takes
				log.load = load{since: time.Now().Add(time.Hour), busy: tt.busy} // not judged again meanwhile

				var group sync.WaitGroup
				n := uint64(0)
				claim := func(count int) {
					for range count {
						n++
						c := Claim{ID: testID(n), IssuedAt: time.Now().Unix()}
						group.Go(func() {
							if err := log.Claim(t.Context(), c); err != nil {
								t.Error(err)
							}
						})
					}
					synctest.Wait()
				}
				claim(1)
				claim(tt.second)
				time.Sleep(tt.takes + tt.takes/2) // the second batch is on its way
				claim(tt.during)
				time.Sleep(tt.takes/2 + ms/4)
				claim(tt.after)
				group.Wait()
				if len(batches) < 3 || batches[0].claims != 1 || batches[1].claims != tt.second {
					t.Fatalf("batches %v, want 1, %d and more", batches, tt.second)
				}
				waited := batches[2].ended.Add(-tt.takes).Sub(batches[1].ended)
				if batches[2].claims != tt.third || waited != tt.waits {
					t.Fatalf("the third batch had %d claims after %v, want %d after %v", batches[2].claims, waited, tt.third, tt.waits)
				}
			})
		})
	}
}

// The process is short of CPU time when it has used more than three fifths of what its processors had.
func TestLoad(t *testing.T) {
	t.Parallel()
	begin, used := time.Now(), 10*time.Second
	at := func() time.Duration { return used }
	var l load
	l.note(begin, at) // since the start of time: next to nothing
	if l.busy {
		t.Fatal("busy from the beginning")
	}
	// A share of one processor, which does not depend on how many this machine has.
	share := func(percent int) time.Duration {
		return loadEvery * time.Duration(percent*runtime.GOMAXPROCS(0)) / 100
	}
	for _, step := range []struct {
		name  string
		after time.Duration
		used  time.Duration
		busy  bool
	}{
		{"idle", loadEvery, 0, false},
		{"at the limit", loadEvery, share(60), false},
		{"above it", loadEvery, share(61), true},
		{"too soon to tell", loadEvery - 1, 0, true},
		{"not above it over all that time", 1, share(60), false},
		{"all there is", loadEvery, share(100), true},
		{"after an hour of nothing", time.Hour, share(100), false},
	} {
		begin, used = begin.Add(step.after), used+step.used
		l.note(begin, at)
		if l.busy != step.busy {
			t.Fatalf("%s: busy is %v, want %v", step.name, l.busy, step.busy)
		}
	}
}
