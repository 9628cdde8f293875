// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Source is where access tokens are verified: an [Issuer] with its key set, or an
// [Introspection] endpoint.
type Source interface {
	// ID tells this source from others that may judge the same token differently.
	// It is part of the key under which verified claims are cached.
	ID() string
	// Verify returns what the token says if the source stands for it. It judges the
	// token, not the request: the caller checks its own [Policy] and the binding.
	// Errors are [*Error].
	Verify(ctx context.Context, raw string) (*Claims, error)
}

// DefaultMaxSize is the largest access token that is accepted, in bytes.
const DefaultMaxSize = 16 << 10

// IssuerConfig says whose JWT access tokens are accepted.
type IssuerConfig struct {
	// Issuer is the issuer identifier; iss must equal it character by character
	// (RFC 9068, section 4). Required.
	Issuer string
	// Keys is the issuer's key set. Required.
	Keys *KeySet
	// MaxSize is the largest token accepted, in bytes. Zero means [DefaultMaxSize].
	// What is longer is refused before any of it is decoded.
	MaxSize int
	// ClockSkew is the largest among the policies that will check these claims.
	// A token outside its times by more than that is refused before its key is
	// looked for.
	ClockSkew time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Issuer verifies the JWT access tokens of one authorization server (RFC 9068,
// section 4) with the keys of its key set. Nothing in a token can make it fetch a
// key, or anything, from elsewhere.
type Issuer struct {
	cfg IssuerConfig
	id  string
}

// NewIssuer makes an Issuer. It starts nothing.
func NewIssuer(c IssuerConfig) (*Issuer, error) {
	if c.Issuer == "" {
		return nil, errors.New("issuer is empty")
	}
	if c.Keys == nil {
		return nil, errors.New("an issuer needs a key set")
	}
	if c.MaxSize < 0 || c.ClockSkew < 0 {
		return nil, errors.New("the largest size and the clock skew of an issuer cannot be negative")
	}
	if c.MaxSize == 0 {
		c.MaxSize = DefaultMaxSize
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Issuer{cfg: c, id: "jwt " + c.Issuer + " " + c.Keys.ID()}, nil
}

// ID identifies the issuer together with its key set.
func (i *Issuer) ID() string { return i.id }

// Verify checks form, typ, alg, iss, times and signature, cheap before dear, and
// returns the claims. At most one signature is verified, or four when the token does
// not say which key it is signed by.
func (i *Issuer) Verify(ctx context.Context, raw string) (*Claims, error) {
	t, err := parseJWT(raw, i.cfg.MaxSize, isAccessTokenType)
	if err != nil {
		return nil, err
	}
	c, err := parseClaims(t.payload, t.claims)
	if err != nil {
		return nil, &Error{Reason: ClaimsInvalid, cause: err}
	}
	if c.Issuer != i.cfg.Issuer {
		return nil, refuse(IssuerUnknown, "iss is not the configured issuer")
	}
	if c.Expiry.IsZero() {
		return nil, refuse(ClaimsInvalid, "exp is missing")
	}
	if err := checkTimes(c, i.cfg.ClockSkew, i.cfg.Now()); err != nil {
		return nil, err
	}
	if err := t.admit(); err != nil {
		return nil, err
	}
	k, err := i.cfg.Keys.verify(ctx, t)
	if err != nil {
		return nil, err
	}
	c.Type, c.Algorithm, c.source = t.typ, t.alg, k
	return c, nil
}

// isAccessTokenType accepts the type of RFC 9068 and what issuers write that
// predate it: JWT, or nothing. Everything else, such as dpop+jwt or
// token-introspection+jwt, says that this is another kind of JWT by the same
// issuer (RFC 8725, section 3.11).
func isAccessTokenType(typ string) bool {
	return typ == "" || isATJWT(typ) || strings.EqualFold(typ, "JWT")
}
