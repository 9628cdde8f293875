// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-dpop/caddy-dpop/token"
)

// What is allowed but seldom meant is said once, in a clear line.

// advise looks at the configuration as a whole.
func (a *App) advise() {
	for _, h := range a.handlers {
		name := zap.Strings("public_urls", h.PublicURLs)
		if h.Mode == wordMonitor {
			a.logger.Warn("dpop only monitors: every request is let through", name)
		}
		if h.store == nil {
			a.logger.Warn("replay is off: a proof can be used again until it is too old", name)
		}
		if a.rewritten[h] {
			a.logger.Warn("the matcher of a dpop looks at a path that an earlier directive rewrites: "+
				"make sure that no request gets around it; the proof is held against the path as sent", name)
		}
		for _, e := range h.endpoints {
			if e.Scheme() == "http" && !token.IsLoopback(hostname(e.Host())) {
				a.logger.Warn("a public URL is http: tokens and proofs travel in clear", zap.String("public_url", e.String()))
			}
		}
	}
	_, local := a.ctx.Storage().(*certmagic.FileStorage)
	switch {
	case !a.remembersAlone():
	case a.seesOthers():
		a.adviseOthers()
	case !local:
		a.logger.Warn("replay memory, but Caddy's storage looks shared by several nodes: " +
			"a proof passes once on each of them; `replay storage` is exact on all")
	}
}

// adviseOthers says, once, that other nodes were seen. The caller holds mu.
func (a *App) adviseOthers() {
	a.othersTold.Do(func() {
		a.logger.Warn("replay memory, but other nodes were seen on Caddy's storage: where they answer for the same " +
			"public URL, a proof passes once on each of them; `replay storage` is exact on all")
	})
}

// remembersAlone says whether used proofs stay in this process.
func (a *App) remembersAlone() bool {
	for store := range a.windows {
		if _, memory := store.(*pooledTable); memory {
			return true
		}
	}
	return false
}

// rewrites says whether a route changes the path that later matchers see.
// Taking a prefix off is left out: handle_path does that on purpose.
func rewrites(r *caddyhttp.Route) bool {
	for _, handler := range r.Handlers {
		if re, ok := handler.(*rewrite.Rewrite); ok &&
			(re.URI != "" || re.StripPathSuffix != "" || len(re.URISubstring) > 0 || len(re.PathRegexp) > 0) {
			return true
		}
	}
	return false
}

// matchesPath says whether a route is chosen by its path.
func matchesPath(sets caddyhttp.MatcherSets) bool {
	for _, set := range sets {
		for _, matcher := range set {
			switch matcher.(type) {
			case *caddyhttp.MatchPath, caddyhttp.MatchPath, *caddyhttp.MatchPathRE, caddyhttp.MatchPathRE:
				return true
			}
		}
	}
	return false
}

// adviseProxy explains, once, the most common reason for a htu_mismatch.
func (h *Handler) adviseProxy(r *http.Request) {
	if r.Header.Get("X-Forwarded-Proto") == "" && r.Header.Get("X-Forwarded-Host") == "" {
		return
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		return
	}
	h.proxied.Do(func() {
		h.logger.Warn("a request that was refused for its target has X-Forwarded fields, but its peer is not among "+
			"trusted_proxies: behind a proxy set `public_url`, or trusted_proxies in the servers options",
			zap.String("peer", r.RemoteAddr))
	})
}

// How often the clock is looked at, and by how much it may move by itself.
const (
	clockInterval = time.Minute
	clockJump     = 5 * time.Second
)

// watchClock says when the wall clock jumped: proofs and tokens are judged by
// it. It ends with the configuration.
func (a *App) watchClock() {
	ticker := time.NewTicker(clockInterval)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		if jump := clockJumped(last, now); jump.Abs() > clockJump {
			a.logger.Warn("the clock jumped: proofs are refused until clients and this server agree again", zap.Duration("jump", jump))
		}
		last = now
	}
}

// clockJumped is the difference between what the wall clock and the monotonic
// clock say has passed.
func clockJumped(last, now time.Time) time.Duration {
	return now.Round(0).Sub(last.Round(0)) - now.Sub(last)
}
