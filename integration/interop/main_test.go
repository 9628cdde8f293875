// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/interop.md")

// workDir holds what the processes of this run write.
var workDir string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if workDir, err = os.MkdirTemp("", "caddy-dpop-interop-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(workDir)
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := settleReport(filepath.Join("..", "..", "docs", "interop.md")); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	return 0
}

// binary compiles cmd/caddy once for the whole run, or takes the build that
// CADDY_DPOP_BINARY names.
var binary = sync.OnceValues(func() (string, error) {
	if file := os.Getenv("CADDY_DPOP_BINARY"); file != "" {
		return file, nil
	}
	file := filepath.Join(workDir, "caddy")
	build := exec.Command("go", "build", "-o", file, "./cmd/caddy")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/caddy: %w\n%s", err, out)
	}
	return file, nil
})
