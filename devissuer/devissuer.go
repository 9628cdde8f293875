// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package devissuer is a small OAuth 2.0 authorization server for development,
// demonstrations and tests, as the Caddy directive dpop_dev_issuer.
//
// It exists so that somebody without an authorization server can see DPoP work
// with one command. It is not a product: anybody may ask it for a token, its
// signing key lives in memory, and it knows no users. It is part of cmd/caddy
// only; a Caddy built with xcaddy and this plugin does not contain it.
package devissuer

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// defaultLifetime is that of an access token. Short, since a demonstration
// should show that tokens end.
const defaultLifetime = 5 * time.Minute

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler is an authorization server for development and demonstrations. It
// must never guard anything real: without `clients` it hands a token to
// whoever asks.
//
// It serves, and passes every other request on:
//
// | path (below the issuer's own path) | what |
// |---|---|
// | `/.well-known/oauth-authorization-server` | metadata (RFC 8414) |
// | `/.well-known/openid-configuration` | the same, for clients that look there |
// | `/jwks` | the public key |
// | `/token` | access tokens for the client credentials grant, bound to the key of the DPoP proof that came with the request (RFC 9449, section 5) |
//
// The access tokens are JWTs of type `at+jwt` (RFC 9068) signed with ES256. The
// key is made when the configuration is loaded first, survives reloads and is
// gone when the process ends.
type Handler struct {
	// The issuer identifier, an http or https URL without query and fragment.
	// Required. Its host must be loopback (`localhost`, `*.localhost`,
	// `127.0.0.1`, `::1`) unless `allow_non_loopback` is set.
	Issuer string `json:"issuer,omitempty"`

	// The values of the token's `aud` claim. A request may choose some of them
	// with `resource` (RFC 8707). Default: the issuer.
	Audience []string `json:"audience,omitempty"`

	// The clients that may have a token. Default: none, which means that every
	// client ID of 1 to 64 letters, digits and `-._~:/` is welcome and that
	// secrets are not looked at.
	Clients []Client `json:"clients,omitempty"`

	// The scopes that may be asked for; a request without scope gets all of
	// them. Default: none, which means that a request gets what it asks for.
	Scopes []string `json:"scopes,omitempty"`

	// How long an access token is valid. Default: 5m. Zero means the default.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// Whether proofs at the token endpoint need a nonce of this server
	// (RFC 9449, section 8), to see a client answer the challenge. Default: false.
	Nonce bool `json:"nonce,omitempty"`

	// Whether to serve a page at `/` that explains DPoP and tries it on the
	// API at `/api/hello` of the same site. Default: false.
	DemoPage bool `json:"demo_page,omitempty"`

	// Whether the issuer may have a host that is not loopback, for instance in a
	// network of containers. Whoever reaches it gets tokens. Default: false.
	AllowNonLoopback bool `json:"allow_non_loopback,omitempty"`

	basePath string
	tokenURL proof.Target
	verifier *proof.Verifier
	state    *state
	now      func() time.Time
	logger   *zap.Logger
}

// Client is somebody who may ask for tokens.
type Client struct {
	// The client identifier.
	ID string `json:"id,omitempty"`

	// The client's secret, sent with HTTP Basic or in the body. Placeholders
	// such as `{env.SECRET}` are expanded when the configuration is loaded.
	// Default: none, a public client.
	Secret string `json:"secret,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.dpop_dev_issuer",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the handler.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if h.now == nil {
		h.now = time.Now
	}
	if err := h.expand(); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return err
	}

	u, _ := url.Parse(h.Issuer) // checked above
	h.basePath = u.EscapedPath()
	var err error
	if h.tokenURL, err = proof.ParseTarget(h.Issuer + "/token"); err != nil {
		return fmt.Errorf("issuer %q: %w", h.Issuer, err)
	}
	if h.verifier, err = proof.NewVerifier(proof.Config{}); err != nil {
		return err
	}
	if h.state, err = acquireState(h.Issuer); err != nil {
		return err
	}

	h.logger.Warn("this authorization server is for development only and must not guard anything real",
		zap.String("issuer", h.Issuer),
		zap.Bool("any_client", len(h.Clients) == 0))
	return nil
}

// Cleanup gives the key back, which ends its life unless a newer
// configuration has taken it over.
func (h *Handler) Cleanup() error {
	if h.state == nil { // Provision failed before it had one
		return nil
	}
	h.state = nil
	return releaseState(h.Issuer)
}

// expand replaces placeholders. One that is unknown or empty is an error: an
// empty secret would let everybody in.
func (h *Handler) expand() error {
	repl := caddy.NewReplacer()
	values := []*string{&h.Issuer}
	for i := range h.Audience {
		values = append(values, &h.Audience[i])
	}
	for i := range h.Clients {
		values = append(values, &h.Clients[i].ID)
		if h.Clients[i].Secret != "" {
			values = append(values, &h.Clients[i].Secret)
		}
	}
	for _, v := range values {
		expanded, err := repl.ReplaceOrErr(*v, true, true)
		if err != nil {
			return fmt.Errorf("expanding placeholders: %w", err)
		}
		*v = expanded
	}
	return nil
}

// check refuses a configuration that cannot work or that looks as if somebody
// were about to run this in public.
func (h *Handler) check() error {
	if err := h.checkIssuer(); err != nil {
		return err
	}
	if len(h.Audience) == 0 {
		h.Audience = []string{h.Issuer}
	}
	if slices.Contains(h.Audience, "") {
		return errors.New("audience: a value is empty")
	}
	seen := make(map[string]bool, len(h.Clients))
	for _, c := range h.Clients {
		switch {
		case !validClientID(c.ID):
			return fmt.Errorf("client %q: an ID has 1 to 64 letters, digits and -._~:/", c.ID)
		case seen[c.ID]:
			return fmt.Errorf("client %q: given twice", c.ID)
		}
		seen[c.ID] = true
	}
	for _, s := range h.Scopes {
		if !validScope(s) {
			return fmt.Errorf("scope %q: not a scope as RFC 6749 defines it", s)
		}
	}
	switch {
	case h.Lifetime < 0:
		return fmt.Errorf("lifetime %s: must be positive", time.Duration(h.Lifetime))
	case h.Lifetime == 0:
		h.Lifetime = caddy.Duration(defaultLifetime)
	case time.Duration(h.Lifetime) < time.Second:
		return fmt.Errorf("lifetime %s: must be a second or more", time.Duration(h.Lifetime))
	}
	return nil
}

func (h *Handler) checkIssuer() error {
	u, err := url.Parse(h.Issuer)
	switch {
	case h.Issuer == "":
		return errors.New("issuer: missing; give the URL that clients see, for example http://localhost:8080")
	case err != nil:
		return errors.New("issuer: not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("issuer %q: must be an http or https URL", h.Issuer)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(h.Issuer, "/"):
		return fmt.Errorf("issuer %q: must have a host and no user, query, fragment or final slash", h.Issuer)
	case !h.AllowNonLoopback && !isLoopback(u.Hostname()):
		return fmt.Errorf("issuer %q: this authorization server is for development only and hands tokens to whoever asks; "+
			"use a loopback host such as localhost, or say allow_non_loopback", h.Issuer)
	}
	return nil
}

// isLoopback reports whether a host name means this machine. Names below
// localhost do (RFC 6761, section 6.3).
func isLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
