// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// The collectors are made once: every configuration has a registry of its
// own, and values must survive reloads. Labels come from closed lists only.
var (
	requestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy",
		Subsystem: "dpop",
		Name:      "requests_total",
		Help:      "Requests by outcome (accepted, refused, monitored), reason of the refusal and where the token was found (cached, new, none).",
	}, []string{"outcome", "reason", "token"})

	clockOffset = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "caddy",
		Subsystem: "dpop",
		Name:      "clock_offset_seconds",
		Help:      "How far the clocks of clients are ahead, from the iat of proofs with a good signature or a bad iat.",
		Buckets:   []float64{-3600, -300, -60, -30, -10, -5, -2, -1, 0, 1, 2, 5, 10, 30, 60, 300, 3600},
	})

	nonceChallenges = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy",
		Subsystem: "dpop",
		Name:      "nonce_challenges_total",
		Help:      "Answers that asked for a proof with a nonce.",
	})
)

// registerMetrics makes the collectors visible in the registry of this
// configuration. Several generations and handlers register the same ones.
func registerMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	for _, c := range []prometheus.Collector{requestsTotal, clockOffset, nonceChallenges} {
		if err := registry.Register(c); err != nil {
			if _, again := errors.AsType[prometheus.AlreadyRegisteredError](err); !again {
				return err
			}
		}
	}
	return nil
}

// requestCounters are the counters of the accepted path, looked up once.
type requestCounters struct {
	cached, fresh, none prometheus.Counter
}

func newRequestCounters() requestCounters {
	return requestCounters{
		cached: requestsTotal.WithLabelValues("accepted", "", "cached"),
		fresh:  requestsTotal.WithLabelValues("accepted", "", "new"),
		none:   requestsTotal.WithLabelValues("accepted", "", "none"),
	}
}

// count counts a request's outcome.
func (h *Handler) count(c *check, err error) {
	if err != nil {
		h.countRefusal(c, err)
		return
	}
	switch {
	case c.claims == nil:
		h.requests.none.Inc()
	case c.record != nil:
		h.requests.cached.Inc()
	default:
		h.requests.fresh.Inc()
	}
	if c.proof != nil {
		clockOffset.Observe(c.proof.Offset(c.now).Seconds())
	}
}

func (h *Handler) countRefusal(c *check, err error) {
	outcome, found := "refused", "none"
	if h.Mode == wordMonitor {
		outcome = "monitored"
	}
	switch {
	case c.record != nil:
		found = "cached"
	case c.claims != nil:
		found = "new"
	}
	reason := reasonOf(err)
	requestsTotal.WithLabelValues(outcome, string(reason), found).Inc()
	if h.answer(reason).code == errUseNonce {
		nonceChallenges.Inc()
	}
}
