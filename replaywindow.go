// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"slices"
	"sync"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// sharedWindows are the windows that generations ask of replay stores that
// outlive them. The largest is in force: while a configuration is loaded, and
// when it fails to, the running one still accepts proofs by its own, and what
// a store remembers for less it has to refuse (see replay.Window).
type sharedWindows struct {
	mu    sync.Mutex
	users map[any][]windowUser // by what remembers
}

type windowUser struct {
	app    *App
	store  replay.Store
	window replay.Window
}

var windows = sharedWindows{users: make(map[any][]windowUser)}

// use notes what a generation asks of a store, in place of what it asked before.
func (s *sharedWindows) use(app *App, store replay.Store, w replay.Window) {
	s.mu.Lock()
	defer s.mu.Unlock()
	memory := memoryOf(store)
	users := slices.DeleteFunc(s.users[memory], func(u windowUser) bool { return u.app == app && u.store == store })
	s.settle(memory, append(users, windowUser{app, store, w}))
}

// drop forgets a generation.
func (s *sharedWindows) drop(app *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for memory, users := range s.users {
		rest := slices.DeleteFunc(users, func(u windowUser) bool { return u.app == app })
		if len(rest) == len(users) {
			continue
		}
		s.settle(memory, rest)
	}
}

func (s *sharedWindows) settle(memory any, users []windowUser) {
	if len(users) == 0 {
		delete(s.users, memory)
		return
	}
	s.users[memory] = users
	var widest replay.Window
	for _, u := range users {
		widest = widestWindow(widest, u.window)
	}
	users[len(users)-1].store.SetWindow(widest)
}

func widestWindow(a, b replay.Window) replay.Window {
	return replay.Window{Proof: max(a.Proof, b.Proof), Nonce: max(a.Nonce, b.Nonce)}
}

// memoryOf is what a store remembers in: `memory` and `storage` share the table
// of this process.
func memoryOf(store replay.Store) any {
	switch store := store.(type) {
	case *pooledTable:
		return store.Table
	case *pooledLog:
		return store.table
	}
	return store
}
