// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
)

// sharedStorage is the storage of something that outlives a configuration. A
// storage belongs to one generation and may end with it, so each generation
// brings its own, and the newest that has started counts. One whose start
// fails takes its storage back.
type sharedStorage struct {
	current atomic.Pointer[certmagic.Storage]
	changed func(certmagic.Storage) // told of each new one; may be nil

	mu    sync.Mutex
	users []storageUser // the newest last
}

type storageUser struct {
	app     *App
	storage certmagic.Storage
}

// newSharedStorage begins with the storage of the generation that is being
// provisioned: requests may come before its Start.
func newSharedStorage(first certmagic.Storage) *sharedStorage {
	s := new(sharedStorage)
	s.current.Store(&first)
	return s
}

// use makes the storage of a generation the current one.
func (s *sharedStorage) use(app *App, storage certmagic.Storage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = append(s.users, storageUser{app, storage})
	s.settle()
}

// drop takes the storage of a generation back.
func (s *sharedStorage) drop(app *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = slices.DeleteFunc(s.users, func(u storageUser) bool { return u.app == app })
	if len(s.users) > 0 {
		s.settle()
	}
}

func (s *sharedStorage) settle() {
	newest := s.users[len(s.users)-1].storage
	s.current.Store(&newest)
	if s.changed != nil {
		s.changed(newest)
	}
}

// Load implements token.KeyCache.
func (s *sharedStorage) Load(ctx context.Context, key string) ([]byte, error) {
	return (*s.current.Load()).Load(ctx, key)
}

// Store implements token.KeyCache.
func (s *sharedStorage) Store(ctx context.Context, key string, value []byte) error {
	return (*s.current.Load()).Store(ctx, key, value)
}

// shares notes that this generation uses something shared, so that Start can
// bring its storage and Cleanup take it back.
func (a *App) shares(s *sharedStorage, storage certmagic.Storage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, known := range a.shared {
		if known.slot == s {
			return
		}
	}
	a.shared = append(a.shared, sharedUse{s, storage})
}

type sharedUse struct {
	slot    *sharedStorage
	storage certmagic.Storage
}
