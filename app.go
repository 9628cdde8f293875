// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/token"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App is what all `dpop` handlers share: defaults for their options, the
// limits of what they keep in memory, and the key sets, token cache and
// replay stores themselves, which survive reloads.
//
// It need not be configured: a handler brings it up with its defaults.
type App struct {
	// Defaults are used for every option that a handler leaves out. A handler
	// that names a source of access tokens inherits no other. One that is to have
	// none of `scope`, `mtls`, `public_urls`, `realm`, `metadata` or `cors` cannot
	// say so: give these to the handlers that want them instead.
	Defaults *Options `json:"defaults,omitempty"`

	// MaxEntries bounds the used proofs that are remembered. When so many are
	// alive new proofs are answered 503: nothing is forgotten early. Default:
	// 4000000, about 32 bytes each.
	MaxEntries int `json:"max_entries,omitempty"`

	// MaxPerKey bounds the remembered proofs of one client key, so that no
	// client can fill the store; above it the answer is 429. Default: 10000.
	MaxPerKey int `json:"max_per_key,omitempty"`

	// ReplayTimeout bounds how long one request waits for the replay store;
	// after it the answer is 503. Default: 5s.
	ReplayTimeout caddy.Duration `json:"replay_timeout,omitempty"`

	// TokenCache bounds the verified access tokens that are kept, about 2 KB
	// each. Zero keeps none, so that every request pays for a second signature.
	// Default: 100000.
	TokenCache *int `json:"token_cache,omitempty"`

	ctx    caddy.Context
	logger *zap.Logger
	clock  *clock
	tokens *token.Cache
	held   []string // keys that this generation holds in the pool

	mu            sync.Mutex // guards what handlers add while they are provisioned
	handlers      []*Handler
	windows       map[replay.Store]storeUse
	sets          []*pooledKeys
	nonces        *nonceKeys // nil unless a handler uses nonces
	answers       []*token.Introspection
	documents     []*document
	logs          []logUse
	replayStorage *json.RawMessage // what the first `replay storage` named

	hosts    sync.Once // the host rule, see hosts.go
	hostsErr error

	rewritten  map[*Handler]bool // found with the hosts, for advise
	othersTold sync.Once
}

// Defaults and bounds of the limits.
const (
	defaultMaxEntries    = 4_000_000
	defaultMaxPerKey     = 10_000
	defaultReplayTimeout = 5 * time.Second
	maxReplayTimeout     = time.Minute
	defaultTokenCache    = 100_000
)

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "dpop",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision checks the limits and acquires what survives reloads.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	a.windows = make(map[replay.Store]storeUse)
	if a.clock == nil {
		a.clock = &clock{time.Now}
	}

	if err := a.checkLimits(); err != nil {
		return err
	}
	if size := a.cacheSize(); size > 0 {
		cache, err := acquire(&a.held, "token_cache", func() (*pooledCache, error) {
			return &pooledCache{token.NewCache(size, a.clock.Now)}, nil
		})
		if err != nil {
			return err
		}
		a.tokens = cache.Cache
	}
	return registerMetrics(ctx)
}

// cacheSize is how many tokens are kept.
func (a *App) cacheSize() int {
	if a.TokenCache == nil {
		return defaultTokenCache
	}
	return *a.TokenCache
}

func (a *App) checkLimits() error {
	for _, limit := range []struct {
		option   string
		value    *int
		fallback int
	}{
		{"max_entries", &a.MaxEntries, defaultMaxEntries},
		{"max_per_key", &a.MaxPerKey, defaultMaxPerKey},
	} {
		if *limit.value == 0 {
			*limit.value = limit.fallback
		}
		if *limit.value < 1 {
			return optionError(limit.option, *limit.value, "a number above 0")
		}
	}
	if a.ReplayTimeout == 0 {
		a.ReplayTimeout = caddy.Duration(defaultReplayTimeout)
	}
	if t := time.Duration(a.ReplayTimeout); t < 0 || t > maxReplayTimeout {
		return optionError("replay_timeout", t, "a duration above 0 and up to 1m")
	}
	if a.TokenCache != nil && *a.TokenCache < 0 {
		return optionError("token_cache", *a.TokenCache, "0 or a number above it")
	}
	return nil
}

// Start applies the host rule, which needs all routes, tries the storages and
// begins the background refresh of key sets. Requests may have come before.
func (a *App) Start() error {
	if err := a.checkHosts(); err != nil {
		return err
	}
	if err := a.tryStorages(); err != nil {
		return err
	}
	runningApps.begin(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, set := range a.sets {
		set.Start()
	}
	if a.nonces != nil {
		go a.nonces.refresh(a.ctx)
	}
	go a.watchClock()
	a.advise()
	return nil
}

// Stop lets the next generation take over; what both share ends when its last
// user is gone.
func (a *App) Stop() error {
	runningApps.end(a)
	return nil
}

// Cleanup releases what Provision acquired. When the load failed after Start,
// Caddy may not have called Stop.
func (a *App) Cleanup() error {
	runningApps.end(a)
	windows.drop(a)
	return release(a.held)
}

// clock is where an app has the time from. What outlives the app keeps the
// clock and not the app.
type clock struct {
	now func() time.Time // time.Now but in tests
}

// Now returns the time.
func (c *clock) Now() time.Time { return c.now() }

func (a *App) now() time.Time { return a.clock.Now() }

func (a *App) register(h *Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handlers = append(a.handlers, h)
}

// replayParams are the limits that every replay store is opened with.
func (a *App) replayParams(space string, logger *zap.Logger) replay.Params {
	return replay.Params{
		Space:      space,
		MaxEntries: a.MaxEntries,
		MaxPerKey:  a.MaxPerKey,
		Timeout:    time.Duration(a.ReplayTimeout),
		Logger:     logger,
	}
}

// storeUse is what this configuration asks of a replay store.
type storeUse struct {
	replay.Window
	params replay.Params // of the first handler
}

// widenWindow tells a store the longest time up to which any of its handlers
// could accept a proof: an entry must not expire while one of them still would.
func (a *App) widenWindow(store replay.Store, p replay.Params, w replay.Window) {
	a.mu.Lock()
	defer a.mu.Unlock()
	use, known := a.windows[store]
	if !known {
		use.params = p
	}
	use.Window = widestWindow(use.Window, w)
	a.windows[store] = use
	windows.use(a, store, use.Window)
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)

// pool holds what survives reloads, by constant keys or by what makes two
// configurations mean the same thing, never by tunables.
var pool = caddy.NewUsagePool()

// acquire takes a value from the pool, or makes it, and notes the key so that
// only what was acquired is released.
func acquire[T caddy.Destructor](held *[]string, key string, construct func() (T, error)) (T, error) {
	value, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return construct() })
	if err != nil {
		var zero T
		return zero, err
	}
	*held = append(*held, key)
	typed, ok := value.(T)
	if !ok {
		return typed, fmt.Errorf("pooled %q is a %T", key, value)
	}
	return typed, nil
}

// release gives back what acquire took.
func release(held []string) error {
	var failed error
	for _, key := range held {
		_, err := pool.Delete(key)
		failed = errors.Join(failed, err)
	}
	return failed
}

// pooledCache is the token cache as the pool wants it.
type pooledCache struct{ *token.Cache }

// Destruct has nothing to end: the cache is memory.
func (pooledCache) Destruct() error { return nil }
