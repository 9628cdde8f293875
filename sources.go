// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/token"
)

// source is a place where access tokens are verified, with what this handler
// asks of its tokens. The place is shared, the policy is not: the cache holds
// verified claims, never verdicts.
type source struct {
	token.Source
	policy token.Policy
	held   []string
	done   atomic.Bool
}

func (s *source) release() {
	if s.done.CompareAndSwap(false, true) {
		_ = release(s.held)
	}
}

// pooledKeys is a key set with what it needs to live across reloads.
type pooledKeys struct {
	*token.KeySet
	storage *sharedStorage // of the last good copy, for a restart during an outage
	copies  *keyCopies     // the same, watched
}

// Destruct ends the background refresh.
func (p *pooledKeys) Destruct() error {
	p.Close()
	return nil
}

func (h *Handler) provisionSources(ctx caddy.Context) error {
	for _, issuer := range h.Issuers {
		s := &source{policy: issuer.policy(h)}
		h.sources = append(h.sources, s)
		keys, err := h.app.keySet(ctx, &s.held, h.keysOf(issuer.Issuer))
		if err != nil {
			return fmt.Errorf("issuer %q: %w", issuer.Issuer, err)
		}
		s.Source, err = token.NewIssuer(token.IssuerConfig{
			Issuer: issuer.Issuer,
			Keys:   keys,
			// What passes is cached for handlers with other policies, too: each
			// holds it against its own.
			ClockSkew: maxClockSkew,
			Now:       h.app.now,
		})
		if err != nil {
			return fmt.Errorf("issuer %q: %w", issuer.Issuer, err)
		}
	}
	if h.Introspection != nil {
		return h.provisionIntrospection(ctx)
	}
	return nil
}

// keySet takes the key set from the pool. Its name is where the keys come
// from, so that handlers and generations with the same keys share one.
func (a *App) keySet(ctx caddy.Context, held *[]string, cfg token.KeySetConfig) (*token.KeySet, error) {
	if cfg.URI != "" || cfg.File != "" {
		cfg.Issuer = "" // plays no part then, and two with one ID would be one metric twice
	}
	name := strings.Join([]string{"keys", cfg.Issuer, cfg.URI, cfg.File}, "\x00")
	set, err := acquire(held, name, func() (*pooledKeys, error) {
		cfg.Logger, cfg.Now = a.logger, a.clock.Now
		storage := newSharedStorage(ctx.Storage())
		copies := &keyCopies{KeyCache: storage, found: tellOthers}
		cfg.Cache = copies
		keys, err := token.NewKeySet(cfg)
		if err != nil {
			return nil, err
		}
		return &pooledKeys{keys, storage, copies}, nil
	})
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sets = append(a.sets, set)
	return set.KeySet, nil
}

// tokenHash names a token in the cache; `ath` is the same hash.
type tokenHash = [sha256.Size]byte

// cached finds the token among those that passed before, whichever of this
// handler's sources verified it.
func (h *Handler) cached(hash *tokenHash) (*source, *token.Record) {
	if h.app.tokens == nil {
		return nil, nil
	}
	for _, s := range h.sources {
		if rec := h.app.tokens.Get(*hash, s.ID()); rec != nil && rec.Claims.Live() {
			return s, rec
		}
	}
	return nil, nil
}

// chooseSource says who has to verify a token that is not cached. With
// several issuers its unverified `iss` chooses; only that issuer's keys are
// tried then, so one issuer can never speak for another.
func (h *Handler) chooseSource(raw string) (*source, error) {
	if !token.LooksLikeJWT(raw) || len(h.sources) == 0 {
		if h.opaque != nil {
			return h.opaque, nil
		}
		if len(h.sources) == 1 {
			return h.sources[0], nil // says what is wrong with it
		}
	}
	iss, err := token.PeekIssuer(raw)
	if err != nil {
		return nil, err
	}
	for _, s := range h.sources {
		if s.policy.Issuer == iss {
			return s, nil
		}
	}
	return nil, refuse(Reason(token.IssuerUnknown), nil)
}
