// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-dpop/caddy-dpop/token"
)

// keyCopies is where a key set keeps its last good copy, and a witness of other
// nodes: every process that runs dpop puts one there every few minutes. A copy
// that is newer than the last of ours is somebody else's, who was there
// meanwhile. It costs one Load beside each Store, and nothing more is written.
//
// Twice in a row it has to be, since a process that takes over from another
// runs beside it for a moment. Copies from before our first prove nothing, nor
// do older ones: they may be our own, from a cache or a backup. A clock that is
// behind can keep one node from seeing the other, but not both.
type keyCopies struct {
	token.KeyCache
	found func() // called once, when others were seen

	others atomic.Bool

	mu        sync.Mutex // guards what follows; never held while the storage is asked
	last      time.Time  // of our newest copy, stored or tried to be
	sightings int        // in a row
}

// enoughSightings is how many looks in a row have to show somebody else's copy.
const enoughSightings = 2

// Store implements token.KeyCache.
func (k *keyCopies) Store(ctx context.Context, key string, value []byte) error {
	k.mu.Lock()
	last := k.last
	if mine := copyTime(value); mine.After(last) {
		k.last = mine
	}
	k.mu.Unlock()
	if !last.IsZero() && !k.others.Load() {
		k.look(ctx, key, last)
	}
	return k.KeyCache.Store(ctx, key, value)
}

// look is called before our next copy replaces what is there.
func (k *keyCopies) look(ctx context.Context, key string, last time.Time) {
	value, err := k.Load(ctx, key)
	seen := err == nil && copyTime(value).After(last)
	k.mu.Lock()
	if seen {
		k.sightings++
	} else {
		k.sightings = 0
	}
	enough := k.sightings >= enoughSightings
	k.mu.Unlock()
	if enough && k.others.CompareAndSwap(false, true) {
		k.found()
	}
}

// copyTime is when a copy was fetched; zero when that cannot be read.
func copyTime(value []byte) time.Time {
	var copied struct {
		Fetched time.Time `json:"fetched"`
	}
	if json.Unmarshal(value, &copied) != nil {
		return time.Time{}
	}
	return copied.Fetched
}

// tellOthers tells of other nodes that were found while a configuration runs.
func tellOthers() {
	app := runningApps.inForce()
	if app == nil {
		return // the next one tells at its start
	}
	app.mu.Lock()
	defer app.mu.Unlock()
	if app.remembersAlone() && app.seesOthers() {
		app.adviseOthers()
	}
}

// seesOthers says whether other nodes have used the storage since this process
// started. The caller holds mu.
func (a *App) seesOthers() bool {
	for _, set := range a.sets {
		if set.copies.others.Load() {
			return true
		}
	}
	return false
}
