// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"slices"
	"strings"
	"time"
)

// Policy is what one protected resource demands of an access token. It is checked
// on every request, also for a token that is in the cache, because handlers with
// different policies share that cache and because time passes.
//
// Loosened to its zero value it still refuses every JWT: there is no issuer and no
// audience that it would accept.
type Policy struct {
	// Issuer must equal iss, character by character (RFC 9068, section 4). Empty is
	// for introspection only, where the endpoint stands for its issuer.
	Issuer string
	// Audiences are the names of this resource; aud must have one of them (RFC
	// 9068, section 4). Without them a token issued for another resource is good here.
	Audiences []string
	// AnyAudience accepts every aud, also none. Whoever may receive tokens of this
	// issuer can then use them here.
	AnyAudience bool
	// Algorithms are the acceptable values of alg; nil means all that this package
	// verifies ([Algorithms]). Not looked at for introspection answers.
	Algorithms []string
	// RequireATJWT demands what RFC 9068 says of a JWT access token: typ at+jwt
	// (section 4) and the claims sub, client_id, iat and jti (section 2.2). Many
	// issuers have other types; without it typ may also be JWT or absent, and an
	// ID token can pass if its audience does.
	RequireATJWT bool
	// Scopes are all required ([Policy.CheckScope]).
	Scopes []string
	// ClockSkew is how far the issuer's clock and ours may differ, either way, for
	// exp, nbf and iat. Zero means not at all. A token lives this much longer.
	ClockSkew time.Duration
}

// Check reports whether the claims meet the policy at this time: issuer, typ, alg,
// exp, nbf, iat and audience. Binding and scope are separate questions, with other
// answers.
func (p *Policy) Check(c *Claims, now time.Time) error {
	if c.Issuer != p.Issuer && !(p.Issuer == "" && c.Algorithm == "") {
		return refuse(IssuerUnknown, "iss is not the configured issuer")
	}
	if c.Algorithm != "" {
		if err := p.checkJWT(c); err != nil {
			return err
		}
	}
	if err := checkTimes(c, p.ClockSkew, now); err != nil {
		return err
	}
	if !p.AnyAudience && !slices.ContainsFunc(p.Audiences, func(aud string) bool { return slices.Contains(c.Audience, aud) }) {
		return refuse(AudienceMismatch, "aud names another resource")
	}
	return nil
}

func (p *Policy) checkJWT(c *Claims) error {
	if p.RequireATJWT {
		if !isATJWT(c.Type) {
			return refuse(TypInvalid, "typ is not at+jwt")
		}
		if c.Subject == "" || c.ClientID == "" || c.id == "" || c.IssuedAt.IsZero() {
			return refuse(ClaimsInvalid, "sub, client_id, iat or jti is missing")
		}
	}
	if p.Algorithms != nil && !slices.Contains(p.Algorithms, c.Algorithm) {
		return refuse(AlgUnsupported, "alg is not acceptable here")
	}
	if c.Expiry.IsZero() {
		return refuse(ClaimsInvalid, "exp is missing")
	}
	return nil
}

// checkTimes compares exp, nbf and iat with the clock (RFC 7519, sections 4.1.4 to
// 4.1.6). A token from the future is not one to wait for: its issuer's clock, or
// ours, cannot be relied on for exp either.
func checkTimes(c *Claims, skew time.Duration, now time.Time) error {
	if !c.Expiry.IsZero() && !now.Before(c.Expiry.Add(skew)) {
		return refuse(Expired, "exp has passed")
	}
	latest := now.Add(skew)
	if c.NotBefore.After(latest) {
		return refuse(NotYetValid, "nbf is in the future")
	}
	if c.IssuedAt.After(latest) {
		return refuse(NotYetValid, "iat is in the future")
	}
	return nil
}

// CheckScope reports whether the token has every required scope. Scopes compare
// exactly (RFC 6749, section 3.3).
func (p *Policy) CheckScope(c *Claims) error {
	for _, scope := range p.Scopes {
		if !slices.Contains(c.Scopes, scope) {
			return refuse(ScopeMissing, "a required scope is missing")
		}
	}
	return nil
}

// isATJWT reports whether typ is that of an access token. It is a media type, so
// its case does not matter and application/ may be left out (RFC 9068, section 4;
// RFC 7515, section 4.1.9).
func isATJWT(typ string) bool {
	return strings.EqualFold(typ, "at+jwt") || strings.EqualFold(typ, "application/at+jwt")
}
