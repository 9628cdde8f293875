// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is one that runs for the whole of the benchmark.
type server struct {
	name     string
	address  string
	resource string // htu of its proofs
	command  *exec.Cmd
	beside   *exec.Cmd // a Redis of its own
	base     *server   // the same without dpop; nil if this is one
	peer     bool      // somebody else's
}

func (s *server) pid() int { return s.command.Process.Pid }

func (s *server) stop() {
	for _, c := range []*exec.Cmd{s.command, s.beside} {
		if c != nil && c.Process != nil {
			_ = c.Process.Signal(syscall.SIGTERM)
			_ = c.Wait()
		}
	}
}

// startServers builds and starts a Caddy without dpop, then one with it for
// each store. A store that cannot be had here is left out with a word.
func startServers(ctx context.Context, dir string, i *issuer, stores []string) ([]*server, error) {
	plain, full := filepath.Join(dir, "caddy-plain"), filepath.Join(dir, "caddy-dpop")
	for binary, source := range map[string]string{
		plain: "github.com/caddyserver/caddy/v2/cmd/caddy",
		full:  "github.com/caddy-dpop/caddy-dpop/cmd/caddy",
	} {
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, source)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("building %s: %w", source, err)
		}
	}
	bare, err := startCaddy(ctx, plain, dir, "without dpop", "")
	if err != nil {
		return nil, err
	}
	servers := []*server{bare}
	for _, store := range stores {
		option, beside := "replay "+store, (*exec.Cmd)(nil)
		if store == "redis" {
			if option, beside, err = startRedis(ctx, dir); err != nil {
				fmt.Fprintln(os.Stderr, "replay redis is left out:", err)
				continue
			}
		}
		s, err := startCaddy(ctx, full, dir, "replay "+store, `
	dpop {
		issuer `+issuerName+` {
			jwks_file `+i.keyFile+`
		}
		audience `+audience+`
		`+option+`
	}`)
		if err != nil {
			return servers, err
		}
		s.base, s.beside = bare, beside
		servers = append(servers, s)
	}
	return servers, nil
}

func startCaddy(ctx context.Context, binary, dir, name, directive string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
	config := home + ".Caddyfile"
	global := "dpop {\n\t\tmax_per_key 1000000\n\t}"
	if directive == "" {
		global = ""
	}
	err = os.WriteFile(config, []byte(fmt.Sprintf(`{
	admin off
	persist_config off
	default_bind 127.0.0.1
	storage file_system %s
	%s
}
http://%s:%s {%s
	respond "hello"
}
`, home, global, host, port, directive)), 0o600)
	if err != nil {
		return nil, err
	}
	s := &server{name: name, address: "127.0.0.1:" + port, resource: resource, command: exec.CommandContext(ctx, binary, "run", "--config", config)}
	log, err := os.Create(home + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.command.Stderr = log
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	if err := awaitPort(ctx, s.address); err != nil {
		s.stop()
		said, _ := os.ReadFile(home + ".log")
		return nil, fmt.Errorf("%s: %w\n%s", name, err, said)
	}
	return s, nil
}

// startRedis starts a Redis that keeps nothing on disk.
func startRedis(ctx context.Context, dir string) (option string, _ *exec.Cmd, err error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return "", nil, err
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	c := exec.CommandContext(ctx, binary, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir)
	if err := c.Start(); err != nil {
		return "", nil, err
	}
	return "replay redis redis://127.0.0.1:" + port, c, awaitPort(ctx, "127.0.0.1:"+port)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func awaitPort(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
