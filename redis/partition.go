// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"encoding/hex"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// partition gathers claims into batches, a pipeline each, for keys that lie on the same server.
//
// A claim that finds a lane free goes at once and alone. While all lanes are busy claims wait, and whoever
// comes back with a batch hands its lane and all that wait to the first of them, who carries the rest. So there is no
// goroutine to wake up, nobody waits for company, and each request carries at most one batch: its own.
type partition struct {
	store  *store
	prefix string // of entries
	key    string // of the mark

	lanes   int
	view    atomic.Pointer[view] // nil: the mark has to be read first
	opening chan struct{}        // held while the mark is read and written
	last    *view                // the newest, to notice a clock set back; guarded by opening
	late    bool                 // the last change of the mark took long; guarded by opening

	mu    sync.Mutex // guards what follows
	busy  int
	queue []*waiter // empty unless all lanes are busy
}

// view is what a batch relies on: a server and the mark that was read there.
type view struct {
	link *link
	node *node
	mark *mark
	high *atomic.Int64 // the latest time of Redis seen in this epoch, in milliseconds
}

// waiter is a claim under way.
type waiter struct {
	claim  replay.Claim
	came   time.Time
	turn   chan []*waiter // a batch to carry, or nil: decided
	err    error          // the answer, once decided
	key    string
	expiry int64
	check  int64 // the earliest second until which it can have been remembered, see mark.judge
	bound  error // to be answered if it is new, since a limit is reached
	held   bool  // counted in bounds
	cmd    redis.Cmder
	alone  [1]*waiter // a batch of its own
}

// maxBatch bounds a pipeline: some 40 KB.
const maxBatch = 512

func newPartition(s *store, prefix string, lanes int) *partition {
	return &partition{store: s, prefix: prefix, key: prefix + "mark", lanes: lanes, opening: make(chan struct{}, 1)}
}

// waiters keeps those that nobody refers to any more.
var waiters = sync.Pool{New: func() any { return &waiter{turn: make(chan []*waiter, 1)} }}

func (p *partition) claim(ctx context.Context, c replay.Claim) error {
	w := waiters.Get().(*waiter)
	*w = waiter{claim: c, came: time.Now(), key: p.entryKey(c.ID), turn: w.turn}
	p.mu.Lock()
	if p.busy < p.lanes {
		p.busy++
		p.mu.Unlock()
		w.alone[0] = w
		p.carry(w.alone[:])
		return w.done()
	}
	p.queue = append(p.queue, w)
	p.mu.Unlock()

	select {
	case batch := <-w.turn:
		if batch != nil {
			p.carry(batch)
		}
		return w.done()
	case <-ctx.Done():
		p.abandon(w)
		return replay.Unavailable(ctx.Err())
	}
}

// done returns the answer. The waiter must not be used after it.
func (w *waiter) done() error {
	err := w.err
	w.cmd, w.alone[0] = nil, nil
	waiters.Put(w)
	return err
}

// abandon takes a claim out of the queue. If it is on its way already, whatever it was to carry is carried.
func (p *partition) abandon(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.queue, w); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		return
	}
	go func() {
		if batch := <-w.turn; batch != nil {
			p.carry(batch)
		}
	}()
}

// carry decides a batch, and hands on the lane. The first of the batch is the caller.
func (p *partition) carry(batch []*waiter) {
	defer func() {
		next := p.next()
		if next != nil {
			next[0].turn <- next
		}
		for _, w := range batch[1:] {
			w.turn <- nil
		}
	}()
	for _, w := range batch {
		w.err = replay.Unavailable(errTimeout) // unless something better is known below
	}
	// Everybody has waited differently long. The queue is in the order of arrival, so what is over comes first, and
	// the rest ends when the oldest of it has to.
	patience := p.store.patience()
	now := time.Now()
	live := batch
	for len(live) > 0 && now.Sub(live[0].came) >= patience {
		live = live[1:]
	}
	if len(live) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), live[0].came.Add(patience))
	defer cancel()
	p.serve(ctx, live)
	for _, w := range live {
		if w.err != nil && w.held {
			p.store.bounds.release(w.claim.Owner, w.expiry)
		}
	}
}

// next returns what waits, or gives the lane back.
func (p *partition) next() []*waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(len(p.queue), maxBatch)
	if n == 0 {
		p.busy--
		return nil
	}
	batch := slices.Clone(p.queue[:n])
	p.queue = slices.Delete(p.queue, 0, n)
	return batch
}

func (p *partition) entryKey(id replay.ID) string {
	buf := make([]byte, 0, 128)
	buf = append(buf, p.prefix...)
	return string(hex.AppendEncode(buf, id[:]))
}
