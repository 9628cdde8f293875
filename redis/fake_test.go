// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

// fake is a Redis in this process, with a clock of its own and a word to say about itself.
type fake struct {
	*miniredis.Miniredis

	mu     sync.Mutex
	now    time.Time
	info   serverInfo
	silent bool                                               // refuses INFO and CONFIG
	hook   func(command string, args []string) (string, bool) // an error to answer with
	counts map[string]int
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{
		Miniredis: miniredis.NewMiniRedis(),
		info:      serverInfo{runID: "run-1", replID: "repl-1", version: "7.0.15", policy: "noeviction", role: "master"},
		counts:    make(map[string]int),
	}
	f.now = replaytest.NewClock().Now()
	f.SetTime(f.now)
	f.ClockTTL(true)
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	f.Server().SetPreHook(f.answer)
	return f
}

func (f *fake) answer(c *server.Peer, command string, args ...string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	command = strings.ToUpper(command)
	f.counts[command]++
	if f.hook != nil {
		if message, ok := f.hook(command, args); ok {
			c.WriteError(message)
			return true
		}
	}
	switch {
	case command == "INFO" && f.silent:
		c.WriteError("NOPERM this user has no permissions to run the 'info' command")
	case command == "INFO":
		c.WriteBulk(fmt.Sprintf("# All\r\nredis_version:%s\r\nrun_id:%s\r\nmaxmemory_policy:%s\r\nrole:%s\r\nmaster_replid:%s\r\n",
			f.info.version, f.info.runID, f.info.policy, f.info.role, f.info.replID))
	case command == "CONFIG":
		c.WriteError("NOPERM this user has no permissions to run the 'config|get' command")
	default:
		return false
	}
	return true
}

// advance moves the clock of Redis.
func (f *fake) advance(d time.Duration) {
	f.mu.Lock()
	f.now = f.now.Add(d)
	now := f.now
	f.mu.Unlock()
	f.SetTime(now)
}

// restart ends all connections; the next ones are told of another server.
func (f *fake) restart(change func(*serverInfo)) {
	f.Miniredis.Close()
	f.mu.Lock()
	change(&f.info)
	f.mu.Unlock()
	if err := f.Restart(); err != nil {
		panic(err)
	}
	f.Server().SetPreHook(f.answer)
}

func (f *fake) fail(hook func(command string, args []string) (string, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func (f *fake) count(command string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[command]
}

// bed is a fake with a clock that it shares with the stores.
type bed struct {
	*fake
	t     testing.TB
	clock *replaytest.Clock
	logs  *observer.ObservedLogs
	log   *zap.Logger
}

func newBed(t testing.TB) *bed {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	return &bed{fake: newFake(t), t: t, clock: replaytest.NewClock(), logs: logs, log: zap.New(core)}
}

// pass moves all clocks.
func (b *bed) pass(d time.Duration) {
	b.clock.Add(d)
	b.advance(d)
}

// store opens a node at an address, that of the fake when empty.
func (b *bed) store(address string) *store {
	b.t.Helper()
	if address == "" {
		address = b.Addr()
	}
	s := openStore(b.t, "redis://"+address, b.clock.Now, replay.Params{Logger: b.log, Timeout: 2 * time.Second})
	s.SetWindow(replaytest.Window)
	return s
}

// warm opens a node and moves on past its cut-off.
func (b *bed) warm() *store {
	b.t.Helper()
	s := b.store("")
	if err := s.Claim(b.t.Context(), replaytest.Proof("before all", b.clock.Now())); err != nil {
		wantError(b.t, "the first claim of all", err, replay.ErrTooEarly)
	}
	b.pass(5 * time.Second)
	return s
}

func (b *bed) proof(jti string) replay.Claim { return replaytest.Proof(jti, b.clock.Now()) }

func openStore(t testing.TB, url string, now func() time.Time, p replay.Params) *store {
	t.Helper()
	o, _, err := (&Replay{URL: url}).check()
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(o, p.Space, now)
	s.Adopt(p)
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	return s
}
