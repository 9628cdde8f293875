// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	diagram = regexp.MustCompile("(?s)```mermaid\n(.*?)```")
	box     = regexp.MustCompile(`(?m)^\t(\w+)\["([^"]+)"\]$`)
	arrow   = regexp.MustCompile(`(?m)^\t(\w+) --> (\w+)$`)
)

// picture reads the boxes and arrows of CONTRIBUTING.md, by package path from the root.
func picture(t *testing.T) (packages map[string]bool, arrows map[string]bool) {
	t.Helper()
	match := diagram.FindStringSubmatch(read(t, "CONTRIBUTING.md"))
	if match == nil {
		t.Fatal("there is no picture")
	}
	names := make(map[string]string)
	packages, arrows = make(map[string]bool), make(map[string]bool)
	for _, b := range box.FindAllStringSubmatch(match[1], -1) {
		names[b[1]] = b[2]
		packages[b[2]] = true
	}
	for _, a := range arrow.FindAllStringSubmatch(match[1], -1) {
		if names[a[1]] == "" || names[a[2]] == "" {
			t.Errorf("the arrow %q leads from or to no box", a[0])
		}
		arrows[names[a[1]]+" -> "+names[a[2]]] = true
	}
	return packages, arrows
}

// TestPicture holds the picture of the house against the imports of what is built.
func TestPicture(t *testing.T) {
	packages, arrows := picture(t)
	found := make(map[string]bool)
	for _, s := range allSources(t) {
		from := path.Dir(s.path)
		if s.isTest() || strings.HasPrefix(from, "integration") || from == "internal/house" || from == "contrib" {
			continue
		}
		if !packages[from] {
			t.Errorf("package %s is not in the picture", from)
		}
		for _, spec := range s.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if to = strings.TrimPrefix(to, "/"); to == "" {
				to = "."
			}
			found[from+" -> "+to] = true
			if !arrows[from+" -> "+to] {
				t.Errorf("%s imports %s, and the picture has no such arrow", s.path, to)
			}
		}
	}
	for a := range arrows {
		if !found[a] {
			t.Errorf("the picture has the arrow %s, and nobody imports that", a)
		}
	}
}

// TestNoCaddy: the three questions are answered without Caddy, and test keys and
// proofs without our own packages and theirs.
func TestNoCaddy(t *testing.T) {
	forbidden := map[string][]string{
		"proof":               {"github.com/caddyserver/", module},
		"token":               {"github.com/caddyserver/", module + "/proof", module + "/replay"},
		"replay":              {"github.com/caddyserver/", module},
		"internal/strictjson": {"github.com/", module},
		"internal/testkit":    {"github.com/"},
	}
	for _, s := range allSources(t) {
		if s.isTest() {
			continue
		}
		for _, spec := range s.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			for _, prefix := range forbidden[path.Dir(s.path)] {
				if strings.HasPrefix(imported, prefix) {
					t.Errorf("%s imports %s", s.path, imported)
				}
			}
		}
	}
}

// TestHeaders: every Go file begins with the two SPDX lines, and none is too long to
// read.
func TestHeaders(t *testing.T) {
	const header = "// SPDX-FileCopyrightText: The caddy-dpop authors\n// SPDX-License-Identifier: Apache-2.0\n"
	for _, s := range allSources(t) {
		text := read(t, s.path)
		if before, _, ok := strings.Cut(text, header); !ok || before != "" && !strings.HasPrefix(before, "//go:build ") {
			t.Errorf("%s does not begin with the SPDX lines", s.path)
		}
		if lines := strings.Count(text, "\n"); lines > 500 {
			t.Errorf("%s has %d lines; more than 500 are two files", s.path, lines)
		}
	}
}
