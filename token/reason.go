// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"errors"
	"time"
)

// Reason says why an access token was refused: one word from a closed list, fit
// for a metric label or a log field since no part of it comes from the client.
type Reason string

// What is wrong with the token. All are answered 401 invalid_token, but for
// [ScopeMissing] (RFC 6750, section 3.1).
const (
	// TooLarge: the token exceeds [IssuerConfig.MaxSize].
	TooLarge Reason = "token_too_large"
	// Malformed: not a JWS in compact form (a JWE, an opaque token), or a header
	// that is not strict JSON or asks for something that we must understand and do not.
	Malformed Reason = "token_malformed"
	// TypInvalid: typ says that this is something else than an access token, or
	// at+jwt is demanded and it says less than that.
	TypInvalid Reason = "token_typ_invalid"
	// AlgUnsupported: alg is absent, none, symmetric, unknown or not in
	// [Policy.Algorithms].
	AlgUnsupported Reason = "token_alg_unsupported"
	// IssuerUnknown: iss is not exactly the issuer that was configured.
	IssuerUnknown Reason = "token_issuer_unknown"
	// KeyUnknown: the issuer's key set, just fetched, has no such key.
	KeyUnknown Reason = "token_key_unknown"
	// SignatureInvalid: the signature is not one by the issuer's key.
	SignatureInvalid Reason = "token_signature_invalid"
	// ClaimsInvalid: the claims are not strict JSON, or one is missing or of the
	// wrong type.
	ClaimsInvalid Reason = "token_claims_invalid"
	// Expired: exp has passed, the clock skew allowed for.
	Expired Reason = "token_expired"
	// NotYetValid: nbf or iat lies further ahead than the clock skew.
	NotYetValid Reason = "token_not_yet_valid"
	// AudienceMismatch: aud names none of the configured audiences.
	AudienceMismatch Reason = "token_audience_mismatch"
	// Inactive: the introspection endpoint says that the token is not active, or
	// not one that it could judge.
	Inactive Reason = "token_inactive"
	// CnfInvalid: cnf is there and cannot be read, or names only methods that we
	// do not know.
	CnfInvalid Reason = "token_cnf_invalid"
	// Unbound: the token is not bound to a key.
	Unbound Reason = "token_unbound"
	// JKTMismatch: the token is bound to another key than the proof's.
	JKTMismatch Reason = "jkt_mismatch"
	// BearerBound: a bound token was presented, or issued, as a bearer token.
	BearerBound Reason = "bearer_bound"
	// CertificateMissing: the token is bound to a client certificate and the
	// connection has none.
	CertificateMissing Reason = "certificate_missing"
	// CertificateMismatch: the token is bound to another client certificate.
	CertificateMismatch Reason = "certificate_mismatch"
	// ScopeMissing: the token lacks a required scope. Answered 403
	// insufficient_scope.
	ScopeMissing Reason = "scope_missing"
)

// What is wrong on our side. All are answered 503 with Retry-After, since nothing
// is known against the token.
const (
	// KeysUnavailable: there is no key set, or none that is recent enough.
	KeysUnavailable Reason = "keys_unavailable"
	// KeysNotRefreshed: the token names a key that is not in our copy of the key
	// set, and the key set may not be fetched again yet, or could not be.
	KeysNotRefreshed Reason = "keys_not_refreshed"
	// IntrospectionUnavailable: the introspection endpoint did not answer, answered
	// with an error, or too many tokens wait for it.
	IntrospectionUnavailable Reason = "introspection_unavailable"
	// IntrospectionInvalid: the introspection endpoint's answer is not one.
	IntrospectionInvalid Reason = "introspection_invalid"
)

// Reasons lists every reason this package can give.
func Reasons() []Reason {
	return []Reason{
		TooLarge, Malformed, TypInvalid, AlgUnsupported, IssuerUnknown, KeyUnknown, SignatureInvalid, ClaimsInvalid,
		Expired, NotYetValid, AudienceMismatch, Inactive, CnfInvalid, Unbound, JKTMismatch, BearerBound,
		CertificateMissing, CertificateMismatch, ScopeMissing,
		KeysUnavailable, KeysNotRefreshed, IntrospectionUnavailable, IntrospectionInvalid,
	}
}

// Unavailable reports whether r lies with us or the authorization server and not
// with the token. Such an answer must never say invalid_token: clients throw
// their session away on it.
func (r Reason) Unavailable() bool {
	switch r {
	case KeysUnavailable, KeysNotRefreshed, IntrospectionUnavailable, IntrospectionInvalid:
		return true
	default:
		return false
	}
}

// Error is a token refused or not verified. Its text never holds any part of the
// token.
type Error struct {
	Reason Reason

	// RetryAfter is when another try can have another result. Zero when the reason
	// is not one of ours ([Reason.Unavailable]).
	RetryAfter time.Duration

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
func refuse(reason Reason, detail fixed) error {
	return &Error{Reason: reason, cause: detail}
}

// fixed is an error of fixed words, which costs nothing to make.
type fixed string

func (f fixed) Error() string { return string(f) }

// unavailable makes an error for a reason of ours.
func unavailable(reason Reason, retryAfter time.Duration, cause error) error {
	return &Error{Reason: reason, RetryAfter: max(retryAfter, time.Second), cause: cause}
}
