// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package faults breaks what a running Caddy depends on, and looks at three things:
// nothing passes that should not, it recovers without a restart, and nothing is left
// behind. What several processes share (races, kill -9, outages of their store) is in
// integration/nodes.
package faults

import (
	"fmt"
	"os"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

// caddyBinary is the Caddy that TestMain built.
var caddyBinary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "caddy-dpop-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if caddyBinary, err = process.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
