// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
)

// sharedStorage is the storage of something that outlives a configuration. A
// storage belongs to one generation and may end with it, so each brings its own
// when it takes over.
type sharedStorage struct {
	current atomic.Pointer[certmagic.Storage]
}

// newSharedStorage begins with the storage of the generation that is being
// provisioned: requests may come before its Start.
func newSharedStorage(first certmagic.Storage) *sharedStorage {
	s := new(sharedStorage)
	s.set(first)
	return s
}

func (s *sharedStorage) set(storage certmagic.Storage) { s.current.Store(&storage) }

// Load implements token.KeyCache.
func (s *sharedStorage) Load(ctx context.Context, key string) ([]byte, error) {
	return (*s.current.Load()).Load(ctx, key)
}

// Store implements token.KeyCache.
func (s *sharedStorage) Store(ctx context.Context, key string, value []byte) error {
	return (*s.current.Load()).Store(ctx, key, value)
}
