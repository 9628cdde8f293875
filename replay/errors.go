// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"errors"
	"fmt"
	"time"
)

// What a claim can end with, besides nil. Compare with [errors.Is].
var (
	// ErrReplayed: the proof has been used, or somebody else is using it this very moment.
	ErrReplayed = errors.New("proof has been used")

	// ErrTooEarly: the proof was issued no later than the store's cut-off, so it may have been used before the
	// store, or this process, knew anything.
	ErrTooEarly = errors.New("proof was issued before the replay store began")

	// ErrTooOld: the store may have known this proof and forgotten it, because its time is over by the clock, by
	// a mark, or by the window that was in force when it was issued.
	ErrTooOld = errors.New("proof is older than the replay store remembers")

	// ErrFull: there is no room for another entry, and none will be forgotten to make some.
	ErrFull = errors.New("replay store is full")

	// ErrOwnerFull: the key has as many live proofs as one key may have.
	ErrOwnerFull = errors.New("key has too many live proofs")

	// ErrUnavailable: the store cannot tell. It wraps the cause.
	ErrUnavailable = errors.New("replay store is unavailable")
)

// ownerFullError is an ErrOwnerFull that says when to try again.
type ownerFullError struct{ after time.Duration }

func (e *ownerFullError) Error() string        { return ErrOwnerFull.Error() }
func (e *ownerFullError) Is(target error) bool { return target == ErrOwnerFull }

// OwnerFull returns an [ErrOwnerFull] for which [RetryAfter] returns after.
func OwnerFull(after time.Duration) error { return &ownerFullError{after: after} }

// RetryAfter returns how long a client should wait after err, a whole number of seconds and at least one.
func RetryAfter(err error) time.Duration {
	if full, ok := errors.AsType[*ownerFullError](err); ok {
		return max(full.after.Round(time.Second), time.Second)
	}
	return time.Second
}

// Unavailable wraps cause in an [ErrUnavailable]; stores in other packages use it too.
func Unavailable(cause error) error {
	if errors.Is(cause, ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}
