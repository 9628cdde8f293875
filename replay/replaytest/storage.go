// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replaytest

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// Storage is a storage in memory that does what certmagic asks of one, until [Storage.Intercept] is told otherwise.
// Values are copied on their way in and out.
type Storage struct {
	mu      sync.Mutex
	objects map[string][]byte
	counts  map[string]int
	handler Handler
}

var _ replay.Storage = (*Storage)(nil)

// NewStorage returns an empty storage.
func NewStorage() *Storage {
	return &Storage{objects: map[string][]byte{}, counts: map[string]int{}}
}

// Call is a storage call on its way. A [Handler] may carry it out with Do, before or after anything else, more than
// once or never, and change what came of it.
type Call struct {
	Method string // "Store", "Load", "List", "Delete"
	Key    string
	Value  []byte   // of a Store; of a Load after Do
	Keys   []string // of a List after Do
	Do     func() error
}

// Handler stands between a store and its storage.
type Handler func(ctx context.Context, call *Call) error

// Intercept puts a handler between; nil takes it out.
func (s *Storage) Intercept(h Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

// Count returns how many calls of a method there were, failed ones included.
func (s *Storage) Count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[method]
}

// Keys returns all keys with the prefix, sorted.
func (s *Storage) Keys(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys(prefix)
}

func (s *Storage) keys(prefix string) []string {
	var keys []string
	for key := range s.objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (s *Storage) call(ctx context.Context, c *Call) error {
	s.mu.Lock()
	s.counts[c.Method]++
	handler := s.handler
	s.mu.Unlock()
	if handler != nil {
		return handler(ctx, c)
	}
	return c.Do()
}

// Store implements [replay.Storage].
func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	c := &Call{Method: "Store", Key: key, Value: slices.Clone(value)}
	c.Do = func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.objects[key] = c.Value
		return nil
	}
	return s.call(ctx, c)
}

// Load implements [replay.Storage].
func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	c := &Call{Method: "Load", Key: key}
	c.Do = func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		value, ok := s.objects[key]
		if !ok {
			return fmt.Errorf("%s: %w", key, fs.ErrNotExist)
		}
		c.Value = slices.Clone(value)
		return nil
	}
	err := s.call(ctx, c)
	return c.Value, err
}

// List implements [replay.Storage].
func (s *Storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	c := &Call{Method: "List", Key: path}
	c.Do = func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.Keys = nil
		for _, key := range s.keys(path + "/") {
			if !recursive {
				first, _, _ := strings.Cut(key[len(path)+1:], "/")
				key = path + "/" + first
			}
			if len(c.Keys) == 0 || c.Keys[len(c.Keys)-1] != key {
				c.Keys = append(c.Keys, key)
			}
		}
		slices.Sort(c.Keys) // "name.pass" sorts between "name" and "name/head"
		c.Keys = slices.Compact(c.Keys)
		if len(c.Keys) == 0 {
			return fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
		return nil
	}
	err := s.call(ctx, c)
	return c.Keys, err
}

// Delete implements [replay.Storage]: a key, or all below it.
func (s *Storage) Delete(ctx context.Context, key string) error {
	c := &Call{Method: "Delete", Key: key}
	c.Do = func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.objects, key)
		for _, below := range s.keys(key + "/") {
			delete(s.objects, below)
		}
		return nil
	}
	return s.call(ctx, c)
}
