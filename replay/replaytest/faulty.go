// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replaytest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// Opener starts a node of a store on a storage.
type Opener func(storage replay.Storage, o Options) replay.Store

// faultTimeout is the Timeout of the stores under test, and faultHealed is more than any of them holds back after failures.
const (
	faultTimeout = 5 * time.Second
	faultHealed  = 2 * time.Second
)

// faulty is two nodes on one storage. Each sees it through a Storage of its own, so that one can be misled.
type faulty struct {
	t      *testing.T
	clock  *Clock
	shared *Storage
	views  [2]*Storage
	stores [2]replay.Store
	open   Opener
}

// view returns a storage that passes everything on, until it is told otherwise.
func (f *faulty) view() *Storage {
	v := NewStorage()
	v.Intercept(f.pass)
	return v
}

func (f *faulty) pass(ctx context.Context, c *Call) error {
	f.redirect(ctx, c)
	return c.Do()
}

// redirect makes the call one on the shared storage.
func (f *faulty) redirect(ctx context.Context, c *Call) {
	c.Do = func() (err error) {
		switch c.Method {
		case "Store":
			return f.shared.Store(ctx, c.Key, c.Value)
		case "Load":
			c.Value, err = f.shared.Load(ctx, c.Key)
		case "List":
			c.Keys, err = f.shared.List(ctx, c.Key, false)
		case "Delete":
			err = f.shared.Delete(ctx, c.Key)
		}
		return err
	}
}

// mislead puts a fault between the node and the storage; nil takes it away.
func (f *faulty) mislead(node int, h Handler) {
	if h == nil {
		f.views[node].Intercept(f.pass)
		return
	}
	f.views[node].Intercept(func(ctx context.Context, c *Call) error {
		f.redirect(ctx, c)
		return h(ctx, c)
	})
}

func (f *faulty) claim(node int, jti string) error {
	return f.stores[node].Claim(f.t.Context(), Proof(jti, f.clock.Now()))
}

// RunStorage holds a store to what it owes when its storage fails: never two accepts, never a hang, an
// [replay.ErrUnavailable] that wraps the reason, and recovery by itself. Time-outs pass in no time.
func RunStorage(t *testing.T, open Opener) {
	t.Run("directories", func(t *testing.T) { runStorage(t, open, NewStorage) })
	t.Run("objects only", func(t *testing.T) {
		runStorage(t, open, func() *Storage {
			s := NewStorage()
			s.Intercept(ObjectsOnly(s))
			return s
		})
	})
}

func runStorage(t *testing.T, open Opener, storage func() *Storage) {
	run := func(name string, test func(*faulty)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runFaulty(t, open, storage(), test) })
		})
	}
	stores := map[string]Handler{
		"Store fails before the write": FailBefore("Store"),
		"Store fails after the write":  FailAfter("Store"),
		"List fails":                   FailBefore("List"),
		"Load fails":                   FailBefore("Load"),
		"its listing hides its name":   HideOwn(),
	}
	for name, fault := range stores {
		run(name, func(f *faulty) { f.testFault(fault) })
	}
	for _, method := range []string{"Store", "List", "Load"} {
		run(method+" stalls", func(f *faulty) { f.testStall(method) })
	}
	run("listing from before its name", (*faulty).testStaleList)
	run("a node's directory is lost", (*faulty).testLostDirectory)
	run("everything is lost", (*faulty).testEmptied)
	run("a seal is lost between listing and loading", (*faulty).testLostSeal)
	run("a head is garbage", (*faulty).testGarbage)
}

func runFaulty(t *testing.T, open Opener, storage *Storage, test func(*faulty)) {
	f := &faulty{t: t, clock: NewClock(), shared: storage, open: open}
	for i := range f.stores {
		f.views[i] = f.view()
		f.stores[i] = f.node(f.views[i])
	}
	defer func() {
		for i := range f.stores {
			f.mislead(i, nil)
			_ = f.stores[i].Close(context.WithoutCancel(t.Context()))
		}
	}()
	_ = f.claim(0, "before all")
	f.clock.Add(5 * time.Second)
	want(t, "before the fault", f.claim(0, "before 0"), nil)
	want(t, "before the fault", f.claim(1, "before 1"), nil)
	test(f)
}

func (f *faulty) node(storage replay.Storage) replay.Store {
	store := f.open(storage, Options{Clock: f.clock, Timeout: faultTimeout})
	store.SetWindow(Window)
	return store
}

// unavailable checks that a claim was answered in time, with the reason.
func (f *faulty) unavailable(node int, jti string, reason error) {
	f.t.Helper()
	start := time.Now()
	err := f.claim(node, jti)
	want(f.t, "during the fault", err, replay.ErrUnavailable)
	if reason != nil && !errors.Is(err, reason) {
		f.t.Fatalf("during the fault: %v, want the reason %v", err, reason)
	}
	if took := time.Since(start); took > faultTimeout {
		f.t.Fatalf("answered after %v", took)
	}
}

// once checks that both nodes together accept a proof at most as often as is left of once.
func (f *faulty) once(jti string, already int) {
	f.t.Helper()
	for range 2 {
		for node := range f.stores {
			if f.claim(node, jti) == nil {
				already++
			}
		}
	}
	if already > 1 {
		f.t.Fatalf("%s was accepted %d times", jti, already)
	}
}

func (f *faulty) healed() {
	f.t.Helper()
	time.Sleep(faultHealed)
	f.once("before 0", 1)
	f.once("before 1", 1)
	f.once("during", 0)
	for node, jti := range []string{"after 0", "after 1"} {
		want(f.t, "after the fault", f.claim(node, jti), nil)
		f.once(jti, 1)
	}
}

func (f *faulty) testFault(fault Handler) {
	f.mislead(0, fault)
	f.unavailable(0, "during", nil)
	for i := range 8 {
		f.unavailable(0, fmt.Sprint("more ", i), nil) // and no later one either
	}
	want(f.t, "the other node", f.claim(1, "meanwhile"), nil)
	f.mislead(0, nil)
	f.healed()
	f.once("meanwhile", 1)
}

// testStall: the call returns long after the claim has been answered; a write lands only then.
func (f *faulty) testStall(method string) {
	release := make(chan struct{})
	f.mislead(0, Stall(method, release))
	f.unavailable(0, "during", nil)
	f.unavailable(0, "more", nil)
	f.mislead(0, nil) // new calls pass, the old ones still hang
	time.Sleep(faultHealed)
	accepted := 0
	for node := range f.stores {
		if f.claim(node, "during") == nil {
			accepted++
		}
	}
	want(f.t, "recovery while a call hangs", f.claim(0, "meanwhile"), nil)
	close(release)
	synctest.Wait()
	f.once("during", accepted)
	f.once("meanwhile", 1)
	f.once("before 0", 1)
	want(f.t, "after the late write", f.claim(1, "after"), nil)
}

// testStaleList: a node whose listings are from before it stored anything accepts nothing.
func (f *faulty) testStaleList() {
	view := f.view()
	view.Intercept(func() Handler {
		stale := StaleList()
		_ = stale(f.t.Context(), &Call{Method: "List", Key: replay.DefaultPrefix, Do: func() error { return nil }})
		return func(ctx context.Context, c *Call) error {
			f.redirect(ctx, c)
			return stale(ctx, c)
		}
	}())
	late := f.node(view)
	defer func() { _ = late.Close(f.t.Context()) }()
	for i := range 3 {
		want(f.t, "stale", late.Claim(f.t.Context(), Proof(fmt.Sprint("before ", i), f.clock.Now())), replay.ErrUnavailable)
	}
}

// testLostDirectory: the other node has read what is lost, so it knows that something is missing.
func (f *faulty) testLostDirectory() {
	want(f.t, "known to the other node", f.claim(1, "look"), nil)
	want(f.t, "and unknown to it", f.claim(0, "unknown"), nil)
	dir := path.Dir(f.head(0))
	f.lose(func(key string) bool { return strings.HasPrefix(key, dir+"/") })
	f.once("unknown", 1)
	f.clock.Add(2 * time.Second)
	time.Sleep(faultHealed)
	for range 3 { // the loss is noticed by both, in whatever order
		_, _ = f.claim(0, "notice"), f.claim(1, "notice")
		time.Sleep(faultHealed)
	}
	f.clock.Add(2 * time.Second)
	want(f.t, "after the loss", f.claim(1, "after 1"), nil)
	want(f.t, "after the loss", f.claim(0, "after 0"), nil)
	f.once("before 0", 1)
	f.once("unknown", 1)
}

// head returns the key of a node's head.
func (f *faulty) head(node int) (key string) {
	f.mislead(node, func(_ context.Context, c *Call) error {
		if c.Method == "Store" && path.Base(c.Key) == "head" {
			key = c.Key
		}
		return c.Do()
	})
	want(f.t, "a claim", f.claim(node, "to see the head"), nil)
	f.mislead(node, nil)
	return key
}

func (f *faulty) lose(which func(key string) bool) {
	for _, key := range f.shared.Keys("") {
		if which(key) {
			_ = f.shared.Delete(f.t.Context(), key)
		}
	}
}

// testEmptied: a node that has nothing left to go by refuses what was issued before.
func (f *faulty) testEmptied() {
	old := Proof("before 0", f.clock.Now())
	f.lose(func(string) bool { return true })
	late := f.node(f.view())
	defer func() { _ = late.Close(f.t.Context()) }()
	if err := late.Claim(f.t.Context(), old); !errors.Is(err, replay.ErrTooEarly) {
		f.t.Fatalf("a new node on an emptied storage: %v, want %v", err, replay.ErrTooEarly)
	}
	f.once("before 0", 1)
	f.once("before 1", 1)
	f.clock.Add(time.Second)
	time.Sleep(faultHealed)
	_, _ = f.claim(0, "notice"), f.claim(1, "notice")
	want(f.t, "after that", f.claim(0, "after 0"), nil)
	want(f.t, "after that", f.claim(1, "after 1"), nil)
}

// testLostSeal: a seal that a head names is not there. A node that has not read it can accept nothing.
func (f *faulty) testLostSeal() {
	for i := range 600 { // more than a head holds
		want(f.t, "filling", f.claim(0, "fill "+strings.Repeat("x", i)), nil)
	}
	view := f.view()
	view.Intercept(func(ctx context.Context, c *Call) error {
		f.redirect(ctx, c)
		if c.Method == "Load" && path.Base(c.Key) != "head" {
			_ = f.shared.Delete(ctx, c.Key)
		}
		return c.Do()
	})
	late := f.node(view)
	defer func() { _ = late.Close(f.t.Context()) }()
	for _, jti := range []string{"before 0", "fill ", "fresh"} {
		want(f.t, "with a seal lost", late.Claim(f.t.Context(), Proof(jti, f.clock.Now())), replay.ErrUnavailable)
	}
	want(f.t, "a node that has read it", f.claim(0, "goes on"), nil)
}

func (f *faulty) testGarbage() {
	f.mislead(1, func(_ context.Context, c *Call) error {
		err := c.Do()
		if c.Method == "Load" && len(c.Value) > 0 {
			c.Value = c.Value[:len(c.Value)-1]
		}
		return err
	})
	f.unavailable(1, "during", nil)
	f.unavailable(1, "more", nil)
	f.mislead(1, nil)
	f.clock.Add(2 * time.Second) // a closed name's head that cannot be read is a loss, and sets a cut-off
	f.healed()
}
