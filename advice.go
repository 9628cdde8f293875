// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import "go.uber.org/zap"

// advise says, once at start, what is allowed but seldom meant.
func (a *App) advise() {
	for _, h := range a.handlers {
		if h.Mode == wordMonitor {
			a.logger.Warn("dpop only monitors: every request is let through", zap.Strings("public_urls", h.PublicURLs))
		}
		if h.store == nil {
			a.logger.Warn("replay is off: a proof can be used again until it is too old", zap.Strings("public_urls", h.PublicURLs))
		}
		for _, e := range h.endpoints {
			if e.Scheme() == "http" && !isLoopback(hostname(e.Host())) {
				a.logger.Warn("a public URL is http: tokens and proofs travel in clear", zap.String("public_url", e.String()))
			}
		}
	}
}
