// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

// A key set that was never loaded is tried again soon, since its issuer may be
// starting together with us.
const (
	firstRetry      = 100 * time.Millisecond
	maxInitialRetry = 5 * time.Second
)

// flight is a fetch that is under way and that any number of callers wait for.
type flight struct {
	began time.Time
	done  chan struct{} // closed when the fetch is over and its result in use
	late  chan struct{} // closed when callers have waited long enough
	err   error         // set before done is closed
}

var errTooSlow = errors.New("the fetch takes too long to wait for")

// wait waits for the fetch, not longer than the caller or MaxWait allow.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-f.late:
		return errTooSlow
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Start fetches the key set in the background from now on, beginning at once, until
// [KeySet.Close]. Without it keys are fetched when tokens need them, and a key that
// was withdrawn is noticed only then. A file is looked at once, so that one that is
// not there is logged before the first token needs it; from then on by whoever uses it.
func (s *KeySet) Start() {
	if f, ok := s.origin.(*file); ok {
		_ = s.poll(f, 0) // it has been logged
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		return
	}
	s.stop, s.stopped = make(chan struct{}), make(chan struct{})
	go s.loop(s.stop, s.stopped)
}

// Close ends the background work that [KeySet.Start] began and gives up connections.
// A fetch under way ends by itself within its time-out. Tokens can still be verified
// afterwards, since requests outlive the configuration they came in under; but claims
// are no longer live, so that no cache that outlives the set stands on its keys.
func (s *KeySet) Close() {
	s.closed.Store(true)
	s.mu.Lock()
	stop, stopped := s.stop, s.stopped
	s.stop = nil
	s.mu.Unlock()
	if stop != nil {
		close(stop)
		<-stopped
	}
	s.client.CloseIdleConnections()
}

func (s *KeySet) loop(stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	s.restore()
	for {
		if f := s.fetchIfDue(); f != nil {
			select {
			case <-f.done:
			case <-stop:
				return
			}
		}
		timer := time.NewTimer(max(s.untilDue(), time.Millisecond))
		select {
		case <-timer.C:
		case <-stop:
			timer.Stop()
			return
		}
	}
}

// Refresh fetches the key set now, or joins the fetch under way, and waits for it.
// It is for operators and not limited.
func (s *KeySet) Refresh(ctx context.Context) error {
	if f, ok := s.origin.(*file); ok {
		return s.poll(f, 0)
	}
	s.mu.Lock()
	f := s.beginLocked()
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// untilDue is the time to the next scheduled fetch, not positive when it is due. A
// date further off than any delay can be is that of a clock that was set back.
func (s *KeySet) untilDue() time.Duration {
	wait := time.Unix(0, s.due.Load()).Sub(s.cfg.Now())
	if wait > max(s.cfg.RefreshInterval, maxInitialRetry) {
		return 0
	}
	return wait
}

// fetchIfDue begins a scheduled fetch, unless one is under way or none is due yet.
func (s *KeySet) fetchIfDue() *flight {
	if s.untilDue() > 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil && s.untilDue() > 0 {
		return nil // one has just ended
	}
	return s.beginLocked()
}

// beginLocked returns the fetch under way, or begins one. The caller holds mu.
func (s *KeySet) beginLocked() *flight {
	if s.flight != nil {
		return s.flight
	}
	f := &flight{began: s.cfg.Now(), done: make(chan struct{}), late: make(chan struct{})}
	s.flight = f
	s.status.Fetches++
	s.status.Attempted = f.began.Round(0)
	go s.fly(f)
	return f
}

// fly fetches the key set and puts it to use. It belongs to no request, so that the
// one that happened to begin it cannot end it for the others.
func (s *KeySet) fly(f *flight) {
	late := time.AfterFunc(s.cfg.MaxWait, func() { close(f.late) })
	defer late.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
	defer cancel()

	data, err := s.origin.fetch(ctx)
	var keys []*key
	var ignored int
	if err == nil {
		keys, ignored, err = s.parseKeySet(data)
	}
	var changed bool
	s.mu.Lock()
	if err == nil {
		changed = s.useLocked(&snapshot{keys: keys, fetched: f.began.Round(0)})
		s.failures, s.status.LastError, s.status.Restored = 0, "", false
	} else {
		s.failures++
		s.status.Failures++
		s.status.LastError = err.Error()
	}
	delay := s.delayLocked()
	s.due.Store(s.cfg.Now().Add(delay).UnixNano())
	f.err = err
	s.flight = nil
	s.mu.Unlock()
	close(f.done)

	if err != nil {
		s.log.Load().Warn("key set not fetched", zap.Error(err), zap.Duration("next_try", delay))
		return
	}
	if changed {
		s.log.Load().Info("key set changed", zap.Int("keys", len(keys)), zap.Int("ignored", ignored))
	}
	s.store(changed)
}

// delayLocked is the time to the next scheduled fetch. After failures it grows: to a
// few seconds while there are no keys to verify with, to RefreshInterval while there
// are. The caller holds mu.
func (s *KeySet) delayLocked() time.Duration {
	if s.failures == 0 {
		return s.cfg.RefreshInterval
	}
	delay, limit := min(s.cfg.MinInterval, s.cfg.RefreshInterval), s.cfg.RefreshInterval
	if s.freshCopy() == nil {
		delay, limit = firstRetry, maxInitialRetry
	}
	for i := 1; i < s.failures && delay < limit; i++ {
		delay *= 2
	}
	return min(delay, limit)
}

// useLocked puts a copy to use. Keys that it shares with the one before stay the
// same; the others are retired, and the claims they verified with them. The caller
// holds mu.
func (s *KeySet) useLocked(next *snapshot) (changed bool) {
	last := s.current.Load()
	if last == nil {
		s.current.Store(next)
		return true
	}
	for i, k := range next.keys {
		if j := slices.IndexFunc(last.keys, k.same); j >= 0 {
			next.keys[i] = last.keys[j]
		} else {
			changed = true
		}
	}
	s.current.Store(next)
	for _, k := range last.keys {
		if !slices.Contains(next.keys, k) {
			k.retired.Store(true)
			changed = true
		}
	}
	return changed
}
