// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"runtime"
	"time"
)

const (
	// gatherFrom is the size of a batch after which the next is kept open.
	gatherFrom = 4

	// gatherAtMost is for how long, and gatherBusy for how long while this process is short of CPU time.
	gatherAtMost = 2 * time.Millisecond
	gatherBusy   = 5 * time.Millisecond
)

// gather keeps the next batch open for a moment. Whoever is ready to run may join; a lone request waits for nobody.
// After a batch that many requests shared, more are on their way, and since a batch of any size costs the same, it
// pays to wait for them.
func (l *Log) gather(last int, took time.Duration) {
	runtime.Gosched()
	if last < gatherFrom {
		return
	}
	l.mu.Lock()
	here := 0
	if l.next != nil {
		here = len(l.next.claims)
	}
	wanted, atMost := company(last, here, took, l.load.busy)
	if here >= wanted {
		l.mu.Unlock()
		return
	}
	enough := make(chan struct{})
	l.wanted, l.enough = wanted, enough
	l.mu.Unlock()

	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-enough:
	case <-timer.C:
	}
	l.mu.Lock()
	l.enough = nil
	l.mu.Unlock()
}

// company says for how many claims the next batch waits, and how long at most: nearly as many as there were at once
// a moment ago, but no longer than the last batch took. While the processors are busy anyway, whoever is not here
// yet is waiting for one; then it is fewer batches that bring them here sooner.
func company(last, here int, took time.Duration, busy bool) (wanted int, atMost time.Duration) {
	wanted = (last + here) * 7 / 8
	if busy {
		return wanted, gatherBusy
	}
	return wanted, min(took, gatherAtMost)
}

// joined tells a runner that waits for company how many claims there are. The caller holds the lock.
func (l *Log) joined(claims int) {
	if l.enough != nil && claims >= l.wanted {
		close(l.enough)
		l.enough = nil
	}
}

// load tells whether this process is short of CPU time: whether it has used more than three fifths of what its
// processors had.
type load struct {
	since time.Time
	used  time.Duration // CPU time, then
	busy  bool
}

// loadEvery is over how long that is judged. Much shorter, and the kernel's own figures lag behind.
const loadEvery = 100 * time.Millisecond

func (l *load) note(now time.Time, used func() time.Duration) {
	passed := now.Sub(l.since)
	if passed < loadEvery {
		return
	}
	cpu := used()
	l.busy = (cpu - l.used).Seconds() > 0.6*passed.Seconds()*float64(runtime.GOMAXPROCS(0))
	l.since, l.used = now, cpu
}
