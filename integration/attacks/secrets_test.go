// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
)

// secretSet remembers the beginnings of everything that must never be repeated: the
// signed parts of proofs and tokens, client secrets. Keys that were never sent in the
// clear cannot be leaked, and a proof's header holds a public key only; but its
// encoded form marks a logged proof, so that is looked for as well.
type secretSet struct {
	mu     sync.RWMutex
	starts map[string]struct{}
}

const secretStart = 16 // characters compared: 96 bits of base64url

var secrets = &secretSet{starts: map[string]struct{}{}}

// add remembers a proof, a token or any other secret.
func (s *secretSet) add(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, part := range strings.Split(secret, ".") {
		if i == 0 && strings.Count(secret, ".") == 2 {
			continue // the header of a JWS: found as eyJ when it is logged
		}
		for _, run := range runs.FindAllString(part, -1) {
			if i == 1 && strings.HasPrefix(run, "eyJ") {
				continue
			}
			s.starts[run[:secretStart]] = struct{}{}
		}
	}
}

var (
	runs   = regexp.MustCompile(`[A-Za-z0-9_-]{16,}`)
	joseIn = []byte("eyJ")
)

// find returns what is secret in b, or an empty string.
func (s *secretSet) find(b []byte) string {
	if i := bytes.Index(b, joseIn); i >= 0 && len(b) > i+20 && runs.Match(b[i:i+20]) {
		return "encoded JSON (a proof or a token)"
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, run := range runs.FindAll(b, -1) {
		if _, known := s.starts[string(run[:secretStart])]; known {
			return "the beginning of a secret"
		}
	}
	return ""
}
