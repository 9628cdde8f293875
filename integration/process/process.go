// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package process runs the built Caddy for tests and for the soak test: it starts
// the binary with a Caddyfile, keeps what it logs, speaks with its admin API and ends
// it, politely or not.
package process

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Build compiles cmd/caddy into dir and returns the binary.
func Build(dir string) (string, error) {
	binary := filepath.Join(dir, "caddy")
	build := exec.Command("go", "build", "-o", binary, "github.com/caddy-dpop/caddy-dpop/cmd/caddy") // #nosec G204 -- a path of our own
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/caddy: %w\n%s", err, out)
	}
	return binary, nil
}

// FreeAddress returns a loopback address that nobody listens on, below the range that
// systems take ports from by themselves.
func FreeAddress() string {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000)) // #nosec G404 -- any port will do
		l, err := net.Listen("tcp", address)
		if err == nil {
			_ = l.Close()
			return address
		}
	}
}

// Caddy is one process. Set the exported fields, then Start it.
type Caddy struct {
	Binary string
	Dir    string   // home, data and working directory
	Admin  string   // address of the admin API, as in Text
	Text   string   // the Caddyfile
	Env    []string // beside the test's own

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	log    bytes.Buffer
}

// Start runs the process and returns when it says that it serves.
func (c *Caddy) Start() error {
	file := filepath.Join(c.Dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(c.Text), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(c.Binary, "run", "--config", file, "--adapter", "caddyfile") // #nosec G204 -- paths of our own
	cmd.Dir = c.Dir
	cmd.Env = append(append(os.Environ(), "HOME="+c.Dir, "XDG_DATA_HOME="+c.Dir, "XDG_CONFIG_HOME="+c.Dir), c.Env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	serving, exited := make(chan struct{}), make(chan struct{})
	c.mu.Lock()
	c.cmd, c.exited = cmd, exited
	c.mu.Unlock()
	go func() {
		c.follow(stderr, sync.OnceFunc(func() { close(serving) }))
		_ = cmd.Wait()
		close(exited)
	}()
	select {
	case <-serving:
		return nil
	case <-exited:
		return fmt.Errorf("caddy ended at start:\n%s", c.Tail())
	case <-time.After(time.Minute):
		c.Kill()
		return fmt.Errorf("caddy does not serve:\n%s", c.Tail())
	}
}

func (c *Caddy) follow(r io.Reader, serves func()) {
	lines := bufio.NewReaderSize(r, 1<<16)
	for {
		line, err := lines.ReadString('\n')
		if strings.Contains(line, "serving initial configuration") {
			serves()
		}
		c.mu.Lock()
		c.log.WriteString(line)
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Log is everything that the process has logged and that was not yet dropped.
func (c *Caddy) Log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

// DropLog forgets what was logged until now and returns it.
func (c *Caddy) DropLog() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := c.log.String()
	c.log.Reset()
	return text
}

// Tail is the end of the log, for failure messages.
func (c *Caddy) Tail() string {
	text := c.Log()
	return text[max(0, len(text)-4000):]
}

// Signal sends a signal to the process, if it runs.
func (c *Caddy) Signal(s os.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd != nil {
		_ = c.cmd.Process.Signal(s)
	}
}

// Wait reports whether the process has ended within d.
func (c *Caddy) Wait(d time.Duration) bool {
	c.mu.Lock()
	exited := c.exited
	c.mu.Unlock()
	if exited == nil {
		return true
	}
	select {
	case <-exited:
		return true
	case <-time.After(d):
		return false
	}
}

// Stop ends the process as an operator does, and kills it after ten seconds.
func (c *Caddy) Stop() {
	c.Signal(syscall.SIGTERM)
	if !c.Wait(10 * time.Second) {
		c.Kill()
	}
}

// Kill ends the process without warning.
func (c *Caddy) Kill() {
	c.Signal(syscall.SIGKILL)
	c.Wait(10 * time.Second)
}

// Reload posts a Caddyfile to the admin API, as `caddy reload --force` does.
func (c *Caddy) Reload(text string) error {
	r, err := http.NewRequest(http.MethodPost, "http://"+c.Admin+"/load", strings.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "text/caddyfile")
	r.Header.Set("Cache-Control", "must-revalidate")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("reload: %d %s", res.StatusCode, bytes.TrimSpace(body))
	}
	return nil
}

// Ask returns what the admin API has at a path.
func (c *Caddy) Ask(path string) (string, error) {
	res, err := http.Get("http://" + c.Admin + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", path, res.StatusCode, bytes.TrimSpace(body))
	}
	return string(body), err
}

var goroutines = regexp.MustCompile(`^goroutine profile: total (\d+)`)

// Goroutines says how many the process has, and which.
func (c *Caddy) Goroutines() (number int, profile string, err error) {
	profile, err = c.Ask("/debug/pprof/goroutine?debug=1")
	if err != nil {
		return 0, "", err
	}
	match := goroutines.FindStringSubmatch(profile)
	if match == nil {
		return 0, "", fmt.Errorf("no count of goroutines in %.100q", profile)
	}
	number, err = strconv.Atoi(match[1])
	return number, profile, err
}

// Metric returns the sum of a metric's samples whose labels contain all texts.
func (c *Caddy) Metric(name string, texts ...string) (float64, error) {
	body, err := c.Ask("/metrics")
	if err != nil {
		return 0, err
	}
	var sum float64
next:
	for line := range strings.Lines(body) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(rest, text) {
				continue next
			}
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
		if err != nil {
			return 0, err
		}
		sum += value
	}
	return sum, nil
}

// RSS is the resident memory of the process in bytes, 0 where there is no /proc.
func (c *Caddy) RSS() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return pages * os.Getpagesize()
}
