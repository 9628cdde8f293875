// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// load sends fresh proofs from several goroutines, until stopped, and keeps
// those that were accepted.
type load struct {
	stop     atomic.Bool
	work     sync.WaitGroup
	mu       sync.Mutex // guards what follows
	answered *sync.Cond
	accepted []minted
	statuses map[int]int
}

func startLoad(n *node, mint func() minted) *load {
	l := &load{statuses: make(map[int]int)}
	l.answered = sync.NewCond(&l.mu)
	for range 16 {
		l.work.Go(func() {
			for !l.stop.Load() {
				m := mint()
				status := n.send(m)
				l.mu.Lock()
				l.statuses[status]++
				if status == http.StatusOK {
					l.accepted = append(l.accepted, m)
				}
				l.mu.Unlock()
				l.answered.Broadcast()
			}
		})
	}
	return l
}

// await returns once the load has seen so many answers of a status; the
// test's own time-out ends it otherwise.
func (l *load) await(status, number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.statuses[status] < number {
		l.answered.Wait()
	}
}

func (l *load) end() []minted {
	l.stop.Store(true)
	l.work.Wait()
	return l.accepted
}

// replayAll presents proofs again and reports those that pass.
func replayAll(t *testing.T, n *node, proofs []minted) {
	t.Helper()
	if len(proofs) == 0 {
		t.Fatal("nothing was accepted: nothing to replay")
	}
	var passed atomic.Int32
	var next atomic.Int32
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(proofs) {
					return
				}
				if status := n.send(proofs[i]); status == http.StatusOK {
					passed.Add(1)
				} else if status != http.StatusUnauthorized {
					t.Errorf("a replay is answered %d", status)
				}
			}
		})
	}
	work.Wait()
	if passed.Load() > 0 {
		t.Errorf("%d of %d proofs were accepted again", passed.Load(), len(proofs))
	}
}

// TestKill ends a process without warning in the middle of load, starts it
// again and replays everything that had been answered 200.
func TestKill(t *testing.T) {
	for _, store := range []string{"storage", "memory", "redis"} {
		t.Run(store, func(t *testing.T) {
			block := store
			if store == "redis" {
				block += " " + startRedis(t).url
			}
			c := start(t, 1, t.TempDir(), block)
			c.warm(t)
			l := startLoad(c.nodes[0], c.minter("kill "+store))
			l.await(http.StatusOK, 500)
			c.nodes[0].kill()
			accepted := l.end()
			c.nodes[0].start(t)
			replayAll(t, c.nodes[0], accepted)
			c.warm(t)
			replayAll(t, c.nodes[0], accepted)
		})
	}
}

// TestReload reloads again and again under load: no request fails, and no
// proof passes twice.
func TestReload(t *testing.T) {
	for _, store := range []string{"storage", "memory"} {
		t.Run(store, func(t *testing.T) {
			c := start(t, 1, t.TempDir(), store)
			c.warm(t)
			l := startLoad(c.nodes[0], c.minter("reload "+store))
			for generation := range 5 {
				l.await(http.StatusOK, 200*(generation+1))
				c.nodes[0].reload(t, generation)
			}
			l.await(http.StatusOK, 1500)
			accepted := l.end()
			for status, number := range l.statuses {
				if status != http.StatusOK && status != 0 { // 0: an idle connection that the old server closed
					t.Errorf("%d requests were answered %d", number, status)
				}
			}
			replayAll(t, c.nodes[0], accepted)
		})
	}
}

// TestReloadChangesStore moves from one store to the other and back: what one
// has seen the other refuses.
func TestReloadChangesStore(t *testing.T) {
	storage := t.TempDir()
	c := start(t, 1, storage, "memory")
	c.warm(t)
	n := c.nodes[0]
	var accepted []minted
	for i, store := range []string{"memory", "storage", "memory", "storage {\n\t\tstorage file_system " + t.TempDir() + "\n\t}"} {
		n.Text = c.configuration(0, storage, store)
		n.reload(t, i)
		c.warm(t)
		for _, m := range c.mint(fmt.Sprint("change", i), 200) {
			if status := n.send(m); status != http.StatusOK {
				t.Fatalf("store %d: a fresh proof is answered %d", i, status)
			}
			accepted = append(accepted, m)
		}
		replayAll(t, n, accepted)
	}
}

// TestOutage takes the shared store away and gives it back: 503 with
// Retry-After, recovery without a restart, nothing accepted twice.
func TestOutage(t *testing.T) {
	t.Run("storage", func(t *testing.T) {
		storage := t.TempDir()
		c := start(t, 1, storage, "storage")
		directory := filepath.Join(storage, "dpop", "replay")
		outage(t, c,
			func() { // a file in the directory's place: nothing can be stored or listed
				if err := os.Rename(directory, directory+".away"); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(directory, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			func() {
				if err := os.Remove(directory); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(directory+".away", directory); err != nil {
					t.Fatal(err)
				}
			})
	})
	t.Run("redis", func(t *testing.T) {
		server := startRedis(t)
		c := start(t, 1, t.TempDir(), "redis "+server.url)
		outage(t, c, server.stop, func() { server.start(t) })
	})
}

func outage(t *testing.T, c *cluster, begin, end func()) {
	t.Helper()
	c.warm(t)
	l := startLoad(c.nodes[0], c.minter("outage"))
	l.await(http.StatusOK, 500)
	begin()
	l.await(http.StatusServiceUnavailable, 50)
	end()
	l.await(http.StatusOK, 1000)
	accepted := l.end()
	for status, number := range l.statuses {
		switch status {
		case http.StatusOK, http.StatusServiceUnavailable:
		case http.StatusUnauthorized: // a new cut-off after the outage
		default:
			t.Errorf("%d requests were answered %d", number, status)
		}
	}
	replayAll(t, c.nodes[0], accepted)
}
