// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// TestTroubleshooting keeps the headings of docs/troubleshooting.md and the
// closed list of reasons the same.
func TestTroubleshooting(t *testing.T) {
	text, err := os.ReadFile("docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := make(map[Reason]int)
	for _, match := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(string(text), -1) {
		headings[Reason(match[1])]++
	}
	for reason := range refusals {
		if headings[reason] != 1 {
			t.Errorf("reason %s has %d headings, want 1", reason, headings[reason])
		}
		delete(headings, reason)
	}
	for heading := range headings {
		t.Errorf("heading %s is no reason", heading)
	}
}

// TestREADMEConfigurations adapts every Caddyfile in the README.
func TestREADMEConfigurations(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatal("no Caddyfile found")
	}
	for _, match := range blocks {
		block := match[1]
		switch {
		case strings.Contains(block, "<"):
			continue // a grammar
		case strings.HasPrefix(block, "log"):
			block = ":8080 {\n" + block + "}"
		}
		adapter := caddyconfig.GetAdapter("caddyfile")
		if _, warnings, err := adapter.Adapt([]byte(block), nil); err != nil {
			t.Errorf("%v in\n%s", err, block)
		} else {
			for _, warning := range warnings {
				if !strings.Contains(warning.Message, "not formatted") {
					t.Errorf("%v in\n%s", warning, block)
				}
			}
		}
	}
}

// TestREADMEJSON: the JSON in the README is the Caddyfile above it.
func TestREADMEJSON(t *testing.T) {
	text, err := os.ReadFile("README.md")
	must(t, err)
	site := regexp.MustCompile("(?s)```caddyfile\n(api.example.com .*?)```").FindStringSubmatch(string(text))
	form := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(string(text))
	if site == nil || form == nil {
		t.Fatal("the site is not there in both forms")
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(site[1]), nil)
	must(t, err)
	got, want := handlers(t, []byte(form[1])), handlers(t, adapted)
	if len(want) != 2 || !slices.EqualFunc(got, want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
		t.Errorf("the JSON has\n%s\nand the Caddyfile means\n%s", got, want)
	}
	must(t, provision(t, []byte(form[1])))
}

// handlers are those of the only site of a configuration, in one spelling.
func handlers(t *testing.T, config []byte) []json.RawMessage {
	t.Helper()
	type route struct {
		Handle []map[string]any `json:"handle"`
	}
	var c struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct{ Routes []route }
			}
		}
	}
	must(t, json.Unmarshal(config, &c))
	var all []json.RawMessage
	var add func(handlers []map[string]any)
	add = func(handlers []map[string]any) {
		for _, h := range handlers {
			if h["handler"] != "subroute" {
				b, err := json.Marshal(h)
				must(t, err)
				all = append(all, b)
				continue
			}
			b, err := json.Marshal(h["routes"])
			must(t, err)
			var routes []route
			must(t, json.Unmarshal(b, &routes))
			for _, r := range routes {
				add(r.Handle)
			}
		}
	}
	for _, server := range c.Apps.HTTP.Servers {
		for _, r := range server.Routes {
			add(r.Handle)
		}
	}
	return all
}
