// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// health counts round trips, and logs when they begin to fail and when they succeed again.
type health struct {
	batches, claims, failures atomic.Uint64
	lastTime                  atomic.Int64
	failing                   atomic.Bool
	onBatch                   atomic.Pointer[func(claims int)]

	mu     sync.Mutex
	last   error
	logged time.Time
	warned string
}

// logInterval is how often a failure that goes on is logged.
const logInterval = 10 * time.Second

// answered notes a round trip. One that carried no claims says only that Redis can be reached, not that it can be
// used.
func (h *health) answered(log *zap.Logger, claims int, took time.Duration) {
	if claims == 0 {
		return
	}
	h.batches.Add(1)
	h.claims.Add(uint64(claims))
	(*h.onBatch.Load())(claims)
	h.lastTime.Store(int64(took))
	if !h.failing.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = nil
	if h.failing.CompareAndSwap(true, false) {
		log.Info("redis answers again")
	}
}

func (h *health) failed(log *zap.Logger, err error) {
	h.failures.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := h.last == nil || h.last.Error() != err.Error()
	h.last = err
	h.failing.Store(true)
	if now := time.Now(); fresh && now.Sub(h.logged) > time.Second || now.Sub(h.logged) > logInterval {
		h.logged = now
		log.Error("redis cannot answer: requests with proofs get 503", zap.Error(err))
	}
}

// once warns, unless it has warned of the same before.
func (h *health) once(log *zap.Logger, message string, fields ...zap.Field) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.warned != message {
		h.warned = message
		log.Warn(message, fields...)
	}
}

func (h *health) stats() replay.Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return replay.Stats{
		Batches:   h.batches.Load(),
		Claims:    h.claims.Load(),
		Failures:  h.failures.Load(),
		LastError: h.last,
		LastTime:  time.Duration(h.lastTime.Load()),
	}
}
