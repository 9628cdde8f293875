// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	for i, file := range files {
		relative, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = filepath.ToSlash(relative)
	}
	return files
}

// TestProjectFiles parses what only GitHub and editors read.
func TestProjectFiles(t *testing.T) {
	for _, pattern := range []string{".github/*.yml", ".github/workflows/*.yml", ".github/ISSUE_TEMPLATE/*.yml", ".golangci.yml"} {
		for _, file := range glob(t, pattern) {
			var value map[string]any
			if err := yaml.Unmarshal([]byte(read(t, file)), &value); err != nil || len(value) == 0 {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	var container map[string]any
	if err := json.Unmarshal([]byte(read(t, ".devcontainer/devcontainer.json")), &container); err != nil {
		t.Error(err)
	}
}

var (
	uses   = regexp.MustCompile(`(?m)^\s*(?:- )?uses: (\S+)(.*)$`)
	pinned = regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40}$`)
)

// TestWorkflows: they may read and no more, leave no token behind, and use actions by
// digest with the version beside it.
func TestWorkflows(t *testing.T) {
	for _, file := range glob(t, ".github/workflows/*.yml") {
		text := read(t, file)
		var workflow struct {
			Permissions map[string]string
		}
		if err := yaml.Unmarshal([]byte(text), &workflow); err != nil {
			t.Fatal(err)
		}
		if len(workflow.Permissions) != 1 || workflow.Permissions["contents"] != "read" {
			t.Errorf("%s: permissions %v", file, workflow.Permissions)
		}
		checkouts := 0
		for _, match := range uses.FindAllStringSubmatch(text, -1) {
			if !pinned.MatchString(match[1]) || !strings.HasPrefix(match[2], " # v") {
				t.Errorf("%s: %s is not pinned by digest, with its version as a comment", file, match[1])
			}
			if strings.HasPrefix(match[1], "actions/checkout@") {
				checkouts++
			}
		}
		if strings.Count(text, "persist-credentials: false") != checkouts {
			t.Errorf("%s: a checkout leaves its token behind", file)
		}
	}
}

// TestMakefile: every target is documented and declared, and those that are spoken of
// elsewhere exist.
func TestMakefile(t *testing.T) {
	text := read(t, "Makefile")
	phony := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindStringSubmatch(text)[1]
	targets := make(map[string]bool)
	for _, match := range regexp.MustCompile(`(?m)^([a-z-]+):(.*)$`).FindAllStringSubmatch(text, -1) {
		targets[match[1]] = true
		if !strings.Contains(match[2], "## ") {
			t.Errorf("make %s has no help", match[1])
		}
	}
	for name := range strings.FieldsSeq(phony) {
		if !targets[name] {
			t.Errorf("there is no target %s", name)
		}
		delete(targets, name)
	}
	for name := range targets {
		t.Errorf("target %s is not declared .PHONY", name)
	}
	for _, file := range []string{"README.md", "CONTRIBUTING.md", "docs/operations.md", ".github/workflows/nightly.yml"} {
		for _, match := range regexp.MustCompile("(?:`|- run: |\n)make ([a-z-]+)").FindAllStringSubmatch(read(t, file), -1) {
			if !strings.Contains(" "+phony+" ", " "+match[1]+" ") {
				t.Errorf("%s speaks of make %s", file, match[1])
			}
		}
	}
}
