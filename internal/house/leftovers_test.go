// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var plainName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// TestNothingLeftBehind: what a test or a demo run in the wrong place leaves behind,
// keys and certificates above all, does not lie among the sources. Go's own fuzz
// corpus has names of its own making.
func TestNothingLeftBehind(t *testing.T) {
	keys := []string{".key", ".pem", ".crt", ".p12", ".pfx", ".jwk"}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name := entry.Name()
		switch {
		case relative == ".":
			return nil
		case entry.IsDir() && slices.Contains([]string{"node_modules", ".git", ".demo"}, name):
			return filepath.SkipDir
		case !plainName.MatchString(name):
			t.Errorf("%q: nobody named it so on purpose", relative)
		case !entry.IsDir() && slices.Contains(keys, strings.ToLower(filepath.Ext(name))):
			t.Errorf("%q: keys are made by the test that needs them", relative)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
