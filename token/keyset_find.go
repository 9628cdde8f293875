// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"errors"
	"time"
)

// verify returns the key that the JWT is signed by. When the key set has no such
// key, it finds out whether the issuer has a newer key set.
func (s *KeySet) verify(ctx context.Context, t *jwt) (*key, error) {
	arrived, before := s.cfg.Now(), s.current.Load()
	copied, err := s.usable(ctx)
	if err != nil {
		return nil, err
	}
	k, err := signer(t, copied)
	if err == nil || t.kid != "" && ReasonOf(err) != KeyUnknown {
		return k, err
	}
	// A fetch under way may bring the key. It proves nothing if it does not, since
	// the issuer may have answered before it made the key.
	if f := s.underWay(); f != nil && f.began.Before(arrived) {
		_ = f.wait(ctx)
	}
	if latest := s.current.Load(); latest != copied {
		if k, err := signer(t, latest); err == nil {
			return k, nil
		}
	}
	latest, fetchErr := s.fetchSince(ctx, arrived, before)
	if fetchErr == nil {
		return signer(t, latest)
	}
	if ReasonOf(err) != KeyUnknown {
		// Without kid, and none of our keys has signed it. Most likely nobody's has.
		return nil, err
	}
	return nil, fetchErr
}

// signer returns the key of the copy that has signed the JWT. The reason is
// [KeyUnknown] when the copy has no key that could have.
func signer(t *jwt, copied *snapshot) (*key, error) {
	candidates, known := choose(copied.keys, t.kid, t.alg)
	for _, k := range candidates {
		if t.verify(k) {
			return k, nil
		}
	}
	if !known {
		return nil, refuse(KeyUnknown, "the key set has no such key")
	}
	return nil, refuse(SignatureInvalid, "not signed by the issuer's key")
}

// usable returns a copy to verify with. It waits for a fetch only when there is no
// copy, or none that is fresh enough.
func (s *KeySet) usable(ctx context.Context) (*snapshot, error) {
	if f, ok := s.origin.(*file); ok {
		err := s.poll(f, pollInterval)
		if copied := s.freshCopy(); copied != nil {
			return copied, nil
		}
		return nil, unavailable(KeysUnavailable, pollInterval, err)
	}
	s.fetchIfDue()
	if copied := s.freshCopy(); copied != nil {
		return copied, nil
	}
	select {
	case <-s.restore():
	case <-ctx.Done():
		return nil, unavailable(KeysUnavailable, 0, ctx.Err())
	}
	if copied := s.freshCopy(); copied != nil {
		return copied, nil
	}
	err := errors.New("there is no key set to verify with")
	if f := s.underWay(); f != nil {
		err = f.wait(ctx)
	}
	if copied := s.freshCopy(); copied != nil {
		return copied, nil
	}
	return nil, unavailable(KeysUnavailable, s.untilDue(), err)
}

// freshCopy returns the copy in use, or nil when it must not be used.
func (s *KeySet) freshCopy() *snapshot {
	if copied := s.current.Load(); copied != nil && s.fresh(copied) {
		return copied
	}
	return nil
}

func (s *KeySet) underWay() *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flight
}

// fetchSince returns a copy that was fetched after the token arrived: only such a
// one proves that a key does not exist. The one before was not.
func (s *KeySet) fetchSince(ctx context.Context, arrived time.Time, before *snapshot) (*snapshot, error) {
	if f, ok := s.origin.(*file); ok {
		// A look at a file costs less than a signature; nothing needs limiting.
		if err := s.poll(f, 0); err != nil {
			return nil, unavailable(KeysNotRefreshed, pollInterval, err)
		}
		return s.current.Load(), nil
	}
	f, wait, err := s.beginForced(arrived, before)
	if f != nil {
		err = f.wait(ctx)
	}
	if err != nil {
		return nil, unavailable(KeysNotRefreshed, wait, err)
	}
	return s.current.Load(), nil
}

// beginForced begins a fetch for an unknown key, or joins one that began after the
// token arrived; nil when such a one has just ended. wait is the time until the next
// one may begin.
func (s *KeySet) beginForced(arrived time.Time, before *snapshot) (f *flight, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if since := now.Sub(s.forced); since >= 0 && since < s.cfg.MinInterval {
		wait = s.cfg.MinInterval - since
	}
	switch {
	case s.flight != nil && s.flight.began.Before(arrived):
		return nil, max(wait, time.Second), errTooSlow
	case s.flight != nil:
		return s.flight, wait, nil
	case s.current.Load() != before && !s.current.Load().fetched.Before(arrived):
		return nil, 0, nil
	case wait > 0:
		return nil, wait, errors.New("the key set was fetched for an unknown key a moment ago")
	}
	s.forced = now
	return s.beginLocked(), s.cfg.MinInterval, nil
}
