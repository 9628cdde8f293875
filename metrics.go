// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/proof"
	"github.com/caddy-dpop/caddy-dpop/token"
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
		Help:      "How far the clocks of clients are ahead, from the iat of proofs that passed or were refused for it.",
		Buckets:   []float64{-3600, -300, -60, -30, -10, -5, -2, -1, 0, 1, 2, 5, 10, 30, 60, 300, 3600},
	})

	checkSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "caddy",
		Subsystem: "dpop",
		Name:      "check_duration_seconds",
		Help:      "Time that requests spent in dpop, accepted and refused ones, the replay store included.",
		Buckets:   []float64{1e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, .01, .05, .1, .5, 1, 5},
	})

	replaySeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "caddy",
		Subsystem: "dpop",
		Name:      "replay_duration_seconds",
		Help:      "Time that requests waited for the replay store.",
		Buckets:   []float64{1e-6, 1e-5, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, .01, .02, .05, .1, .5, 1, 5},
	})

	replayBatchSize = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy",
		Subsystem: "dpop",
		Name:      "replay_batch_size",
		Help:      "Claims that shared one round trip to the replay store.",
		Buckets:   prometheus.ExponentialBuckets(1, 2, 11), // to 1024
	}, []string{"store"})

	nonceChallenges = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy",
		Subsystem: "dpop",
		Name:      "nonce_challenges_total",
		Help:      "Answers that asked for a proof with a nonce.",
	})
)

// state is read from the app in force at each scrape: sizes and ages that
// nobody needs to count on the way of a request.
var state = new(stateCollector)

type stateCollector struct{}

func stateDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", "dpop", name), help, labels, nil)
}

var (
	descReplayEntries  = stateDesc("replay_entries", "Used proofs that are remembered.", "store")
	descReplayNodes    = stateDesc("replay_nodes", "Nodes seen on the shared storage, this one included.", "store")
	descReplayBatches  = stateDesc("replay_batches_total", "Round trips to the replay store.", "store")
	descReplayClaims   = stateDesc("replay_claims_total", "Claims carried by these round trips.", "store")
	descReplayFailures = stateDesc("replay_failures_total", "Round trips to the replay store that failed.", "store")
	descKeysAge        = stateDesc("keys_age_seconds", "Age of the key set in use.", "key_set")
	descKeysRefreshes  = stateDesc("keys_refreshes_total", "Fetches of the key set, failed ones included.", "key_set")
	descKeysFailures   = stateDesc("keys_refresh_failures_total", "Fetches of the key set that failed.", "key_set")
	descAsked          = stateDesc("introspection_requests_total", "Requests to the introspection endpoint, failed ones included.", "endpoint")
	descAskedFailures  = stateDesc("introspection_failures_total", "Requests to the introspection endpoint that failed.", "endpoint")
	descTokenCache     = stateDesc("token_cache_entries", "Access tokens in the cache.")
)

// Describe implements prometheus.Collector.
func (*stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		descReplayEntries, descReplayNodes, descReplayBatches, descReplayClaims, descReplayFailures,
		descKeysAge, descKeysRefreshes, descKeysFailures, descAsked, descAskedFailures, descTokenCache,
	} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector. Key sets and stores are named by
// the configuration, so their number is bounded.
func (*stateCollector) Collect(ch chan<- prometheus.Metric) {
	app := runningApps.inForce()
	if app == nil {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	counter := func(desc *prometheus.Desc, value uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	status := app.status()
	for _, store := range status.Replay {
		name := storeLabel(store.Store, store.Space)
		gauge(descReplayEntries, float64(store.Entries), name)
		gauge(descReplayNodes, float64(store.Nodes), name)
		counter(descReplayBatches, store.Batches, name)
		counter(descReplayClaims, store.Claims, name)
		counter(descReplayFailures, store.Failures, name)
	}
	for _, set := range status.KeySets {
		gauge(descKeysAge, set.Age, set.ID)
		counter(descKeysRefreshes, set.Fetches, set.ID)
		counter(descKeysFailures, set.Failures, set.ID)
	}
	asked := make(map[string]token.IntrospectionStatus) // several clients of one endpoint count together
	for _, endpoint := range status.Introspection {
		sum := asked[endpoint.Endpoint]
		sum.Calls += endpoint.Calls
		sum.Failures += endpoint.Failures
		asked[endpoint.Endpoint] = sum
	}
	for endpoint, sum := range asked {
		counter(descAsked, sum.Calls, endpoint)
		counter(descAskedFailures, sum.Failures, endpoint)
	}
	gauge(descTokenCache, float64(status.TokenCache))
}

// storeLabel names a replay store in the metrics.
func storeLabel(kind, space string) string {
	if space == "" {
		return kind
	}
	return kind + "_" + space
}

// observeBatches counts the batches of a store, which outlives configurations
// as the collector does. Nothing is shown of a store that makes none.
func observeBatches(kind, space string) func(claims int) {
	histogram := sync.OnceValue(func() prometheus.Observer {
		return replayBatchSize.WithLabelValues(storeLabel(kind, space))
	})
	return func(claims int) { histogram().Observe(float64(claims)) }
}

// registerMetrics makes the collectors visible in the registry of this
// configuration. Several generations and handlers register the same ones.
func registerMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	for _, c := range []prometheus.Collector{requestsTotal, clockOffset, nonceChallenges, checkSeconds, replaySeconds, replayBatchSize, state} {
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

func (h *Handler) countAccepted(c *check) {
	switch {
	case c.claims == nil:
		h.requests.none.Inc()
	case c.record != nil || c.answered:
		h.requests.cached.Inc()
	default:
		h.requests.fresh.Inc()
	}
	if c.proof != nil {
		clockOffset.Observe(c.proof.Offset(c.now).Seconds())
	}
}

func (h *Handler) countRefusal(c *check, reason Reason, answer refusal) {
	outcome, found := "refused", "none"
	if h.Mode == wordMonitor {
		outcome = "monitored"
	}
	switch {
	case c.record != nil || c.answered:
		found = "cached"
	case c.claims != nil:
		found = "new"
	}
	requestsTotal.WithLabelValues(outcome, string(reason), found).Inc()
	if outcome == "refused" && answer.code == errUseNonce {
		nonceChallenges.Inc()
	}
	// A clock that is off is why these were refused: whose is, and by how much,
	// is what an operator wants to know.
	switch proof.Reason(reason) {
	case proof.ReasonIATTooOld, proof.ReasonIATInFuture, proof.ReasonIATChallenged:
		clockOffset.Observe(c.proof.Offset(c.now).Seconds())
	default:
	}
}
