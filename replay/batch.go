// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// batch is claims that share one announcement and one look.
type batch struct {
	claims   []announced
	done     chan struct{} // closed when decided
	finished bool          // guarded by Log.mu
	err      error         // why none of them could be decided; fixed once done is closed
	ctx      context.Context
	cancel   context.CancelFunc

	tidy    bool    // set by tidyOnce before the batch is cut: todo and storage are wanted
	todo    chores  // what may be deleted now
	storage Storage // and where
}

// verdict returns the answer to one claim. It is called after done.
func (b *batch) verdict(place int) error {
	if b.err != nil {
		return b.err
	}
	return b.claims[place].err
}

// wait returns when the batch has been decided, with the reason if it could not be.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return Unavailable(context.Cause(ctx))
	}
}

// health is what a log counts, and what makes it hold back while the storage fails.
type health struct {
	nodes, inRow              int
	pending                   bool // something will have to be swept
	batches, claims, failures uint64
	last                      error
	took                      time.Duration
	until                     time.Time // no batch is begun before this
}

const (
	// patience is how many batches may fail in a row before the log holds back: then for 50 ms, twice that with
	// each further failure, up to a second, claims are refused at once.
	patience   = 3
	holdBack   = 50 * time.Millisecond
	holdAtMost = time.Second

	// maxStuck is how many storage calls may hang past their time-out before nothing more is tried.
	maxStuck = 4
)

// ready reports why no batch may be begun. The caller holds the lock.
func (l *Log) ready() error {
	switch {
	case l.closed:
		return Unavailable(errClosed)
	case l.stuck >= maxStuck:
		return Unavailable(errStuck)
	case l.health.inRow >= patience && time.Now().Before(l.health.until):
		return Unavailable(l.health.last)
	case l.next != nil && len(l.next.claims) >= maxBatch:
		return Unavailable(errOverloaded)
	}
	return nil
}

// join adds a claim to the next batch, and sees to it that somebody carries it.
func (l *Log) join(claim announced) (*batch, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := l.nextBatch()
	if err != nil {
		return nil, 0, err
	}
	b.claims = append(b.claims, claim)
	l.joined(len(b.claims))
	return b, len(b.claims) - 1, nil
}

// nextBatch returns the batch that will be carried next, and sees to it that somebody does. The caller holds the
// lock.
func (l *Log) nextBatch() (*batch, error) {
	if err := l.ready(); err != nil {
		return nil, err
	}
	if l.stop == nil {
		var ctx context.Context
		ctx, l.stop = context.WithCancel(context.Background())
		l.work.Go(func() { l.tidy(ctx) })
	}
	b := l.next
	if b == nil {
		b = &batch{done: make(chan struct{}), claims: make([]announced, 0, l.expected())}
		// The batch belongs to none of its requests, so none of their contexts ends it. Its time runs from its
		// first claim, including the wait for the batch before it.
		var cancel context.CancelFunc
		b.ctx, cancel = context.WithTimeout(context.Background(), l.timeout)
		stop := context.AfterFunc(b.ctx, func() { l.expire(b) })
		b.cancel = func() { stop(); cancel() }
		l.next = b
	}
	if !l.running {
		l.running = true
		l.startRunner()
	}
	return b, nil
}

func (l *Log) startRunner() {
	turn := l.turn
	l.work.Go(func() { l.run(turn) })
}

// expected guesses the size of the next batch, to be spared growing it.
func (l *Log) expected() int {
	if l.current == nil {
		return 4
	}
	return len(l.current.claims) + 4
}

// run carries batches until there are none, or until a storage call outlives its batch: then the turn passes.
func (l *Log) run(turn uint64) {
	var last int           // claims in the batch before
	var took time.Duration // and what it took
	for {
		l.gather(last, took)
		l.mu.Lock()
		if l.turn != turn {
			l.mu.Unlock()
			return
		}
		b := l.next
		l.next, l.current = nil, b
		if b == nil {
			l.running = false
			l.mu.Unlock()
			return
		}
		storage, moved := l.storage, l.moved
		l.moved = false
		l.mu.Unlock()

		start := time.Now()
		guarded := &guardedStorage{log: l, turn: turn, storage: storage}
		err := l.carry(b, guarded, moved)
		if errors.Is(err, errPassed) {
			return // node belongs to somebody else by now
		}
		if err != nil && !errors.Is(err, ErrFull) {
			l.node.leave()
		}
		l.since.Store(l.node.since)
		l.mu.Lock()
		if err != nil && moved && l.storage == storage {
			l.moved = true // not found out
		}
		if err == nil && b.tidy {
			l.node.plan()
			b.todo, b.storage = l.node.takeChores(), storage
		}
		l.health.nodes, l.health.pending = l.node.nodes(), l.node.pending()
		last, took = len(b.claims), time.Since(start)
		l.load.note(start, cpuTime)
		l.finish(b, err, took)
		l.mu.Unlock()
	}
}

func (l *Log) carry(b *batch, storage Storage, moved bool) error {
	l.node.storage = storage
	if moved {
		if err := l.node.move(b.ctx); err != nil {
			return err
		}
	}
	return l.node.commit(b.ctx, b.claims)
}

// finish answers a batch, if that has not been done. The caller holds the lock.
func (l *Log) finish(b *batch, err error, took time.Duration) {
	if b.finished {
		return
	}
	b.finished = true
	h := &l.health
	if n := len(b.claims); n > 0 { // not one that only looks or tidies
		h.batches++
		h.claims += uint64(n)
		l.onBatch(n)
	}
	h.took = took
	switch {
	case err == nil:
		if h.inRow > 0 {
			l.logger.Load().Info("replay storage answers again", zap.Int("failed_batches", h.inRow))
		}
		h.inRow, h.last = 0, nil
	case errors.Is(err, ErrFull):
		b.err = err
	default:
		b.err = Unavailable(err)
		h.failures++
		h.inRow++
		h.last = err
		if h.inRow >= patience {
			h.until = time.Now().Add(min(holdBack<<min(h.inRow-patience, 10), holdAtMost))
		}
		if h.inRow&(h.inRow-1) == 0 { // the first, and ever fewer
			l.logger.Load().Error("replay storage failed", zap.Error(err), zap.Int("failed_batches", h.inRow))
		}
	}
	close(b.done)
	b.cancel()
}

// expire ends a batch whose time is over. If a storage call hangs in it, its runner loses its turn, and when the
// call does return, nothing comes of it.
func (l *Log) expire(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.finished {
		return
	}
	l.finish(b, errTimeout, l.timeout)
	if l.next == b {
		l.next = nil
	}
	if l.current != b || !l.calling {
		return // not begun, or its runner is about to notice
	}
	l.turn++
	l.stuck++
	l.calling, l.current = false, nil
	l.node.leave() // what it was storing may land at any time
	l.running = l.next != nil
	if l.running {
		l.startRunner()
	}
}

// errPassed tells a runner that it has lost its turn.
var errPassed = errors.New("turn has passed")

// guardedStorage is the storage as a runner sees it. Between two calls the runner owns the node. During a call it
// can lose it, and then the call returns errPassed: the runner must end without touching the node again.
type guardedStorage struct {
	log     *Log
	turn    uint64
	storage Storage
}

func (g *guardedStorage) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return errTimeout
	}
	g.log.mu.Lock()
	g.log.calling = true
	g.log.mu.Unlock()
	return nil
}

func (g *guardedStorage) leave(err error) error {
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	if g.log.turn != g.turn {
		g.log.stuck--
		return errPassed
	}
	g.log.calling = false
	return err
}

func (g *guardedStorage) Store(ctx context.Context, key string, value []byte) error {
	if err := g.enter(ctx); err != nil {
		return err
	}
	return g.leave(g.storage.Store(ctx, key, value))
}

func (g *guardedStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if err := g.enter(ctx); err != nil {
		return nil, err
	}
	value, err := g.storage.Load(ctx, key)
	return value, g.leave(err)
}

func (g *guardedStorage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	if err := g.enter(ctx); err != nil {
		return nil, err
	}
	keys, err := g.storage.List(ctx, path, recursive)
	return keys, g.leave(err)
}

func (g *guardedStorage) Delete(ctx context.Context, key string) error {
	if err := g.enter(ctx); err != nil {
		return err
	}
	return g.leave(g.storage.Delete(ctx, key))
}
