// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

// startCaddy runs the built binary with a Caddyfile until the test ends. The global
// options that keep it to itself are added; in the text, {DIR} is its directory.
func startCaddy(t *testing.T, text string) *process.Caddy {
	t.Helper()
	program, err := process.Binary()
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
	c := &process.Caddy{Binary: program, Dir: dir, Text: strings.ReplaceAll(text, "{DIR}", dir) + "\n"}
	started(t, "caddy", &c.Process, c.Start)
	t.Cleanup(func() {
		if line := find(&c.Process, "panic"); line != "" {
			t.Errorf("Caddy's log tells of a panic: %.300s", line)
		}
	})
	return c
}

// startProcess runs a program until the test ends and returns when it has written a line
// with the text.
func startProcess(t *testing.T, cmd *exec.Cmd, ready string) *process.Process {
	t.Helper()
	p := new(process.Process)
	started(t, filepath.Base(cmd.Path), p, func() error { return p.Run(cmd, ready) })
	return p
}

func started(t *testing.T, name string, p *process.Process, start func() error) {
	t.Helper()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", name, p.Tail())
		}
	})
	if err := start(); err != nil {
		t.Fatal(err)
	}
}

// find returns the first line with the text that a process has written.
func find(p *process.Process, text string) string {
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(line, text) {
			return strings.TrimSuffix(line, "\n")
		}
	}
	return ""
}
