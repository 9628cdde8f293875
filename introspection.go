// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"errors"
	"slices"

	"github.com/caddy-dpop/caddy-dpop/token"

	"github.com/caddyserver/caddy/v2"
)

// Introspection asks an authorization server about opaque access tokens
// (RFC 7662). An answer that is a signed JWT is verified like a token (RFC
// 9701). A token is only asked about when the signature of its proof held, so
// that strangers cannot make this server call out.
type Introspection struct {
	// URL is the introspection endpoint: an https URL, or http on a loopback
	// host. Required.
	URL string `json:"url"`

	// Issuer is the issuer identifier of the authorization server. When set it
	// is compared to the answer's `iss`, announced in metadata, and the source
	// of the keys for signed answers. Default: none.
	Issuer string `json:"issuer,omitempty"`

	// Audience lists the values of which the answer's `aud` must hold one, or
	// the single value `any`. Default: the handler's `audience`.
	Audience []string `json:"audience,omitempty"`

	// ClientID is the name of this resource server at the endpoint. Required.
	ClientID string `json:"client_id,omitempty"`

	// ClientSecret is its secret. Give it as `{env.NAME}` or `{file.PATH}`, so
	// that it stays out of configuration dumps; it must not expand to nothing.
	ClientSecret string `json:"client_secret,omitempty"`

	// AuthMethod is how this server authenticates: `client_secret_basic`
	// (default with a secret), `client_secret_post` or `private_key_jwt`
	// (default with a key; RFC 7523).
	AuthMethod string `json:"auth_method,omitempty"`

	// PrivateKey is the file with the key for `private_key_jwt`, PEM or JWK.
	PrivateKey string `json:"private_key,omitempty"`

	// CacheTTL is how long an answer is used again, never past the token's
	// `exp`; a revoked token is accepted for up to this long. Default: 30s.
	// Zero asks for every request.
	CacheTTL *caddy.Duration `json:"cache_ttl,omitempty"`

	secret string // expanded, kept out of what is exported
}

func (in *Introspection) clone() *Introspection {
	if in == nil {
		return nil
	}
	c := *in
	c.Audience = slices.Clone(in.Audience)
	return &c
}

func (in *Introspection) expand(*caddy.Replacer) error { return nil }

func (in *Introspection) check([]string) error { return errors.New("introspection: coming") }

func (h *Handler) provisionIntrospection(caddy.Context) error { return nil }

func (h *Handler) cachedAnswer(*tokenHash) (*token.Claims, bool) { return nil, false }
