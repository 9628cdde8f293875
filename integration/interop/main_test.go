// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
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
	defer process.RemoveBinary()
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
