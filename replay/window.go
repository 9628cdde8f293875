// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Window says how long after its issue a proof may still be accepted by some handler: the largest values among
// all handlers that share a store, each with the clock skew already added.
//
// A larger window costs memory for as much longer. Raising it applies to proofs issued after the change: an
// earlier one was, if it was used, remembered for the shorter time only, so once that is over it is refused
// with [ErrTooOld], whatever the new window says.
type Window struct {
	Proof time.Duration // after the proof's iat
	Nonce time.Duration // after the issue of its nonce; zero when nonces are off
}

// Expiry returns the second from which on no handler passes the proof any more, and so the one up to which it
// has to be remembered. Part seconds are rounded up: to remember a little too long is harmless.
func (w Window) Expiry(c Claim) int64 {
	return w.limits().expiry(c)
}

func (w Window) limits() limits {
	return limits{proof: ceilSeconds(w.Proof), nonce: ceilSeconds(w.Nonce)}
}

func ceilSeconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// limits is a Window in whole seconds.
type limits struct{ proof, nonce int64 }

func (l limits) expiry(c Claim) int64 {
	end := c.IssuedAt + l.proof
	if c.NonceAt != 0 {
		end = max(end, c.NonceAt+l.nonce)
	}
	// A handler whose clock shows any part of second end may still pass the proof.
	return end + 1
}

// shortest returns the limits under which no proof lives longer than under both.
func (l limits) shortest(o limits) limits {
	return limits{proof: min(l.proof, o.proof), nonce: min(l.nonce, o.nonce)}
}

// shorterThan reports whether some proof lives shorter under l than under o.
func (l limits) shorterThan(o limits) bool {
	return l.proof < o.proof || l.nonce < o.nonce
}

// span is a window that was in force for proofs issued up to a second.
type span struct {
	limits
	until int64
}

const (
	// clockLead is how far a client's clock may run ahead of ours with its proofs still being accepted: the
	// largest clock_skew that a handler can be given. A proof with this iat may have been issued that much earlier.
	clockLead = 60

	// maxSpans bounds a history. The two oldest are merged to the stricter of both.
	maxSpans = 8
)

// windows is the window in force and those that were before, here and on nodes that share the storage.
// A value is immutable; see history.
type windows struct {
	current limits
	peers   limits // shortest among the other nodes now; math.MaxInt64 when there are none
	past    []span // oldest first
}

// judge returns the second until which the claim is to be remembered, and the earliest second until which it
// can have been remembered if it was used before. Whoever compares a claim with a mark or a clock takes the
// latter: that is all there is to raising a window.
func (w *windows) judge(c Claim) (expiry, check int64) {
	expiry = w.current.expiry(c)
	check = min(expiry, w.current.shortest(w.peers).expiry(c))
	issued := c.issued() - clockLead
	for _, s := range w.past {
		if issued <= s.until {
			check = min(check, s.expiry(c))
		}
	}
	return expiry, check
}

// history holds the windows: read by every claim, changed rarely.
type history struct {
	mu  sync.Mutex // serialises changes
	now atomic.Pointer[windows]
}

var noPeers = limits{proof: math.MaxInt64 / 4, nonce: math.MaxInt64 / 4}

func (h *history) load() *windows {
	if w := h.now.Load(); w != nil {
		return w
	}
	return &windows{peers: noPeers}
}

// set puts a new window in force. Proofs issued up to the second given may be remembered under the old one.
func (h *history) set(l limits, issuedUntil int64) {
	h.change(func(w *windows) {
		if w.current != (limits{}) && w.current.shorterThan(l) {
			w.add(span{limits: w.current, until: issuedUntil})
		}
		w.current = l
	})
}

// setPeers notes the shortest window of the other nodes, and the windows that they know of from before.
func (h *history) setPeers(l limits, past []span) {
	w := h.load()
	if w.peers == l && !slices.ContainsFunc(past, func(s span) bool { return !slices.Contains(w.past, s) }) {
		return
	}
	h.change(func(w *windows) {
		w.peers = l
		for _, s := range past {
			w.add(s)
		}
	})
}

func (h *history) change(f func(*windows)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := *h.load()
	w.past = slices.Clone(w.past)
	f(&w)
	h.now.Store(&w)
}

// add notes a window of the past, unless a known one is at least as strict.
func (w *windows) add(s span) {
	implies := func(a, b span) bool {
		return a.until >= b.until && !b.shorterThan(a.limits)
	}
	if slices.ContainsFunc(w.past, func(known span) bool { return implies(known, s) }) {
		return
	}
	w.past = slices.DeleteFunc(w.past, func(known span) bool { return implies(s, known) })
	w.past = append(w.past, s)
	slices.SortStableFunc(w.past, func(a, b span) int { return cmp.Compare(a.until, b.until) })
	if len(w.past) > maxSpans {
		merged := span{limits: w.past[0].shortest(w.past[1].limits), until: w.past[1].until}
		w.past = append([]span{merged}, w.past[2:]...)
	}
}
