// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package process runs the built Caddy, and what else the integration tests and the
// soak test need, as a process: it builds the binary, finds addresses, starts the
// process with a Caddyfile, keeps what it logs, speaks with its admin API and ends it,
// politely or not.
package process

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a running program. Caddy has one; other programs are run with Run.
type Process struct {
	// Keep, when set, is called with each line that the process writes, and says
	// whether Log shall have it.
	Keep func(line string) bool

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	log    bytes.Buffer
}

// Run starts a program and returns when it has written a line with the text ready, to
// either of its outputs.
func (p *Process) Run(cmd *exec.Cmd, ready string) error {
	name := filepath.Base(cmd.Path)
	output, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	serving, exited := make(chan struct{}), make(chan struct{})
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	go func() {
		p.follow(output, ready, sync.OnceFunc(func() { close(serving) }))
		_ = cmd.Wait()
		close(exited)
	}()
	select {
	case <-serving:
		return nil
	case <-exited:
		return fmt.Errorf("%s ended at start:\n%s", name, p.Tail())
	case <-time.After(time.Minute):
		p.Kill()
		return fmt.Errorf("%s does not serve:\n%s", name, p.Tail())
	}
}

func (p *Process) follow(r io.Reader, ready string, serves func()) {
	lines := bufio.NewReaderSize(r, 1<<16)
	for {
		line, err := lines.ReadString('\n')
		if line != "" && (p.Keep == nil || p.Keep(strings.TrimSuffix(line, "\n"))) {
			p.mu.Lock()
			p.log.WriteString(line)
			p.mu.Unlock()
		}
		if strings.Contains(line, ready) {
			serves()
		}
		if err != nil {
			return
		}
	}
}

// Log is everything that the process has logged and that was not yet dropped.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// DropLog forgets what was logged until now and returns it.
func (p *Process) DropLog() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.log.String()
	p.log.Reset()
	return text
}

// Tail is the end of the log, for failure messages.
func (p *Process) Tail() string {
	text := p.Log()
	return text[max(0, len(text)-4000):]
}

// Signal sends a signal to the process, if it runs.
func (p *Process) Signal(s os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// Wait reports whether the process has ended, now or within d.
func (p *Process) Wait(d time.Duration) bool {
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	if exited == nil {
		return true
	}
	select {
	case <-exited:
		return true
	default:
	}
	select {
	case <-exited:
		return true
	case <-time.After(d):
		return false
	}
}

// Stop ends the process as an operator does, and kills it after ten seconds.
func (p *Process) Stop() {
	p.Signal(syscall.SIGTERM)
	if !p.Wait(10 * time.Second) {
		p.Kill()
	}
}

// Kill ends the process without warning.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	p.Wait(10 * time.Second)
}
