// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/strictjson"
)

// maxAnswerAge is how old a signed answer may be. It was made for the request that
// we have just sent; an old one is somebody else's.
const maxAnswerAge = time.Minute

// read takes what an answer says about the token (RFC 7662, section 2.2). raw is the
// text of members. An answer that contradicts itself does not make a token good.
func (i *Introspection) read(raw []byte, members strictjson.Object) (*Claims, error) {
	if members.Variant("active", "token_type") {
		return nil, i.invalid("a member name in another case")
	}
	value, _ := members.Get("active")
	active, ok := value.Bool()
	if !ok {
		return nil, i.invalid("active is not a boolean")
	}
	if !active {
		return nil, refuse(Inactive, "the authorization server says so")
	}
	c, err := parseClaims(raw, members)
	if err != nil {
		return nil, unavailable(IntrospectionInvalid, retryIntrospection, err)
	}
	if _, named := members.Get("iss"); !named {
		c.Issuer = i.cfg.Issuer
	}
	tokenType := ""
	if value, present := members.Get("token_type"); present {
		if tokenType, ok = value.Text(); !ok {
			return nil, i.invalid("token_type is of the wrong type")
		}
	}
	switch {
	case strings.EqualFold(tokenType, "Bearer") && c.Confirmation.JKT != "":
		// RFC 9449, section 6.2. A certificate's tokens are of the type Bearer (RFC
		// 8705, section 3).
		return nil, refuse(BearerBound, "bound to a key and yet of the type Bearer")
	case strings.EqualFold(tokenType, "DPoP") && !c.Confirmation.Present:
		// It must not pass for an unbound bearer token.
		return nil, refuse(CnfInvalid, "of the type DPoP and yet without cnf")
	}
	return c, nil
}

func (i *Introspection) invalid(detail string) error {
	return unavailable(IntrospectionInvalid, retryIntrospection, errors.New(detail))
}

// readSigned verifies an answer that is a JWT (RFC 9701, section 5) and reads what
// it says about the token.
func (i *Introspection) readSigned(ctx context.Context, body string) (*Claims, error) {
	if i.cfg.Keys == nil {
		return nil, i.invalid("a signed answer, and no issuer is configured to verify it by")
	}
	inner, err := i.verifySigned(ctx, body)
	if err != nil {
		if ReasonOf(err).Unavailable() { // the key set's trouble
			return nil, err
		}
		return nil, unavailable(IntrospectionInvalid, retryIntrospection, err)
	}
	members, ok := inner.Object()
	if !ok {
		return nil, i.invalid("token_introspection is not an object")
	}
	return i.read(inner, members)
}

// verifySigned returns the token_introspection member of a signed answer that is for
// us, from our issuer, and new.
func (i *Introspection) verifySigned(ctx context.Context, body string) (strictjson.Value, error) {
	t, err := parseJWT(strings.TrimSpace(body), maxAnswerSize, func(typ string) bool {
		return strings.EqualFold(typ, "token-introspection+jwt") || strings.EqualFold(typ, signedAnswer)
	})
	if err != nil {
		return nil, err
	}
	c, err := parseClaims(t.payload, t.claims)
	if err != nil {
		return nil, err
	}
	now := i.cfg.Now()
	switch {
	case c.Issuer != i.cfg.Issuer:
		return nil, errors.New("iss is not the configured issuer")
	case !slices.Contains(c.Audience, i.cfg.ClientID):
		return nil, errors.New("aud is not our client id")
	case c.IssuedAt.Before(now.Add(-maxAnswerAge - i.cfg.ClockSkew)): // also when it is missing
		return nil, errors.New("iat is missing or too old")
	}
	if err := checkTimes(c, i.cfg.ClockSkew, now); err != nil {
		return nil, err
	}
	if err := t.admit(); err != nil {
		return nil, err
	}
	if _, err := i.cfg.Keys.verify(ctx, t); err != nil {
		return nil, err
	}
	inner, ok := t.claims.Get("token_introspection")
	if !ok {
		return nil, errors.New("token_introspection is missing")
	}
	return inner, nil
}
