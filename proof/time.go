// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"errors"
	"time"
)

// NonceState is what a [NonceChecker] has to say of a nonce.
type NonceState int

// The states of a nonce.
const (
	NonceUnknown NonceState = iota // not one of ours, or so old that we cannot tell
	NonceStale                     // one of ours, past its life
	NonceLive                      // one of ours, within its life
)

// NonceChecker knows the nonces that were handed out (RFC 9449, sections 8 and 9).
type NonceChecker interface {
	// CheckNonce says what state a nonce is in at the time now and, when it is live,
	// when it was issued. It is called with whatever a client wrote, up to 512 bytes,
	// the empty string included.
	CheckNonce(nonce string, now time.Time) (issued time.Time, state NonceState)
}

// maxNonceLead is how far ahead iat may be although a live nonce stands in for it.
// The use of such a proof has to be remembered until the clock gets there, since a
// verifier without nonces would accept it then: years ahead, a client could fill
// replay stores for years. A day covers a clock in the wrong time zone.
const maxNonceLead = 24 * time.Hour

// matchNonce is checks 10 and 11 where nonces are on. A live nonce proves that the
// proof was made after it was issued, so it stands in for iat, exp and nbf, and a
// client whose clock is wrong can work all the same (section 11.1, RFC 9449).
func (v *Verifier) matchNonce(p *Proof, r *Request) error {
	if p.hasNonce && r.Nonces != nil {
		issued, state := r.Nonces.CheckNonce(p.Nonce, r.Now)
		switch state {
		case NonceLive:
			if p.IssuedAt.After(r.Now.Add(maxNonceLead)) {
				return &Error{Reason: ReasonIATInFuture, Offset: p.Offset(r.Now)}
			}
			p.NonceIssuedAt = issued
			return nil
		case NonceStale:
			return refuse(ReasonNonceStale, "")
		default:
			return refuse(ReasonNonceUnknown, "")
		}
	}
	if r.RequireNonce {
		return refuse(ReasonNonceMissing, "")
	}
	err := v.matchTime(p, r.Now)
	if e, ok := errors.AsType[*Error](err); ok && (e.Reason == ReasonIATTooOld || e.Reason == ReasonIATInFuture) {
		e.Reason = ReasonIATChallenged
	}
	return err
}

// matchTime is check 11 by the client's clock: iat lies in the window (section
// 11.1), and exp and nbf, which RFC 9449 does not ask for but RFC 7519 gives a
// meaning, allow now.
func (v *Verifier) matchTime(p *Proof, now time.Time) error {
	// The whole second before iat, since that is what replay stores count from: a
	// proof must not pass for longer than its use is remembered.
	issued := time.Unix(p.IssuedAt.Unix(), 0)
	if issued.Before(now.Add(-v.maxAge - v.clockSkew)) {
		return &Error{Reason: ReasonIATTooOld, Offset: p.Offset(now)}
	}
	if p.IssuedAt.After(now.Add(v.clockSkew)) {
		return &Error{Reason: ReasonIATInFuture, Offset: p.Offset(now)}
	}
	if !p.expiry.IsZero() && !p.expiry.After(now.Add(-v.clockSkew)) {
		return refuse(ReasonExpPassed, "")
	}
	if !p.notBefore.IsZero() && p.notBefore.After(now.Add(v.clockSkew)) {
		return refuse(ReasonNbfInFuture, "")
	}
	return nil
}
