// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"errors"
	"slices"
	"time"
)

// Reason says why a proof was refused: one word from a closed list, fit for a
// metric label or a log field since no part of it comes from the client.
//
// A claim of the wrong JSON type is refused with the claim's own reason where
// there is one ([ReasonHTUInvalid], [ReasonIATInvalid], [ReasonJTIInvalid], [ReasonNonceInvalid]) and
// with [ReasonClaimsInvalid] otherwise; null is a wrong type, not an absent claim.
type Reason string

const (
	// ReasonTooLarge means that the compact form exceeds [Config.MaxSize], or its header 4096 bytes.
	ReasonTooLarge Reason = "proof_too_large"
	// ReasonMalformed means that not three segments of canonical base64url without padding.
	ReasonMalformed Reason = "proof_malformed"
	// ReasonHeaderInvalid means that the protected header is not strict JSON, or announces
	// something that a proof cannot be (an unencoded or a nested payload).
	ReasonHeaderInvalid Reason = "header_invalid"
	// ReasonTypInvalid means that typ is not dpop+jwt.
	ReasonTypInvalid Reason = "typ_invalid"
	// ReasonAlgUnsupported means that alg is absent, unknown or not in [Config.Algorithms].
	ReasonAlgUnsupported Reason = "alg_unsupported"
	// ReasonCritUnsupported means that there is a crit header parameter, whatever its value.
	ReasonCritUnsupported Reason = "crit_unsupported"
	// ReasonJWKMissing means that there is no jwk header parameter, or it is null.
	ReasonJWKMissing Reason = "jwk_missing"
	// ReasonJWKInvalid means that jwk is not the public key for verifying signatures that its
	// members promise: wrong kind or type, wrong length or spelling, a point off the
	// curve, another use, certificates of another key.
	ReasonJWKInvalid Reason = "jwk_invalid"
	// ReasonJWKPrivate means that jwk has a member that belongs to a private or symmetric key.
	ReasonJWKPrivate Reason = "jwk_private"
	// ReasonKeyMismatch means that alg and the key's kind, curve or own alg member disagree.
	ReasonKeyMismatch Reason = "key_mismatch"
	// ReasonKeyUnacceptable means that RSA outside 2048 to 4096 bits, with an exponent other than
	// 65537 or with a modulus that is no product; Ed25519 of small order.
	ReasonKeyUnacceptable Reason = "key_unacceptable"
	// ReasonClaimsInvalid means that the payload is not strict JSON or not an object, or htm, ath,
	// exp or nbf is of the wrong type or range.
	ReasonClaimsInvalid Reason = "claims_invalid"
	// ReasonHTMMissing means that there is no htm claim.
	ReasonHTMMissing Reason = "htm_missing"
	// ReasonHTMMismatch means that htm is not the request's method.
	ReasonHTMMismatch Reason = "htm_mismatch"
	// ReasonHTUMissing means that there is no htu claim.
	ReasonHTUMissing Reason = "htu_missing"
	// ReasonHTUInvalid means that htu is not an absolute http or https URI that we compare.
	ReasonHTUInvalid Reason = "htu_invalid"
	// ReasonHTUMismatch means that htu is not the request's target. [Error.Claimed] and
	// [Error.Target] have both in normal form.
	ReasonHTUMismatch Reason = "htu_mismatch"
	// ReasonIATMissing means that there is no iat claim.
	ReasonIATMissing Reason = "iat_missing"
	// ReasonIATInvalid means that iat is not a number, or not one within plus or minus 2^53.
	ReasonIATInvalid Reason = "iat_invalid"
	// ReasonIATTooOld means that iat lies before the window. [Error.Offset] says by how much it
	// differs from now, as for ReasonIATInFuture and ReasonIATChallenged.
	ReasonIATTooOld Reason = "iat_too_old"
	// ReasonIATInFuture means that iat lies after the window, or more than a day ahead
	// beside a live nonce.
	ReasonIATInFuture Reason = "iat_in_future"
	// ReasonExpPassed means that the proof itself names an expiry, and it has passed.
	ReasonExpPassed Reason = "exp_passed"
	// ReasonNbfInFuture means that the proof itself says that it is not valid yet.
	ReasonNbfInFuture Reason = "nbf_in_future"
	// ReasonJTIMissing means that there is no jti claim.
	ReasonJTIMissing Reason = "jti_missing"
	// ReasonJTIInvalid means that jti is not a string, is blank, or contains NUL.
	ReasonJTIInvalid Reason = "jti_invalid"
	// ReasonJTITooLong means that jti has more than 256 bytes.
	ReasonJTITooLong Reason = "jti_too_long"
	// ReasonATHMissing means that an access token was presented and there is no ath claim.
	ReasonATHMissing Reason = "ath_missing"
	// ReasonATHMismatch means that ath is not the hash of the access token that was presented.
	ReasonATHMismatch Reason = "ath_mismatch"
	// ReasonSignatureInvalid means that the signature is not one by the key in jwk.
	ReasonSignatureInvalid Reason = "signature_invalid"
	// ReasonNonceInvalid means that nonce is not a string, or has more than 512 bytes.
	ReasonNonceInvalid Reason = "nonce_invalid"

	// ReasonNonceMissing means that a nonce is required and the proof has none. This and the three
	// that follow are answered with a fresh nonce (RFC 9449, section 9).
	ReasonNonceMissing Reason = "nonce_missing"
	// ReasonNonceUnknown means that the nonce is not one of ours.
	ReasonNonceUnknown Reason = "nonce_unknown"
	// ReasonNonceStale means that the nonce is one of ours and past its life.
	ReasonNonceStale Reason = "nonce_stale"
	// ReasonIATChallenged means that iat lies outside the window where nonces are optional: with a
	// nonce the client's clock will no longer matter.
	ReasonIATChallenged Reason = "iat_challenged"
)

// Reasons lists every reason this package can give.
func Reasons() []Reason {
	return []Reason{
		ReasonTooLarge, ReasonMalformed, ReasonHeaderInvalid, ReasonTypInvalid, ReasonAlgUnsupported, ReasonCritUnsupported,
		ReasonJWKMissing, ReasonJWKInvalid, ReasonJWKPrivate, ReasonKeyMismatch, ReasonKeyUnacceptable,
		ReasonClaimsInvalid, ReasonHTMMissing, ReasonHTMMismatch, ReasonHTUMissing, ReasonHTUInvalid, ReasonHTUMismatch,
		ReasonIATMissing, ReasonIATInvalid, ReasonIATTooOld, ReasonIATInFuture, ReasonExpPassed, ReasonNbfInFuture,
		ReasonJTIMissing, ReasonJTIInvalid, ReasonJTITooLong, ReasonATHMissing, ReasonATHMismatch, ReasonSignatureInvalid, ReasonNonceInvalid,
		ReasonNonceMissing, ReasonNonceUnknown, ReasonNonceStale, ReasonIATChallenged,
	}
}

// Challenge reports whether the answer to r is use_dpop_nonce with a fresh nonce
// (RFC 9449, section 9) instead of invalid_dpop_proof.
func (r Reason) Challenge() bool {
	return slices.Contains([]Reason{ReasonNonceMissing, ReasonNonceUnknown, ReasonNonceStale, ReasonIATChallenged}, r)
}

// Error is a refused proof. Its text consists of fixed words: nothing that the
// client sent is part of it.
type Error struct {
	Reason Reason

	// Claimed and Target are the proof's htu and the request's target in normal
	// form. Set for [ReasonHTUMismatch] only. Claimed comes from the client: for a debug
	// log, not for an answer.
	Claimed, Target string

	// Offset is iat minus now: how far the client's clock seems to be ahead, negative
	// when behind. Set for [ReasonIATTooOld], [ReasonIATInFuture] and [ReasonIATChallenged] only.
	Offset time.Duration

	cause error
}

// Error returns the reason, and what exactly was found when that is known.
func (e *Error) Error() string {
	if e.cause == nil {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.cause.Error()
}

// Unwrap returns what exactly was found, or nil.
func (e *Error) Unwrap() error { return e.cause }

// ReasonOf returns the reason in err's chain, or "" when there is none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// refuse makes an error for reason. The detail must be fixed words.
func refuse(reason Reason, detail string) error {
	if detail == "" {
		return &Error{Reason: reason}
	}
	return &Error{Reason: reason, cause: errors.New(detail)}
}
