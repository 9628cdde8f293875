// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package nodes tests what only several real processes can show: that a proof
// passes at most once on all of them together, through kill -9, reloads and
// outages of what they share.
package nodes

import (
	"os"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.RemoveBinary()
	os.Exit(code)
}
