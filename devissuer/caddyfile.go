// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package devissuer

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("dpop_dev_issuer", parseCaddyfile)
	// Before anything that changes the path and before every check of
	// credentials: a client without a token must be able to get one.
	httpcaddyfile.RegisterDirectiveOrder("dpop_dev_issuer", httpcaddyfile.Before, "redir")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return handler, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	dpop_dev_issuer <issuer-url> {
//		audience <aud...>
//		client   <id> [<secret>]     # repeatable; without any, every client is welcome
//		scope    <scope...>
//		lifetime <duration>          # default 5m
//		nonce                        # ask for a nonce in the proofs for tokens
//		demo_page
//		allow_non_loopback
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if !d.AllArgs(&h.Issuer) {
		return d.Errf("want one argument, the issuer's URL, for example http://localhost:8080")
	}

	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] && option != "client" {
			return d.Errf("%s: given twice", option)
		}
		seen[option] = true
		if err := h.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	args := d.RemainingArgs()
	switch option {
	case "audience":
		h.Audience = args
		return wantArgs(d, len(args) > 0)
	case "scope":
		h.Scopes = args
		return wantArgs(d, len(args) > 0)
	case "client":
		if len(args) < 1 || len(args) > 2 {
			return d.Errf("client: want an ID and at most a secret, have %d arguments", len(args))
		}
		c := Client{ID: args[0]}
		if len(args) == 2 {
			if c.Secret = args[1]; c.Secret == "" {
				return d.Errf("client %s: the secret is empty", c.ID)
			}
		}
		h.Clients = append(h.Clients, c)
		return nil
	case "lifetime":
		if len(args) != 1 {
			return d.ArgErr()
		}
		lifetime, err := caddy.ParseDuration(args[0])
		if err != nil {
			return d.Errf("lifetime %q: not a duration", args[0])
		}
		if lifetime <= 0 {
			return d.Errf("lifetime %q: must be positive", args[0])
		}
		h.Lifetime = caddy.Duration(lifetime)
		return nil
	case "nonce":
		h.Nonce = true
		return wantArgs(d, len(args) == 0)
	case "demo_page":
		h.DemoPage = true
		return wantArgs(d, len(args) == 0)
	case "allow_non_loopback":
		h.AllowNonLoopback = true
		return wantArgs(d, len(args) == 0)
	default:
		return d.Errf("unrecognized subdirective %q; known are audience, client, scope, lifetime, nonce, demo_page, allow_non_loopback", option)
	}
}

func wantArgs(d *caddyfile.Dispenser, ok bool) error {
	if ok {
		return nil
	}
	return d.ArgErr()
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
