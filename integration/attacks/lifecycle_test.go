// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var reloading sync.Mutex

// onReload runs a case on the profile with an admin API, one at a time.
func onReload(f func(c *run, s *site)) test {
	return func(c *run) {
		c.site("reload/ref")
		reloading.Lock()
		defer reloading.Unlock()
		for _, name := range []string{"reload/ref", "reload/stored"} {
			s := c.site(name)
			c.on = name
			c.ok(warm(s))
			f(c, s)
		}
	}
}

// changed is the profile's Caddyfile with something in it that a reload notices.
func changed(s *site, n string) string {
	return strings.Replace(s.server.Text, "grace_period 2s", "grace_period 2s\n\t# "+n, 1)
}

func replayAfterReload(c *run, s *site) {
	a := c.use()
	c.ok(s.server.Reload(changed(s, "again")))
	c.expect(a.again(), replayed)
	c.must(c.attempt(), accepted)
}

// replayDuringReload sends two copies of every proof while configurations come and go:
// of each pair exactly one is accepted.
func replayDuringReload(c *run, s *site) {
	c.answered(replayed)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				a := newAttempt(s)
				list := copies(a, 2)
				var results [2]*result
				var pair sync.WaitGroup
				for i := range list {
					pair.Go(func() { results[i] = list[i].send() })
				}
				pair.Wait()
				ok, lost := 0, 0
				for _, r := range results {
					switch {
					case r.err != nil: // a connection in the queue of the listener that is closed
						lost++
					case r.Status == 200:
						ok++
					case r.Status != 401 || r.reason() != "jti_replayed":
						c.Errorf("during a reload: %d %q, %v", r.Status, r.reason(), r.err)
						stop.Store(true)
					}
				}
				if ok+lost < 1 || ok > 1 {
					c.Errorf("%d of two copies accepted during a reload", ok)
					stop.Store(true)
				}
			}
		})
	}
	for i := range 4 {
		if err := s.server.Reload(changed(s, strings.Repeat("x", i+1))); err != nil {
			c.Error(err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

// replayAfterRestart: the storage remembers what was used before the restart. Memory
// does not, and refuses what was issued before it was made.
func replayAfterRestart(c *run) {
	for name, w := range map[string]want{"restart/ref": replayed, "memory/ref": badProof("issued_before_start")} {
		c.on = name
		s := c.site(name)
		a := c.use()
		s.server.Stop()
		c.ok(s.server.start())
		c.ok(warm(s))
		c.expect(a.again(), w)

		b := c.use() // and after the process was killed
		s.server.Kill()
		c.ok(s.server.start())
		c.ok(warm(s))
		c.must(b.again(), w)
	}
}

// storageFault starts a server on a storage of its own, breaks the storage and wants
// this answer until it is healed. What was used before stays used.
func storageFault(spoil func(dir string) (heal func() error, err error), w want) test {
	return func(c *run) {
		p := &profile{build: restartProfile}
		c.ok(p.start("fault"))
		defer p.server.Stop()
		s := p.sites["ref"]
		a := newAttempt(s)
		c.must(a, accepted)

		heal, err := spoil(p.server.storage())
		c.ok(err)
		c.answered(w)
		start := time.Now()
		newAttempt(s).send().check(c, w)
		a.again().send().check(c, replayed) // the local table needs no storage
		if took := time.Since(start); took > 12*time.Second {
			c.Errorf("the answers took %v", took)
		}
		c.ok(heal())
		c.eventually(20*time.Second, func() bool {
			r := newAttempt(s).send()
			return r.Status == http.StatusOK || r.Status == http.StatusUnauthorized && r.reason() != "issued_before_start"
		})
		c.must(newAttempt(s), accepted)
		if r := a.again().send(); r.Status != 401 {
			c.Errorf("after the outage the old proof is answered %d", r.Status)
		}
		for _, l := range p.server.log.leaks {
			c.Error(l)
		}
	}
}

// storage returns the directory of the process's storage.
func (s *server) storage() string {
	_, rest, _ := strings.Cut(s.Text, "storage file_system ")
	dir, _, _ := strings.Cut(rest, "\n")
	return dir
}

// goneStorage puts a file where the store has its directory, so that every access
// fails, whoever tries.
func goneStorage(dir string) (func() error, error) {
	replays := filepath.Join(dir, "dpop")
	if err := os.Rename(replays, replays+".away"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(replays, nil, 0o600); err != nil {
		return nil, err
	}
	return func() error {
		if err := os.Remove(replays); err != nil {
			return err
		}
		return os.Rename(replays+".away", replays)
	}, nil
}

// slowStorage lets another node appear whose head never comes to its end: a pipe that
// nobody writes to.
func slowStorage(dir string) (func() error, error) {
	nodes, err := filepath.Glob(filepath.Join(dir, "dpop", "replay", "*"))
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if info, err := os.Stat(filepath.Join(n, "head")); err == nil && info.Mode().IsRegular() {
			return stall(filepath.Join(filepath.Dir(n), "ffffffffffffffffffffffffffffffff"), n)
		}
	}
	return nil, os.ErrNotExist
}
