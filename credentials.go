// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/proof"
	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/token"
)

// Limits of what is read from a request before anything is decoded.
const (
	maxTokenSize = 16 << 10
	maxProofSize = 8 << 10
)

// exchange is what belongs to one request, however many `dpop` it meets:
// the credentials as received (a handler may forward others), what was
// claimed, and what the placeholders say. It is kept among the request's
// variables, since those also reach error routes.
type exchange struct {
	authorization []string
	proofs        []string
	hash          tokenHash // of the access token
	fields        [2]string // room for the one of each that most have

	claimed []claimed
	room    [1]claimed // for the only one that most have

	// Of the handler that spoke last.
	reason Reason
	code   string
	claims *token.Claims
	jkt    string
	userID string
	mapped bool
}

// claimed is an entry that this request used up itself.
type claimed struct {
	store replay.Store
	id    replay.ID
}

// String keeps credentials out of {http.vars.*}.
func (*exchange) String() string { return "" }

const exchangeVar = "dpop_exchange"

// exchangeOf returns the request's exchange, taking the credentials when this
// is the first `dpop` that sees it.
func exchangeOf(r *http.Request) *exchange {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if x, ok := vars[exchangeVar].(*exchange); ok {
		return x
	}
	x := new(exchange)
	// Copies: request_header changes the values of a field in place.
	x.authorization = append(x.fields[:0:1], r.Header["Authorization"]...)
	x.proofs = append(x.fields[1:1:2], r.Header["Dpop"]...)
	x.claimed = x.room[:0]
	if vars != nil {
		vars[exchangeVar] = x
	}
	return x
}

// hasClaimed says whether this request itself has used the entry up: in this store,
// or in one that put it into this one, too.
func (x *exchange) hasClaimed(store replay.Store, id replay.ID) bool {
	for _, c := range x.claimed {
		if c.id == id && (c.store == store || includes(c.store, store)) {
			return true
		}
	}
	return false
}

// hasClaimedPartOf says whether this request has used the entry up in a part of the
// store only: where it finds itself, that is no replay.
func (x *exchange) hasClaimedPartOf(store replay.Store, id replay.ID) bool {
	for _, c := range x.claimed {
		if c.id == id && includes(store, c.store) {
			return true
		}
	}
	return false
}

// credentials are the token and proof of a request, still as text.
type credentials struct {
	bearer bool   // the scheme is Bearer, not DPoP
	token  string // "" with proof_only
	proof  string // "" with Bearer
}

// credentials reads what was received, RFC 9449, sections 4.3 (check 1) and
// 7.1. The order of the checks is the documented order of the answers.
func (h *Handler) credentials(x *exchange) (credentials, error) {
	if h.ProofOnly {
		proof, err := theProof(x.proofs)
		return credentials{proof: proof}, err
	}
	switch len(x.authorization) {
	case 0:
		return credentials{}, refuse(ReasonNoCredentials, nil)
	case 1:
	default:
		return credentials{}, refuse(ReasonAuthorizationRepeated, nil)
	}
	scheme, rest, _ := strings.Cut(x.authorization[0], " ")
	var c credentials
	switch {
	case strings.EqualFold(scheme, "DPoP"):
	case strings.EqualFold(scheme, "Bearer"):
		c.bearer = true
	case !isToken(scheme):
		return c, refuse(ReasonAuthorizationMalformed, nil)
	default:
		return c, refuse(ReasonSchemeUnsupported, nil)
	}
	if c.bearer && !h.acceptsBearer() {
		return c, refuse(ReasonBearerRefused, nil)
	}
	if len(rest) > maxTokenSize {
		return c, refuse(Reason(token.TooLarge), nil)
	}
	c.token = strings.TrimLeft(rest, " ")
	if !isToken68(c.token) {
		return c, refuse(ReasonAuthorizationMalformed, nil)
	}
	if c.bearer {
		if len(x.proofs) > 0 {
			return c, refuse(ReasonProofWithBearer, nil)
		}
		return c, nil
	}
	var err error
	c.proof, err = theProof(x.proofs)
	return c, err
}

// theProof returns the one DPoP field there may be.
func theProof(fields []string) (string, error) {
	switch {
	case len(fields) == 0 || len(fields) == 1 && fields[0] == "":
		return "", refuse(ReasonProofMissing, nil)
	case len(fields) > 1:
		return "", refuse(ReasonProofRepeated, nil)
	case len(fields[0]) > maxProofSize:
		return "", refuse(Reason(proof.ReasonTooLarge), nil)
	}
	return fields[0], nil
}

// isToken says whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenChars[s[i]] {
			return false
		}
	}
	return s != ""
}

// isToken68 says whether s is a token68 of RFC 9110, section 11.2: the only
// form that an access token can have (RFC 9449, section 7.1).
func isToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	for i := range len(body) {
		if !token68Chars[body[i]] {
			return false
		}
	}
	return body != ""
}

var tokenChars, token68Chars = charTable("!#$%&'*+-.^_`|~"), charTable("-._~+/")

// charTable is the set of letters, digits and what else is named.
func charTable(others string) (table [256]bool) {
	for c := range table {
		table[c] = c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	for i := range len(others) {
		table[others[i]] = true
	}
	return table
}
