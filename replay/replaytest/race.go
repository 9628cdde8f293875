// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replaytest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// Tally is the outcome of a [Race].
type Tally struct {
	Accepted int   // proofs accepted at least once
	Doubles  int   // proofs accepted more than once
	Refused  int   // proofs accepted by nobody
	Err      error // the first answer that was neither nil nor ErrReplayed
}

// Race presents proofs to stores, copies of each at once, every store getting its share, and counts.
func Race(ctx context.Context, stores []replay.Store, now time.Time, proofs, copies int) Tally {
	accepted := make([]atomic.Int32, proofs)
	var failure atomic.Pointer[error]
	var group sync.WaitGroup
	for i := range copies {
		store := stores[i%len(stores)]
		group.Go(func() {
			// Several at a time, so that batches form.
			const width = 16
			var inner sync.WaitGroup
			for w := range width {
				inner.Go(func() {
					for p := w; p < proofs; p += width {
						err := store.Claim(ctx, Proof(fmt.Sprint("race ", p), now))
						switch {
						case err == nil:
							accepted[p].Add(1)
						case !errors.Is(err, replay.ErrReplayed):
							failure.CompareAndSwap(nil, &err)
						}
					}
				})
			}
			inner.Wait()
		})
	}
	group.Wait()
	var tally Tally
	for i := range accepted {
		switch n := accepted[i].Load(); {
		case n == 0:
			tally.Refused++
		case n > 1:
			tally.Doubles++
			fallthrough
		default:
			tally.Accepted++
		}
	}
	if err := failure.Load(); err != nil {
		tally.Err = *err
	}
	return tally
}

// Proof returns the claim of a proof issued at now, by a key of its own.
func Proof(jti string, now time.Time) replay.Claim {
	return replay.Claim{ID: replay.NewID("key of "+jti, jti), Owner: replay.NewOwner("key of " + jti), IssuedAt: now.Unix()}
}

// CheckThenStore is the replay check that most verifiers have: look the proof up, and if it is not there, store
// it. It accepts twice whenever two copies meet between the two. Tests use it to show that they would notice.
type CheckThenStore struct {
	replay.Store // for the methods that do not matter here; nil
	Storage      replay.Storage
}

// Claim implements [replay.Store], badly.
func (s *CheckThenStore) Claim(ctx context.Context, c replay.Claim) error {
	key := fmt.Sprintf("naive/%x", c.ID)
	if _, err := s.Storage.Load(ctx, key); err == nil {
		return replay.ErrReplayed
	}
	runtime.Gosched() // a storage takes its time
	return s.Storage.Store(ctx, key, nil)
}
