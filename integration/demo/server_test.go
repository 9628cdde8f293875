// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package demo runs example.Caddyfile as a newcomer does and looks at what they
// would see: from a terminal, from a Go program and in a browser.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take on a busy machine. Nothing waits for
// it unless it fails.
const patience = 60 * time.Second

var binary struct {
	once sync.Once
	path string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binary.path != "" {
		_ = os.RemoveAll(filepath.Dir(binary.path))
	}
	os.Exit(code)
}

// caddyBinary builds cmd/caddy once for all tests.
func caddyBinary(t *testing.T) string {
	t.Helper()
	binary.once.Do(func() {
		dir, err := os.MkdirTemp("", "caddy-dpop-demo")
		if err != nil {
			binary.err = err
			return
		}
		binary.path = filepath.Join(dir, "caddy")
		build := exec.Command("go", "build", "-o", binary.path, "./cmd/caddy")
		build.Dir = repository(t)
		if out, err := build.CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatalf("building cmd/caddy: %v", binary.err)
	}
	return binary.path
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
	log    *safeBuffer
	stop   func()
}

// safeBuffer collects a process's output.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs the demonstration on a port of its own and waits until it serves.
func start(t *testing.T) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	return startIn(t, t.TempDir(), t.TempDir(), port)
}

// startIn runs it in a folder that may hold the storage of an earlier run.
func startIn(t *testing.T, folder, home, port string) *site {
	t.Helper()
	s := &site{url: "http://localhost:" + port, port: port, folder: folder, home: home, log: new(safeBuffer)}
	cmd := exec.Command(caddyBinary(t), "run", "--config", filepath.Join(repository(t), "example.Caddyfile"))
	cmd.Dir = folder
	cmd.Env = environment(home, "PORT="+port)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	s.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			t.Errorf("Caddy does not stop\n%s", s.log)
		}
	})
	t.Cleanup(s.stop)

	deadline := time.Now().Add(patience)
	for {
		answer, err := http.Get(s.url + "/jwks")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("Caddy ended: %v\n%s", err, s.log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("Caddy does not serve: %v\n%s", err, s.log)
		}
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

// environment is that of a user with another home.
func environment(home string, more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case name == "HOME", name == "PORT", strings.HasPrefix(name, "XDG_"), strings.HasPrefix(name, "CADDY"):
		default:
			env = append(env, v)
		}
	}
	return append(append(env, "HOME="+home), more...)
}

// run runs a command of the binary and returns its exit code and output.
func run(t *testing.T, home string, args ...string) (code int, out, errOut string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, caddyBinary(t), args...)
	cmd.Env = environment(home)
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
