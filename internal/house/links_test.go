// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading   = regexp.MustCompile(`(?m)^#+ (.+)$`)
	codeBlock = regexp.MustCompile("(?ms)^```.*?^```$")
	notAnchor = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// anchors are the names under which a page's headings can be linked.
func anchors(text string) map[string]bool {
	names := make(map[string]bool)
	for _, match := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		name := notAnchor.ReplaceAllString(strings.ToLower(match[1]), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}

// TestLinks follows every link from one page of this repository to another.
func TestLinks(t *testing.T) {
	followed := 0
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == "node_modules" || name == ".git" || name == ".demo") {
			return filepath.SkipDir
		}
		if filepath.Ext(name) != ".md" {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, match := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(string(text), ""), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			followed++
			page := file
			if target != "" {
				page = filepath.Join(filepath.Dir(file), filepath.FromSlash(target))
			}
			info, err := os.Stat(page)
			if err != nil {
				t.Errorf("%s links to %s, which is not there", file, match[1])
				continue
			}
			if anchor == "" || info.IsDir() {
				continue
			}
			linked, err := os.ReadFile(page)
			if err != nil {
				return err
			}
			if !anchors(string(linked))[anchor] {
				t.Errorf("%s links to %s, and there is no such heading", file, match[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if followed < 30 {
		t.Errorf("followed only %d links", followed)
	}
}
