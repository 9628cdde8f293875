// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package contrib has the dashboard and the alert rules, and a test that holds them
// and docs/operations.md against the metrics of a running Caddy.
package contrib

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-dpop/caddy-dpop"
	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// metric is what a scrape says about one name.
type metric struct {
	kind   string
	labels []string
}

const config = `{
	admin off
	persist_config off
	default_bind 127.0.0.1
	storage file_system $DIR
	metrics
}
http://127.0.0.1:$PORT {
	metrics /metrics
	dpop /api/* {
		issuer http://127.0.0.1:1
		introspection http://127.0.0.1:1/introspect {
			client_id api
			client_secret secret
		}
		audience any
		public_url http://127.0.0.1:$PORT
		nonce optional
		replay memory
	}
	dpop /token {
		proof_only
		public_url http://127.0.0.1:$PORT
	}
}
`

var (
	typeLine   = regexp.MustCompile(`^# TYPE (caddy_dpop_\w+) (\w+)$`)
	sampleLine = regexp.MustCompile(`^(caddy_dpop_\w+)\{(.*)\} `)
	labelName  = regexp.MustCompile(`(\w+)="`)
	ofHistory  = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// scrape runs a Caddy with everything configured that has metrics, and asks it.
func scrape(t *testing.T) map[string]metric {
	t.Helper()
	_, port, _ := net.SplitHostPort(process.FreeAddress())
	text := strings.NewReplacer("$PORT", port, "$DIR", t.TempDir()).Replace(config)
	value, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(value, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	site := "http://127.0.0.1:" + port
	if _, err := get(site+"/api/", ""); err != nil {
		t.Fatal(err)
	}
	// A store shows its batches once it has had one. What was issued before it began never gets there.
	proof := testkit.NewProof(testkit.P256("client"), http.MethodGet, site+"/token", "", time.Now().Add(20*time.Second))
	if _, err := get(site+"/token", proof.String()); err != nil {
		t.Fatal(err)
	}
	answer, err := get(site+"/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	metrics := make(map[string]metric)
	lines := bufio.NewScanner(strings.NewReader(answer))
	for lines.Scan() {
		if match := typeLine.FindStringSubmatch(lines.Text()); match != nil {
			metrics[match[1]] = metric{kind: match[2]}
		}
		if match := sampleLine.FindStringSubmatch(lines.Text()); match != nil {
			name := strings.TrimSuffix(match[1], "_count") // a histogram has this, with its own labels
			m, ok := metrics[name]
			if !ok {
				continue // another part of it
			}
			m.labels = nil
			for _, name := range labelName.FindAllStringSubmatch(match[2], -1) {
				m.labels = append(m.labels, name[1])
			}
			metrics[name] = m
		}
	}
	if len(metrics) < 10 {
		t.Fatalf("found only %d metrics", len(metrics))
	}
	return metrics
}

func get(url, proof string) (string, error) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if proof != "" {
		r.Header.Set("DPoP", proof)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// queries are the expressions of the dashboard and of the rules, by where they stand.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(file(t, "grafana-dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			all["panel "+panel.Title+": "+target.Expr] = target.Expr
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(file(t, "prometheus-alerts.yml"), &rules); err != nil {
		t.Fatal(err)
	}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			all["alert "+rule.Alert] = rule.Expr
			if rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("alert %s has no severity, summary or description", rule.Alert)
			}
		}
	}
	if len(all) < 25 {
		t.Fatalf("found only %d expressions", len(all))
	}
	return all
}

func file(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var (
	metricName = regexp.MustCompile(`caddy_dpop_\w+`)
	grouping   = regexp.MustCompile(`by \(([\w, ]+)\) \((?:rate\()?(caddy_dpop_\w+)`)
	selector   = regexp.MustCompile(`(caddy_dpop_\w+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`)
)

// TestMetricsExist: the dashboard and the rules ask only for metrics and labels that
// there are, and every metric is on the dashboard.
func TestMetricsExist(t *testing.T) {
	metrics := scrape(t)
	find := func(where, name string) metric {
		if m, ok := metrics[name]; ok {
			return m
		}
		base := ofHistory.ReplaceAllString(name, "")
		m, ok := metrics[base]
		if !ok || m.kind != "histogram" {
			t.Errorf("%s: there is no metric %s", where, name)
		}
		return metric{m.kind, append(slices.Clone(m.labels), "le")}
	}
	shown := make(map[string]bool)
	for where, expr := range queries(t) {
		for _, name := range metricName.FindAllString(expr, -1) {
			find(where, name)
			if strings.HasPrefix(where, "panel ") {
				shown[name] = true
				shown[ofHistory.ReplaceAllString(name, "")] = true
			}
		}
		check := func(name, label string) {
			if m := find(where, name); label != "job" && label != "instance" && !slices.Contains(m.labels, label) {
				t.Errorf("%s: %s has no label %s, but %q", where, name, label, m.labels)
			}
		}
		for _, match := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(match[1], ",") {
				check(match[2], strings.TrimSpace(label))
			}
		}
		for _, match := range selector.FindAllStringSubmatch(expr, -1) {
			for _, m := range matcher.FindAllStringSubmatch(match[2], -1) {
				check(match[1], m[1])
			}
		}
	}
	for name := range metrics {
		if !shown[name] {
			t.Errorf("%s is not on the dashboard", name)
		}
	}
	checkDocumented(t, metrics)
}

var row = regexp.MustCompile("(?m)^\\| `(caddy_dpop_\\w+)` \\| (\\w+) \\|([^|]*)\\|")

// checkDocumented holds the table of docs/operations.md against the metrics.
func checkDocumented(t *testing.T, metrics map[string]metric) {
	t.Helper()
	documented := make(map[string]bool)
	for _, match := range row.FindAllStringSubmatch(string(file(t, "../docs/operations.md")), -1) {
		name, kind := match[1], match[2]
		documented[name] = true
		var labels []string
		for _, label := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(match[3], -1) {
			labels = append(labels, label[1])
		}
		if m := metrics[name]; m.kind != kind || !slices.Equal(m.labels, labels) {
			t.Errorf("%s is documented as a %s with %q; it is a %s with %q", name, kind, labels, m.kind, m.labels)
		}
	}
	for name := range metrics {
		if !documented[name] {
			t.Errorf("%s is not in docs/operations.md", name)
		}
	}
}

// TestAlertsTested: every alert is raised by a case of prometheus-alerts.test.yml.
func TestAlertsTested(t *testing.T) {
	var cases struct {
		Tests []struct {
			Cases []struct {
				Alert    string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(file(t, "prometheus-alerts.test.yml"), &cases); err != nil {
		t.Fatal(err)
	}
	raised := make(map[string]bool)
	for _, test := range cases.Tests {
		for _, c := range test.Cases {
			raised[c.Alert] = raised[c.Alert] || len(c.Expected) > 0
		}
	}
	for where := range queries(t) {
		if alert, ok := strings.CutPrefix(where, "alert "); ok && !raised[alert] {
			t.Errorf("no case raises %s", alert)
		}
	}
}

// TestRules lets Prometheus' own tool check and test the rules, and check the
// dashboard's expressions.
func TestRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (apt-get install prometheus)")
	}
	for _, args := range [][]string{{"check", "rules", "prometheus-alerts.yml"}, {"test", "rules", "prometheus-alerts.test.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$job", ".*", "$instance", ".*")
	var rules []map[string]string
	for _, expr := range queries(t) {
		rules = append(rules, map[string]string{"record": "x", "expr": variables.Replace(expr)})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "panels", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	panels := t.TempDir() + "/panels.yml"
	if err := os.WriteFile(panels, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "check", "rules", panels).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
