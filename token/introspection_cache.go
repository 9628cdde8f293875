// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/sha256"
	"sync"
	"time"
)

// answer is what the claims of an introspection answer stand on: its age.
type answer struct {
	until time.Time
	now   func() time.Time
}

func (a *answer) live() bool { return a.now().Before(a.until) }

// refusals remembers for a short time which tokens were refused, so that a client
// that goes on with a revoked token does not ask the endpoint each time. It holds
// the newest so many; strangers can fill it, and then older ones are asked about
// again.
type refusals struct {
	mu      sync.Mutex
	entries map[[sha256.Size]byte]refusal
	ring    [][sha256.Size]byte // the keys of entries in the order of arrival
	oldest  int
	max     int
}

type refusal struct {
	err   error
	until time.Time
}

func newRefusals(limit int) *refusals {
	return &refusals{entries: make(map[[sha256.Size]byte]refusal), max: limit}
}

// get returns the error the token was refused with, or nil.
func (r *refusals) get(hash [sha256.Size]byte, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.entries[hash]; ok && now.Before(e.until) {
		return e.err
	}
	return nil
}

func (r *refusals) put(hash [sha256.Size]byte, err error, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.entries[hash]
	r.entries[hash] = refusal{err, until}
	switch {
	case known: // keeps its place
	case len(r.ring) < r.max:
		r.ring = append(r.ring, hash)
	default:
		delete(r.entries, r.ring[r.oldest])
		r.ring[r.oldest] = hash
		r.oldest = (r.oldest + 1) % r.max
	}
}

func (r *refusals) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entries)
}
