// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

const contrib = "../../contrib/"

// prometheus is a running Prometheus.
type prometheus struct {
	process.Process
	url string
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// needPrometheus returns the path of the program, or skips the test.
func needPrometheus(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed (apt-get install prometheus)")
	}
	return binary
}

// startPrometheus runs a Prometheus with the configuration of contrib/README.md.
func startPrometheus(t *testing.T, binary, target string) *prometheus {
	t.Helper()
	readme := yamlBlock.FindStringSubmatch(read(t, "README.md"))
	rules, err := filepath.Abs(contrib + "prometheus-alerts.yml")
	if err != nil || readme == nil {
		t.Fatalf("contrib/README.md has no configuration, or %v", err)
	}
	// A person waits for a minute; a test does not.
	config := "global:\n  scrape_interval: 500ms\n  scrape_timeout: 500ms\n  evaluation_interval: 500ms\n" +
		strings.NewReplacer("localhost:2019", target, "prometheus-alerts.yml", rules).Replace(readme[1])
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address := process.FreeAddress()
	p := &prometheus{url: "http://" + address}
	cmd := exec.Command(binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Dir, cmd.Env = dir, process.Environment(dir)
	if err := p.Run(cmd, "Server is ready to receive web requests"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(contrib + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ask reads from Prometheus' HTTP API.
func (p *prometheus) ask(path string, parameters url.Values, data any) error {
	res, err := http.Get(p.url + path + "?" + parameters.Encode())
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s: %w", path, res.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// sample is one series of an instant query.
type sample struct {
	labels map[string]string
	value  float64
}

func (s sample) positive() bool { return s.value > 0 && !math.IsInf(s.value, 0) } // NaN is not

// query evaluates an expression now.
func (p *prometheus) query(expression string) ([]sample, error) {
	var data struct {
		ResultType string
		Result     []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := p.ask("/api/v1/query", url.Values{"query": {expression}}, &data); err != nil {
		return nil, err
	}
	if data.ResultType != "vector" {
		return nil, fmt.Errorf("the result is a %s", data.ResultType)
	}
	var samples []sample
	for _, series := range data.Result {
		text, _ := series.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		samples = append(samples, sample{series.Metric, value})
	}
	return samples, nil
}

// alert is one that is pending or firing.
type alert struct {
	Name        string
	State       string
	Labels      map[string]string
	Annotations map[string]string
}

// rule is one that has been loaded.
type rule struct {
	Name, Type, Health, LastError string
	Alerts                        []alert
}

func (p *prometheus) rules() ([]rule, error) {
	var data struct{ Groups []struct{ Rules []rule } }
	if err := p.ask("/api/v1/rules", nil, &data); err != nil {
		return nil, err
	}
	var rules []rule
	for _, group := range data.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules, nil
}
