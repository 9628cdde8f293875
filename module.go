// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package dpop is a Caddy plugin that turns a site or route into an OAuth 2.0
// protected resource with sender-constrained access tokens (DPoP, RFC 9449).
//
// A request raises three questions: is the proof good, is the token good and
// bound to the proof's key, is the proof new. Each is answered by a package
// that knows nothing of the others nor of Caddy: [proof], [token] and
// [replay]. This package is what Caddy sees; [Handler.ServeHTTP] is the one
// place where the three meet.
//
// [proof]: https://pkg.go.dev/github.com/caddy-dpop/caddy-dpop/proof
// [token]: https://pkg.go.dev/github.com/caddy-dpop/caddy-dpop/token
// [replay]: https://pkg.go.dev/github.com/caddy-dpop/caddy-dpop/replay
package dpop

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	// The commands `caddy dpop ...`.
	_ "github.com/caddy-dpop/caddy-dpop/internal/command"
	"github.com/caddy-dpop/caddy-dpop/proof"
	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/token"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler lets a request pass only with an access token that is valid, bound
// to a key, and accompanied by a fresh DPoP proof (RFC 9449): signed by that
// key, for exactly this method and URI, and never accepted before.
//
// One issuer and one audience are a complete configuration; everything else
// has a safe default. Whatever a handler leaves out it takes from `defaults`
// of the `dpop` app.
//
// Refusals are ordinary Caddy errors, so `handle_errors` works. Each carries
// a challenge of the scheme `DPoP` and has a stable reason.
//
// Placeholders after success:
//
// Placeholder | Description
// ------------|------------
// `{http.auth.user.id}` | the token's `sub`; with several issuers `iss\|sub`. Fills `user_id` in the access log
// `{http.dpop.jkt}` | thumbprint of the client's key (RFC 7638)
// `{http.dpop.client_id}` | the token's `client_id`
// `{http.dpop.scope}` | the token's scopes, joined by spaces
// `{http.dpop.issuer}` | the token's `iss`
// `{http.dpop.claims.*}` | any claim; members of objects by `/`, as in `{http.dpop.claims.act/sub}`. Lists of strings are joined by spaces, other composites are JSON
//
// After a refusal:
//
// Placeholder | Description
// ------------|------------
// `{http.dpop.error}` | the `error` of the challenge, empty where there is none
// `{http.dpop.reason}` | what exactly was wrong, one of a closed list
type Handler struct {
	Options

	ctx    caddy.Context // for events
	logger *zap.Logger
	events *caddyevents.App
	app    *App

	verifier   *proof.Verifier
	sources    []*source
	opaque     *source              // of opaque tokens; nil without introspection
	answers    *token.Introspection // what opaque asks
	endpoints  []endpoint
	challenges []*challenges
	store      replay.Store
	nonces     *nonceChecker
	meta       *resourceMetadata
	cors       *corsPolicy

	site     siteHosts
	proxied  sync.Once // the advice about proxies was given
	requests requestCounters
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.dpop",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision completes the options from the app's defaults, checks them and
// acquires what handlers share. It starts nothing: it also runs for
// `caddy validate`.
func (h *Handler) Provision(ctx caddy.Context) error {
	if err := h.provisionReporting(ctx); err != nil {
		return err
	}
	app, err := ctx.App("dpop")
	if err != nil {
		return fmt.Errorf("loading the dpop app: %w", err)
	}
	h.app = app.(*App)
	h.inherit(h.app.Defaults)

	if err := h.expand(); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return err
	}

	h.verifier, err = proof.NewVerifier(proof.Config{
		Algorithms: h.Algorithms,
		MaxAge:     h.maxAge(),
		ClockSkew:  new(h.clockSkew()),
	})
	if err != nil {
		return fmt.Errorf("algorithms: %w", err)
	}
	if h.endpoints, err = parsePublicURLs(h.PublicURLs); err != nil {
		return err
	}
	for _, provision := range []func(caddy.Context) error{
		h.provisionSources,
		h.provisionNonces,
		h.provisionReplay,
		h.provisionMetadata,
		h.provisionCORS,
		h.provisionChallenges,
	} {
		if err := provision(ctx); err != nil {
			return err
		}
	}
	h.app.register(h)
	return nil
}

// provisionReplay loads the replay store and tells it how long this handler
// could accept a proof.
func (h *Handler) provisionReplay(ctx caddy.Context) error {
	if h.ReplayRaw == nil {
		h.ReplayRaw = json.RawMessage(`{"store":"storage"}`)
	}
	module, err := ctx.LoadModule(h, "ReplayRaw")
	if err != nil {
		return storeError(h.ReplayRaw, err)
	}
	provider, ok := module.(replay.Provider)
	if !ok {
		return fmt.Errorf("replay: %T is not a replay store", module)
	}
	space := ""
	if h.ProofOnly {
		space = "proof_only"
	}
	params := h.app.replayParams(space, h.logger)
	params.OnBatch = observeBatches(module.(caddy.Module).CaddyModule().ID.Name(), space)
	h.store, err = provider.OpenReplay(params)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if h.store != nil {
		h.app.widenWindow(h.store, params, h.window())
	}
	return nil
}

// Validate makes sure that Provision left nothing open that would let a
// request through unchecked.
func (h *Handler) Validate() error {
	switch {
	case h.verifier == nil || len(h.challenges) == 0:
		return errors.New("not provisioned")
	case !h.ProofOnly && len(h.sources) == 0 && h.opaque == nil:
		return errors.New("no source of access tokens: add an issuer, introspection or proof_only")
	}
	return nil
}

// Cleanup releases what Provision acquired. Requests may still be in flight, so
// nothing is taken from the handler; when the last configuration with a `dpop`
// is gone its log on storage is closed, and what is still in flight gets 503.
func (h *Handler) Cleanup() error {
	for _, s := range h.sources {
		s.release()
	}
	if h.opaque != nil {
		h.opaque.release()
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
