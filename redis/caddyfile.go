// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	replay redis [<url>] {              # default redis://localhost:6379
//		url               <url>         # instead of the argument
//		username          <name>
//		password          <secret>      # placeholders {env.*} {file.*}; must not expand to nothing
//		sentinel_username <name>
//		sentinel_password <secret>
//		key_prefix        <prefix>      # default dpop:
//		pool_size         <n>           # default 2, in a cluster 16
//		dial_timeout      <duration>    # default 2s
//		read_timeout      <duration>    # default what is left of replay_timeout
//		tls {                           # for rediss URLs
//			ca          <file...>
//			cert        <file>
//			key         <file>
//			server_name <name>
//		}
//	}
func (r *Replay) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	seen := make(map[string]bool)
	if d.NextArg() {
		r.URL = d.Val()
		seen["url"] = true
		if r.URL == "" {
			return d.Err("replay redis: the url is empty")
		}
	}
	if d.NextArg() {
		return d.Errf("replay redis: %q is not accepted: it takes one url", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return d.Errf("replay redis: %s: given twice", option)
		}
		seen[option] = true
		if err := r.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (r *Replay) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "url":
		return oneArg(d, &r.URL)
	case "username":
		return oneArg(d, &r.Username)
	case "password":
		return oneArg(d, &r.Password)
	case "sentinel_username":
		return oneArg(d, &r.SentinelUsername)
	case "sentinel_password":
		return oneArg(d, &r.SentinelPassword)
	case "key_prefix":
		return oneArg(d, &r.KeyPrefix)
	case "pool_size":
		var text string
		if err := oneArg(d, &text); err != nil {
			return err
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPoolSize {
			return d.Errf("replay redis: pool_size: %q is not accepted: it takes a number from 1 to %d", text, maxPoolSize)
		}
		r.PoolSize = n
		return nil
	case "dial_timeout":
		return duration(d, option, &r.DialTimeout)
	case "read_timeout":
		return duration(d, option, &r.ReadTimeout)
	case "tls":
		return r.unmarshalTLS(d)
	default:
		return d.Errf("replay redis: unrecognized option %q: it takes url, username, password, sentinel_username, sentinel_password, key_prefix, pool_size, dial_timeout, read_timeout or tls", option)
	}
}

func (r *Replay) unmarshalTLS(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("replay redis: tls: %q is not accepted: it takes a block", d.Val())
	}
	r.TLS = new(TLS)
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return d.Errf("replay redis: tls: %s: given twice", option)
		}
		seen[option] = true
		var err error
		switch option {
		case "ca":
			if r.TLS.CA = d.RemainingArgs(); len(r.TLS.CA) == 0 {
				err = d.ArgErr()
			}
		case "cert":
			err = oneArg(d, &r.TLS.Cert)
		case "key":
			err = oneArg(d, &r.TLS.Key)
		case "server_name":
			err = oneArg(d, &r.TLS.ServerName)
		default:
			err = d.Errf("replay redis: tls: unrecognized option %q: it takes ca, cert, key or server_name", option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// oneArg reads the only argument of an option. An empty one is a mistake: it would mean the default.
func oneArg(d *caddyfile.Dispenser, value *string) error {
	option := d.Val()
	if !d.AllArgs(value) {
		return d.ArgErr()
	}
	if *value == "" {
		return d.Errf("replay redis: %s: the value is empty", option)
	}
	return nil
}

func duration(d *caddyfile.Dispenser, option string, value *caddy.Duration) error {
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	parsed, err := caddy.ParseDuration(text)
	if err != nil || parsed <= 0 || parsed > maxTimeout {
		return d.Errf("replay redis: %s: %q is not accepted: it takes a duration above 0 and up to %s", option, text, maxTimeout)
	}
	*value = caddy.Duration(parsed)
	return nil
}
