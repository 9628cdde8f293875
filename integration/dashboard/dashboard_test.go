// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestDashboard: with a Prometheus set up as contrib/README.md says, every panel has
// something to show, the counters are exact, and the rules are loaded and take notice.
func TestDashboard(t *testing.T) {
	binary := needPrometheus(t)
	s := newStand(t)
	p := startPrometheus(t, binary, s.caddy.Admin)
	// A rate needs two scrapes between which something happened, of a series that was
	// there before.
	for range 2 {
		s.traffic()
		p.scrapedAll(t, s)
	}
	board := loadBoard(t)
	t.Run("panels", func(t *testing.T) { board.show(t, p) })
	t.Run("rules", func(t *testing.T) { p.checkRules(t) })
}

// scrapedAll waits until Prometheus has counted the requests that were sent, each with
// what became of it.
func (p *prometheus) scrapedAll(t *testing.T, s *stand) {
	t.Helper()
	eventually(t, "the scrape of all requests", patience, func() error {
		samples, err := p.query("sum by (outcome, reason) (caddy_dpop_requests_total)")
		if err != nil {
			return err
		}
		got := make(map[fate]float64)
		for _, series := range samples {
			if series.value != 0 { // made in advance
				got[fate{series.labels["outcome"], series.labels["reason"]}] = series.value
			}
		}
		if !maps.Equal(got, s.tally) {
			return fmt.Errorf("counted %v, sent %v", got, s.tally)
		}
		return nil
	})
}

// board is what there is of the dashboard to ask for.
type board struct {
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
			AllValue   string
		}
	}
	Panels []struct {
		Title   string
		Targets []struct{ Expr, LegendFormat string }
	}
}

func loadBoard(t *testing.T) *board {
	t.Helper()
	b := new(board)
	if err := json.Unmarshal([]byte(read(t, "grafana-dashboard.json")), b); err != nil {
		t.Fatal(err)
	}
	if len(b.Panels) < 15 || len(b.Templating.List) != 3 {
		t.Fatalf("%d panels, %d variables", len(b.Panels), len(b.Templating.List))
	}
	return b
}

var (
	labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)
)

// filled is the dashboard's variables with values: what Grafana puts in their places.
type filled []string

func (f filled) in(text string) string { return strings.NewReplacer(f...).Replace(text) }

// variables fills the variables twice: with "All" and with the values that there are.
func (b *board) variables(t *testing.T, p *prometheus) map[string]filled {
	t.Helper()
	times := []string{"$__rate_interval", "5m", "$__range", "1h"} // all of the test's run
	all, chosen := filled(slices.Clone(times)), filled(slices.Clone(times))
	for _, variable := range b.Templating.List {
		if variable.Type != "query" {
			continue
		}
		query, _ := variable.Query.(map[string]any)
		text, _ := query["query"].(string)
		match := labelValues.FindStringSubmatch(chosen.in(text))
		if match == nil {
			t.Fatalf("variable %s: %q", variable.Name, text)
		}
		var values []string
		if err := p.ask("/api/v1/label/"+match[2]+"/values", url.Values{"match[]": {match[1]}}, &values); err != nil {
			t.Fatalf("variable %s: %v", variable.Name, err)
		}
		if len(values) != 1 {
			t.Fatalf("variable %s: %q", variable.Name, values)
		}
		all = append(all, "$"+variable.Name, variable.AllValue)
		chosen = append(chosen, "$"+variable.Name, strings.ReplaceAll(regexp.QuoteMeta(values[0]), `\`, `\\`))
	}
	return map[string]filled{"all": all, "chosen": chosen}
}

// show asks for what each panel shows.
func (b *board) show(t *testing.T, p *prometheus) {
	for name, values := range b.variables(t, p) {
		for _, panel := range b.Panels {
			for _, target := range panel.Targets {
				t.Run(name+"/"+panel.Title, func(t *testing.T) {
					expression := values.in(target.Expr)
					if strings.Contains(expression, "$") {
						t.Fatalf("not filled: %s", expression)
					}
					var shown []sample
					eventually(t, expression, briefly, func() (err error) {
						shown, err = p.query(expression)
						if err == nil && !slices.ContainsFunc(shown, sample.positive) {
							err = fmt.Errorf("shows nothing: %v", shown)
						}
						return err
					})
					for _, label := range legendLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
						for _, series := range shown {
							if series.labels[label[1]] == "" {
								t.Errorf("%s: the legend names %s, which %v has not", expression, label[1], series.labels)
							}
						}
					}
				})
			}
		}
	}
}

// checkRules: all rules are loaded and can be evaluated, and alerts are raised by what
// the traffic was like.
func (p *prometheus) checkRules(t *testing.T) {
	var file struct {
		Groups []struct {
			Rules []struct{ Alert string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus-alerts.yml")), &file); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, group := range file.Groups {
		for _, r := range group.Rules {
			names = append(names, r.Alert)
		}
	}
	eventually(t, "rules", patience, func() error {
		rules, err := p.rules()
		if err != nil {
			return err
		}
		var loaded []string
		for _, r := range rules {
			loaded = append(loaded, r.Name)
			if r.Health != "ok" {
				err = errors.Join(err, fmt.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError))
			}
		}
		if !slices.Equal(loaded, names) {
			return fmt.Errorf("loaded %q, want %q", loaded, names)
		}
		return err
	})
	// Those that wait for some minutes to pass get no further here; the rest is in
	// contrib/prometheus-alerts.test.yml.
	for name, state := range map[string]string{
		"DPoPReplays":            "firing",
		"DPoPStolenTokens":       "firing",
		"DPoPReplayStoreFails":   "pending",
		"DPoPKeysUnavailable":    "pending",
		"DPoPIntrospectionFails": "pending",
		"DPoPClientsRefused":     "",
	} {
		eventually(t, "alert "+name, briefly, func() error { return p.checkAlert(name, state) })
	}
}

func (p *prometheus) checkAlert(name, state string) error {
	rules, err := p.rules()
	if err != nil {
		return err
	}
	found := ""
	for _, r := range rules {
		for _, a := range r.Alerts {
			if r.Name != name {
				continue
			}
			found = a.State
			for _, text := range a.Annotations {
				if strings.Contains(text, "<error") || strings.Contains(text, "<no value>") {
					return fmt.Errorf("it says %q", text)
				}
			}
		}
	}
	if found != state {
		return fmt.Errorf("it is %q, want %q", found, state)
	}
	return nil
}
