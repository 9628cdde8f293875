// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() {
	caddy.RegisterModule(new(eventRecorder))
}

// eventRecorder keeps the events that a configuration under test emits.
type eventRecorder struct{}

var recorded struct {
	sync.Mutex
	data []map[string]any
}

func (*eventRecorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.recorder", New: func() caddy.Module { return new(eventRecorder) }}
}

func (*eventRecorder) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (*eventRecorder) Handle(_ context.Context, e caddy.Event) error {
	recorded.Lock()
	defer recorded.Unlock()
	recorded.data = append(recorded.data, e.Data)
	return nil
}

// TestReplayEvent: a replay, and nothing else, emits dpop_replay_detected.
func TestReplayEvent(t *testing.T) {
	n := start(t, site(oneIssuer), "events {\n\ton dpop_replay_detected recorder\n}\n")
	recorded.Lock()
	recorded.data = nil
	recorded.Unlock()

	c := n.client()
	c.get("/").passed()
	n.send(http.MethodGet, n.url("/")).refusedFor(ReasonNoCredentials)
	proof := c.proof(http.MethodGet, n.url("/"))
	c.present(proof, http.MethodGet, n.url("/")).passed()
	c.present(proof, http.MethodGet, n.url("/")).refusedFor(ReasonReplayed)

	recorded.Lock()
	defer recorded.Unlock()
	if len(recorded.data) != 1 {
		t.Fatalf("%d events, want 1", len(recorded.data))
	}
	if jkt := recorded.data[0]["jkt"]; jkt != c.key.Thumbprint() {
		t.Errorf("jkt %v, want %s", jkt, c.key.Thumbprint())
	}
}
