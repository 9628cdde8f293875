// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package dpop

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// watch sees all that a Caddy tells about one request: the last one that was
// sent, whatever others a case needed before it.
type watch struct {
	n       *node
	port    string             // of the site with the metrics
	sent    int                // requests so far
	logged  int                // bytes of the log before the last request
	counted map[string]float64 // counters before the last request
}

// watched starts a Caddy that is watched.
func watched(t *testing.T, config string, globals ...string) *watch {
	t.Helper()
	w := watching(t, globals...)
	w.n.reload(logged(config))
	return w
}

// watching is watched before there is a configuration.
func watching(t *testing.T, globals ...string) *watch {
	t.Helper()
	w := &watch{n: prepare(t, globals...), port: freePort(t)}
	w.n.before = w.mark
	w.n.beside = "http://127.0.0.1:" + w.port + " {\n\tmetrics\n}\n"
	return w
}

// logged gives the sites of a configuration an access log.
func logged(config string) string { return strings.ReplaceAll(config, "\tdpop {", "\tlog\n\tdpop {") }

// mark begins a request: what the one before it caused is over by then.
func (w *watch) mark() {
	w.n.t.Helper()
	w.settle()
	w.sent++
	w.logged = len(w.n.log.String())
	w.counted = w.scrape()
}

// settle waits for the access log, which is written after the answer.
func (w *watch) settle() {
	w.n.t.Helper()
	eventually(w.n.t, "a line in the access log", func() bool {
		return strings.Count(w.n.log.String(), `"logger":"http.log.access"`) == w.sent
	})
}

var counterLine = regexp.MustCompile(`(?m)^(caddy_dpop_(?:requests|nonce_challenges)_total(?:\{[^}]*\})?) (\S+)$`)

// scrape reads the counters of requests as Prometheus does.
func (w *watch) scrape() map[string]float64 {
	w.n.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+w.port+"/metrics", nil)
	must(w.n.t, err)
	res, err := roundTrip(&http.Transport{DisableKeepAlives: true}, r)
	must(w.n.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(w.n.t, err)
	series := make(map[string]float64)
	for _, match := range counterLine.FindAllStringSubmatch(string(body), -1) {
		series[match[1]], err = strconv.ParseFloat(match[2], 64)
		must(w.n.t, err)
	}
	return series
}

// observation is what there was to see of one request.
type observation struct {
	answer answer
	lines  []map[string]any   // that say "request refused"
	access map[string]any     // the line of the access log
	rose   map[string]float64 // the series that rose, and by how much
}

// observe sees what became of the last request.
func (w *watch) observe(a answer) *observation {
	w.n.t.Helper()
	w.settle()
	o := &observation{answer: a, rose: w.scrape()}
	maps.DeleteFunc(o.rose, func(series string, value float64) bool { return value == w.counted[series] })
	for series := range o.rose {
		o.rose[series] -= w.counted[series]
	}
	for line := range strings.Lines(w.n.log.String()[w.logged:]) {
		var entry map[string]any
		must(w.n.t, json.Unmarshal([]byte(line), &entry))
		switch {
		case entry["msg"] == "request refused":
			o.lines = append(o.lines, entry)
		case entry["logger"] == "http.log.access":
			o.access = entry
		}
	}
	return o
}
