// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

// A trial tells what is wrong with a storage, by the storage's own error, and is over in time. It leaves nothing
// behind that it can take away, and those who use the storage notice nothing.
func TestTry(t *testing.T) {
	t.Parallel()
	denied := func(method string) replaytest.Handler {
		return func(_ context.Context, c *replaytest.Call) error {
			if c.Method == method {
				return fmt.Errorf("%s: %w", method, fs.ErrPermission)
			}
			return c.Do()
		}
	}
	stall := func(method string) func(<-chan struct{}) replaytest.Handler {
		return func(release <-chan struct{}) replaytest.Handler { return replaytest.Stall(method, release) }
	}
	is := func(h replaytest.Handler) func(<-chan struct{}) replaytest.Handler {
		return func(<-chan struct{}) replaytest.Handler { return h }
	}
	for _, test := range []struct {
		name  string
		fault func(release <-chan struct{}) replaytest.Handler
		want  error // nil: the storage will do
		left  int   // objects that it could not delete
	}{
		{"nothing wrong", is(nil), nil, 0},
		{"may not Store", is(denied("Store")), fs.ErrPermission, 0},
		{"may not List", is(denied("List")), fs.ErrPermission, 0},
		{"may not Load what others stored", is(denied("Load")), fs.ErrPermission, 0},
		{"may not Delete", is(denied("Delete")), fs.ErrPermission, 1},
		{"List fails", is(replaytest.FailBefore("List")), replaytest.ErrFault, 0},
		{"its listing hides our name", is(replaytest.HideOwn()), replay.ErrUnavailable, 0},
		{"Store hangs", stall("Store"), context.DeadlineExceeded, 0},
		{"List hangs", stall("List"), context.DeadlineExceeded, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				clock, own, target := replaytest.NewClock(), replaytest.NewStorage(), replaytest.NewStorage()
				log, count := begin(t, own, clock)
				other, _ := begin(t, target, clock)
				claim(t, log, "a", clock, nil)
				claim(t, other, "b", clock, nil)
				before, calls := target.Keys(""), count()

				target.Intercept(test.fault(release))
				ctx, cancel := context.WithTimeout(t.Context(), replay.DefaultTimeout)
				defer cancel()
				if err := log.Try(ctx, target); !errors.Is(err, test.want) || err != nil && !errors.Is(err, replay.ErrUnavailable) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				target.Intercept(nil)
				close(release)
				synctest.Wait()

				after := target.Keys("")
				gone := slices.DeleteFunc(slices.Clone(before), func(key string) bool { return slices.Contains(after, key) })
				if len(after) != len(before)+test.left || len(gone) > 0 {
					t.Errorf("keys %v, were %v", after, before)
				}
				if got := count(); got != calls {
					t.Errorf("the log's own storage was called: %v, before %v", got, calls)
				}
				claim(t, log, "a", clock, replay.ErrReplayed)
				claim(t, log, "b", clock, nil) // it has not moved
				claim(t, other, "b", clock, replay.ErrReplayed)
				claim(t, other, "c", clock, nil)
				_, _ = log.Close(t.Context()), other.Close(t.Context())
			})
		})
	}
}

// The storage that is in use can be tried as well, as at every reload that changes nothing.
func TestTryInUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock, storage := replaytest.NewClock(), replaytest.NewStorage()
		log, _ := begin(t, storage, clock)
		for i := range 5 {
			claim(t, log, fmt.Sprint(i), clock, nil)
			if err := log.Try(t.Context(), storage); err != nil {
				t.Fatal(err)
			}
			claim(t, log, fmt.Sprint(i), clock, replay.ErrReplayed)
		}
		if n := log.Stats().Nodes; n != 1 {
			t.Errorf("%d nodes", n)
		}
		_ = log.Close(t.Context())
	})
}

// What a log has to say goes to the logger it was given last.
func TestSetLogger(t *testing.T) {
	t.Parallel()
	clock, storage := replaytest.NewClock(), replaytest.NewStorage()
	log := newLog(t, storage, clock)
	_ = log.Check(t.Context())
	clock.Add(time.Second)
	core, lines := observer.New(zap.InfoLevel)
	log.SetLogger(zap.New(core))
	storage.Intercept(replaytest.FailBefore("Store"))
	claim(t, log, "a", clock, replay.ErrUnavailable)
	storage.Intercept(nil)
	claim(t, log, "b", clock, nil)
	var got []string
	for _, line := range lines.All() {
		got = append(got, line.Message)
	}
	if want := []string{"replay storage failed", "replay storage answers again"}; !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
}
