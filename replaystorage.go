// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

func init() {
	caddy.RegisterModule(new(StorageReplay))
}

// StorageReplay remembers used proofs in Caddy's storage, exactly: no proof
// passes twice on any of the nodes that share it, across reloads and
// restarts. It is the default. Claims that come together share one write and
// one listing.
//
// Exact only where what one node has written is seen by all from then on: NFS
// without `noac,lookupcache=none`, replicas and caching storage modules are
// unfit. docs/operations.md lists what was tried.
type StorageReplay struct {
	// StorageRaw is a storage module to use in place of Caddy's own, for
	// instance a faster one than that for certificates. All `dpop` of a
	// configuration must name the same.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`

	raw     json.RawMessage // StorageRaw, which loading clears
	app     *App
	storage certmagic.Storage
	held    []string
}

// CaddyModule returns the Caddy module information.
func (*StorageReplay) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.dpop.replay.storage",
		New: func() caddy.Module { return new(StorageReplay) },
	}
}

// Provision loads the storage module.
func (s *StorageReplay) Provision(ctx caddy.Context) error {
	app, err := ctx.App("dpop")
	if err != nil {
		return fmt.Errorf("loading the dpop app: %w", err)
	}
	s.app = app.(*App)
	if s.StorageRaw == nil {
		s.storage = ctx.Storage()
		return nil
	}
	s.raw = s.StorageRaw
	module, err := ctx.LoadModule(s, "StorageRaw")
	if err != nil {
		return fmt.Errorf("loading the storage module: %w", err)
	}
	s.storage, err = module.(caddy.StorageConverter).CertMagicStorage()
	return err
}

// OpenReplay implements replay.Provider.
func (s *StorageReplay) OpenReplay(p replay.Params) (replay.Store, error) {
	if err := s.app.sameStorage(s.raw); err != nil {
		return nil, err
	}
	table, err := acquireTable(&s.held, p)
	if err != nil {
		return nil, err
	}
	// The key is a constant for each space: the log of this process moves with
	// the configuration, from one storage to another if need be.
	log, err := acquire(&s.held, "replay_log\x00"+p.Space, func() (*pooledLog, error) {
		return newPooledLog(s.storage, table.Table, p), nil
	})
	if err != nil {
		return nil, err
	}
	s.app.mu.Lock()
	defer s.app.mu.Unlock()
	if !slices.ContainsFunc(s.app.logs, func(use logUse) bool { return use.pooledLog == log }) {
		s.app.logs = append(s.app.logs, logUse{log, s.storage})
	}
	return log, nil
}

// sameStorage makes sure that all handlers of a configuration share one log:
// two would each accept what the other has seen.
func (a *App) sameStorage(raw json.RawMessage) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.replayStorage == nil {
		a.replayStorage = &raw
	}
	if string(*a.replayStorage) != string(raw) {
		return errors.New("two dpop of this configuration name different storages for replay: name the same one in each, or once in `defaults`")
	}
	return nil
}

// Cleanup releases the log.
func (s *StorageReplay) Cleanup() error { return release(s.held) }

// UnmarshalCaddyfile reads
//
//	replay storage {
//		storage <module> { ... }
//	}
func (s *StorageReplay) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	if d.NextArg() {
		return d.ArgErr()
	}
	return block(d, "replay storage", map[string]func() error{
		"storage": func() error {
			if !d.NextArg() {
				return d.ArgErr()
			}
			name := d.Val()
			module, err := caddyfile.UnmarshalModule(d, "caddy.storage."+name)
			if err != nil {
				return err
			}
			if _, ok := module.(caddy.StorageConverter); !ok {
				return d.Errf("%q is not a storage module", name)
			}
			s.StorageRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
			return nil
		},
	})
}

// pooledLog is the log of this process on shared storage.
type pooledLog struct {
	*replay.Log
	table *replay.Table
}

const replayPrefix = "dpop/replay"

func newPooledLog(storage certmagic.Storage, table *replay.Table, p replay.Params) *pooledLog {
	prefix := replayPrefix
	if p.Space != "" {
		prefix += "_" + p.Space
	}
	return &pooledLog{
		Log: replay.NewLog(replay.LogConfig{
			Storage: storage,
			Prefix:  prefix,
			Table:   table,
			Timeout: p.Timeout,
			Logger:  p.Logger,
			OnBatch: p.OnBatch,
		}),
		table: table,
	}
}

// Adopt implements replay.Adopter.
func (l *pooledLog) Adopt(p replay.Params) {
	l.table.SetLimits(p.MaxEntries, p.MaxPerKey)
	l.SetTimeout(p.Timeout)
	l.SetLogger(p.Logger)
}

// moveTo puts a storage in force and looks around there, so that the first
// request need not. What goes wrong is logged and answered 503 until it heals.
func (l *pooledLog) moveTo(storage certmagic.Storage, timeout time.Duration) {
	l.SetStorage(storage)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_ = l.Check(ctx)
}

// includes says whether what is claimed in one store is claimed in the other with it:
// the log on storage and `replay memory` have one table.
func includes(store, other replay.Store) bool {
	log, isLog := store.(*pooledLog)
	table, isTable := other.(*pooledTable)
	return isLog && isTable && log.table == table.Table
}

// Destruct closes this process's name, so that other nodes need not wait to
// find out that it is gone.
func (l *pooledLog) Destruct() error {
	ctx, cancel := context.WithTimeout(context.Background(), replay.DefaultTimeout)
	defer cancel()
	return l.Close(ctx)
}

// logUse is a replay log that this configuration uses, and where it is to lie.
type logUse struct {
	*pooledLog
	next certmagic.Storage
}

func (u logUse) try(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return u.Try(ctx, u.next)
}

// tryStorages makes sure, before anything depends on them, that replay logs can
// use the storages of this configuration. What cannot heal by itself fails the
// load; anything else is answered 503 until it does.
func (a *App) tryStorages() error {
	const wayOut = "name another with `storage` in the replay block, or use `replay memory` on a single node"
	for _, use := range a.logs {
		err := use.try(time.Duration(a.ReplayTimeout))
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
			return fmt.Errorf("replay storage: this process may not write there: %w; give it the right to, %s", err, wayOut)
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			return fmt.Errorf("replay storage: there is no such place to write to: %w; make it, %s", err, wayOut)
		default:
			a.logger.Error("replay storage does not answer; requests are refused with 503 until it does", zap.Error(err))
		}
	}
	return nil
}

// Interface guards
var (
	_ replay.Provider       = (*StorageReplay)(nil)
	_ replay.Adopter        = (*pooledLog)(nil)
	_ caddy.Provisioner     = (*StorageReplay)(nil)
	_ caddy.CleanerUpper    = (*StorageReplay)(nil)
	_ caddyfile.Unmarshaler = (*StorageReplay)(nil)
)
