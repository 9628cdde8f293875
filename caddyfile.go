// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("dpop", parseHandler)
	// Behind basic_auth: after rate limits, and before request_header, handle,
	// route and reverse_proxy. The matcher sees the rewritten path, as
	// basic_auth's does.
	httpcaddyfile.RegisterDirectiveOrder("dpop", httpcaddyfile.After, "basic_auth")

	httpcaddyfile.RegisterHandlerDirective("dpop_metadata", parseMetadataHandler)
	httpcaddyfile.RegisterDirectiveOrder("dpop_metadata", httpcaddyfile.Before, "redir")

	httpcaddyfile.RegisterGlobalOption("dpop", parseApp)
}

func parseHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

func parseMetadataHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	if h.NextArg() || h.NextBlock(0) {
		return nil, h.Err("dpop_metadata has no options: it serves what `metadata` of a dpop declares")
	}
	return new(MetadataHandler), nil
}

// UnmarshalCaddyfile sets the options from a Caddyfile:
//
//	dpop [<matcher>] {
//		issuer <url> {
//			audience <aud...> | any
//			jwks_uri <url>
//			jwks_file <path>
//			algorithms <alg...>
//			typ at+jwt | any
//		}
//		introspection <url> {
//			issuer <iss>
//			audience <aud...> | any
//			client_id <id>
//			client_secret <secret>
//			auth_method client_secret_basic | client_secret_post | private_key_jwt
//			private_key <path>
//			cache_ttl <duration>
//		}
//		audience <aud...> | any
//		scope <scope...>
//		proof_only
//		mtls
//		algorithms <alg...>
//		max_age <duration>
//		clock_skew <duration>
//		public_url <url...> | any
//		nonce off | optional | required {
//			lifetime <duration>
//		}
//		replay storage | memory | redis | off {
//			...
//		}
//		bearer reject | allow
//		mode enforce | monitor
//		realm <realm>
//		metadata [<path>] {
//			<field> <value...>
//		}
//		cors <origin...>
//		forward_as dpop | bearer | none
//	}
//
// `issuer` can be repeated, everything else cannot.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	return h.Options.unmarshalBlock(d)
}

// unmarshalBlock reads the options of a directive or of `defaults`.
func (o *Options) unmarshalBlock(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("unexpected argument %q: options of dpop stand in a block", d.Val())
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] && option != "issuer" {
			return d.Errf("%s is there twice", option)
		}
		seen[option] = true
		if err := o.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "issuer":
		return o.unmarshalIssuer(d)
	case "introspection":
		return o.unmarshalIntrospection(d)
	case "nonce":
		return o.unmarshalNonce(d)
	case "replay":
		return o.unmarshalReplay(d)
	case "metadata":
		return o.unmarshalMetadata(d)
	case "audience":
		return list(d, &o.Audience)
	case "scope":
		return list(d, &o.Scope)
	case "algorithms":
		return list(d, &o.Algorithms)
	case "public_url":
		return list(d, &o.PublicURLs)
	case "cors":
		return list(d, &o.CORS)
	case "max_age":
		return duration(d, &o.MaxAge)
	case "clock_skew":
		return duration(d, &o.ClockSkew)
	case "bearer":
		return word(d, &o.Bearer)
	case "mode":
		return word(d, &o.Mode)
	case "realm":
		return word(d, &o.Realm)
	case "forward_as":
		return word(d, &o.ForwardAs)
	case "proof_only":
		return flag(d, &o.ProofOnly)
	case "mtls":
		return flag(d, &o.MTLS)
	default:
		return unrecognized(d, "dpop", optionNames)
	}
}

// optionNames are those of the directive, in the order of its grammar.
var optionNames = []string{
	"issuer", "introspection", "audience", "scope", "proof_only", "mtls",
	"algorithms", "max_age", "clock_skew", "public_url", "nonce", "replay",
	"bearer", "mode", "realm", "metadata", "cors", "forward_as",
}

// parseApp reads the global option:
//
//	dpop {
//		defaults {
//			# any option of the directive
//		}
//		max_entries <number>
//		max_per_key <number>
//		replay_timeout <duration>
//		token_cache <number>
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next()
	if existing != nil {
		return nil, d.Err("dpop is there twice among the global options")
	}
	app := new(App)
	if d.NextArg() {
		return nil, d.Errf("unexpected argument %q: the global option dpop has a block", d.Val())
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return nil, d.Errf("%s is there twice", option)
		}
		seen[option] = true
		if err := app.unmarshalOption(d, option); err != nil {
			return nil, err
		}
	}
	return httpcaddyfile.App{Name: "dpop", Value: caddyconfig.JSON(app, nil)}, nil
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "defaults":
		a.Defaults = new(Options)
		return a.Defaults.unmarshalBlock(d)
	case "max_entries":
		return number(d, &a.MaxEntries, 1)
	case "max_per_key":
		return number(d, &a.MaxPerKey, 1)
	case "replay_timeout":
		var timeout *caddy.Duration
		if err := duration(d, &timeout); err != nil {
			return err
		}
		if *timeout <= 0 {
			return refused(d, option, d.Val(), "a duration above 0 and up to 1m")
		}
		a.ReplayTimeout = *timeout
		return nil
	case "token_cache":
		a.TokenCache = new(int)
		return number(d, a.TokenCache, 0)
	default:
		return unrecognized(d, "the global dpop", []string{"defaults", "max_entries", "max_per_key", "replay_timeout", "token_cache"})
	}
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
