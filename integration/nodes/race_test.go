// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/certmagic"
)

const racedProofs = 20_000

// outcome is what became of one proof.
type outcome struct {
	copies, accepted, replayed, other atomic.Int32
}

// race presents each proof from several goroutines: some to one node once,
// some to two nodes at the same time, some four times. send answers 200, 401
// or something else.
func race(proofs, nodes, clients int, send func(proof, node int) int) []outcome {
	outcomes := make([]outcome, proofs)
	var work sync.WaitGroup
	var next atomic.Int32
	for range clients {
		work.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= proofs {
					return
				}
				copies := []int{1, 2, 2, 4}[i%4]
				outcomes[i].copies.Store(int32(copies))
				var together sync.WaitGroup
				first := rand.IntN(nodes)
				for copy := range copies {
					together.Go(func() {
						switch send(i, (first+copy)%nodes) {
						case http.StatusOK:
							outcomes[i].accepted.Add(1)
						case http.StatusUnauthorized:
							outcomes[i].replayed.Add(1)
						default:
							outcomes[i].other.Add(1)
						}
					})
				}
				together.Wait()
			}
		})
	}
	work.Wait()
	return outcomes
}

// judge counts what must not have happened.
func judge(outcomes []outcome) (twice, refusedAlone, broken, nobody int) {
	for i := range outcomes {
		o := &outcomes[i]
		if o.accepted.Load() > 1 {
			twice++
		}
		if o.copies.Load() == 1 && o.accepted.Load() != 1 {
			refusedAlone++
		}
		if o.other.Load() > 0 {
			broken++
		}
		if o.accepted.Load() == 0 {
			nobody++
		}
	}
	return twice, refusedAlone, broken, nobody
}

// TestRace: the same 20,000 proofs at several processes, each accepted at most
// once, and each that came once accepted.
func TestRace(t *testing.T) {
	for _, nodes := range []int{2, 4} {
		t.Run(fmt.Sprintf("storage, %d nodes", nodes), func(t *testing.T) {
			raceCluster(t, start(t, nodes, t.TempDir(), "storage"))
		})
		t.Run(fmt.Sprintf("redis, %d nodes", nodes), func(t *testing.T) {
			server := startRedis(t)
			raceCluster(t, start(t, nodes, t.TempDir(), "redis "+server.url))
		})
	}
}

func raceCluster(t *testing.T, c *cluster) {
	t.Helper()
	c.warm(t)
	proofs := c.mint("race", racedProofs)
	outcomes := race(len(proofs), len(c.nodes), 32, func(proof, node int) int {
		return c.nodes[node].send(proofs[proof])
	})
	twice, refusedAlone, broken, nobody := judge(outcomes)
	t.Logf("%d proofs, %d accepted by nobody (copies at the same time may refuse each other)", len(proofs), nobody)
	if twice > 0 {
		t.Errorf("%d proofs were accepted twice", twice)
	}
	if refusedAlone > 0 {
		t.Errorf("%d proofs that came once were not accepted", refusedAlone)
	}
	if broken > 0 {
		t.Errorf("%d proofs got an answer other than 200 or 401", broken)
		for _, n := range c.nodes {
			t.Log(n.Tail())
		}
	}
}

// lookThenStore is the check that most verifiers make: look the proof up, and
// store it when it is not there.
type lookThenStore struct {
	storage certmagic.Storage
}

func (s *lookThenStore) claim(key string) int {
	_, err := s.storage.Load(context.Background(), key)
	if err == nil {
		return http.StatusUnauthorized
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return http.StatusServiceUnavailable
	}
	if err := s.storage.Store(context.Background(), key, []byte{1}); err != nil {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// TestRaceFindsLookThenStore shows that the race above finds what it is for.
func TestRaceFindsLookThenStore(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "replay"), 0o700); err != nil {
		t.Fatal(err)
	}
	nodes := []*lookThenStore{{&certmagic.FileStorage{Path: dir}}, {&certmagic.FileStorage{Path: dir}}}
	outcomes := race(2000, len(nodes), 8, func(proof, node int) int {
		return nodes[node].claim(fmt.Sprintf("replay/%d", proof))
	})
	if twice, _, _, _ := judge(outcomes); twice == 0 {
		t.Error("look-then-store accepted nothing twice: this race finds nothing")
	}
}
