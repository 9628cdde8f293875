// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// restless is a storage on which names come and go: as many listings as it is told show
// a name whose head is gone when it is loaded, each time another. And as many listings
// as it is told fail because something vanished while they were made.
type restless struct {
	mu                    sync.Mutex
	objects               map[string][]byte
	strangers, vanishings int
	lists                 int
}

func (s *restless) Store(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = append([]byte(nil), value...)
	return nil
}

func (s *restless) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.objects[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return value, nil
}

func (s *restless) List(_ context.Context, prefix string, _ bool) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	if s.vanishings > 0 {
		s.vanishings--
		return nil, fs.ErrNotExist
	}
	var keys []string
	for key := range s.objects {
		first, _, _ := strings.Cut(strings.TrimPrefix(key, prefix+"/"), "/")
		keys = append(keys, path.Join(prefix, first))
	}
	if s.strangers > 0 {
		s.strangers--
		keys = append(keys, path.Join(prefix, fmt.Sprintf("%0*x", nameLength, s.lists)))
	}
	return keys, nil
}

func (s *restless) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	return nil
}

// TestLooks: a look begins anew as often as is allowed, and so does a listing; one more
// is an outage, from which the log recovers by itself.
func TestLooks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                  string
		strangers, vanishings int
		want                  error // nil: the claim passes
		lists                 int
	}{
		{"a quiet storage", 0, 0, nil, 1},
		{"the last look is quiet", maxLooks - 1, 0, nil, maxLooks},
		{"none is", maxLooks, 0, errRestless, maxLooks},
		{"the last listing succeeds", 0, listAttempts - 1, nil, listAttempts},
		{"none does", 0, listAttempts, fs.ErrNotExist, listAttempts},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				clock, storage := newTestClock(), &restless{objects: map[string][]byte{}}
				log := NewLog(LogConfig{Storage: storage, Now: clock.Now})
				log.SetWindow(testWindow)
				defer func() { _ = log.Close(t.Context()) }()
				if err := log.Check(t.Context()); err != nil {
					t.Fatal(err)
				}
				clock.Add(time.Second) // past the cut-off
				claim := func(n uint64) error {
					return log.Claim(t.Context(), Claim{ID: testID(n), Owner: testOwner(n), IssuedAt: clock.Now().Unix()})
				}

				storage.mu.Lock()
				storage.strangers, storage.vanishings, storage.lists = test.strangers, test.vanishings, 0
				storage.mu.Unlock()
				err := claim(1)
				if !errors.Is(err, test.want) || test.want != nil && !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				storage.mu.Lock()
				if storage.lists != test.lists {
					t.Errorf("%d listings, want %d", storage.lists, test.lists)
				}
				storage.mu.Unlock()

				time.Sleep(time.Minute) // in this bubble's time: what is held back after a failure
				if err := claim(1); !errors.Is(err, ErrReplayed) {
					t.Errorf("the same proof: %v, want %v", err, ErrReplayed)
				}
				if err := claim(2); err != nil {
					t.Errorf("a new proof: %v", err)
				}
			})
		})
	}
}
