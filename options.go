// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
)

// Options is what one `dpop` can be told, and what the `defaults` of the app
// can hold for all of them.
type Options struct {
	// Issuers are the authorization servers whose JWT access tokens (RFC 9068)
	// are accepted. An option of this list, of `introspection` and of
	// `proof_only` is the source of access tokens; one is needed.
	Issuers []*Issuer `json:"issuers,omitempty"`

	// Introspection asks an authorization server about access tokens that are
	// not JWTs (RFC 7662). Together with `issuers` the form of the token decides.
	Introspection *Introspection `json:"introspection,omitempty"`

	// Audience lists the values of which the token's `aud` must hold one
	// (RFC 9068, section 4), for every source that has no list of its own. It
	// is required one way or the other. The single value `any` accepts tokens
	// that were issued for other resource servers, too: whoever can get one of
	// those bound to its own key can then use it here.
	Audience []string `json:"audience,omitempty"`

	// Scope lists scopes that the token must all have. Without them the answer
	// is 403 `insufficient_scope`. Default: none.
	Scope []string `json:"scope,omitempty"`

	// ProofOnly checks the proof without any access token, for a token endpoint
	// behind Caddy (RFC 9449, section 5): the request's `Authorization` is left
	// to the upstream, refusals are 400 with JSON as token endpoints answer, and
	// `{http.dpop.jkt}` tells the upstream the key. Nothing says that the key
	// belongs to somebody known; the replay table is one of its own.
	ProofOnly bool `json:"proof_only,omitempty"`

	// MTLS also accepts access tokens that are bound to the client certificate
	// of the connection (RFC 8705, `cnf.x5t#S256`), in the scheme `DPoP` or
	// `Bearer`. Needs `client_auth` in the site's TLS options.
	MTLS bool `json:"mtls,omitempty"`

	// Algorithms are the JWS algorithms that a proof may be signed with, in
	// the order in which challenges announce them. Default: `ES256`, `EdDSA`,
	// `Ed25519`, `PS256`, `RS256`. On request also `ES384`, `ES512`, `PS384`,
	// `PS512`, `RS384` and `RS512`: checking ES384 costs 8 times and ES512 21
	// times as much as ES256, and the client chooses.
	Algorithms []string `json:"algorithms,omitempty"`

	// MaxAge is how long after its `iat` a proof is accepted (RFC 9449,
	// section 11.1), to which `clock_skew` is added. Default: 60s, at most 1h.
	// A longer time lets a stolen, unused proof live longer and keeps more
	// entries in the replay store.
	MaxAge *caddy.Duration `json:"max_age,omitempty"`

	// ClockSkew is how far a client's clock, or that of an authorization
	// server, may be off, either way. Default: 30s. Zero allows no difference
	// at all; more than 60s is refused.
	ClockSkew *caddy.Duration `json:"clock_skew,omitempty"`

	// PublicURLs are the names by which clients call this site: an origin, with
	// a path where a proxy in front strips one. A proof must name one of them.
	// With one, the Host header is not looked at; with several it chooses, and
	// a Host that is none of them is answered 421. Without any, the site's
	// hosts must be exact names, since otherwise a counterfeit server that
	// lures a client could pass the client's proof on. The single value `any`
	// accepts what Host says and gives that protection up.
	PublicURLs []string `json:"public_urls,omitempty"`

	// Nonce makes clients sign a value that this server chose (RFC 9449,
	// section 9), so that proofs cannot be made in advance. Default: off.
	Nonce *Nonce `json:"nonce,omitempty"`

	// ReplayRaw is the store that remembers used proofs. Default: `storage`,
	// Caddy's own storage, exact on all nodes that share it.
	ReplayRaw json.RawMessage `json:"replay,omitempty" caddy:"namespace=http.dpop.replay inline_key=store"`

	// Bearer says what happens to a token in the scheme `Bearer`: `reject`
	// (default) refuses it, `allow` lets it pass when it is valid and not bound
	// to any key. A bound token is never accepted as a bearer token.
	Bearer string `json:"bearer,omitempty"`

	// Mode is `enforce` (default) or `monitor`: evaluate, log and count, but
	// let every request through, for rolling DPoP out. With `monitor` nothing
	// is protected.
	Mode string `json:"mode,omitempty"`

	// Realm is the `realm` of the challenges. Default: none.
	Realm string `json:"realm,omitempty"`

	// Metadata publishes a document for clients (RFC 9728) that is generated
	// from this configuration. Default: none.
	Metadata *Metadata `json:"metadata,omitempty"`

	// CORS lists origins whose pages may call this site from a browser:
	// preflights are answered here, and answers expose what DPoP needs. The
	// single value `*` admits every origin. Default: none.
	CORS []string `json:"cors,omitempty"`

	// ForwardAs is what the upstream gets: `dpop` (default) the credentials as
	// received, `bearer` the token as `Authorization: Bearer` and no proof,
	// `none` neither.
	ForwardAs string `json:"forward_as,omitempty"`
}

// inherit fills what was left out from the app's defaults. A list replaces
// its default. A handler that names any source of tokens inherits none, so
// that a default never widens what it accepts.
func (o *Options) inherit(d *Options) {
	if d == nil {
		return
	}
	if !o.hasSource() {
		o.Issuers = cloneIssuers(d.Issuers)
		o.Introspection = d.Introspection.clone()
		o.ProofOnly = d.ProofOnly
	}
	inheritList(&o.Algorithms, d.Algorithms)
	inheritList(&o.PublicURLs, d.PublicURLs)
	inheritList(&o.CORS, d.CORS)
	inheritValue(&o.MaxAge, d.MaxAge)
	inheritValue(&o.ClockSkew, d.ClockSkew)
	inheritText(&o.Mode, d.Mode)
	inheritText(&o.Realm, d.Realm)
	if o.Nonce == nil {
		o.Nonce = d.Nonce
	}
	if o.ReplayRaw == nil {
		o.ReplayRaw = d.ReplayRaw
	}
	if !o.ProofOnly {
		o.inheritTokenOptions(d)
	}
}

// inheritTokenOptions fills what means something only where tokens are
// checked; next to `proof_only` these options are errors.
func (o *Options) inheritTokenOptions(d *Options) {
	inheritList(&o.Audience, d.Audience)
	inheritList(&o.Scope, d.Scope)
	inheritText(&o.Bearer, d.Bearer)
	inheritText(&o.ForwardAs, d.ForwardAs)
	o.MTLS = o.MTLS || d.MTLS
	if o.Metadata == nil {
		o.Metadata = d.Metadata
	}
}

func (o *Options) hasSource() bool {
	return len(o.Issuers) > 0 || o.Introspection != nil || o.ProofOnly
}

func inheritList(to *[]string, from []string) {
	if *to == nil {
		*to = append([]string(nil), from...)
	}
}

func inheritValue(to **caddy.Duration, from *caddy.Duration) {
	if *to == nil {
		*to = from
	}
}

func inheritText(to *string, from string) {
	if *to == "" {
		*to = from
	}
}

// acceptsBearer says whether the scheme Bearer is looked at, at all.
func (o *Options) acceptsBearer() bool { return o.Bearer == wordAllow || o.MTLS }
