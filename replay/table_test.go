// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newTestTable(clock *testClock, config TableConfig) *Table {
	config.Now = clock.Now
	t := NewTable(config)
	t.SetWindow(testWindow)
	clock.Add(10 * time.Second) // out of the cut-off
	return t
}

// A step moves the clock, then claims at iat = now + Age.
type step struct {
	wait    time.Duration
	window  *Window
	id      uint64
	owner   uint64
	age     time.Duration
	nonceAt time.Duration // relative to now; nil claim has none
	nonce   bool
	want    error
}

func TestTableClaim(t *testing.T) {
	t.Parallel()
	long := &Window{Proof: 400 * time.Second, Nonce: 400 * time.Second}
	short := &Window{Proof: 30 * time.Second, Nonce: 30 * time.Second}
	tests := []struct {
		name   string
		config TableConfig
		steps  []step
	}{
		{name: "first use", steps: []step{{id: 1}}},
		{name: "replay", steps: []step{{id: 1}, {id: 1, want: ErrReplayed}}},
		{name: "replay just inside the window", steps: []step{{id: 1}, {wait: 90 * time.Second, id: 1, age: 90 * time.Second, want: ErrReplayed}}},
		{name: "just outside the window", steps: []step{{id: 1}, {wait: 91 * time.Second, id: 1, age: 91 * time.Second, want: ErrTooOld}}},
		{name: "same jti and key with another iat", steps: []step{{id: 1}, {wait: 5 * time.Second, id: 1, want: ErrReplayed}}},
		{name: "jti used again after its time", steps: []step{{id: 1}, {wait: 91 * time.Second, id: 1}, {id: 1, want: ErrReplayed}}},
		{name: "iat in the future keeps its entry", steps: []step{
			{id: 1, age: -30 * time.Second},
			{wait: 120 * time.Second, id: 1, age: 90 * time.Second, want: ErrReplayed},
			{wait: time.Second, id: 1, age: 91 * time.Second, want: ErrTooOld},
		}},
		{name: "nonce keeps its entry longer", steps: []step{
			{id: 1, nonce: true},
			{wait: 330 * time.Second, id: 1, nonce: true, nonceAt: -330 * time.Second, age: time.Hour, want: ErrReplayed},
		}},
		{name: "issued before the table", steps: []step{{id: 1, age: 10 * time.Second, want: ErrTooEarly}, {id: 1, age: 9 * time.Second}}},
		{name: "live nonce stands in for an early iat", steps: []step{{id: 1, age: time.Hour, nonce: true}}},
		{name: "nonce from before the table", steps: []step{{id: 1, nonce: true, nonceAt: -10 * time.Second, want: ErrTooEarly}}},
		{name: "clock steps forward and back", steps: []step{
			{id: 1},
			{wait: time.Hour, id: 1}, // drops the first entry: its proof's time is over
			{wait: -time.Hour, id: 1, want: ErrReplayed},
			{id: 2, want: ErrTooOld}, // expires with the one dropped
			{wait: time.Second, id: 2},
		}},
		{name: "clock steps back after dropping", config: TableConfig{MaxEntries: 1}, steps: []step{
			{id: 1},
			{wait: time.Hour, id: 2}, // makes room by dropping 1
			{wait: -time.Hour, id: 1, want: ErrTooOld},
		}},
		{name: "clock steps back", steps: []step{{id: 1}, {wait: -5 * time.Second, id: 1, want: ErrReplayed}}},
		{name: "window raised, proof from before", steps: []step{
			{id: 1},
			{wait: 91 * time.Second, window: long, id: 1, age: 91 * time.Second, want: ErrTooOld},
			{id: 2, age: 91 * time.Second, want: ErrTooOld},
			{id: 3, age: 60 * time.Second},
		}},
		{name: "window raised, proof from after", steps: []step{
			{window: long, id: 1},
			{wait: 62 * time.Second, id: 2},
			{wait: 300 * time.Second, id: 2, age: 300 * time.Second, want: ErrReplayed},
			{id: 3, age: 300 * time.Second},
			{id: 4, age: 302 * time.Second, want: ErrTooOld}, // a client's clock may lead by a minute
		}},
		{name: "window lowered keeps what is remembered", steps: []step{
			{id: 1},
			{wait: 60 * time.Second, window: short, id: 1, age: 60 * time.Second, want: ErrReplayed},
			{id: 2, age: 31 * time.Second, want: ErrTooOld},
		}},
		{name: "window lowered and raised", steps: []step{
			{window: short, id: 1},
			{wait: 31 * time.Second, window: &testWindow, id: 1, age: 31 * time.Second, want: ErrTooOld},
		}},
		{name: "full", config: TableConfig{MaxEntries: 2}, steps: []step{
			{id: 1}, {id: 2}, {id: 3, want: ErrFull}, {id: 1, want: ErrReplayed}, {wait: 91 * time.Second, id: 3},
		}},
		{name: "owner full", config: TableConfig{MaxPerKey: 2}, steps: []step{
			{id: 1, owner: 7},
			{id: 2, owner: 7},
			{id: 3, owner: 7, want: ErrOwnerFull},
			{id: 3, owner: 8},
			{id: 1, owner: 7, want: ErrReplayed},
			{wait: 91 * time.Second, id: 4, owner: 7},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			clock := newTestClock()
			table := newTestTable(clock, test.config)
			for i, s := range test.steps {
				clock.Add(s.wait)
				if s.window != nil {
					table.SetWindow(*s.window)
				}
				now := clock.Now().Unix()
				c := Claim{ID: testID(s.id), Owner: testOwner(s.owner), IssuedAt: now - int64(s.age/time.Second)}
				if s.nonce {
					c.NonceAt = now + int64(s.nonceAt/time.Second)
				}
				if err := table.Claim(t.Context(), c); !errors.Is(err, s.want) {
					t.Fatalf("step %d: got %v, want %v", i+1, err, s.want)
				}
			}
		})
	}
}

func TestOwnerFullSaysWhen(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	table := newTestTable(clock, TableConfig{MaxPerKey: 1})
	now := clock.Now().Unix()
	_ = table.Claim(t.Context(), Claim{ID: testID(1), IssuedAt: now})
	err := table.Claim(t.Context(), Claim{ID: testID(2), IssuedAt: now})
	if got := RetryAfter(err); !errors.Is(err, ErrOwnerFull) || got != 9*time.Second {
		t.Fatalf("got %v after %v, want %v after 9s", err, got, ErrOwnerFull)
	}
	if got := RetryAfter(ErrFull); got != time.Second {
		t.Fatalf("RetryAfter(ErrFull) = %v, want 1s", got)
	}
}

// Of many copies at once, on every shard, exactly one passes.
func TestTableIsAtomic(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	table := newTestTable(clock, TableConfig{MaxPerKey: 1 << 20})
	const proofs, copies = 20_000, 8
	var accepted [proofs]atomic.Int32
	var group sync.WaitGroup
	for range copies {
		group.Go(func() {
			for i := range uint64(proofs) {
				switch err := table.Claim(t.Context(), Claim{ID: testID(i), IssuedAt: clock.Now().Unix()}); err {
				case nil:
					accepted[i].Add(1)
				case ErrReplayed:
				default:
					t.Errorf("proof %d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
	for i := range accepted {
		if n := accepted[i].Load(); n != 1 {
			t.Fatalf("proof %d accepted %d times", i, n)
		}
	}
	if got := table.Stats().Entries; got != proofs {
		t.Fatalf("%d entries, want %d", got, proofs)
	}
}

// TestSetLimits lowers and raises the limits of a table in use.
func TestSetLimits(t *testing.T) {
	clock := newTestClock()
	table := newTestTable(clock, TableConfig{MaxEntries: 100, MaxPerKey: 2})
	claim := func(jti string) error {
		return table.Claim(t.Context(), Claim{ID: NewID("key", jti), Owner: NewOwner("key"), IssuedAt: clock.Now().Unix()})
	}
	steps := []struct {
		jti                   string
		maxEntries, maxPerKey int
		want                  error
	}{
		{"a", 100, 2, nil},
		{"b", 100, 2, nil},
		{"c", 100, 2, ErrOwnerFull},
		{"c", 100, 3, nil},
		{"d", 3, 10, ErrFull},
		{"a", 1, 1, ErrReplayed},
		{"d", 4, 10, nil},
	}
	for _, step := range steps {
		table.SetLimits(step.maxEntries, step.maxPerKey)
		if err := claim(step.jti); !errors.Is(err, step.want) {
			t.Errorf("claim of %s with limits %d and %d: %v, want %v", step.jti, step.maxEntries, step.maxPerKey, err, step.want)
		}
	}
}
