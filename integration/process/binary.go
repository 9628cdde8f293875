// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

var shared struct {
	sync.Mutex
	dir, binary string
	err         error
}

// Binary returns the Caddy that all tests of a package share. The first call builds it;
// RemoveBinary, at the end of TestMain, deletes it. CADDY_DPOP_BINARY in the environment
// names a Caddy to take in its place.
func Binary() (string, error) {
	if err := dependOnCheckout(); err != nil {
		return "", err
	}
	if file := os.Getenv("CADDY_DPOP_BINARY"); file != "" {
		return file, nil
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.dir != "" || shared.err != nil {
		return shared.binary, shared.err
	}
	if shared.dir, shared.err = os.MkdirTemp("", "caddy-dpop-"); shared.err == nil {
		shared.binary, shared.err = Build(shared.dir)
	}
	return shared.binary, shared.err
}

// RemoveBinary deletes what Binary has built, if it has.
func RemoveBinary() {
	shared.Lock()
	defer shared.Unlock()
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
		shared.dir, shared.binary, shared.err = "", "", nil
	}
}

// Build compiles cmd/caddy into dir and returns the binary, with the race detector when
// CADDY_DPOP_RACE is in the environment.
func Build(dir string) (string, error) {
	binary := filepath.Join(dir, "caddy")
	args := []string{"build", "-o", binary}
	if os.Getenv("CADDY_DPOP_RACE") != "" {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/caddy-dpop/caddy-dpop/cmd/caddy")...) // #nosec G204 -- a path of our own
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/caddy: %w\n%s", err, out)
	}
	return binary, nil
}
