// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

func init() {
	caddy.RegisterModule(new(replayDouble))
	caddy.RegisterModule(new(storageDouble))
}

// replayDouble is a replay store that answers as the Caddyfile says:
// `replay dpop_test { full }`.
type replayDouble struct {
	Answer string `json:"answer,omitempty"`
}

func (*replayDouble) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.dpop.replay.dpop_test", New: func() caddy.Module { return new(replayDouble) }}
}

func (d *replayDouble) UnmarshalCaddyfile(dispenser *caddyfile.Dispenser) error {
	dispenser.Next()
	for dispenser.NextBlock(0) {
		d.Answer = dispenser.Val()
	}
	return nil
}

func (d *replayDouble) OpenReplay(replay.Params) (replay.Store, error) { return d, nil }

func (d *replayDouble) Claim(ctx context.Context, _ replay.Claim) error {
	switch d.Answer {
	case "stall":
		<-ctx.Done()
		return replay.Unavailable(ctx.Err())
	case "too_early":
		return replay.ErrTooEarly
	case "too_old":
		return replay.ErrTooOld
	case "full":
		return replay.ErrFull
	case "owner_full":
		return replay.OwnerFull(17 * time.Second)
	case "unavailable":
		return replay.Unavailable(errors.New("the disk is gone"))
	case "odd":
		return errors.New("something that no store should say")
	}
	return nil
}

func (*replayDouble) SetWindow(replay.Window)     {}
func (*replayDouble) Stats() replay.Stats         { return replay.Stats{Kind: "dpop_test"} }
func (*replayDouble) Close(context.Context) error { return nil }

// storageDouble is Caddy's file storage, until storageFails for what is ours.
type storageDouble struct {
	Root string `json:"root,omitempty"`
}

var storageFails atomic.Bool

func (*storageDouble) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.dpop_test", New: func() caddy.Module { return new(storageDouble) }}
}

func (s *storageDouble) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	d.Args(&s.Root)
	return nil
}

func (s *storageDouble) CertMagicStorage() (certmagic.Storage, error) {
	return brittleStorage{&certmagic.FileStorage{Path: s.Root}}, nil
}

type brittleStorage struct{ *certmagic.FileStorage }

var errStorageDown = errors.New("the storage is down")

func (s brittleStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if storageFails.Load() && strings.HasPrefix(key, "dpop/") {
		return nil, errStorageDown
	}
	return s.FileStorage.Load(ctx, key)
}

func (s brittleStorage) Store(ctx context.Context, key string, value []byte) error {
	if storageFails.Load() && strings.HasPrefix(key, "dpop/") {
		return errStorageDown
	}
	return s.FileStorage.Store(ctx, key, value)
}

// Interface guards
var (
	_ replay.Provider        = (*replayDouble)(nil)
	_ replay.Store           = (*replayDouble)(nil)
	_ caddyfile.Unmarshaler  = (*replayDouble)(nil)
	_ caddy.StorageConverter = (*storageDouble)(nil)
)
