// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// dependOnCheckout opens every file of the checkout. As far as go test knows, a result depends on what the test has
// opened itself, not on what the binaries that it runs are made of, and it would show a cached one after they have
// changed. Only what is opened after TestMain has begun to run the tests counts.
func dependOnCheckout() error {
	root, err := checkout()
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // something that another test has just removed
		case err != nil:
			return err
		case entry.IsDir() && path != root && (entry.Name() == "node_modules" || entry.Name()[0] == '.'):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		file, err := os.Open(path) // #nosec G304 -- a file of ours
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		return file.Close()
	})
}

// checkout is the directory of the main module.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "example.Caddyfile")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not within the checkout")
		}
		dir = parent
	}
}
