// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"context"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

func openLog(storage replay.Storage, o replaytest.Options) *replay.Log {
	return replay.NewLog(replay.LogConfig{
		Storage:    storage,
		MaxEntries: o.MaxEntries,
		MaxPerKey:  o.MaxPerKey,
		Timeout:    o.Timeout,
		Now:        o.Clock.Now,
	})
}

func TestTableContract(t *testing.T) {
	t.Parallel()
	replaytest.Run(t, func(testing.TB) replaytest.Cluster {
		return replaytest.Cluster{SingleNode: true, Open: func(_ testing.TB, o replaytest.Options) replay.Store {
			return replay.NewTable(replay.TableConfig{MaxEntries: o.MaxEntries, MaxPerKey: o.MaxPerKey, Now: o.Clock.Now})
		}}
	})
}

func TestLogContract(t *testing.T) {
	t.Parallel()
	storages := map[string]func(testing.TB) replay.Storage{
		"memory": func(testing.TB) replay.Storage { return replaytest.NewStorage() },
		"memory with temporary names": func(testing.TB) replay.Storage {
			s := replaytest.NewStorage()
			s.Intercept(replaytest.TemporaryNames())
			return s
		},
		"memory without directories": func(testing.TB) replay.Storage {
			s := replaytest.NewStorage()
			for _, key := range []string{"/head", ".pass"} { // of another space
				_ = s.Store(context.Background(), replay.DefaultPrefix+"_proof_only/"+strings.Repeat("0", 32)+key, nil)
			}
			s.Intercept(replaytest.ObjectsOnly(s))
			return s
		},
		"file system": func(t testing.TB) replay.Storage { return &certmagic.FileStorage{Path: t.TempDir()} },
	}
	for name, newStorage := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replaytest.Run(t, func(t testing.TB) replaytest.Cluster {
				storage := newStorage(t)
				return replaytest.Cluster{Open: func(_ testing.TB, o replaytest.Options) replay.Store { return openLog(storage, o) }}
			})
		})
	}
}

// The race that every store has to pass does find a store that looks first and stores then.
func TestCheckThenStoreIsCaught(t *testing.T) {
	t.Parallel()
	storage := replaytest.NewStorage()
	naive := &replaytest.CheckThenStore{Storage: storage}
	for range 100 {
		if tally := replaytest.Race(t.Context(), []replay.Store{naive, naive}, replaytest.NewClock().Now(), 500, 4); tally.Doubles > 0 {
			return
		}
	}
	t.Fatal("no proof was accepted twice")
}

func TestLogOnFaultyStorage(t *testing.T) {
	t.Parallel()
	replaytest.RunStorage(t, func(storage replay.Storage, o replaytest.Options) replay.Store { return openLog(storage, o) })
}
