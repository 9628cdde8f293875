// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package devissuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

const (
	// seenWindow is how long a proof is remembered at least: longer than the
	// verifier's largest age and clock skew together.
	seenWindow = 3 * time.Minute

	// seenLimit bounds the proofs remembered in one window.
	seenLimit = 20_000

	// nonceLifetime is how long a nonce can be used.
	nonceLifetime = time.Minute
)

// states holds what an issuer must not lose on a reload, by issuer. Without
// it every reload of the demonstration would make all tokens invalid.
var states = caddy.NewUsagePool()

// state is what one issuer keeps in memory.
type state struct {
	signer    jose.Signer
	publicKey jose.JSONWebKey
	nonceKey  [sha256.Size]byte
	seen      seenProofs
}

func acquireState(issuer string) (*state, error) {
	value, _, err := states.LoadOrNew(issuer, func() (caddy.Destructor, error) { return newState() })
	if err != nil {
		return nil, err
	}
	return value.(*state), nil
}

func releaseState(issuer string) error {
	_, err := states.Delete(issuer)
	return err
}

func newState() (*state, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the signing key: %w", err)
	}
	kid, err := proof.Thumbprint(key.Public())
	if err != nil {
		return nil, fmt.Errorf("naming the signing key: %w", err)
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		return nil, fmt.Errorf("making the signer: %w", err)
	}
	s := &state{
		signer:    signer,
		publicKey: jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: string(jose.ES256), Use: "sig"},
	}
	if _, err := rand.Read(s.nonceKey[:]); err != nil {
		return nil, fmt.Errorf("making the nonce key: %w", err)
	}
	return s, nil
}

// Destruct implements caddy.Destructor. There is nothing to close.
func (*state) Destruct() error { return nil }

// newNonce makes a nonce that says when it was made: eight bytes of time and
// a MAC over them.
func (s *state) newNonce(now time.Time) string {
	var b [8 + sha256.Size]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.Unix()))
	copy(b[8:], s.mac(b[:8]))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// CheckNonce implements proof.NonceChecker.
func (s *state) CheckNonce(nonce string, now time.Time) (time.Time, proof.NonceState) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != 8+sha256.Size || !hmac.Equal(b[8:], s.mac(b[:8])) {
		return time.Time{}, proof.NonceUnknown
	}
	issued := time.Unix(int64(binary.BigEndian.Uint64(b[:8])), 0)
	if age := now.Sub(issued); age > nonceLifetime || age < -nonceLifetime {
		return issued, proof.NonceStale
	}
	return issued, proof.NonceLive
}

func (s *state) mac(message []byte) []byte {
	h := hmac.New(sha256.New, s.nonceKey[:])
	h.Write(message)
	return h.Sum(nil)
}

// seenProofs remembers which proofs were used, for one window and the one
// before. It is bounded: when the present window is full, nothing new gets in.
type seenProofs struct {
	mu        sync.Mutex
	began     time.Time
	now, past map[[sha256.Size]byte]struct{}
}

type seenResult int

const (
	seenFirst seenResult = iota
	seenBefore
	seenFull
)

// use takes note of a proof and says whether it is new.
func (s *seenProofs) use(jkt, jti string, now time.Time) seenResult {
	id := sha256.Sum256([]byte(jkt + "\x00" + jti))
	s.mu.Lock()
	defer s.mu.Unlock()

	switch age := now.Sub(s.began); {
	case s.now == nil || age >= 2*seenWindow:
		s.began, s.now, s.past = now, make(map[[sha256.Size]byte]struct{}), nil
	case age >= seenWindow:
		s.began, s.now, s.past = now, make(map[[sha256.Size]byte]struct{}), s.now
	}
	if _, ok := s.now[id]; ok {
		return seenBefore
	}
	if _, ok := s.past[id]; ok {
		return seenBefore
	}
	if len(s.now) >= seenLimit {
		return seenFull
	}
	s.now[id] = struct{}{}
	return seenFirst
}

// Interface guards
var (
	_ caddy.Destructor   = (*state)(nil)
	_ proof.NonceChecker = (*state)(nil)
)
