// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Options with a block of their own.

func (o *Options) unmarshalIssuer(d *caddyfile.Dispenser) error {
	issuer := new(Issuer)
	if err := word(d, &issuer.Issuer); err != nil {
		return err
	}
	o.Issuers = append(o.Issuers, issuer)
	return block(d, "issuer", map[string]func() error{
		"audience":   func() error { return list(d, &issuer.Audience) },
		"jwks_uri":   func() error { return word(d, &issuer.JWKSURI) },
		"jwks_file":  func() error { return word(d, &issuer.JWKSFile) },
		"algorithms": func() error { return list(d, &issuer.Algorithms) },
		"typ":        func() error { return word(d, &issuer.Typ) },
	})
}

func (o *Options) unmarshalIntrospection(d *caddyfile.Dispenser) error {
	in := new(Introspection)
	if err := word(d, &in.URL); err != nil {
		return err
	}
	o.Introspection = in
	return block(d, "introspection", map[string]func() error{
		"issuer":        func() error { return word(d, &in.Issuer) },
		"audience":      func() error { return list(d, &in.Audience) },
		"client_id":     func() error { return word(d, &in.ClientID) },
		"client_secret": func() error { return word(d, &in.ClientSecret) },
		"auth_method":   func() error { return word(d, &in.AuthMethod) },
		"private_key":   func() error { return word(d, &in.PrivateKey) },
		"cache_ttl":     func() error { return duration(d, &in.CacheTTL) },
	})
}

func (o *Options) unmarshalNonce(d *caddyfile.Dispenser) error {
	o.Nonce = new(Nonce)
	if err := word(d, &o.Nonce.Mode); err != nil {
		return err
	}
	return block(d, "nonce", map[string]func() error{
		"lifetime": func() error { return duration(d, &o.Nonce.Lifetime) },
	})
}

func (o *Options) unmarshalReplay(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	store := d.Val() // what follows is the store's own
	id := "http.dpop.replay." + store
	if _, err := caddy.GetModule(id); err != nil {
		if store == "redis" {
			return d.Errf("replay redis: %s", redisBuildHint)
		}
		return refused(d, "replay", store, replayStores)
	}
	module, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	o.ReplayRaw = caddyconfig.JSONModuleObject(module, "store", store, nil)
	return nil
}

// unmarshalMetadata reads members of the document. A member with one value is
// a string, with more a list; what RFC 9728 wants as a list is one anyway.
func (o *Options) unmarshalMetadata(d *caddyfile.Dispenser) error {
	m := new(Metadata)
	if d.NextArg() {
		m.Path = d.Val()
		if d.NextArg() {
			return surplus(d, "metadata")
		}
	}
	o.Metadata = m
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		field := d.Val()
		if _, again := m.Fields[field]; again {
			return d.Errf("metadata: %s is there twice", field)
		}
		values := d.RemainingArgs()
		if len(values) == 0 {
			return d.ArgErr()
		}
		var value any = values
		if len(values) == 1 && !slices.Contains(metadataLists, field) {
			value = values[0]
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return d.WrapErr(err)
		}
		if m.Fields == nil {
			m.Fields = make(map[string]json.RawMessage)
		}
		m.Fields[field] = raw
	}
	return nil
}

// metadataLists are the members that are lists even with one element (RFC
// 9728, section 2).
var metadataLists = []string{
	"scopes_supported",
	"resource_signing_alg_values_supported",
	"authorization_details_types_supported",
}

// block reads a block of options that are there at most once.
func block(d *caddyfile.Dispenser, of string, options map[string]func() error) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		unmarshal, ok := options[option]
		if !ok {
			return unrecognized(d, of, slices.Sorted(maps.Keys(options)))
		}
		if seen[option] {
			return d.Errf("%s: %s is there twice", of, option)
		}
		seen[option] = true
		if err := unmarshal(); err != nil {
			return err
		}
	}
	return nil
}
