// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

// TestWindowOfAnotherNode: nodes with different windows, as while a new configuration is rolled out.
func TestWindowOfAnotherNode(t *testing.T) {
	b := newBed(t)
	short := b.warm()
	used := b.proof("used before")
	wantError(t, "first use, short window", short.Claim(t.Context(), used), nil)
	long := b.store("")
	long.SetWindow(replay.Window{Proof: time.Hour, Nonce: time.Hour})
	wantError(t, "at once, long window", long.Claim(t.Context(), used), replay.ErrReplayed)

	// The node with the short window notices during its next claim, and keeps that entry for the long one.
	b.pass(2 * time.Minute)
	during := b.proof("during")
	round := short.parts[0].view.Load()
	wantError(t, "first use, window raised meanwhile", short.Claim(t.Context(), during), nil)
	if short.parts[0].view.Load() == round {
		t.Fatal("the node has not noticed that the window was raised")
	}
	wantError(t, "remembered too briefly for the long window", long.Claim(t.Context(), used), replay.ErrTooOld)
	b.pass(50 * time.Minute)
	wantError(t, "remembered for the long window", long.Claim(t.Context(), during), replay.ErrReplayed)
	long.SetWindow(replaytest.Window) // a smaller one changes nothing
	last := b.proof("last")
	wantError(t, "first use", long.Claim(t.Context(), last), nil)
	b.pass(50 * time.Minute)
	wantError(t, "still remembered", short.Claim(t.Context(), last), replay.ErrReplayed)
}

// TestRaiseUnderLoad: no claim fails because a window is raised, on this node or another.
func TestRaiseUnderLoad(t *testing.T) {
	b := newBed(t)
	stores := []replay.Store{b.warm(), b.store("")}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 100 {
				claim := b.proof(fmt.Sprint(i, " ", n))
				if err := stores[i%2].Claim(t.Context(), claim); err != nil {
					t.Errorf("first use: %v", err)
				}
				if err := stores[(i+1)%2].Claim(t.Context(), claim); !errors.Is(err, replay.ErrReplayed) {
					t.Errorf("replay: %v", err)
				}
			}
		})
	}
	for n := range 20 {
		w := replaytest.Window
		w.Proof += time.Duration(n) * time.Second
		stores[n%2].SetWindow(w)
		time.Sleep(2 * time.Millisecond) // spreads the changes over the load; nothing depends on it
	}
	group.Wait()
}

// TestRaiseAtOnce: another node raises the window between our look at the mark and our change.
func TestRaiseAtOnce(t *testing.T) {
	for _, command := range []string{"WATCH", "MULTI"} {
		b := newBed(t)
		s := b.warm()
		theirs := s.parts[0].view.Load().mark.raised(limits{Proof: 7200}, b.clock.Now().Unix())
		once := true
		b.fail(func(c string, _ []string) (string, bool) {
			if c == command && once {
				once = false
				_ = b.Set("dpop:mark", theirs.text)
			}
			return "", false
		})
		s.SetWindow(replay.Window{Nonce: time.Hour})
		wantError(t, "first use", s.Claim(t.Context(), b.proof("a")), nil)
		if m := s.parts[0].view.Load().mark; m.limits != (limits{Proof: 7200, Nonce: 3600}) || len(m.Past) != 2 {
			t.Fatalf("%s: %s", command, m.text)
		}
	}
}

// TestSlowRaise: the change of the mark arrives late. Claims that other nodes made in between count as made before it.
func TestSlowRaise(t *testing.T) {
	b := newBed(t)
	s := b.warm()
	before := b.clock.Now().Unix()
	slow := true
	b.fail(func(command string, _ []string) (string, bool) {
		if command == "EXEC" && slow {
			slow = false
			b.clock.Add(3 * time.Second)
			time.Sleep(slack + 50*time.Millisecond) // what the store measures
		}
		return "", false
	})
	s.SetWindow(replay.Window{Proof: time.Hour})
	wantError(t, "first use", s.Claim(t.Context(), b.proof("a")), nil)
	if past := s.parts[0].view.Load().mark.Past; len(past) != 1 || past[0].Until != before+4 {
		t.Fatalf("%+v, want until %d", past, before+4)
	}
}

func TestMark(t *testing.T) {
	m := newMark("e", "s", 1000, limits{Proof: 90, Nonce: 0})
	parsed, err := parseMark(m.text)
	if err != nil || parsed.text != m.text || parsed.limits != m.limits || parsed.Since != 1000 || parsed.Server != "s" {
		t.Fatalf("%+v, %v", parsed, err)
	}
	second := m.raised(limits{Proof: 60, Nonce: 300}, 2000)
	if second.limits != (limits{Proof: 90, Nonce: 300}) || len(second.Past) != 1 || len(m.Past) != 0 {
		t.Fatalf("%+v", second)
	}
	old, fresh := replay.Claim{IssuedAt: 2060, NonceAt: 2060}, replay.Claim{IssuedAt: 2061, NonceAt: 2061}
	if expiry, check := second.judge(old); expiry != 2361 || check != 2151 {
		t.Fatalf("issued before the change: %d, %d", expiry, check)
	}
	if expiry, check := second.judge(fresh); expiry != 2362 || check != 2362 {
		t.Fatalf("issued after the change: %d, %d", expiry, check)
	}
	if late := second.extended(2001); late.Past[0].Until != 2001 || second.Past[0].Until != 2000 {
		t.Fatalf("%+v", late)
	}

	many := m
	for i := range int64(20) {
		many = many.raised(limits{Proof: 100 + i}, 2000+i)
	}
	if len(many.Past) != maxSpans || many.Past[0].limits != (limits{Proof: 90}) || many.Past[0].Until != 2012 {
		t.Fatalf("%+v", many.Past)
	}
	if much := many.raised(limits{Proof: 200}, 9000); len(much.Past) != 1 {
		t.Fatalf("spans that say nothing any more: %+v", much.Past)
	}
}

func TestBounds(t *testing.T) {
	var b bounds
	b.maxEntries.Store(5)
	b.maxPerKey.Store(2)
	a, c := replay.NewOwner("a"), replay.NewOwner("c")
	reserve := func(o replay.Owner, expiry, now int64) error { return b.reserve(o, expiry, now) }
	wantError(t, "one", reserve(a, 100, 10), nil)
	wantError(t, "two", reserve(a, 180, 10), nil)
	err := reserve(a, 180, 10)
	wantError(t, "three", err, replay.ErrOwnerFull)
	if after := replay.RetryAfter(err); after != 17*time.Second {
		t.Fatalf("retry after %v", after)
	}
	b.release(a, 180)
	wantError(t, "two again", reserve(a, 180, 10), nil)
	b.release(c, 180) // was never there
	wantError(t, "another", reserve(c, 180, 10), nil)
	wantError(t, "another", reserve(c, 180, 10), nil)
	wantError(t, "five", reserve(replay.NewOwner("d"), 100, 10), nil)
	wantError(t, "six", reserve(replay.NewOwner("e"), 100, 10), replay.ErrFull)
	wantError(t, "six, still", reserve(replay.NewOwner("e"), 100, 103), replay.ErrFull)
	wantError(t, "room", reserve(replay.NewOwner("e"), 200, 104), nil)
	wantError(t, "room", reserve(a, 200, 104), nil)
	if n := b.total.Load(); n != 5 {
		t.Fatalf("%d entries", n)
	}
	wantError(t, "all over", reserve(a, 400, 300), nil)
	if n := b.total.Load(); n != 1 && n != 5 {
		t.Fatalf("%d entries", n)
	}
	b.sweep(300)
	if n := b.total.Load(); n != 1 {
		t.Fatalf("%d entries", n)
	}
}
