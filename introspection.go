// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/token"
)

// Introspection asks an authorization server about opaque access tokens
// (RFC 7662). An answer that is a signed JWT is verified like a token (RFC
// 9701). A token is only asked about when the signature of its proof held, so
// that strangers cannot make this server call out; but with `bearer allow` they
// can, since nothing is proven there, and with `mtls` whoever has a certificate.
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

// expand replaces placeholders. The secret's value goes into a field that no
// dump of the configuration shows.
func (in *Introspection) expand(repl *caddy.Replacer) error {
	for _, field := range []struct {
		option string
		value  string
		to     *string
	}{
		{"introspection", in.URL, &in.URL},
		{"issuer", in.Issuer, &in.Issuer},
		{"client_id", in.ClientID, &in.ClientID},
		{"private_key", in.PrivateKey, &in.PrivateKey},
	} {
		if field.value == "" {
			continue
		}
		if err := expandText(repl, field.option, field.value, field.to); err != nil {
			return err
		}
	}
	for i, audience := range in.Audience {
		if err := expandText(repl, "audience", audience, &in.Audience[i]); err != nil {
			return err
		}
	}
	if in.ClientSecret == "" {
		return nil
	}
	secret, err := repl.ReplaceOrErr(in.ClientSecret, true, true)
	if err != nil || strings.TrimSpace(secret) == "" {
		// Neither value nor cause: both could hold a part of the secret.
		return errors.New("client_secret: a placeholder in it is unknown or expands to nothing")
	}
	in.secret = secret
	return nil
}

// check is called after expand; shared is the handler's audience.
func (in *Introspection) check(shared []string) error {
	if err := checkServerURL("introspection", in.URL); err != nil {
		return err
	}
	if in.Issuer != "" {
		if err := checkServerURL("issuer", in.Issuer); err != nil {
			return err
		}
	}
	if in.Audience == nil {
		in.Audience = shared
	}
	if len(in.Audience) == 0 {
		return fmt.Errorf("introspection %q has no audience: add the value that answers carry in aud for this resource, or `any`", in.URL)
	}
	if err := checkList("audience", in.Audience, wordAny); err != nil {
		return err
	}
	if ttl := in.cacheTTL(); ttl < 0 {
		return optionError("cache_ttl", ttl, "0 or a duration above it")
	}
	return in.checkClient()
}

// checkClient makes sure that this server can authenticate: an endpoint that
// answers everybody tells tokens apart for anybody (RFC 7662, section 2.1).
func (in *Introspection) checkClient() error {
	if in.ClientID == "" {
		return errors.New("introspection: client_id is missing")
	}
	if in.ClientSecret != "" && in.PrivateKey != "" {
		return errors.New("introspection: client_secret and private_key exclude each other")
	}
	if in.AuthMethod == "" {
		in.AuthMethod = token.ClientSecretBasic
		if in.PrivateKey != "" {
			in.AuthMethod = token.PrivateKeyJWT
		}
	}
	switch in.AuthMethod {
	case token.ClientSecretBasic, token.ClientSecretPost:
		if in.ClientSecret == "" {
			return fmt.Errorf("introspection: auth_method %s needs client_secret", in.AuthMethod)
		}
	case token.PrivateKeyJWT:
		if in.PrivateKey == "" {
			return fmt.Errorf("introspection: auth_method %s needs private_key", in.AuthMethod)
		}
	default:
		return optionError("auth_method", in.AuthMethod,
			oneOf([]string{token.ClientSecretBasic, token.ClientSecretPost, token.PrivateKeyJWT}))
	}
	return nil
}

func (in *Introspection) cacheTTL() time.Duration {
	return durationOr(in.CacheTTL, token.DefaultCacheTTL)
}

// pooledIntrospection is the client of an endpoint, with its cache.
type pooledIntrospection struct{ *token.Introspection }

// Destruct gives up idle connections; requests under way end by themselves.
func (p pooledIntrospection) Destruct() error {
	p.Close()
	return nil
}

func (h *Handler) provisionIntrospection(ctx caddy.Context) error {
	in := h.Introspection
	s := &source{policy: token.Policy{Issuer: in.Issuer, Scopes: h.Scope, ClockSkew: h.clockSkew()}}
	s.policy.Audiences, s.policy.AnyAudience = audiences(in.Audience)
	h.opaque = s

	cfg := token.IntrospectionConfig{
		Endpoint:     in.URL,
		Issuer:       in.Issuer,
		ClientID:     in.ClientID,
		ClientSecret: in.secret,
		AuthMethod:   in.AuthMethod,
		CacheTTL:     new(in.cacheTTL()),
		MaxSize:      maxTokenSize,
		ClockSkew:    h.clockSkew(),
		Logger:       h.app.logger,
	}
	credential := []byte(in.secret)
	if in.PrivateKey != "" {
		var err error
		if credential, err = os.ReadFile(in.PrivateKey); err != nil {
			return fmt.Errorf("private_key: %w", err)
		}
		if cfg.PrivateKey, err = token.ParseClientKey(credential); err != nil {
			return fmt.Errorf("private_key %s: %w", in.PrivateKey, err)
		}
	}
	var err error
	if in.Issuer != "" {
		if cfg.Keys, err = h.app.keySet(ctx, &s.held, h.keysOf(in.Issuer)); err != nil {
			return fmt.Errorf("introspection: %w", err)
		}
	}
	pooled, err := acquire(&s.held, introspectionName(cfg, credential), func() (*pooledIntrospection, error) {
		client, err := token.NewIntrospection(cfg)
		if err != nil {
			return nil, err
		}
		return &pooledIntrospection{client}, nil
	})
	if err != nil {
		return fmt.Errorf("introspection: %w", err)
	}
	s.Source = pooled.Introspection
	h.answers = pooled.Introspection
	h.app.mu.Lock()
	defer h.app.mu.Unlock()
	h.app.answers = append(h.app.answers, pooled.Introspection)
	return nil
}

// keysOf says where the keys of an issuer are: as its own block does, where
// there is one.
func (h *Handler) keysOf(issuer string) token.KeySetConfig {
	cfg := token.KeySetConfig{Issuer: issuer}
	for _, i := range h.Issuers {
		if i.Issuer == issuer {
			cfg.URI, cfg.File = i.JWKSURI, i.JWKSFile
		}
	}
	return cfg
}

// introspectionName tells apart what must not share a cache, a client or the
// keys of signed answers: a hash, since a secret has no place among the names of a pool.
func introspectionName(cfg token.IntrospectionConfig, credential []byte) string {
	keys := ""
	if cfg.Keys != nil {
		keys = cfg.Keys.ID()
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{
		cfg.Endpoint, cfg.Issuer, cfg.ClientID, string(credential), cfg.AuthMethod, cfg.CacheTTL.String(), cfg.ClockSkew.String(), keys,
	}, "\x00")))
	return "introspection\x00" + hex.EncodeToString(sum[:])
}
