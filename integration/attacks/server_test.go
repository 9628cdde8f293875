// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

// server is one Caddy process.
type server struct {
	process.Caddy
	name    string
	log     *logSink
	started time.Time
}

// newServer prepares a process; start runs it.
func newServer(name, text, admin string) (*server, error) {
	binary, err := process.Binary()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(workDir, name+"-")
	if err != nil {
		return nil, err
	}
	s := &server{name: name, log: &logSink{}}
	s.Binary, s.Dir, s.Text, s.Admin = binary, dir, text, admin
	s.Env = []string{"DPOP_TEST_SECRET=" + clientSecret, "GODEBUG=http2xconnect=1"}
	s.Keep = func(line string) bool {
		s.log.add(line)
		return false
	}
	return s, nil
}

// start runs Caddy and returns when it has said that it serves.
func (s *server) start() error {
	if err := s.Start(); err != nil {
		return fmt.Errorf("%s: %w%s", s.name, err, s.log.tail(20))
	}
	s.started = time.Now()
	return nil
}

// adapt runs `caddy adapt --validate` on a Caddyfile and returns its output when it
// fails.
func adapt(t *testing.T, text string) error {
	t.Helper()
	binary, err := process.Binary()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "adapt", "--validate", "--config", file, "--adapter", "caddyfile")
	cmd.Dir = t.TempDir()
	cmd.Env = process.Environment(cmd.Dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// logSink reads a process's log, line by line: it keeps the end for failures, notices
// leaks and panics at once, and remembers refusals by reason.
type logSink struct {
	mu    sync.Mutex
	lines []string
	leaks []string
	bad   []string // panics and data races
}

const keptLines = 3000

var dangerous = regexp.MustCompile(`WARNING: DATA RACE|panic: |"msg":"PANIC"|"logger":"http\.log\.error[^"]*","msg":"[^"]*panic|fatal error: `)

func (l *logSink) add(line string) {
	leak := secrets.find([]byte(line))
	l.mu.Lock()
	defer l.mu.Unlock()
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
