// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/token"
)

func init() {
	caddy.RegisterModule(new(Admin))
}

// Admin adds to Caddy's admin API:
//
// Request | Answer
// --------|-------
// `GET /dpop/status` | issuers with the age of their keys, replay stores, token cache, last errors
// `POST /dpop/keys/refresh` | fetches all key sets now; 502 with the errors when one fails
//
// Nothing in the answers is secret: no token, proof, nonce key or client secret.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (*Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.dpop",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Routes implements caddy.AdminRouter.
func (a *Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/dpop/status", Handler: caddy.AdminHandlerFunc(a.status)},
		{Pattern: "/dpop/keys/refresh", Handler: caddy.AdminHandlerFunc(a.refreshKeys)},
	}
}

// Status is the answer to `GET /dpop/status`.
type Status struct {
	KeySets       []token.KeySetStatus        `json:"key_sets"`
	Introspection []token.IntrospectionStatus `json:"introspection,omitempty"`
	Replay        []ReplayStatus              `json:"replay"`
	TokenCache    int                         `json:"token_cache_entries"`
	Handlers      int                         `json:"handlers"`
	Monitoring    int                         `json:"handlers_monitoring"`
	CurrentTime   time.Time                   `json:"time"`
}

// ReplayStatus describes one replay store.
type ReplayStatus struct {
	Store         string    `json:"store"`
	Space         string    `json:"space,omitempty"` // "proof_only" for that of proof_only
	Entries       int       `json:"entries"`
	MaxEntries    int       `json:"max_entries,omitempty"`
	Bytes         int       `json:"bytes,omitempty"`
	CutOff        time.Time `json:"refuses_proofs_issued_until,omitzero"`
	Nodes         int       `json:"nodes_seen,omitempty"`
	Batches       uint64    `json:"batches,omitempty"`
	Claims        uint64    `json:"claims,omitempty"`
	Failures      uint64    `json:"failures,omitempty"`
	LastError     string    `json:"last_error,omitempty"`
	WindowSeconds float64   `json:"window_seconds"`
	NonceSeconds  float64   `json:"nonce_window_seconds,omitempty"`
	LastRoundTrip float64   `json:"last_round_trip_seconds,omitempty"`
}

func (a *Admin) status(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return methodNotAllowed(w, "GET, HEAD")
	}
	app, err := runningApp()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(app.status())
}

func (a *Admin) refreshKeys(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return methodNotAllowed(w, "POST")
	}
	app, err := runningApp()
	if err != nil {
		return err
	}
	var failed error
	for _, set := range app.keySets() {
		if err := set.Refresh(r.Context()); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", set.ID(), err))
		}
	}
	if failed != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadGateway, Err: failed}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func methodNotAllowed(w http.ResponseWriter, allowed string) error {
	w.Header().Set("Allow", allowed)
	return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("method not allowed")}
}

// runningApp is not that of the configuration which this module belongs to: Caddy
// replaces its admin API before it knows whether a configuration loads, and keeps
// the new one when it does not.
func runningApp() (*App, error) {
	app := runningApps.inForce()
	if app == nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("no dpop in this configuration")}
	}
	return app, nil
}

// keySets are the distinct key sets of this configuration.
func (a *App) keySets() []*token.KeySet {
	a.mu.Lock()
	defer a.mu.Unlock()
	var sets []*token.KeySet
	for _, set := range a.sets {
		if !slices.Contains(sets, set.KeySet) {
			sets = append(sets, set.KeySet)
		}
	}
	return sets
}

// stores are the replay stores of this configuration with their windows.
func (a *App) stores() map[replay.Store]storeUse {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.windows)
}

func (a *App) status() Status {
	s := Status{CurrentTime: a.now(), KeySets: []token.KeySetStatus{}, Replay: []ReplayStatus{}}
	for _, set := range a.keySets() {
		s.KeySets = append(s.KeySets, set.Status())
	}
	for store, use := range a.stores() {
		s.Replay = append(s.Replay, replayStatus(store.Stats(), use))
	}
	slices.SortFunc(s.Replay, func(a, b ReplayStatus) int { return strings.Compare(a.Store+a.Space, b.Store+b.Space) })
	if a.tokens != nil {
		s.TokenCache = a.tokens.Len()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, endpoint := range a.answers {
		if !slices.Contains(a.answers[:i], endpoint) {
			s.Introspection = append(s.Introspection, endpoint.Status())
		}
	}
	s.Handlers = len(a.handlers)
	for _, h := range a.handlers {
		if h.Mode == wordMonitor {
			s.Monitoring++
		}
	}
	return s
}

func replayStatus(stats replay.Stats, use storeUse) ReplayStatus {
	s := ReplayStatus{
		Store:         stats.Kind,
		Space:         use.params.Space,
		Entries:       stats.Entries,
		MaxEntries:    stats.MaxEntries,
		Bytes:         stats.Bytes,
		CutOff:        stats.CutOff,
		Nodes:         stats.Nodes,
		Batches:       stats.Batches,
		Claims:        stats.Claims,
		Failures:      stats.Failures,
		WindowSeconds: use.Proof.Seconds(),
		NonceSeconds:  use.Nonce.Seconds(),
		LastRoundTrip: stats.LastTime.Seconds(),
	}
	if stats.LastError != nil {
		s.LastError = stats.LastError.Error()
	}
	return s
}

// Interface guard
var _ caddy.AdminRouter = (*Admin)(nil)
