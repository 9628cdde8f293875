// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/caddy-dpop/caddy-dpop/internal/strictjson"
)

// Claims is what an access token says, after its signature held or its
// authorization server vouched for it. It is a fact about the token and not a
// verdict: whether it is good for a request is for [Policy.Check] to say, on every
// request, and for [Claims.CheckBinding].
//
// Claims are immutable and shared between requests.
type Claims struct {
	// Issuer is iss (RFC 9068, section 2.2). For an introspection answer without
	// iss it is the issuer configured for the endpoint.
	Issuer string
	// Subject is sub. Introspection answers about a client of its own may lack it.
	Subject string
	// ClientID is client_id (RFC 8693, section 4.3).
	ClientID string
	// Audience is aud, one value or several.
	Audience []string
	// Scopes is the scope claim, taken apart at its spaces (RFC 6749, section 3.3);
	// an array of strings, which some issuers write instead, is taken as it is.
	Scopes []string
	// Expiry, NotBefore and IssuedAt are exp, nbf and iat; zero when absent.
	Expiry, NotBefore, IssuedAt time.Time
	// Type and Algorithm are typ (as written, empty when absent) and alg of the JOSE
	// header; both are empty for an introspection answer.
	Type, Algorithm string
	// Confirmation is cnf: the key or certificate the token is bound to.
	Confirmation Confirmation

	id       string // jti
	source   liveness
	raw      []byte
	decoding sync.Once
	decoded  map[string]any
}

// liveness is what verified claims stand on: a key of a key set, or the age of an
// introspection answer.
type liveness interface{ live() bool }

// Live reports whether what the claims were verified by still stands. It turns
// false once the key has left the issuer's key set or the key set has grown too
// old, and once an introspection answer has outlived its time; the token must then
// be verified anew. Ask it of claims from a cache, not of those that Verify has
// just returned.
func (c *Claims) Live() bool { return c.source == nil || c.source.live() }

// Value returns a claim, or a member within one: Value("cnf", "jkt"). Numbers are
// [json.Number]. The result is shared and must not be changed.
func (c *Claims) Value(path ...string) (any, bool) {
	c.decoding.Do(func() {
		d := json.NewDecoder(bytes.NewReader(c.raw))
		d.UseNumber()
		_ = d.Decode(&c.decoded) // raw has been read once already, more strictly
	})
	var value any = c.decoded
	for _, name := range path {
		members, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = members[name]; !ok {
			return nil, false
		}
	}
	return value, len(path) > 0
}

// claimNames are the claims that we read. A name that differs from one of them in
// case only is refused: it would mean nothing here and may mean something elsewhere.
var claimNames = []string{"iss", "sub", "client_id", "aud", "scope", "exp", "nbf", "iat", "jti", "cnf"}

// parseClaims reads the claims of a JWT, or the members of an introspection
// answer, which have the same names and types (RFC 7662, section 2.2). The result
// keeps raw.
func parseClaims(raw []byte, members strictjson.Object) (*Claims, error) {
	if members.Variant(claimNames...) {
		return nil, errors.New("a claim name in another case")
	}
	c := &Claims{raw: raw}
	for _, m := range members {
		if err := c.set(m.Name, m.Value); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Claims) set(name string, v strictjson.Value) error {
	var ok bool
	switch name {
	case "iss":
		c.Issuer, ok = identifier(v)
	case "sub":
		c.Subject, ok = identifier(v)
	case "client_id":
		c.ClientID, ok = identifier(v)
	case "jti":
		c.id, ok = v.Text()
	case "aud":
		c.Audience, ok = parseAudience(v)
	case "scope":
		c.Scopes, ok = parseScope(v)
	case "exp":
		c.Expiry, ok = v.Time()
	case "nbf":
		c.NotBefore, ok = v.Time()
	case "iat":
		c.IssuedAt, ok = v.Time()
	case "cnf":
		c.Confirmation, ok = parseConfirmation(v), true
	default:
		return nil
	}
	if !ok {
		return errors.New(name + " is of the wrong type or has control characters")
	}
	return nil
}

// identifier reads a string without control characters: what names somebody ends up
// in header fields and logs, and leaving characters out could make two of them one.
func identifier(v strictjson.Value) (string, bool) {
	text, ok := v.Text()
	return text, ok && !strings.ContainsFunc(text, unicode.IsControl)
}

// parseAudience reads a string or an array of strings (RFC 7519, section 4.1.3).
func parseAudience(v strictjson.Value) ([]string, bool) {
	if one, ok := v.Text(); ok {
		return []string{one}, true
	}
	return v.Strings()
}

func parseScope(v strictjson.Value) ([]string, bool) {
	if scope, ok := identifier(v); ok {
		return strings.FieldsFunc(scope, func(r rune) bool { return r == ' ' }), true
	}
	return v.Strings()
}
