// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

func init() {
	caddy.RegisterModule(new(MemoryReplay))
	caddy.RegisterModule(new(ReplayOff))
}

// MemoryReplay remembers used proofs in the memory of this process, exactly,
// across reloads and changes of the store. It knows nothing of other nodes: a
// proof that one accepted passes once more at each of the others. Proofs from
// before the process started are refused (or, with nonces on, challenged), so
// a restart opens no window, but for clients whose clock runs ahead.
type MemoryReplay struct {
	held []string
}

// CaddyModule returns the Caddy module information.
func (*MemoryReplay) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.dpop.replay.memory",
		New: func() caddy.Module { return new(MemoryReplay) },
	}
}

// UnmarshalCaddyfile accepts `replay memory`, which has no options.
func (*MemoryReplay) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return noOptions(d) }

// OpenReplay implements replay.Provider.
func (m *MemoryReplay) OpenReplay(p replay.Params) (replay.Store, error) {
	return acquireTable(&m.held, p)
}

// Cleanup releases the table.
func (m *MemoryReplay) Cleanup() error { return release(m.held) }

// acquireTable takes this process's table from the pool. Its key is a
// constant: one made of tunables would forget when they change.
func acquireTable(held *[]string, p replay.Params) (*pooledTable, error) {
	return acquire(held, "replay_table\x00"+p.Space, func() (*pooledTable, error) {
		return &pooledTable{replay.NewTable(replay.TableConfig{
			MaxEntries: p.MaxEntries,
			MaxPerKey:  p.MaxPerKey,
			Now:        time.Now,
		})}, nil
	})
}

// pooledTable is the table as the pool wants it.
type pooledTable struct{ *replay.Table }

// Adopt implements replay.Adopter.
func (t *pooledTable) Adopt(p replay.Params) { t.SetLimits(p.MaxEntries, p.MaxPerKey) }

// Destruct forgets: the last configuration that used the table is gone.
func (t *pooledTable) Destruct() error { return t.Close(context.Background()) }

// ReplayOff remembers nothing: every proof can be used again until it is too
// old. Only for a verifier behind another one that does remember.
type ReplayOff struct{}

// CaddyModule returns the Caddy module information.
func (*ReplayOff) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.dpop.replay.off",
		New: func() caddy.Module { return new(ReplayOff) },
	}
}

// UnmarshalCaddyfile accepts `replay off`, which has no options.
func (*ReplayOff) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return noOptions(d) }

func noOptions(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	name := d.Val()
	if d.NextArg() || d.NextBlock(0) {
		return d.Errf("replay %s has no options, but there is %q", name, d.Val())
	}
	return nil
}

// OpenReplay implements replay.Provider.
func (*ReplayOff) OpenReplay(replay.Params) (replay.Store, error) { return nil, nil }

// storeError says what is wrong when a store cannot be loaded: that it is none, or
// how to get one that this Caddy was built without.
func storeError(raw json.RawMessage, err error) error {
	var named struct {
		Store string `json:"store"`
	}
	_ = json.Unmarshal(raw, &named) // err says so
	_, missing := caddy.GetModule("http.dpop.replay." + named.Store)
	switch {
	case missing == nil:
		return fmt.Errorf("loading the replay store: %w", err)
	case named.Store == "redis":
		return errors.New("replay redis: " + redisBuildHint)
	}
	return optionError("replay", named.Store, replayStores)
}

const replayStores = "storage, memory, redis or off"

const redisBuildHint = "this Caddy was built without it: add `--with github.com/caddy-dpop/caddy-dpop/redis` to xcaddy build"

// Interface guards
var (
	_ replay.Provider    = (*MemoryReplay)(nil)
	_ caddy.CleanerUpper = (*MemoryReplay)(nil)
	_ replay.Provider    = (*ReplayOff)(nil)
	_ replay.Adopter     = (*pooledTable)(nil)
)
