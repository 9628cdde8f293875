// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

func newLog(t *testing.T, storage replay.Storage, clock *replaytest.Clock) *replay.Log {
	t.Helper()
	log := openLog(storage, replaytest.Options{Clock: clock})
	log.SetWindow(replaytest.Window)
	t.Cleanup(func() { _ = log.Close(context.WithoutCancel(t.Context())) })
	return log
}

func claim(t *testing.T, store replay.Store, jti string, clock *replaytest.Clock, want error) {
	t.Helper()
	if err := store.Claim(t.Context(), replaytest.Proof(jti, clock.Now())); !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", jti, err, want)
	}
}

// begin opens a log, gets past its cut-off and counts from there.
func begin(t *testing.T, storage *replaytest.Storage, clock *replaytest.Clock) (*replay.Log, func() [3]int) {
	t.Helper()
	log := newLog(t, storage, clock)
	_ = log.Check(t.Context())
	clock.Add(time.Second)
	base := calls(storage)
	return log, func() (n [3]int) {
		for i, v := range calls(storage) {
			n[i] = v - base[i]
		}
		return n
	}
}

func calls(s *replaytest.Storage) [3]int {
	return [3]int{s.Count("Store"), s.Count("List"), s.Count("Load")}
}

func TestLoneClaimCostsOneStoreAndOneList(t *testing.T) {
	t.Parallel()
	clock := replaytest.NewClock()
	log, count := begin(t, replaytest.NewStorage(), clock)
	for i := range 5 {
		claim(t, log, fmt.Sprint(i), clock, nil)
		if got, want := count(), [3]int{i + 1, i + 1, 0}; got != want {
			t.Fatalf("Store, List, Load: %v, want %v", got, want)
		}
	}
	claim(t, log, "0", clock, replay.ErrReplayed) // costs nothing
	if got, want := count(), [3]int{5, 5, 0}; got != want {
		t.Fatalf("Store, List, Load: %v, want %v", got, want)
	}
}

// Claims that come while a batch is carried share the next one.
func TestClaimsShareABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock, storage := replaytest.NewClock(), replaytest.NewStorage()
		log, count := begin(t, storage, clock)
		release := make(chan struct{})
		storage.Intercept(replaytest.Stall("Store", release))
		var group sync.WaitGroup
		group.Go(func() { claim(t, log, "first", clock, nil) })
		synctest.Wait()
		for i := range 100 {
			group.Go(func() { claim(t, log, fmt.Sprint(i), clock, nil) })
		}
		synctest.Wait()
		close(release)
		group.Wait()
		if got, want := count(), [3]int{2, 2, 0}; got != want {
			t.Fatalf("Store, List, Load: %v, want %v", got, want)
		}
		if s := log.Stats(); s.Claims != 101 || s.Batches != 2 || s.Nodes != 1 {
			t.Fatalf("%+v", s)
		}
		_ = log.Close(t.Context())
	})
}

// Each batch that carries claims is told once, before they are answered, one that fails or times out too; the look
// of Check is none.
func TestBatchSizes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock, storage := replaytest.NewClock(), replaytest.NewStorage()
		var sizes []int // the log is locked meanwhile
		log := replay.NewLog(replay.LogConfig{Storage: storage, Now: clock.Now, OnBatch: func(claims int) { sizes = append(sizes, claims) }})
		log.SetWindow(replaytest.Window)
		t.Cleanup(func() { _ = log.Close(context.WithoutCancel(t.Context())) })
		expect := func(what string, want ...int) {
			t.Helper()
			if !slices.Equal(sizes, want) {
				t.Fatalf("%s: %v, want %v", what, sizes, want)
			}
			sizes = nil
		}
		if err := log.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		clock.Add(time.Second)
		expect("a look")
		claim(t, log, "alone", clock, nil)
		claim(t, log, "alone", clock, replay.ErrReplayed) // answered without a batch
		expect("one alone, twice", 1)

		release := make(chan struct{})
		storage.Intercept(replaytest.Stall("Store", release))
		var group sync.WaitGroup
		group.Go(func() { claim(t, log, "first", clock, nil) })
		synctest.Wait()
		for i := range 20 {
			group.Go(func() { claim(t, log, fmt.Sprint(i), clock, nil) })
		}
		synctest.Wait()
		close(release)
		group.Wait()
		expect("one, then those who came meanwhile", 1, 20)

		release = make(chan struct{})
		storage.Intercept(replaytest.Stall("Store", release))
		claim(t, log, "late", clock, replay.ErrUnavailable)
		expect("no answer in time", 1)
		close(release)
		_ = log.Close(t.Context())
		expect("the answer after it")
	})
}

func TestNoGoroutineBeforeTheFirstClaim(t *testing.T) {
	before := runtime.NumGoroutine()
	clock := replaytest.NewClock()
	log := openLog(replaytest.NewStorage(), replaytest.Options{Clock: clock})
	log.SetWindow(replaytest.Window)
	log.SetStorage(replaytest.NewStorage())
	_ = log.Stats()
	if err := log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Fatalf("%d goroutines, %d before", after, before)
	}
}

func TestCloseEndsAllAndClosesTheName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine is left
		clock, storage := replaytest.NewClock(), replaytest.NewStorage()
		log, _ := begin(t, storage, clock)
		claim(t, log, "a", clock, nil)
		if err := log.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		claim(t, log, "b", clock, replay.ErrUnavailable)
		for _, key := range storage.Keys("") {
			if strings.HasSuffix(key, ".pass") {
				t.Fatalf("%s is still there", key)
			}
		}
	})
}

func TestCloseDoesNotWaitForAStorageThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock, storage := replaytest.NewClock(), replaytest.NewStorage()
		log, _ := begin(t, storage, clock)
		release := make(chan struct{})
		storage.Intercept(replaytest.Stall("Store", release))
		go claim(t, log, "a", clock, nil) // the storage answers in time after all
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := log.Close(ctx); !errors.Is(err, replay.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		close(release)
		synctest.Wait()
		time.Sleep(time.Minute)
	})
}

func TestStorageThatHangsIsNotAskedForever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock, storage := replaytest.NewClock(), replaytest.NewStorage()
		log, count := begin(t, storage, clock)
		release := make(chan struct{})
		storage.Intercept(replaytest.Stall("Store", release))
		for i := range 50 {
			claim(t, log, fmt.Sprint(i), clock, replay.ErrUnavailable)
			time.Sleep(time.Second)
		}
		if got := count()[0]; got > 5 {
			t.Fatalf("%d calls hang", got)
		}
		close(release)
		time.Sleep(2 * time.Second)
		claim(t, log, "after", clock, nil)
		claim(t, log, "0", clock, replay.ErrReplayed)
		_ = log.Close(t.Context())
	})
}

func TestCallerThatGoesAwayUsesItsProofUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock, storage := replaytest.NewClock(), replaytest.NewStorage()
		log, _ := begin(t, storage, clock)
		release := make(chan struct{})
		storage.Intercept(replaytest.Stall("Store", release))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		if err := log.Claim(ctx, replaytest.Proof("a", clock.Now())); !errors.Is(err, context.Canceled) || !errors.Is(err, replay.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
		close(release)
		claim(t, log, "a", clock, replay.ErrReplayed)
		_ = log.Close(t.Context())
	})
}

func TestSetStorage(t *testing.T) {
	t.Parallel()
	type another struct{ replay.Storage } // another value for the same storage, as after a reload
	t.Run("the same storage", func(t *testing.T) {
		t.Parallel()
		clock, storage := replaytest.NewClock(), replaytest.NewStorage()
		log, _ := begin(t, storage, clock)
		claim(t, log, "a", clock, nil)
		before := storage.Keys("")
		log.SetStorage(another{storage})
		claim(t, log, "b", clock, nil)
		claim(t, log, "a", clock, replay.ErrReplayed)
		if after := storage.Keys(""); strings.Join(after, " ") != strings.Join(before, " ") {
			t.Fatalf("keys %v, were %v", after, before)
		}
	})
	t.Run("another storage", func(t *testing.T) {
		t.Parallel()
		clock, storage := replaytest.NewClock(), replaytest.NewStorage()
		log, _ := begin(t, storage, clock)
		target := replaytest.NewStorage()
		other, _ := begin(t, target, clock) // has been there for a while, so there is a cut-off
		issued := clock.Now()
		for i := range 3000 {
			if err := log.Claim(t.Context(), replaytest.Proof(fmt.Sprint(i), issued)); err != nil {
				t.Fatal(err)
			}
		}
		log.SetStorage(target)
		claim(t, log, "b", clock, nil)
		for i := range 3000 {
			if err := other.Claim(t.Context(), replaytest.Proof(fmt.Sprint(i), issued)); !errors.Is(err, replay.ErrReplayed) {
				t.Fatalf("%d: got %v, want %v", i, err, replay.ErrReplayed)
			}
		}
		claim(t, other, "c", clock, nil)
		claim(t, log, "c", clock, replay.ErrReplayed)
	})
}

// Over an hour of the clock, storage holds what is live and little else.
func TestTidying(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		storage := replaytest.NewStorage()
		open := func() *replay.Log {
			log := replay.NewLog(replay.LogConfig{Storage: storage}) // by the bubble's clock
			log.SetWindow(replay.Window{Proof: 90 * time.Second})
			return log
		}
		crashed, busy := open(), open()
		_ = crashed.Check(t.Context())
		time.Sleep(time.Second)
		accepted := 0
		for minute := range 60 {
			for i := range 300 {
				jti := fmt.Sprint(minute, "-", i)
				if minute < 2 {
					if err := crashed.Claim(t.Context(), replaytest.Proof("crashed "+jti, time.Now())); err != nil {
						t.Fatal(err)
					}
				}
				if err := busy.Claim(t.Context(), replaytest.Proof(jti, time.Now())); err != nil {
					t.Fatal(err)
				}
				accepted++
			}
			time.Sleep(time.Minute)
		}
		keys := storage.Keys("")
		if len(keys) > 10 {
			t.Fatalf("%d keys left: %v", len(keys), keys)
		}
		time.Sleep(time.Hour)
		before := calls(storage)
		time.Sleep(time.Hour)
		if after := calls(storage); after != before {
			t.Fatalf("an idle log calls its storage: %v, before %v", after, before)
		}
		_, _ = crashed.Close(t.Context()), busy.Close(t.Context())
	})
}

// An idle process finds its name closed by a busy one, and notices nothing but two more Stores.
func TestClosedWhileIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		storage := replaytest.NewStorage()
		var logs [2]*replay.Log
		for i := range logs {
			logs[i] = replay.NewLog(replay.LogConfig{Storage: storage})
			logs[i].SetWindow(replay.Window{Proof: 90 * time.Second})
			_ = logs[i].Check(t.Context())
		}
		for i := range 30 {
			time.Sleep(time.Minute)
			if err := logs[0].Claim(t.Context(), replaytest.Proof(fmt.Sprint(i), time.Now())); err != nil {
				t.Fatal(err)
			}
		}
		if n := logs[0].Stats().Nodes; n != 1 {
			t.Fatalf("%d nodes, want the idle one closed", n)
		}
		idle := replaytest.Proof("idle", time.Now())
		if err := logs[1].Claim(t.Context(), idle); err != nil {
			t.Fatal(err)
		}
		if err := logs[0].Claim(t.Context(), idle); !errors.Is(err, replay.ErrReplayed) {
			t.Fatalf("got %v, want %v", err, replay.ErrReplayed)
		}
		_, _ = logs[0].Close(t.Context()), logs[1].Close(t.Context())
	})
}

// A node whose clock was a year ahead made the cut-off. What docs/troubleshooting.md says about it.
func TestCutOffFarAhead(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	clock, storage := replaytest.NewClock(), replaytest.NewStorage()
	clock.Add(year)
	claim(t, newLog(t, storage, clock), "a", clock, replay.ErrTooEarly)
	clock.Add(-year) // somebody has set the clock right
	log := newLog(t, storage, clock)
	for i := range 3 {
		clock.Add(time.Minute)
		claim(t, log, fmt.Sprint("b", i), clock, replay.ErrTooEarly)
	}
	ahead := clock.Now().Add(year / 2)
	for _, key := range storage.Keys(replay.DefaultPrefix) {
		if digits, ok := strings.CutPrefix(key, replay.DefaultPrefix+"/since."); ok {
			if second, _ := strconv.ParseInt(digits, 10, 64); time.Unix(second, 0).After(ahead) {
				_ = storage.Delete(t.Context(), key)
				ahead = time.Time{}
			}
		}
	}
	if !ahead.IsZero() {
		t.Fatalf("no cut-off ahead among %q", storage.Keys(""))
	}
	claim(t, log, "c", clock, replay.ErrTooEarly) // it remembers what it has seen

	log = newLog(t, storage, clock) // of the next run
	claim(t, log, "from before", clock, replay.ErrTooEarly)
	clock.Add(time.Second)
	claim(t, log, "after", clock, nil)
}
