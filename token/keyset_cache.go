// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
)

// KeyCache keeps the last good copy of key sets across restarts. Keys are lower-case
// hex below a fixed prefix. Load returns an error that is [fs.ErrNotExist] when there
// is nothing. What is stored is trusted like our own memory: whoever can write to it
// can have any token accepted.
type KeyCache interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
}

// cacheTimeout bounds what we wait for the cache, which is a convenience.
const cacheTimeout = 2 * time.Second

// storedKeySet is the form of a copy in the cache: a JWK Set with its age.
type storedKeySet struct {
	Fetched time.Time         `json:"fetched"`
	Keys    []jose.JSONWebKey `json:"keys"`
}

// restore looks for the copy of the last run, once. The channel closes when that is
// done, or takes too long to wait for.
func (s *KeySet) restore() <-chan struct{} {
	s.restoring.Do(func() {
		if s.cfg.Cache == nil {
			close(s.restored)
			return
		}
		loaded := make(chan struct{})
		ctx, cancel := context.WithTimeout(context.Background(), cacheTimeout)
		go func() {
			defer close(loaded)
			s.load(ctx)
		}()
		go func() {
			defer close(s.restored)
			defer cancel()
			select {
			case <-loaded:
			case <-ctx.Done(): // not every storage looks at its context
			}
		}()
	})
	return s.restored
}

// load puts the copy of the last run to use, with the age that it has, unless there
// is a newer one already.
func (s *KeySet) load(ctx context.Context) {
	data, err := s.cfg.Cache.Load(ctx, s.cacheKey())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var stored struct {
		Fetched time.Time `json:"fetched"`
	}
	if err == nil {
		err = json.Unmarshal(data, &stored)
	}
	var keys []*key
	if err == nil {
		keys, _, err = s.parseKeySet(data)
	}
	if err != nil {
		s.log.Load().Warn("last good copy of the key set not restored", zap.Error(err))
		return
	}
	if now := s.cfg.Now(); stored.Fetched.After(now) {
		stored.Fetched = now // the clock has been set back
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load() != nil {
		return
	}
	s.useLocked(&snapshot{keys: keys, fetched: stored.Fetched.Round(0)})
	s.status.Restored = true
	s.log.Load().Info("key set restored", zap.Int("keys", len(keys)), zap.Time("fetched", stored.Fetched))
}

// store puts the copy in use into the cache, when it has changed or the age stored
// with it has grown old. Fetches can overlap here, so one at a time stores, and looks
// again when it is done: an older copy never lands on a newer one.
func (s *KeySet) store(changed bool) {
	if s.cfg.Cache == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unstored = s.unstored || changed
	if s.storing {
		return
	}
	s.storing = true
	defer func() { s.storing = false }()
	for {
		copied := s.current.Load()
		if !s.unstored && copied.fetched.Sub(s.stored) < s.cfg.RefreshInterval {
			return
		}
		s.stored, s.unstored = copied.fetched, false
		s.mu.Unlock()
		err := s.put(copied)
		if err != nil {
			s.log.Load().Warn("copy of the key set not stored", zap.Error(err))
		}
		s.mu.Lock()
		if err != nil {
			s.unstored = true // the next fetch tries again
			return
		}
	}
}

func (s *KeySet) put(copied *snapshot) error {
	value := storedKeySet{Fetched: copied.fetched}
	for _, k := range copied.keys {
		value.Keys = append(value.Keys, k.jwk) // public by construction: see parseKey
	}
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cacheTimeout)
	defer cancel()
	return s.cfg.Cache.Store(ctx, s.cacheKey(), data)
}
