// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"time"
)

// Request is what a proof must have been made for.
type Request struct {
	// Method is the method of the request as sent. It compares with case.
	Method string

	// Target is the URI of the request as the client knows it.
	Target Target

	// AccessTokenHash is the SHA-256 of the access token exactly as presented. Nil
	// means that there is none, as at a token endpoint, and ath is not looked at.
	AccessTokenHash *[sha256.Size]byte

	// Now is the time at which the proof must be valid.
	Now time.Time

	// Nonces knows the nonces that were handed out. Nil means that none were, and a
	// nonce in the proof is not looked at.
	Nonces NonceChecker

	// RequireNonce refuses proofs without a live nonce. Without Nonces it refuses all.
	RequireNonce bool
}

// Match checks a proof against a request, in this order: htm, htu, iat with exp and
// nbf, ath, nonce (RFC 9449, section 4.3, checks 8 to 12). Where nonces are on, time
// is checked with the nonce, since a live one stands in for the client's clock, so a
// fresh nonce is only offered for a proof that is right otherwise.
func (v *Verifier) Match(p *Proof, r *Request) error {
	// Check 8. Methods are case-sensitive (RFC 9110, section 9.1).
	if p.Method != r.Method {
		return refuse(ReasonHTMMismatch, "")
	}
	if err := p.matchTarget(r.Target); err != nil {
		return err
	}
	p.NonceIssuedAt = time.Time{}
	if r.Nonces == nil && !r.RequireNonce {
		if err := v.matchTime(p, r.Now); err != nil {
			return err
		}
		return p.matchToken(r.AccessTokenHash)
	}
	if err := p.matchToken(r.AccessTokenHash); err != nil {
		return err
	}
	return v.matchNonce(p, r)
}

// matchTarget is check 9: htu is the URI of the request, both in normal form and
// without query and fragment.
func (p *Proof) matchTarget(target Target) error {
	if target.equals(p.URI) {
		return nil
	}
	claimed, err := ParseTarget(p.URI)
	if err != nil {
		return &Error{Reason: ReasonHTUInvalid, cause: err}
	}
	if want, got := target.String(), claimed.String(); got != want {
		return &Error{Reason: ReasonHTUMismatch, Claimed: got, Target: want}
	}
	return nil
}

// matchToken is the first half of check 12: ath is the hash of the access token
// (section 4.2). Comparing text leaves only one spelling of it. The other half, that
// the token is bound to the proof's key, is the caller's.
func (p *Proof) matchToken(hash *[sha256.Size]byte) error {
	if hash == nil {
		return nil
	}
	if !p.hasATH {
		return refuse(ReasonATHMissing, "")
	}
	var want [(sha256.Size*8 + 5) / 6]byte
	base64.RawURLEncoding.Encode(want[:], hash[:])
	if subtle.ConstantTimeCompare([]byte(p.ath), want[:]) != 1 {
		return refuse(ReasonATHMismatch, "")
	}
	return nil
}
