// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package dashboard has a real Prometheus scrape a Caddy that sees requests of all
// kinds, and asks it what Grafana would ask for contrib/grafana-dashboard.json.
package dashboard

import (
	"os"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

// How long things may take on a busy machine. Nothing waits so long unless it fails.
const (
	patience = time.Minute
	briefly  = 10 * time.Second // what is there already, but for a scrape or an evaluation
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.RemoveBinary()
	os.Exit(code)
}

// eventually asks again and again until there is no error.
func eventually(t *testing.T, what string, within time.Duration, ask func() error) {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
