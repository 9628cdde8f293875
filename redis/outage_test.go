// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

// TestLostAnswer: the SET was carried out, its answer lost. That is no replay, and nothing is sent again.
func TestLostAnswer(t *testing.T) {
	for _, how := range []string{"cut", "silent"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.warm()
			p := newProxy(t, b.Addr())
			s := b.store(p.addr())
			s.timeout.Store(int64(200 * time.Millisecond))
			wantError(t, "before", s.Claim(t.Context(), b.proof("before")), nil)
			sets := b.count("SET")

			p.set(func() { p.swallow = true })
			if how == "cut" {
				b.fail(func(c string, _ []string) (string, bool) {
					if c == "TIME" { // the last of the round trip
						go func() {
							p.cut()
							p.set(func() { p.swallow = false }) // a second attempt would be answered
						}()
					}
					return "", false
				})
			}
			wantUnavailable(t, "answer lost", s.Claim(t.Context(), b.proof("a")), "")
			if n := b.count("SET") - sets; n != 1 {
				t.Fatalf("SET was sent %d times", n)
			}
			p.set(func() { p.swallow = false })
			b.fail(nil)
			wantError(t, "it is used up", s.Claim(t.Context(), b.proof("a")), replay.ErrReplayed)
			wantError(t, "healed", s.Claim(t.Context(), b.proof("b")), nil)
			if got := s.Stats(); got.Failures == 0 || got.LastError != nil {
				t.Fatalf("stats %+v", got)
			}
		})
	}
}

// TestOutage: while Redis is away every claim gets an error in time, and afterwards it goes on by itself.
func TestOutage(t *testing.T) {
	b := newBed(t)
	s := b.warm()
	used := b.proof("used")
	wantError(t, "before", s.Claim(t.Context(), used), nil)
	b.Miniredis.Close()
	for i := range 20 {
		wantUnavailable(t, "away", s.Claim(t.Context(), b.proof(fmt.Sprint("away ", i))), "")
	}
	b.restart(func(*serverInfo) {})
	// The client asks again for a connection once a second after many failures.
	healed := func() bool {
		err := s.Claim(t.Context(), used)
		if err != nil && !errors.Is(err, replay.ErrReplayed) && !errors.Is(err, replay.ErrUnavailable) {
			t.Fatalf("a proof from before: %v", err)
		}
		return errors.Is(err, replay.ErrReplayed)
	}
	eventually(t, healed)
	wantError(t, "one that could not be claimed", s.Claim(t.Context(), b.proof("away 0")), nil)
	if b.logs.FilterMessage("redis answers again").Len() != 1 {
		t.Fatalf("log: %v", b.logs.All())
	}
}

// TestStall: Redis accepts and does not answer. Nobody waits for much longer than the time-out, carrier or not.
func TestStall(t *testing.T) {
	b := newBed(t)
	b.warm()
	p := newProxy(t, b.Addr())
	s := b.store(p.addr())
	s.timeout.Store(int64(300 * time.Millisecond))
	wantError(t, "before", s.Claim(t.Context(), b.proof("before")), nil)
	p.set(func() { p.held = make(chan struct{}) })
	start := time.Now()
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			if err := s.Claim(t.Context(), b.proof(fmt.Sprint(i))); !errors.Is(err, replay.ErrUnavailable) {
				t.Errorf("stalled: %v", err)
			}
		})
	}
	// A caller that goes away does not wait for the others.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	group.Go(func() {
		if err := s.Claim(ctx, b.proof("gone away")); !errors.Is(err, replay.ErrUnavailable) {
			t.Errorf("gone away: %v", err)
		}
	})
	group.Wait()
	if took := time.Since(start); took > 5*time.Second {
		t.Fatalf("took %v", took)
	}
	p.set(func() { close(p.held); p.held = nil })
	eventually(t, func() bool { return s.Claim(t.Context(), b.proof("after")) == nil })
}

// TestAbandoned: callers that go away while they wait leave neither their lane nor their batch behind.
func TestAbandoned(t *testing.T) {
	b := newBed(t)
	b.warm()
	p := newProxy(t, b.Addr())
	s := b.store(p.addr())
	wantError(t, "before", s.Claim(t.Context(), b.proof("before")), nil)
	for round := range 20 {
		held := make(chan struct{})
		p.set(func() { p.held = held })
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for i := range 30 {
			ctx := ctx
			if i%2 == 0 {
				ctx = t.Context()
			}
			group.Go(func() { _ = s.Claim(ctx, b.proof(fmt.Sprint(round, " ", i))) })
		}
		go cancel()
		p.set(func() { close(held); p.held = nil })
		group.Wait()
		cancel()
	}
	part := s.parts[0]
	idle := func() bool {
		part.mu.Lock()
		defer part.mu.Unlock()
		return part.busy == 0 && len(part.queue) == 0
	}
	eventually(t, idle)

	// The caller goes away just when it is handed a lane and the claim of another.
	gone := &waiter{claim: b.proof("gone"), came: time.Now(), key: part.entryKey(b.proof("gone").ID), turn: make(chan []*waiter, 1)}
	other := &waiter{claim: b.proof("other"), came: time.Now(), key: part.entryKey(b.proof("other").ID), turn: make(chan []*waiter, 1)}
	part.busy++
	part.abandon(gone)
	gone.turn <- []*waiter{gone, other}
	if batch := <-other.turn; batch != nil || other.err != nil {
		t.Fatalf("batch %v, %v", batch, other.err)
	}
	eventually(t, idle)
	tally := replaytest.Race(t.Context(), []replay.Store{s}, b.clock.Now(), 200, 3)
	if tally.Doubles != 0 || tally.Refused != 0 || tally.Err != nil {
		t.Fatalf("%+v", tally)
	}
}

// TestRoundTrips: a claim alone takes one, at once; claims that meet share one.
func TestRoundTrips(t *testing.T) {
	b := newBed(t)
	b.warm()
	p := newProxy(t, b.Addr())
	s := b.store(p.addr())
	wantError(t, "before", s.Claim(t.Context(), b.proof("before")), nil)
	before := s.Stats()
	var trips, carried atomic.Int64
	s.Adopt(replay.Params{OnBatch: func(claims int) { trips.Add(1); carried.Add(int64(claims)) }})
	for i := range 10 {
		wantError(t, "alone", s.Claim(t.Context(), b.proof(fmt.Sprint("alone ", i))), nil)
	}
	if got := s.Stats().Batches - before.Batches; got != 10 {
		t.Fatalf("%d round trips for ten claims one after the other", got)
	}

	before = s.Stats()
	held := make(chan struct{})
	p.set(func() { p.held = held })
	var group sync.WaitGroup
	const claims = 100
	for i := range claims {
		group.Go(func() {
			if err := s.Claim(t.Context(), b.proof(fmt.Sprint("together ", i))); err != nil {
				t.Errorf("together: %v", err)
			}
		})
	}
	eventually(t, func() bool {
		part := s.parts[0]
		part.mu.Lock()
		defer part.mu.Unlock()
		return len(part.queue) == claims-part.lanes
	})
	p.set(func() { close(held); p.held = nil })
	group.Wait()
	after := s.Stats()
	if got := after.Batches - before.Batches; got != defaultPoolSize+1 || after.Claims-before.Claims != claims {
		t.Fatalf("%d round trips with %d claims", got, after.Claims-before.Claims)
	}
	if trips.Load() != 10+defaultPoolSize+1 || carried.Load() != 10+claims {
		t.Fatalf("told of %d round trips with %d claims", trips.Load(), carried.Load())
	}
}

// eventually waits for something that happens by itself and soon.
func eventually(t testing.TB, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}
