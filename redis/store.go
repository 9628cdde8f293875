// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// store is the [replay.Store] on Redis. It has no goroutine of its own: claims carry one another (see partition).
type store struct {
	options *options
	now     func() time.Time
	timeout atomic.Int64 // nanoseconds
	logger  atomic.Pointer[zap.Logger]
	wanted  atomic.Pointer[limits]
	bounds  bounds
	parts   []*partition // one; in a cluster partitions of them
	health  health

	mu      sync.Mutex // guards what follows
	link    *link
	closed  bool
	refusal error     // why the server cannot be used
	retry   time.Time // when to look again whether it still cannot
}

const (
	// partitions is the number of parts that a cluster's keys are in, each with a mark of its own in the same hash
	// slot, so that a server that has lost its keys has lost their mark too.
	partitions = 64

	// refusalTime is how long a server that cannot be used is not asked again.
	refusalTime = time.Second

	// retireTime is how long a store that no configuration uses any more can still be used by requests in flight.
	retireTime = 30 * time.Second
)

var (
	errClosed  = errors.New("the store is closed")
	errTimeout = errors.New("no answer within the time-out")
)

// newStore returns a store that has not touched the network.
func newStore(o *options, space string, now func() time.Time) *store {
	s := &store{options: o, now: now}
	s.wanted.Store(new(limits))
	s.Adopt(replay.Params{})
	prefix := o.prefix
	if space != "" {
		prefix += space + ":"
	}
	if len(o.cluster) == 0 {
		s.parts = []*partition{newPartition(s, prefix, o.poolSize)}
		return s
	}
	for i := range partitions {
		s.parts = append(s.parts, newPartition(s, fmt.Sprintf("%s{%02x}", prefix, i), 1))
	}
	return s
}

// Adopt implements [replay.Adopter].
func (s *store) Adopt(p replay.Params) {
	limit := func(value, fallback int) int64 {
		if value <= 0 {
			value = fallback
		}
		return int64(value)
	}
	s.bounds.maxEntries.Store(limit(p.MaxEntries, replay.DefaultMaxEntries))
	s.bounds.maxPerKey.Store(limit(p.MaxPerKey, replay.DefaultMaxPerKey))
	s.timeout.Store(limit(int(p.Timeout), int(5*time.Second)))
	if p.Logger == nil {
		p.Logger = zap.NewNop()
	}
	s.logger.Store(p.Logger)
	if p.OnBatch == nil {
		p.OnBatch = func(int) {}
	}
	s.health.onBatch.Store(&p.OnBatch)
}

// Claim implements [replay.Store].
func (s *store) Claim(ctx context.Context, c replay.Claim) error {
	if err := ctx.Err(); err != nil {
		return replay.Unavailable(err)
	}
	return s.parts[int(c.ID[0])%len(s.parts)].claim(ctx, c)
}

// SetWindow implements [replay.Store]. A larger window takes effect with the next claim, for all nodes. A smaller
// one does not, as long as the mark is there: other nodes may need the larger.
func (s *store) SetWindow(w replay.Window) {
	s.wanted.Store(new(limitsOf(w)))
}

// Stats implements [replay.Store]. Entries are those of this process.
func (s *store) Stats() replay.Stats {
	stats := s.health.stats()
	stats.Kind = "redis"
	stats.Entries = int(max(s.bounds.total.Load(), 0))
	stats.MaxEntries = int(s.bounds.maxEntries.Load())
	for _, p := range s.parts {
		if v := p.view.Load(); v != nil && v.mark.Since > 0 {
			if t := time.Unix(v.mark.Since, 0); t.After(stats.CutOff) {
				stats.CutOff = t
			}
		}
	}
	return stats
}

// Close implements [replay.Store].
func (s *store) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, p := range s.parts {
		p.view.Store(nil)
	}
	if s.link == nil {
		return nil
	}
	client := s.link.client
	s.link = nil
	return client.Close()
}

// retire closes the store after a while.
func (s *store) retire() {
	s.mu.Lock()
	used := s.link != nil
	s.mu.Unlock()
	if !used {
		_ = s.Close(context.Background())
		return
	}
	time.AfterFunc(retireTime, func() { _ = s.Close(context.Background()) })
}

// connected returns the link, a new one if the last one is stale.
func (s *store) connected() (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if s.refusal != nil && time.Now().Before(s.retry) {
		return nil, s.refusal
	}
	if s.link != nil && !s.link.stale.Load() {
		return s.link, nil
	}
	if old := s.link; old != nil {
		// Other servers of a cluster may still be answering on it.
		time.AfterFunc(s.patience(), func() { _ = old.client.Close() })
	}
	s.link = s.options.connect()
	return s.link, nil
}

// refuse keeps away from a server for a while. Then it is asked again, on a new connection.
func (s *store) refuse(l *link, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.stale.Store(true)
	s.refusal, s.retry = err, time.Now().Add(refusalTime)
}

func (s *store) patience() time.Duration { return time.Duration(s.timeout.Load()) }

func (s *store) log() *zap.Logger { return s.logger.Load() }

var _ replay.Store = (*store)(nil)
