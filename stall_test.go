// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
)

func init() { caddy.RegisterModule(new(stallingStorage)) }

// stallingStorage is a file storage that hangs like one on a network that is
// gone: whatever the context says. It hangs for keys below stalls.
type stallingStorage struct {
	Root string `json:"root,omitempty"`
	*certmagic.FileStorage
}

var (
	stalls  atomic.Pointer[string]
	stalled = make(chan struct{}) // closed at the end of the test, see stall
)

// stall makes the storage hang for the keys with a prefix until the test is over.
func stall(t *testing.T, prefix string) {
	stalled = make(chan struct{})
	stalls.Store(&prefix)
	t.Cleanup(func() {
		stalls.Store(nil)
		close(stalled)
	})
}

func (*stallingStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.dpop_stall", New: func() caddy.Module { return new(stallingStorage) }}
}

func (s *stallingStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	d.Args(&s.Root)
	return nil
}

func (s *stallingStorage) CertMagicStorage() (certmagic.Storage, error) {
	s.FileStorage = &certmagic.FileStorage{Path: s.Root}
	return s, nil
}

func (s *stallingStorage) Load(ctx context.Context, key string) ([]byte, error) {
	hang(key)
	return s.FileStorage.Load(ctx, key)
}

func (s *stallingStorage) Store(ctx context.Context, key string, value []byte) error {
	hang(key)
	return s.FileStorage.Store(ctx, key, value)
}

func hang(key string) {
	if prefix := stalls.Load(); prefix != nil && strings.HasPrefix(key, *prefix) {
		<-stalled
	}
}

const stallingReplay = "\nissuer $ISSUER\naudience https://api.test\nreplay storage {\nstorage dpop_stall $DIR/stall\n}\n"

// TestReplayTimeoutReloaded: a log outlives the configuration that made it, and its
// time-out is that of the present one nevertheless.
func TestReplayTimeoutReloaded(t *testing.T) {
	n := start(t, site(stallingReplay))
	c := n.client()
	c.get("/").passed()
	n.globals = "dpop {\nreplay_timeout 200ms\n}"
	n.reload(site(stallingReplay))
	c.get("/").passed()
	stall(t, "dpop/replay")
	begin := time.Now()
	c.get("/").refused(503, "replay_unavailable")
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("waited %v for the store", took)
	}
}

// TestNonceStorageHangs: requests do not wait for a storage that hangs while the
// nonce keys are read again, and a node that never had any answers in time.
func TestNonceStorageHangs(t *testing.T) {
	config := site(oneIssuer + "nonce required\n")
	storage := "\nstorage dpop_stall $DIR/stall"
	n := prepare(t, storage)
	n.reload(config)
	c := n.client()
	nonce := c.signed("", 0).nonce()
	c.signed(nonce, 0).passed()

	stall(t, "dpop/nonce")
	go func() { _ = n.app.nonces.reload(t.Context()) }()
	eventually(t, "a reading of the keys", func() bool {
		n.app.nonces.mu.Lock()
		defer n.app.nonces.mu.Unlock()
		return n.app.nonces.reading != nil
	})
	begin := time.Now()
	n.clock.Advance(2 * time.Second)
	c.signed(nonce, 0).passed()
	n.clock.Advance(10 * time.Minute)
	c.signed(nonce, 0).refusedFor("nonce_stale")
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("requests waited %v for the storage", took)
	}
}
