// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// caddy is a running Caddy process.
type caddy struct {
	dir string
	log *lines
}

// startCaddy runs the built binary with a Caddyfile until the test ends. The global
// options that keep it to itself are added; in the text, {DIR} is its directory.
func startCaddy(t *testing.T, text string) *caddy {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(workDir, "caddy-")
	if err != nil {
		t.Fatal(err)
	}
	const own = `{
	admin off
	persist_config off
	default_bind 127.0.0.1
	skip_install_trust
	auto_https disable_redirects
	storage file_system {DIR}/storage
`
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "{\n"); ok {
		text = own + rest
	} else {
		text = own + "}\n" + text
	}
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "{DIR}", dir)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	c := &caddy{dir: dir, log: new(lines)}
	startProcess(t, cmd, c.log, "serving initial configuration")
	t.Cleanup(func() {
		if line := c.log.find("panic"); line != "" {
			t.Errorf("Caddy's log tells of a panic: %.300s", line)
		}
	})
	return c
}

// startProcess runs a program until the test ends and returns when it has written a line
// with the text.
func startProcess(t *testing.T, cmd *exec.Cmd, log *lines, ready string) {
	t.Helper()
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serving := make(chan struct{})
	exited := make(chan struct{})
	go log.read(r, ready, serving)
	go func() {
		_ = cmd.Wait()
		_ = w.Close()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(15 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", filepath.Base(cmd.Path), log.tail(8))
		}
	})
	select {
	case <-serving:
	case <-exited:
		t.Fatalf("%s ended at start:\n%s", filepath.Base(cmd.Path), log.tail(15))
	case <-time.After(60 * time.Second):
		t.Fatalf("%s does not serve:\n%s", filepath.Base(cmd.Path), log.tail(15))
	}
}

// lines keeps what a process writes.
type lines struct {
	mu   sync.Mutex
	kept []string
}

func (l *lines) read(r io.Reader, ready string, serving chan<- struct{}) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		l.mu.Lock()
		l.kept = append(l.kept, scanner.Text())
		l.mu.Unlock()
		if serving != nil && strings.Contains(scanner.Text(), ready) {
			close(serving)
			serving = nil
		}
	}
	_, _ = io.Copy(io.Discard, r)
}

func (l *lines) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.kept[max(0, len(l.kept)-n):], "\n")
}

// find returns the first line with the text.
func (l *lines) find(text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.kept {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// freePort returns a loopback address that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
