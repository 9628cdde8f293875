// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package replaytest holds what every replay store has to pass, and storages that misbehave.
//
// [Run] is the contract of [replay.Store]; [RunStorage] is what a store on a shared storage owes when that storage
// fails. Both only use the exported API, so a store in another module can be held to them.
package replaytest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// Options is what a test asks of a store.
type Options struct {
	Clock      *Clock
	MaxEntries int           // 0: the store's default
	MaxPerKey  int           // 0: the store's default
	Timeout    time.Duration // 0: the store's default
}

// Cluster is one backend, empty at first.
type Cluster struct {
	// Open starts a node. The test closes it.
	Open func(t testing.TB, o Options) replay.Store

	// Advance, if not nil, is called when the test's clock moves, for backends with a clock of their own.
	Advance func(d time.Duration)

	SingleNode bool // two nodes would not know of each other
	NoLimits   bool // MaxEntries and MaxPerKey are not kept
	NoHistory  bool // SetWindow does not look back
}

// Window is what handlers with the default configuration need.
var Window = replay.Window{Proof: 90 * time.Second, Nonce: 330 * time.Second}

// nodes opens n nodes and moves the clock past their cut-off.
func (c Cluster) nodes(t testing.TB, clock *Clock, n int, o Options) []replay.Store {
	t.Helper()
	o.Clock = clock
	clock.moved = c.Advance
	stores := make([]replay.Store, n)
	for i := range stores {
		stores[i] = c.Open(t, o)
		stores[i].SetWindow(Window)
		t.Cleanup(func() { _ = stores[i].Close(context.WithoutCancel(t.Context())) })
	}
	// The first claim of all may set a cut-off.
	_ = stores[0].Claim(t.Context(), Proof("before all", clock.Now()))
	clock.Add(5 * time.Second)
	return stores
}

// Run holds a store to the contract. Each test gets a cluster of its own.
func Run(t *testing.T, cluster func(t testing.TB) Cluster) {
	tests := []struct {
		name string
		run  func(*testing.T, Cluster, *Clock)
	}{
		{"sequence", testSequence},
		{"limits", testLimits},
		{"window raised", testWindowRaised},
		{"copies at once", testRace},
		{"nodes in turn", testNodes},
		{"caller goes away", testCancel},
		{"clock steps", testClockSteps},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, cluster(t), NewClock())
		})
	}
}

func want(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func testSequence(t *testing.T, c Cluster, clock *Clock) {
	store := c.nodes(t, clock, 1, Options{})[0]
	now := clock.Now()
	claim := func(c replay.Claim) error { return store.Claim(t.Context(), c) }
	first := Proof("a", now)
	want(t, "first use", claim(first), nil)
	want(t, "replay", claim(first), replay.ErrReplayed)
	want(t, "another jti", claim(Proof("A", now)), nil)
	other := replay.Claim{ID: replay.NewID("another key", "a"), Owner: replay.NewOwner("another key"), IssuedAt: now.Unix()}
	want(t, "the same jti by another key", claim(other), nil)
	later := first
	later.IssuedAt += 3
	want(t, "the same jti and key with another iat", claim(later), replay.ErrReplayed)
	early := Proof("early", now.Add(-time.Hour))
	early.NonceAt = now.Unix()
	want(t, "a live nonce with an old iat", claim(early), nil)
	want(t, "its replay", claim(early), replay.ErrReplayed)

	clock.Add(90 * time.Second)
	want(t, "replay in the last second", claim(first), replay.ErrReplayed)
	clock.Add(10 * time.Second)
	want(t, "after its time", claim(first), replay.ErrTooOld)
	want(t, "the nonce keeps it longer", claim(early), replay.ErrReplayed)
	want(t, "the jti used again after its time", claim(Proof("a", clock.Now())), nil)
}

func testLimits(t *testing.T, c Cluster, clock *Clock) {
	if c.NoLimits {
		t.Log("the store keeps no limits")
		return
	}
	store := c.nodes(t, clock, 1, Options{MaxEntries: 8, MaxPerKey: 3})[0]
	now := clock.Now()
	one := func(jti string) replay.Claim {
		return replay.Claim{ID: replay.NewID("one", jti), Owner: replay.NewOwner("one"), IssuedAt: now.Unix()}
	}
	for _, jti := range []string{"1", "2", "3"} {
		want(t, "within the limit of a key", store.Claim(t.Context(), one(jti)), nil)
	}
	err := store.Claim(t.Context(), one("4"))
	want(t, "beyond the limit of a key", err, replay.ErrOwnerFull)
	if after := replay.RetryAfter(err); after < time.Second || after > Window.Proof {
		t.Fatalf("retry after %v", after)
	}
	want(t, "replay at the limit", store.Claim(t.Context(), one("1")), replay.ErrReplayed)
	for err = nil; err == nil; now = now.Add(time.Second) {
		err = store.Claim(t.Context(), Proof(now.String(), now))
	}
	want(t, "full", err, replay.ErrFull)
	want(t, "nothing was forgotten", store.Claim(t.Context(), one("1")), replay.ErrReplayed)
	clock.Add(Window.Proof + 20*time.Second)
	now = clock.Now()
	want(t, "room again", store.Claim(t.Context(), one("5")), nil)
}

func testWindowRaised(t *testing.T, c Cluster, clock *Clock) {
	if c.NoHistory {
		t.Log("the store does not look back")
		return
	}
	store := c.nodes(t, clock, 1, Options{})[0]
	proof := Proof("a", clock.Now())
	want(t, "first use", store.Claim(t.Context(), proof), nil)
	clock.Add(92 * time.Second)
	store.SetWindow(replay.Window{Proof: time.Hour, Nonce: time.Hour})
	want(t, "used under the old window", store.Claim(t.Context(), proof), replay.ErrTooOld)
	clock.Add(62 * time.Second)
	fresh := Proof("b", clock.Now())
	want(t, "issued after the change", store.Claim(t.Context(), fresh), nil)
	clock.Add(50 * time.Minute)
	want(t, "remembered for the new window", store.Claim(t.Context(), fresh), replay.ErrReplayed)
}

// testRace: of many copies at once at most one passes, and a proof presented once always does.
func testRace(t *testing.T, c Cluster, clock *Clock) {
	const proofs = 500
	nodes := 3
	if c.SingleNode {
		nodes = 1
	}
	stores := c.nodes(t, clock, nodes, Options{})
	tally := Race(t.Context(), stores, clock.Now(), proofs, 6)
	if tally.Doubles != 0 || tally.Err != nil {
		t.Fatalf("%+v", tally)
	}
	if c.SingleNode && tally.Refused != 0 {
		t.Fatalf("one node alone refused a proof: %+v", tally)
	}
	clock.Add(time.Second)
	for _, store := range stores {
		if tally := Race(t.Context(), []replay.Store{store}, clock.Now().Add(time.Second), proofs, 1); tally.Err != nil || tally.Accepted != 0 && !c.SingleNode {
			t.Fatalf("proofs that were used: %+v", tally)
		}
	}
}

func testNodes(t *testing.T, c Cluster, clock *Clock) {
	if c.SingleNode {
		t.Log("a store of one node")
		return
	}
	stores := c.nodes(t, clock, 2, Options{})
	now := clock.Now()
	want(t, "first node", stores[0].Claim(t.Context(), Proof("a", now)), nil)
	want(t, "second node", stores[1].Claim(t.Context(), Proof("a", now)), replay.ErrReplayed)
	want(t, "second node, another", stores[1].Claim(t.Context(), Proof("b", now)), nil)
	want(t, "first node", stores[0].Claim(t.Context(), Proof("b", now)), replay.ErrReplayed)

	want(t, "close", stores[0].Close(t.Context()), nil)
	want(t, "closed", stores[0].Claim(t.Context(), Proof("c", now)), replay.ErrUnavailable)
	late := c.Open(t, Options{Clock: clock})
	late.SetWindow(Window)
	t.Cleanup(func() { _ = late.Close(context.WithoutCancel(t.Context())) })
	for _, jti := range []string{"a", "b"} {
		want(t, "a node started later", late.Claim(t.Context(), Proof(jti, now)), replay.ErrReplayed)
	}
	want(t, "a node started later", late.Claim(t.Context(), Proof("d", now)), nil)
}

// testCancel: a caller that has gone away does not wait, and its proof is used up or was never seen, but is
// never accepted twice.
func testCancel(t *testing.T, c Cluster, clock *Clock) {
	store := c.nodes(t, clock, 1, Options{})[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	accepted := 0
	if store.Claim(ctx, Proof("a", clock.Now())) == nil {
		accepted++
	}
	for range 3 {
		if store.Claim(t.Context(), Proof("a", clock.Now())) == nil {
			accepted++
		}
	}
	if accepted > 1 {
		t.Fatalf("accepted %d times", accepted)
	}
}

func testClockSteps(t *testing.T, c Cluster, clock *Clock) {
	store := c.nodes(t, clock, 1, Options{})[0]
	now := clock.Now()
	want(t, "first use", store.Claim(t.Context(), Proof("a", now)), nil)
	clock.Add(time.Hour)
	for _, jti := range []string{"a", "b", "c"} {
		want(t, "an hour ahead", store.Claim(t.Context(), Proof(jti, clock.Now())), nil)
	}
	if c.Advance != nil {
		return // a backend's clock cannot be set back
	}
	clock.Add(-time.Hour)
	if err := store.Claim(t.Context(), Proof("a", now)); err == nil {
		t.Fatal("accepted again after the clock was set back")
	}
	clock.Add(5 * time.Minute)
	want(t, "after that", store.Claim(t.Context(), Proof("d", clock.Now())), nil)
}
