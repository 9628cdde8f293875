// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

func init() {
	caddy.RegisterModule(new(Replay))
}

// Replay remembers used proofs in Redis or Valkey, exactly, for any number of
// nodes: one round trip per request, shared by concurrent ones.
//
// Redis has to be version 6.2 or later, must not evict keys
// (`maxmemory-policy noeviction`) and should be near. Proofs issued before it
// was started, promoted or emptied are refused (or, with nonces on,
// challenged). It is reached with the first request, not when the
// configuration is loaded; while it cannot answer, requests get 503.
//
// The limit `max_entries` holds for what this Caddy puts into Redis, and
// `max_per_key` for the requests that it handles: a fleet of ten lets one
// client have ten times as many. Replication of Redis is asynchronous, so
// during a fail-over a proof can pass at the old and at the new primary.
type Replay struct {
	// URL says where Redis is, in one of these forms:
	//
	// Form | Meaning
	// -----|--------
	// `redis://host:port/db` | one server, or the address that leads to the primary
	// `redis+sentinel://host:port,host:port/master/db` | the primary that Sentinels name
	// `redis+cluster://host:port,host:port` | a cluster
	// `unix:///path` | a socket
	//
	// `rediss` in place of `redis` is TLS. A user name and password may stand
	// before the host (`redis://user:password@host`), percent-encoded; `:password@` is
	// a password without a name. May contain placeholders.
	// Default: `redis://localhost:6379`.
	URL string `json:"url,omitempty"`

	// Username for Redis' access lists. May contain placeholders. Default: the default user.
	Username string `json:"username,omitempty"`

	// Password of the user. May contain placeholders, such as `{env.REDIS_PASSWORD}`
	// or `{file./run/secrets/redis}`; one that is unknown or empty fails the load. Default: none.
	Password string `json:"password,omitempty"`

	// SentinelUsername is the user name at the Sentinels. May contain placeholders. Default: the default user.
	SentinelUsername string `json:"sentinel_username,omitempty"`

	// SentinelPassword is the password at the Sentinels. May contain placeholders. Default: none.
	SentinelPassword string `json:"sentinel_password,omitempty"`

	// TLS refines the connection of `rediss` URLs. Default: the system's trusted authorities, no client certificate.
	TLS *TLS `json:"tls,omitempty"`

	// KeyPrefix begins the name of every key, so that Redis can be shared. All
	// nodes of a fleet need the same. Up to 64 printable characters without
	// braces. Default: `dpop:`.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// PoolSize is how many batches of claims may be under way at once, each on
	// a connection of its own. Requests that come when all are wait, and make the next batch; so
	// a larger pool shortens their wait and costs CPU. In a cluster it is the number of
	// connections to each node. Default: 2 (in a cluster 16).
	PoolSize int `json:"pool_size,omitempty"`

	// DialTimeout bounds making a connection. Default: 2s.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`

	// ReadTimeout bounds the wait for an answer, and for sending. Default: what is left of `replay_timeout`.
	ReadTimeout caddy.Duration `json:"read_timeout,omitempty"`

	options *options
	key     string   // what makes two configurations mean the same
	held    []string // keys that this module holds in the pool
}

// CaddyModule returns the Caddy module information.
func (*Replay) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.dpop.replay.redis",
		New: func() caddy.Module { return new(Replay) },
	}
}

// Provision replaces placeholders and checks the options. It connects to nothing.
func (r *Replay) Provision(caddy.Context) error {
	c := *r // placeholders are replaced in a copy: the configuration keeps its secrets out of sight
	if err := c.expand(); err != nil {
		return err
	}
	o, files, err := c.check()
	if err != nil {
		return err
	}
	r.options = o
	r.key = c.fingerprint(files)
	return nil
}

// expand replaces placeholders. One that is unknown or empty is an error: it must never turn a password into none.
func (r *Replay) expand() error {
	repl := caddy.NewReplacer()
	values := []struct {
		option string
		value  *string
	}{
		{"url", &r.URL},
		{"username", &r.Username},
		{"password", &r.Password},
		{"sentinel_username", &r.SentinelUsername},
		{"sentinel_password", &r.SentinelPassword},
		{"key_prefix", &r.KeyPrefix},
	}
	for _, v := range values {
		if *v.value == "" {
			continue
		}
		expanded, err := repl.ReplaceOrErr(*v.value, true, true)
		if err == nil && expanded == "" {
			err = errors.New("it is empty")
		}
		if err != nil {
			return fmt.Errorf("replay redis: %s: %w", v.option, err)
		}
		*v.value = expanded
	}
	return nil
}

// OpenReplay implements replay.Provider. Equal configurations share one store, also across a reload. A changed one
// makes another, which loses nothing: what is remembered lies in Redis.
func (r *Replay) OpenReplay(p replay.Params) (replay.Store, error) {
	if r.options == nil {
		return nil, errors.New("not provisioned")
	}
	key := r.key + "\x00" + p.Space
	value, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		s := newStore(r.options, p.Space, time.Now)
		s.Adopt(p)
		return &pooledStore{s}, nil
	})
	if err != nil {
		return nil, err
	}
	r.held = append(r.held, key)
	return value.(*pooledStore), nil
}

// Cleanup releases the store. Requests may still be in flight: it ends some time after its last user.
func (r *Replay) Cleanup() error {
	var errs []error
	for _, key := range r.held {
		_, err := pool.Delete(key)
		errs = append(errs, err)
	}
	r.held = nil
	return errors.Join(errs...)
}

// pool holds the stores that survive reloads.
var pool = caddy.NewUsagePool()

// pooledStore is a store as the pool wants it. It is a pointer, so that the same store is the same value everywhere.
type pooledStore struct{ *store }

// Destruct ends the store once the requests of the last configuration that used it have had their time.
func (s *pooledStore) Destruct() error {
	s.retire()
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Replay)(nil)
	_ caddy.CleanerUpper    = (*Replay)(nil)
	_ caddyfile.Unmarshaler = (*Replay)(nil)
	_ replay.Provider       = (*Replay)(nil)
	_ replay.Adopter        = (*pooledStore)(nil)
)
