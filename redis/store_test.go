// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

func wantError(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// wantUnavailable also holds the error to a word of its cause, and to not looking like a replay.
func wantUnavailable(t testing.TB, what string, got error, cause string) {
	t.Helper()
	wantError(t, what, got, replay.ErrUnavailable)
	if errors.Is(got, replay.ErrReplayed) || !strings.Contains(got.Error(), cause) {
		t.Fatalf("%s: got %v, want something with %q", what, got, cause)
	}
}

func TestLostEntries(t *testing.T) {
	tests := []struct {
		name  string
		lose  func(*bed, *store)
		cause string // of the cut-off, in the log
	}{
		{"restarted empty", func(b *bed, _ *store) {
			b.restart(func(i *serverInfo) { i.runID, i.replID = "run-2", "repl-2" })
			b.FlushAll()
		}, "no mark"},
		{"restarted with all its data", func(b *bed, _ *store) {
			b.restart(func(i *serverInfo) { i.runID, i.replID = "run-2", "repl-2" })
		}, "started or promoted"},
		{"replica in between", func(b *bed, _ *store) {
			b.restart(func(i *serverInfo) { i.replID = "repl-2" })
		}, "started or promoted"},
		{"emptied", func(b *bed, _ *store) { b.FlushAll() }, "no mark"},
		{"mark deleted", func(b *bed, _ *store) { b.Del("dpop:mark") }, "no mark"},
		{"clock of Redis ahead and back", func(b *bed, s *store) {
			b.advance(time.Hour)
			wantUnavailable(b.t, "while it is ahead", s.Claim(b.t.Context(), b.proof("ahead")), "ahead of ours")
			s.parts[0].view.Store(nil) // as after an error
			if _, err := s.parts[0].open(b.t.Context(), nil); err != nil {
				b.t.Fatal(err)
			}
			b.advance(-time.Hour)
		}, "set back"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			s := b.warm()
			used, ahead, unused := b.proof("used"), replaytest.Proof("used ahead", b.clock.Now().Add(20*time.Second)), b.proof("unused")
			wantError(t, "first use", s.Claim(t.Context(), used), nil)
			wantError(t, "first use, client's clock ahead", s.Claim(t.Context(), ahead), nil)
			test.lose(b, s)

			for what, claim := range map[string]replay.Claim{"used": used, "unused": unused} {
				err := s.Claim(t.Context(), claim)
				if !errors.Is(err, replay.ErrTooEarly) && !errors.Is(err, replay.ErrReplayed) && !errors.Is(err, replay.ErrUnavailable) {
					t.Fatalf("%s proof from before: %v", what, err)
				}
			}
			wantError(t, "issued before, once the loss is known", s.Claim(t.Context(), b.proof("another")), replay.ErrTooEarly)
			if b.logs.FilterMessageSnippet("proofs issued up to now are refused").FilterFieldKey("reason").Len() < 2 {
				t.Fatalf("the cut-off is not in the log: %v", b.logs.All())
			}
			last := b.logs.FilterMessageSnippet("are refused").All()
			if reason := last[len(last)-1].ContextMap()["reason"].(string); !strings.Contains(reason, test.cause) {
				t.Fatalf("reason %q, want something with %q", reason, test.cause)
			}
			b.pass(time.Second)
			wantError(t, "issued after", s.Claim(t.Context(), b.proof("after")), nil)
			if got := s.Stats().CutOff; got.Unix() != b.clock.Now().Add(-time.Second).Unix() {
				t.Fatalf("cut-off %v", got)
			}
		})
	}
}

// TestCutOffFarAhead: a node whose clock was a year ahead made the mark. What docs/troubleshooting.md says about it.
func TestCutOffFarAhead(t *testing.T) {
	b := newBed(t)
	b.clock.Add(365 * 24 * time.Hour)
	wantError(t, "the first claim of all", b.store("").Claim(t.Context(), b.proof("a")), replay.ErrTooEarly)
	b.clock.Add(-365 * 24 * time.Hour) // somebody has set the clock right
	s := b.store("")
	for i := range 3 {
		b.pass(time.Minute)
		wantError(t, "all are too early", s.Claim(t.Context(), b.proof(fmt.Sprint("b", i))), replay.ErrTooEarly)
	}
	b.Del("dpop:mark")
	wantError(t, "a node that knows the old mark does not ask", s.Claim(t.Context(), b.proof("c")), replay.ErrTooEarly)

	before := b.proof("from before")
	s = b.store("")
	wantError(t, "issued before the new cut-off", s.Claim(t.Context(), before), replay.ErrTooEarly)
	b.pass(time.Second)
	wantError(t, "issued after it", s.Claim(t.Context(), b.proof("d")), nil)
}

// TestRestartOfCaddy: a new process on a Redis that has kept everything refuses nothing needlessly.
func TestRestartOfCaddy(t *testing.T) {
	b := newBed(t)
	first := b.warm()
	used, unused := b.proof("used"), b.proof("unused")
	wantError(t, "first use", first.Claim(t.Context(), used), nil)
	wantError(t, "close", first.Close(t.Context()), nil)
	second := b.store("")
	wantError(t, "issued before the new process began", second.Claim(t.Context(), unused), nil)
	wantError(t, "replay", second.Claim(t.Context(), used), replay.ErrReplayed)
}

// TestNoticedDuringClaim: the loss falls between the look at the mark and the SET. What was set cannot be trusted.
func TestNoticedDuringClaim(t *testing.T) {
	b := newBed(t)
	s := b.warm()
	wantError(t, "first use", s.Claim(t.Context(), b.proof("used")), nil)
	ahead := replaytest.Proof("ahead", b.clock.Now().Add(20*time.Second))
	b.Del("dpop:mark")
	wantUnavailable(t, "during the claim", s.Claim(t.Context(), ahead), "lost entries")
	wantError(t, "its key is used up", s.Claim(t.Context(), ahead), replay.ErrReplayed)
}

// TestServerChangesDuringClaim: an answer of a server that has lost its address meanwhile is worth nothing.
func TestServerChangesDuringClaim(t *testing.T) {
	b := newBed(t)
	s := b.warm()
	b.fail(func(command string, _ []string) (string, bool) {
		if command == "SET" {
			s.parts[0].view.Load().node.gone.Store(true) // as another connection would
		}
		return "", false
	})
	wantUnavailable(t, "during the claim", s.Claim(t.Context(), b.proof("a")), "another redis server")
}

func TestUnfitServer(t *testing.T) {
	tests := []struct {
		name   string
		change func(*serverInfo)
		cause  string
	}{
		{"evicts", func(i *serverInfo) { i.policy = "allkeys-lru" }, "set maxmemory-policy to noeviction"},
		{"evicts what expires", func(i *serverInfo) { i.policy = "volatile-ttl" }, "set maxmemory-policy to noeviction"},
		{"replica", func(i *serverInfo) { i.role = "slave" }, "is a replica"},
		{"old", func(i *serverInfo) { i.version = "6.0.16" }, "6.2 or later"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			fit := b.info
			test.change(&b.info)
			s := b.store("")
			wantUnavailable(t, "claim", s.Claim(t.Context(), b.proof("a")), test.cause)
			if b.logs.FilterMessage("redis cannot answer: requests with proofs get 503").Len() != 1 {
				t.Fatalf("log: %v", b.logs.All())
			}
			if b.count("SET") != 0 {
				t.Fatal("something was written")
			}
			if err := s.Stats().LastError; err == nil || !strings.Contains(err.Error(), test.cause) {
				t.Fatalf("last error %v", err)
			}

			// It heals once the server is fit, on a new connection.
			b.mu.Lock()
			b.info = fit
			b.mu.Unlock()
			s.mu.Lock()
			s.retry = time.Time{}
			s.mu.Unlock()
			wantError(t, "the first claim of all", s.Claim(t.Context(), b.proof("a")), replay.ErrTooEarly)
			b.pass(time.Second)
			wantError(t, "healed", s.Claim(t.Context(), b.proof("b")), nil)
			if s.Stats().LastError != nil {
				t.Fatalf("last error %v", s.Stats().LastError)
			}
		})
	}
}

// TestSilentServer: where an access list forbids INFO and CONFIG, the mark is what is left.
func TestSilentServer(t *testing.T) {
	b := newBed(t)
	b.silent = true
	s := b.warm()
	wantError(t, "first use", s.Claim(t.Context(), b.proof("a")), nil)
	wantError(t, "replay", s.Claim(t.Context(), b.proof("a")), replay.ErrReplayed)
	if b.logs.FilterMessage("redis does not tell everything about itself").Len() != 1 {
		t.Fatalf("log: %v", b.logs.All())
	}
	b.FlushAll()
	wantError(t, "after it was emptied", s.Claim(t.Context(), b.proof("b")), replay.ErrTooEarly)
}

func TestServerErrors(t *testing.T) {
	b := newBed(t)
	s := b.warm()
	on := func(command, message string) {
		b.fail(func(c string, _ []string) (string, bool) { return message, c == command })
	}
	on("SET", "OOM command not allowed when used memory > 'maxmemory'.")
	wantError(t, "no memory", s.Claim(t.Context(), b.proof("a")), replay.ErrFull)
	on("SET", "READONLY You can't write against a read only replica.")
	wantUnavailable(t, "read only", s.Claim(t.Context(), b.proof("a")), "READONLY")
	on("GET", "LOADING Redis is loading the dataset in memory")
	wantUnavailable(t, "no mark to be had", s.Claim(t.Context(), b.proof("a")), "LOADING")
	b.fail(nil)
	wantError(t, "its key was set, whatever came after", s.Claim(t.Context(), b.proof("a")), replay.ErrReplayed)
	wantError(t, "healed", s.Claim(t.Context(), b.proof("b")), nil)
	if got := s.Stats(); got.Entries != 1 || got.Failures == 0 || got.LastError != nil {
		t.Fatalf("stats %+v", got)
	}

	b.RequireAuth("a password from now on")
	b.restart(func(*serverInfo) {})
	wantUnavailable(t, "not let in", s.Claim(t.Context(), b.proof("not let in")), "NOAUTH")
	b.RequireAuth("")
	wantError(t, "let in again", s.Claim(t.Context(), b.proof("not let in")), nil)

	wantError(t, "set", b.Set("dpop:mark", `{"version":2}`), nil)
	wantUnavailable(t, "a mark of another version", s.Claim(t.Context(), b.proof("c")), "dpop:mark")
	wantError(t, "set", b.Set("dpop:mark", "something else"), nil)
	wantUnavailable(t, "no mark at all", s.Claim(t.Context(), b.proof("d")), "dpop:mark")
}

func TestKeys(t *testing.T) {
	b := newBed(t)
	s := b.warm()
	claim := b.proof("a")
	wantError(t, "first use", s.Claim(t.Context(), claim), nil)
	key := "dpop:" + hexID(claim.ID)
	if !b.Exists(key) || len(b.Keys()) != 2 {
		t.Fatalf("keys %q", b.Keys())
	}
	if ttl := b.TTL(key); ttl != 96*time.Second {
		t.Fatalf("the entry lives for %v, want 90 s and a second of rounding and the grace", ttl)
	}
	if ttl := b.TTL("dpop:mark"); ttl != 0 {
		t.Fatalf("the mark expires after %v", ttl)
	}

	other := openStore(t, "redis://"+b.Addr(), b.clock.Now, replay.Params{Space: "proof_only"})
	other.SetWindow(replaytest.Window)
	wantError(t, "a space of its own", other.Claim(t.Context(), claim), replay.ErrTooEarly)
	b.pass(time.Second)
	wantError(t, "a space of its own", other.Claim(t.Context(), b.proof("a")), nil)
	if !b.Exists("dpop:proof_only:" + hexID(claim.ID)) {
		t.Fatalf("keys %q", b.Keys())
	}
}

func hexID(id replay.ID) string { return newPartition(nil, "", 1).entryKey(id) }
