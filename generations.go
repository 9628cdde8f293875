// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// generations are the apps that have started and not ended, the oldest first.
// The oldest is in force: its limits, its logger and its storages are those of
// everything that outlives a configuration. While there is a second one, its
// load can still fail, and nothing of the running one must have changed then.
// Caddy ends the one before as soon as the new one stands.
type generations struct {
	mu   sync.Mutex
	apps []*App
}

var runningApps generations

// begin is called when all that can fail in an app's own start is done.
func (g *generations) begin(a *App) {
	g.mu.Lock()
	g.apps = append(g.apps, a)
	alone := len(g.apps) == 1
	g.mu.Unlock()
	if alone {
		a.takeOver()
	}
}

// end is called when an app is stopped or its load has failed, perhaps twice.
func (g *generations) end(a *App) {
	g.mu.Lock()
	before := g.oldest()
	g.apps = slices.DeleteFunc(g.apps, func(other *App) bool { return other == a })
	heir := g.oldest()
	g.mu.Unlock()
	if heir != nil && heir != before {
		heir.takeOver()
	}
}

// inForce is the oldest one, nil when none runs.
func (g *generations) inForce() *App {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.oldest()
}

// oldest is inForce for who holds the lock.
func (g *generations) oldest() *App {
	if len(g.apps) == 0 {
		return nil
	}
	return g.apps[0]
}

// takeOver puts this configuration's settings in force for what it shares with
// the one before, and lets go of that one's.
func (a *App) takeOver() {
	a.mu.Lock()
	stores, logs := maps.Clone(a.windows), slices.Clone(a.logs)
	for _, set := range a.sets {
		set.SetLogger(a.logger)
		set.storage.set(a.ctx.Storage())
	}
	for _, endpoint := range a.answers {
		endpoint.SetLogger(a.logger)
	}
	if a.nonces != nil {
		a.nonces.logger.Store(a.logger)
		a.nonces.storage.set(a.ctx.Storage())
	}
	a.mu.Unlock()
	if a.tokens != nil {
		a.tokens.Resize(a.cacheSize())
	}
	for store, use := range stores {
		if adopter, ok := store.(replay.Adopter); ok {
			adopter.Adopt(use.params)
		}
	}
	for _, log := range logs {
		log.moveTo(log.next, time.Duration(a.ReplayTimeout))
	}
}
