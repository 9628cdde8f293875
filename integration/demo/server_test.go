// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package demo runs example.Caddyfile as a newcomer does and looks at what they
// would see: from a terminal, from a Go program and in a browser.
package demo

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

// patience is how long anything may take on a busy machine. Nothing waits for
// it unless it fails.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	process.RemoveBinary()
	os.Exit(code)
}

func caddyBinary(t *testing.T) string {
	t.Helper()
	binary, err := process.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// site is the running demonstration.
type site struct {
	url    string // http://localhost:<port>
	port   string
	folder string // where it was started, and where .demo is
	home   string // an empty home, to see that nothing is written there
	caddy  *process.Caddy
	stop   func()
}

// start runs the demonstration on a port of its own and waits until it serves.
func start(t *testing.T) *site {
	t.Helper()
	_, port, _ := net.SplitHostPort(process.FreeAddress())
	return startIn(t, t.TempDir(), t.TempDir(), port)
}

// startIn runs it in a folder that may hold the storage of an earlier run.
func startIn(t *testing.T, folder, home, port string) *site {
	t.Helper()
	s := &site{url: "http://localhost:" + port, port: port, folder: folder, home: home}
	s.caddy = &process.Caddy{
		Binary: caddyBinary(t), Dir: folder, Home: home, Env: []string{"PORT=" + port},
		Args: []string{"run", "--config", filepath.Join(repository(t), "example.Caddyfile")},
	}
	s.stop = sync.OnceFunc(func() {
		s.caddy.Signal(syscall.SIGTERM)
		if !s.caddy.Wait(patience) {
			s.caddy.Kill()
			t.Errorf("Caddy does not stop\n%s", s.caddy.Log())
		}
	})
	t.Cleanup(s.stop)
	if err := s.caddy.Start(); err != nil {
		t.Fatal(err)
	}

	// Start has waited for Caddy to say that it serves.
	answer, err := http.Get(s.url + "/jwks")
	if err != nil {
		t.Fatalf("Caddy does not serve: %v\n%s", err, s.caddy.Log())
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the issuer's keys: %d\n%s", answer.StatusCode, s.caddy.Log())
	}
	waitForNextSecond()
	return s
}

// waitForNextSecond lets the second end in which the server started. Proofs of
// that second are refused, since iat cannot tell whether they are older than
// the memory of used proofs.
func waitForNextSecond() {
	now := time.Now()
	time.Sleep(now.Truncate(time.Second).Add(time.Second).Sub(now))
}

// run runs a command of the binary and returns its exit code and output.
func run(t *testing.T, home string, args ...string) (code int, out, errOut string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, caddyBinary(t), args...)
	cmd.Env = process.Environment(home)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		return ee.ExitCode(), o.String(), e.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, o.String(), e.String()
}
