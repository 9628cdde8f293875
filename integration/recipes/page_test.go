// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

var (
	pages  = filepath.Join("..", "..", "docs", "recipes")
	fenced = regexp.MustCompile("(?ms)^```caddyfile\n(.*?)^```$")
)

// readPage returns the Caddyfiles of a page, in order.
func readPage(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(pages, name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, match := range fenced.FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, match[1])
	}
	return blocks
}

// TestPages makes sure that no page and no block goes without a test, that each is
// linked from the index, and that the Caddyfiles are formatted as `caddy fmt` would.
func TestPages(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(pages, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(pages, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".md")
		if name == "README" {
			continue
		}
		found[name] = true
		if !strings.Contains(string(index), "("+name+".md)") {
			t.Errorf("%s is not in the index", name)
		}
		blocks := readPage(t, name)
		if len(blocks) == 0 || len(blocks) != len(recipes[name]) {
			t.Errorf("%s has %d Caddyfiles and %d tests", name, len(blocks), len(recipes[name]))
		}
		for i, block := range blocks {
			if formatted := string(caddyfile.Format([]byte(block))); formatted != block {
				t.Errorf("%s, Caddyfile %d is not formatted; it should be\n%s", name, i+1, formatted)
			}
		}
	}
	for name := range recipes {
		if !found[name] {
			t.Errorf("there are tests for %s, and no such page", name)
		}
	}
}

// TestRecipes runs them all.
func TestRecipes(t *testing.T) {
	t.Parallel()
	for name, tests := range recipes {
		for i, test := range tests {
			t.Run(name+"/"+string(rune('1'+i)), func(t *testing.T) {
				t.Parallel()
				blocks := readPage(t, name)
				if i >= len(blocks) {
					t.Fatalf("there is no Caddyfile %d", i+1)
				}
				test(newKitchen(t, blocks[i]))
			})
		}
	}
}

// TestOtherPages adapts the Caddyfiles of the other documents.
func TestOtherPages(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(pages, "..", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for i, block := range readPage(t, filepath.Join("..", strings.TrimSuffix(filepath.Base(file), ".md"))) {
			_, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(block), nil)
			if err != nil || len(warnings) > 0 {
				t.Errorf("%s, Caddyfile %d: %v %v", file, i+1, err, warnings)
			}
		}
	}
}
