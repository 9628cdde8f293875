// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// caddyBinary is the Caddy that TestMain built.
var caddyBinary string

// buildBinary compiles cmd/caddy once for the whole run.
func buildBinary(dir string) error {
	caddyBinary = filepath.Join(dir, "caddy")
	args := []string{"build", "-o", caddyBinary}
	if os.Getenv("CADDY_DPOP_RACE") != "" {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "./cmd/caddy")...)
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/caddy: %w\n%s", err, out)
	}
	return nil
}

// server is one Caddy process.
type server struct {
	name  string
	dir   string
	admin string // address of the admin API; empty when it is off
	text  string // the Caddyfile

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	log    *logSink

	started time.Time
}

// newServer prepares a process; start runs it.
func newServer(name, text, admin string) (*server, error) {
	dir, err := os.MkdirTemp(workDir, name+"-")
	if err != nil {
		return nil, err
	}
	return &server{name: name, dir: dir, admin: admin, text: text, log: &logSink{name: name}}, nil
}

// start runs Caddy and returns when it has said that it serves.
func (s *server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := filepath.Join(s.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(s.text), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(caddyBinary, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir,
		"DPOP_TEST_SECRET="+clientSecret, "GODEBUG=http2xconnect=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	cmd.Stdout = io.Discard
	serving := make(chan struct{})
	exited := make(chan struct{})
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.exited = cmd, exited
	go func() {
		s.log.consume(stderr, serving)
		_ = cmd.Wait()
		close(exited)
	}()
	select {
	case <-serving:
		s.started = time.Now()
		return nil
	case <-exited:
		return fmt.Errorf("%s: caddy ended at start:\n%s", s.name, s.log.tail(6))
	case <-time.After(60 * time.Second):
		_ = cmd.Process.Kill()
		return fmt.Errorf("%s: caddy does not serve:\n%s", s.name, s.log.tail(20))
	}
}

// stop asks the process to end; after ten seconds it is killed.
func (s *server) stop() { s.end(syscall.SIGTERM) }

// kill ends the process without warning.
func (s *server) kill() { s.end(syscall.SIGKILL) }

func (s *server) end(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	s.cmd = nil
}

// load posts a Caddyfile to the admin API, as `caddy reload` does, and returns what
// the server said against it.
func (s *server) load(text string) error {
	req, err := http.NewRequest(http.MethodPost, "http://"+s.admin+"/load", strings.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate") // load even if nothing changed
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(body)))
	}
	return nil
}

// adapt runs `caddy adapt --validate` on a Caddyfile and returns its output when it
// fails.
func adapt(t *testing.T, text string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(caddyBinary, "adapt", "--validate", "--config", file, "--adapter", "caddyfile")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+cmd.Dir, "XDG_DATA_HOME="+cmd.Dir, "XDG_CONFIG_HOME="+cmd.Dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// ports are those that freePort has given away. Caddy shares ports between processes
// (SO_REUSEPORT), so two that got the same one would answer for each other.
var ports sync.Map

// freePort returns a loopback address that nobody listens on and that no one else gets
// here. It stays below the range that systems take ports from by themselves, so that
// neither a connection nor another test's listener comes to it by chance.
func freePort() string {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000)) // #nosec G404
		if _, taken := ports.LoadOrStore(address, true); taken {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = l.Close()
		return address
	}
}

// logSink reads a process's log, line by line: it keeps the end for failures, notices
// leaks and panics at once, and remembers refusals by reason.
type logSink struct {
	name string

	mu    sync.Mutex
	lines []string
	leaks []string
	bad   []string // panics and data races
	size  int
}

const keptLines = 3000

func (l *logSink) consume(r io.Reader, serving chan struct{}) {
	reader := bufio.NewReaderSize(r, 1<<16)
	var once sync.Once
	for {
		line, err := reader.ReadString('\n')
		if line != "" {
			l.add(strings.TrimRight(line, "\n"))
			if strings.Contains(line, "serving initial configuration") {
				once.Do(func() { close(serving) })
			}
		}
		if err != nil {
			return
		}
	}
}

var dangerous = regexp.MustCompile(`WARNING: DATA RACE|panic: |"msg":"PANIC"|"logger":"http.log.error.*panic|fatal error: `)

func (l *logSink) add(line string) {
	leak := secrets.find([]byte(line))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size += len(line)
	l.lines = append(l.lines, line)
	if len(l.lines) > 2*keptLines {
		l.lines = append([]string(nil), l.lines[len(l.lines)-keptLines:]...)
	}
	if leak != "" && len(l.leaks) < 20 {
		l.leaks = append(l.leaks, fmt.Sprintf("%s: %.700s", leak, line))
	}
	if dangerous.MatchString(line) && len(l.bad) < 20 {
		l.bad = append(l.bad, line)
	}
}

// tail returns the last lines for a failure message.
func (l *logSink) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-n):], "\n")
}

// find returns the last kept line that holds all texts, decoded.
func (l *logSink) find(texts ...string) map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for i := len(l.lines) - 1; i >= 0; i-- {
		for _, text := range texts {
			if !strings.Contains(l.lines[i], text) {
				continue next
			}
		}
		var m map[string]any
		if json.NewDecoder(bytes.NewReader([]byte(l.lines[i]))).Decode(&m) == nil {
			return m
		}
	}
	return nil
}
