// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// quic-go's client is not free of races when it sends early data, see earlydata_test.go.
//go:build !race

package dpop

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// expectation is what one refusal has to look like wherever it is told of.
type expectation struct {
	reason            Reason
	status            int // of the refusal; with `mode monitor` the request passes
	code, description string
	challenges        []string
	body              string // "" means that of the error route
	monitored         bool
}

// expected is what the table of refusals says.
func expected(c reasonCase) *expectation {
	r := refusals[c.reason]
	e := &expectation{reason: c.reason, status: r.status, code: r.code, description: r.description}
	if r.status <= 403 {
		e.challenges = []string{challenged(r.code, r.description)}
	}
	if c.expect != nil {
		c.expect(e)
	}
	return e
}

// TestReasons has a running Caddy refuse a request for each reason, and holds
// against each other what it tells about it: to the client, to error routes, to
// both logs, to the metrics and in docs/troubleshooting.md. What was seen is the
// table in docs/reasons.md.
func TestReasons(t *testing.T) {
	entries := troubleshooting(t)
	seen := make(map[Reason]*observation)
	inReasonGroups(t, reasonGroups(), func(t *testing.T, _ string, c reasonCase, o *observation) {
		t.Helper()
		if _, again := seen[c.reason]; again {
			t.Error("produced twice")
		}
		seen[c.reason] = o
		o.agrees(t, expected(c))
		entries[c.reason].agrees(t, o)
	})
	closed := allReasons(t)
	for _, reason := range closed {
		if _, ok := seen[reason]; !ok {
			t.Errorf("%s was not produced", reason)
		}
	}
	for reason := range seen {
		if !slices.Contains(closed, reason) {
			t.Errorf("%s is not in the closed list", reason)
		}
	}

	var elsewhere []string
	inReasonGroups(t, reasonsElsewhere(), func(t *testing.T, group string, c reasonCase, o *observation) {
		t.Helper()
		e := expected(c)
		o.agrees(t, e)
		if e.code != "" && !strings.Contains(entries[c.reason].text, "`"+e.code+"`") {
			t.Errorf("docs/troubleshooting.md does not speak of %s", e.code)
		}
		elsewhere = append(elsewhere, "| `"+group+"` "+o.row(t))
	})
	if t.Failed() {
		return
	}
	rows := slices.SortedFunc(maps.Keys(seen), func(a, b Reason) int { return entries[a].place - entries[b].place })
	var main []string
	for _, reason := range rows {
		main = append(main, seen[reason].row(t))
	}
	writeReasons(t, map[string][]string{"reasons": main, "elsewhere": elsewhere})
}

func inReasonGroups(t *testing.T, groups []reasonGroup, each func(t *testing.T, group string, c reasonCase, o *observation)) {
	t.Helper()
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			w := group.start(t)
			for _, c := range group.cases {
				a := c.send(w.n.client())
				t.Run(string(c.reason), func(t *testing.T) { each(t, group.name, c, w.observe(a)) })
			}
		})
	}
}

// agrees holds everything that was seen of a refusal against what it should be.
func (o *observation) agrees(t *testing.T, e *expectation) {
	t.Helper()
	equal := func(what string, got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	wire := e.status
	body := e.body
	if e.monitored {
		wire = 200
	}
	if body == "" {
		body = fmt.Sprintf("reason=%s error=%s jkt= user=", e.reason, e.code)
	}
	equal("status", o.answer.status, wire)
	equal("body", o.answer.body, body)
	equal("requests at the upstream", o.answer.hits, map[bool]int{true: 1}[e.monitored])
	equal("WWW-Authenticate", strings.Join(o.answer.header["Www-Authenticate"], "\n"), strings.Join(e.challenges, "\n"))
	equal("DPoP-Nonce", len(o.answer.header["Dpop-Nonce"]) == 1, e.code == errUseNonce && !e.monitored)
	equal("Retry-After", len(o.answer.header["Retry-After"]) == 1, e.status == 503 || e.status == 429)
	if !e.monitored {
		equal("Cache-Control", o.answer.header["Cache-Control"], []string{"no-store"})
	}

	if len(o.lines) != 1 {
		t.Fatalf("%d log lines, want 1: %v", len(o.lines), o.lines)
	}
	line := o.lines[0]
	equal("level", line["level"], map[bool]string{true: "error", false: "info"}[e.status >= 500])
	for field, want := range map[string]any{
		"logger": "http.handlers.dpop", "reason": e.reason, "status": e.status, "error": e.code,
		"client_ip": "127.0.0.1", "method": "GET", "monitor": e.monitored,
	} {
		equal("log: "+field, line[field], want)
	}
	host, _ := line["host"].(string)
	equal("log: host without its port", strings.HasSuffix(strings.Split(host, ":")[0], ".test"), true)
	for _, field := range o.further() {
		compared := strings.HasSuffix(field, "_claimed") || strings.HasSuffix(field, "_expected")
		if !compared && !slices.Contains([]string{"jkt", "clock_offset", "cause"}, field) {
			t.Errorf("log: field %s", field)
		}
	}

	equal("access log: status", o.access["status"], wire)
	fields, _ := o.access["dpop"].(map[string]any)
	equal("access log: reason", fields["reason"], e.reason)
	if e.code == "" {
		equal("access log: error", fields["error"], nil)
	} else {
		equal("access log: error", fields["error"], e.code)
	}

	outcome := "refused"
	if e.monitored {
		outcome = "monitored"
	}
	rose := map[string]float64{
		fmt.Sprintf("caddy_dpop_requests_total{outcome=%q,reason=%q,token=%q}", outcome, e.reason, o.labels()[1]): 1,
	}
	if e.code == errUseNonce && !e.monitored {
		rose["caddy_dpop_nonce_challenges_total"] = 1
	}
	equal("metrics that rose", o.rose, rose)
}

var requestLabels = regexp.MustCompile(`outcome="(\w+)",reason="\w+",token="(cached|new|none)"`)

// labels are outcome and token of the series that rose.
func (o *observation) labels() []string {
	for series := range o.rose {
		if match := requestLabels.FindStringSubmatch(series); match != nil {
			return match[1:]
		}
	}
	return []string{"", ""}
}

// further are the fields of the log line that not every refusal has.
func (o *observation) further() []string {
	var names []string
	for name := range o.lines[0] {
		if !slices.Contains([]string{"level", "ts", "logger", "msg", "reason", "status", "error", "client_ip", "method", "host", "monitor"}, name) {
			names = append(names, name)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// told is what the client was told, and how.
func (o *observation) told(t *testing.T) (code, description, how string) {
	t.Helper()
	if o.answer.header.Get("Content-Type") == "application/json" { // as a token endpoint does
		var body map[string]string
		must(t, json.Unmarshal([]byte(o.answer.body), &body))
		return body["error"], body["error_description"], "JSON"
	}
	challenges, err := testkit.ParseChallenges(o.answer.header["Www-Authenticate"])
	must(t, err)
	var all []string
	for _, c := range challenges {
		if c.Params["error"] != "" {
			code, description = c.Params["error"], c.Params["error_description"]
		}
		names := slices.SortedFunc(maps.Keys(c.Params), func(a, b string) int {
			value := func(name string) string { return " " + name + `="` }
			line := o.answer.header["Www-Authenticate"][len(all)]
			return strings.Index(line, value(a)) - strings.Index(line, value(b))
		})
		all = append(all, "`"+c.Scheme+"` "+strings.Join(names, " "))
	}
	return code, description, strings.Join(all, ", ")
}

const (
	reasonsHead = "reason | status | `error` | `error_description` | challenge | other fields | level | further log fields | `outcome`, `token` |"
	reasonsRule = "|---|---|---|---|---|---|---|---|---|"
)

// row is the observation as a row of docs/reasons.md.
func (o *observation) row(t *testing.T) string {
	t.Helper()
	code, description, how := o.told(t)
	if code != "" {
		code = "`" + code + "`"
	}
	var others []string
	for _, name := range []string{"DPoP-Nonce", "Retry-After"} {
		if o.answer.header.Get(name) != "" {
			others = append(others, "`"+name+"`")
		}
	}
	line := o.lines[0]
	reason := fmt.Sprint(line["reason"])
	cells := []string{
		"[`" + reason + "`](troubleshooting.md#" + reason + ")", fmt.Sprint(o.answer.status), code, description, how,
		strings.Join(others, " "), fmt.Sprint(line["level"]), strings.Join(o.further(), " "), strings.Join(o.labels(), ", "),
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// reasonEntry is what docs/troubleshooting.md says under the heading of a reason.
type reasonEntry struct {
	place int // among the headings
	text  string
}

func troubleshooting(t *testing.T) map[Reason]reasonEntry {
	t.Helper()
	text, err := os.ReadFile("docs/troubleshooting.md")
	must(t, err)
	entries := make(map[Reason]reasonEntry)
	for i, section := range strings.Split(string(text), "\n### ")[1:] {
		name, rest, _ := strings.Cut(section, "\n")
		rest, _, _ = strings.Cut(rest, "\n## ")
		entries[Reason(name)] = reasonEntry{i, rest}
	}
	return entries
}

var entryBegin = regexp.MustCompile("^(\\d{3})(?:,? `(\\w+)`)?[ ,.]")

// agrees holds how an entry begins, with status and `error`, against what the
// client was sent.
func (e reasonEntry) agrees(t *testing.T, o *observation) {
	t.Helper()
	match := entryBegin.FindStringSubmatch(e.text)
	if match == nil {
		t.Fatalf("the entry in docs/troubleshooting.md does not begin with the status: %.40q", e.text)
	}
	code := fmt.Sprint(o.lines[0]["error"])
	if match[1] != fmt.Sprint(o.answer.status) || match[2] != code {
		t.Errorf("docs/troubleshooting.md says %s %q, and it was %d %q", match[1], match[2], o.answer.status, code)
	}
}

const reasonsPage = "docs/reasons.md"

// writeReasons holds docs/reasons.md to the rows, or writes them there.
func writeReasons(t *testing.T, tables map[string][]string) {
	t.Helper()
	present, err := os.ReadFile(reasonsPage)
	must(t, err)
	text := string(present)
	for name, rows := range tables {
		begin, end := "<!-- begin: "+name+" -->\n", "<!-- end: "+name+" -->"
		before, rest, ok := strings.Cut(text, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s: the markers of %s are gone", reasonsPage, name)
		}
		head := "| " + reasonsHead + "\n" + reasonsRule + "\n"
		if name == "elsewhere" {
			head = "| with | " + reasonsHead + "\n|---" + reasonsRule + "\n"
		}
		text = before + begin + head + strings.Join(rows, "\n") + "\n" + end + after
	}
	if text == string(present) {
		return
	}
	if *update {
		must(t, os.WriteFile(reasonsPage, []byte(text), 0o600))
		return
	}
	known := make(map[string]bool)
	for line := range strings.Lines(string(present)) {
		known[line] = true
	}
	for line := range strings.Lines(text) {
		if !known[line] {
			t.Errorf("%s does not have this row: %s", reasonsPage, line)
		}
	}
	t.Errorf("%s is not what was seen; read it after `go test . -run '^TestReasons$' -update`", reasonsPage)
}
