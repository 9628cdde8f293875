// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

// realServer is a redis-server process with a directory of its own.
type realServer struct {
	t      testing.TB
	dir    string
	port   int
	args   []string
	cmd    *exec.Cmd
	output *bytes.Buffer
	admin  *redis.Client
}

// startRedis starts redis-server, or skips the test where there is none.
func startRedis(t testing.TB, args ...string) *realServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server not in PATH")
	}
	s := &realServer{t: t, dir: t.TempDir(), port: freePort(t), args: args}
	s.admin = redis.NewClient(&redis.Options{Addr: s.addr(), MaxRetries: -1, DialerRetries: 1, DisableIdentity: true})
	t.Cleanup(func() {
		_ = s.admin.Close()
		s.kill()
	})
	s.start()
	return s
}

// freePort returns a port that nobody else comes to, by chance or otherwise.
func freePort(t testing.TB) int {
	t.Helper()
	_, port, err := net.SplitHostPort(process.FreeAddress())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func (s *realServer) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func (s *realServer) start() {
	s.t.Helper()
	s.output = new(bytes.Buffer)
	args := append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir, "--save", "", "--repl-diskless-sync-delay", "0"}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	s.cmd.Env = append(os.Environ(), "TZ=UTC")
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, func() bool { return s.admin.Ping(context.Background()).Err() == nil })
}

// kill ends the process as a crash would.
func (s *realServer) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

func (s *realServer) do(args ...any) {
	s.t.Helper()
	if err := s.admin.Do(context.Background(), args...).Err(); err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
}

// cpu returns the processor time that the server has used.
func (s *realServer) cpu() time.Duration {
	info, _ := s.admin.InfoMap(context.Background(), "cpu").Result()
	var total float64
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, _ := strconv.ParseFloat(info["CPU"][name], 64)
		total += seconds
	}
	return time.Duration(total * float64(time.Second))
}

// node opens a store on the server with the real clock, past the cut-off of an empty database.
func (s *realServer) node() *store {
	s.t.Helper()
	node := openStore(s.t, "redis://"+s.addr(), time.Now, replay.Params{Timeout: 5 * time.Second, MaxPerKey: 1 << 30})
	node.SetWindow(replaytest.Window)
	return node
}

// soon returns a claim that no cut-off of these seconds refuses: its client's clock is ahead, within the skew.
func soon(jti string) replay.Claim { return replaytest.Proof(jti, time.Now().Add(25*time.Second)) }

// ledger counts what was accepted, by jti.
type ledger struct {
	mu       sync.Mutex
	accepted map[string]int
	failed   int
	refused  int
}

func newLedger() *ledger { return &ledger{accepted: make(map[string]int)} }

func (l *ledger) note(jti string, accepted bool, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case accepted:
		l.accepted[jti]++
	case failed:
		l.failed++
	default:
		l.refused++
	}
}

func (l *ledger) doubles() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.accepted {
		if times > 1 {
			n++
		}
	}
	return n
}

func tempFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
