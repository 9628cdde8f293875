// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

// TestRealRace: processes and stores race the same proofs. Each passes once.
func TestRealRace(t *testing.T) {
	server := startRedis(t)
	stores := []replay.Store{server.node(), server.node(), server.node()}
	now := time.Now()
	_ = stores[0].Claim(t.Context(), soon("before all"))
	tally := replaytest.Race(t.Context(), stores, now.Add(25*time.Second), 5000, 6)
	if tally.Doubles != 0 || tally.Refused != 0 || tally.Err != nil {
		t.Fatalf("%+v", tally)
	}
	once := server.node()
	if tally := replaytest.Race(t.Context(), []replay.Store{once}, now.Add(25*time.Second), 5000, 1); tally.Accepted != 0 || tally.Err != nil {
		t.Fatalf("presented again: %+v", tally)
	}
}

// TestRealProcesses: the same, from processes that share nothing but Redis. Each prints what it has accepted.
func TestRealProcesses(t *testing.T) {
	const proofs, name = 20000, "DPOP_TEST_RACE"
	if text := os.Getenv(name); text != "" {
		addr, iat, _ := strings.Cut(text, " ")
		issued, err := time.Parse(time.RFC3339, iat)
		if err != nil {
			t.Fatal(err)
		}
		s := openStore(t, "redis://"+addr, time.Now, replay.Params{})
		s.SetWindow(replaytest.Window)
		time.Sleep(time.Until(issued.Add(-20 * time.Second))) // all begin together
		var group sync.WaitGroup
		for worker := range 16 {
			group.Go(func() {
				for i := worker; i < proofs; i += 16 {
					switch err := s.Claim(t.Context(), replaytest.Proof(fmt.Sprint("race ", i), issued)); {
					case err == nil:
						fmt.Printf("accepted %d.\n", i)
					case !errors.Is(err, replay.ErrReplayed):
						fmt.Printf("failed %d: %v\n", i, err)
					}
				}
			})
		}
		group.Wait()
		return
	}
	server := startRedis(t)
	_ = server.node().Claim(t.Context(), soon("before all"))
	issued := time.Now().Add(22 * time.Second).UTC().Format(time.RFC3339)
	outputs := make([][]byte, 4)
	var group sync.WaitGroup
	for i := range outputs {
		group.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRealProcesses$", "-test.count=1")
			cmd.Env = append(os.Environ(), name+"="+server.addr()+" "+issued)
			var err error
			if outputs[i], err = cmd.CombinedOutput(); err != nil {
				t.Errorf("process %d: %v\n%s", i, err, outputs[i])
			}
		})
	}
	group.Wait()
	accepted := make(map[string]int)
	for i, output := range outputs {
		n := 0
		for line := range strings.Lines(string(output)) {
			switch {
			case strings.HasPrefix(line, "accepted "):
				accepted[line]++
				n++
			case strings.HasPrefix(line, "failed "):
				t.Error(line)
			}
		}
		t.Logf("process %d accepted %d", i, n)
	}
	if len(accepted) != proofs {
		t.Errorf("%d of %d proofs were accepted", len(accepted), proofs)
	}
	for line, n := range accepted {
		if n > 1 {
			t.Errorf("%d times %s", n, line)
		}
	}
}

// TestRealCrash: kill -9 in the middle of load, and start again. Nothing that was accepted is accepted again, with
// whatever the server has kept.
func TestRealCrash(t *testing.T) {
	tests := []struct {
		name string
		args []string
		save bool
	}{
		{"keeps nothing", nil, false},
		{"an old snapshot", nil, true}, // which has the mark, and not what came later
		{"AOF", []string{"--appendonly", "yes", "--appendfsync", "everysec"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := startRedis(t, test.args...)
			nodes := []*store{server.node(), server.node()}
			_ = nodes[0].Claim(t.Context(), soon("before all"))
			if test.save {
				server.do("SAVE")
			}
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // past the cut-off

			// Honest clients: their clock is right. Each proof goes to both nodes, and many are presented again later.
			book := newLedger()
			var stop atomic.Bool
			var group sync.WaitGroup
			var claims sync.Map
			for worker := range 8 {
				group.Go(func() {
					for i := 0; !stop.Load(); i++ {
						jti := fmt.Sprint(worker, " ", i)
						claim := replaytest.Proof(jti, time.Now())
						claims.Store(jti, claim)
						for n := range nodes {
							err := nodes[(worker+n)%2].Claim(t.Context(), claim)
							book.note(jti, err == nil, errors.Is(err, replay.ErrUnavailable))
						}
					}
				})
			}
			pause := func(want uint64) {
				t.Helper()
				before := nodes[0].Stats().Claims
				eventually(t, func() bool { return nodes[0].Stats().Claims-before > want })
			}
			for range 2 {
				pause(500)
				server.kill()
				server.start()
				pause(500)
			}
			stop.Store(true)
			group.Wait()
			again := 0
			claims.Range(func(jti, claim any) bool {
				err := nodes[again%2].Claim(t.Context(), claim.(replay.Claim))
				book.note(jti.(string), err == nil, errors.Is(err, replay.ErrUnavailable))
				again++
				return true
			})
			if n := book.doubles(); n != 0 {
				t.Fatalf("%d proofs were accepted twice", n)
			}
			if len(book.accepted) == 0 || book.refused < again {
				t.Fatalf("%d accepted, %d refused, %d presented again", len(book.accepted), book.refused, again)
			}
			t.Logf("%d accepted, %d refused, %d answers of 503", len(book.accepted), book.refused, book.failed)
		})
	}
}

// TestRealFlush: FLUSHALL in the middle of load.
func TestRealFlush(t *testing.T) {
	server := startRedis(t)
	nodes := []*store{server.node(), server.node()}
	_ = nodes[0].Claim(t.Context(), soon("before all"))
	book := newLedger()
	var stop atomic.Bool
	var group sync.WaitGroup
	var claims sync.Map
	for worker := range 8 {
		group.Go(func() {
			for i := 0; !stop.Load(); i++ {
				jti := fmt.Sprint(worker, " ", i)
				claim := replaytest.Proof(jti, time.Now())
				claims.Store(jti, claim)
				err := nodes[worker%2].Claim(t.Context(), claim)
				book.note(jti, err == nil, errors.Is(err, replay.ErrUnavailable))
			}
		})
	}
	accepted := func() int {
		book.mu.Lock()
		defer book.mu.Unlock()
		return len(book.accepted)
	}
	for range 3 {
		before := accepted()
		eventually(t, func() bool { return accepted() > before+200 })
		server.do("FLUSHALL")
	}
	before := accepted()
	eventually(t, func() bool { return accepted() > before+200 })
	stop.Store(true)
	group.Wait()
	claims.Range(func(jti, claim any) bool {
		err := nodes[0].Claim(t.Context(), claim.(replay.Claim))
		book.note(jti.(string), err == nil, false)
		return true
	})
	if n := book.doubles(); n != 0 {
		t.Fatalf("%d proofs were accepted twice", n)
	}
}

func TestRealPolicy(t *testing.T) {
	server := startRedis(t, "--maxmemory-policy", "allkeys-lru")
	s := server.node()
	wantUnavailable(t, "evicting", s.Claim(t.Context(), soon("a")), "set maxmemory-policy to noeviction")
	server.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	eventually(t, func() bool { return s.Claim(t.Context(), soon("a")) == nil })

	server.do("CONFIG", "SET", "maxmemory", "1mb")
	wantError(t, "no memory", s.Claim(t.Context(), soon("b")), replay.ErrFull)
	wantError(t, "nothing can be told", s.Claim(t.Context(), soon("a")), replay.ErrFull)
	server.do("CONFIG", "SET", "maxmemory", "0")
	wantError(t, "nothing was forgotten", s.Claim(t.Context(), soon("a")), replay.ErrReplayed)
	wantError(t, "room again", s.Claim(t.Context(), soon("b")), nil)
}
