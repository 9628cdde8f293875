// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"os"
	"regexp"
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
