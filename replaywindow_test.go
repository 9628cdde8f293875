// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// windowStore records the window that is in force.
type windowStore struct {
	replay.Store
	inForce replay.Window
}

func (s *windowStore) SetWindow(w replay.Window) { s.inForce = w }

// TestWindowOfGenerations: the window of a store is never smaller than one that a
// running configuration relies on, and shrinks when that is gone.
func TestWindowOfGenerations(t *testing.T) {
	proofs := func(d time.Duration) replay.Window { return replay.Window{Proof: d} }
	generation := func() *App { return &App{windows: make(map[replay.Store]storeUse)} }
	store := new(windowStore)
	expect := func(what string, want time.Duration) {
		t.Helper()
		if got := store.inForce.Proof; got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	first, failed, second := generation(), generation(), generation()
	first.widenWindow(store, replay.Params{}, proofs(time.Minute))
	first.widenWindow(store, replay.Params{}, proofs(time.Hour))
	expect("two handlers", time.Hour)

	failed.widenWindow(store, replay.Params{}, proofs(time.Minute))
	expect("while another configuration is loaded", time.Hour)
	must(t, failed.Cleanup())
	expect("after it failed to load", time.Hour)

	second.widenWindow(store, replay.Params{}, proofs(time.Minute))
	expect("while the next one is loaded", time.Hour)
	must(t, first.Cleanup())
	expect("when it has taken over", time.Minute)
	must(t, second.Cleanup())
	if len(windows.users) != 0 {
		t.Errorf("%d stores are still used", len(windows.users))
	}
}

// TestWindowAfterFailedReload: the same with a table, through `memory` and then
// through `storage`, which has the same one.
func TestWindowAfterFailedReload(t *testing.T) {
	n := start(t, site(oneIssuer+"max_age 30m\n"))
	var table *pooledTable
	for store := range n.app.stores() {
		table = store.(*pooledTable)
	}
	for _, broken := range []string{
		"http://*.test:$PORT {\n dpop {" + oneIssuer + "}\n}\n",
		"http://*.test:$PORT {\n dpop {\nissuer $ISSUER\naudience any\n}\n}\n",
	} {
		if n.load(broken) == nil {
			t.Fatal("loaded")
		}
		if got := windows.users[table.Table]; len(got) != 1 || got[0].window.Proof != 30*time.Minute+30*time.Second {
			t.Errorf("after %s: %v", broken, got)
		}
	}
}
