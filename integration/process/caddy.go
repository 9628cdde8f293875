// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Caddy is one process of Caddy, with its admin API. Set the exported fields, then
// Start it.
type Caddy struct {
	Binary string
	Dir    string   // home, data and working directory
	Home   string   // a home other than Dir, where Caddy itself chooses the place of its data
	Admin  string   // address of the admin API, as in Text
	Text   string   // the Caddyfile
	Args   []string // other than those that run Text
	Env    []string // beside the test's own

	Process
}

// Start runs the process and returns when it says that it serves. What ended can be
// started again.
func (c *Caddy) Start() error {
	if err := dependOnCheckout(); err != nil {
		return err
	}
	args := c.Args
	if args == nil {
		file := filepath.Join(c.Dir, "Caddyfile")
		if err := os.WriteFile(file, []byte(c.Text), 0o600); err != nil {
			return err
		}
		args = []string{"run", "--config", file, "--adapter", "caddyfile"}
	}
	cmd := exec.Command(c.Binary, args...) // #nosec G204 -- paths of our own
	cmd.Dir = c.Dir
	if c.Home != "" {
		cmd.Env = Environment(c.Home, c.Env...)
	} else {
		cmd.Env = append(Environment(c.Dir, "XDG_DATA_HOME="+c.Dir, "XDG_CONFIG_HOME="+c.Dir), c.Env...)
	}
	return c.Run(cmd, "serving initial configuration")
}

// Environment is this process's own, without what Caddy takes its directories, its
// admin address and its port from, with another home, and more.
func Environment(home string, more ...string) []string {
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

// admin sends a request to the admin API. Each reload replaces its listener, and what
// waits there at that moment is reset, so it is tried again.
func (c *Caddy) admin(method, path, body string) (*http.Response, error) {
	var failed error
	for range 5 {
		r, err := http.NewRequest(method, "http://"+c.Admin+path, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Close = true
		r.Header.Set("Content-Type", "text/caddyfile")
		r.Header.Set("Cache-Control", "must-revalidate")
		res, err := http.DefaultClient.Do(r)
		if err == nil {
			return res, nil
		}
		failed = err
		time.Sleep(50 * time.Millisecond)
	}
	return nil, failed
}

// Reload posts a Caddyfile to the admin API, as `caddy reload --force` does.
func (c *Caddy) Reload(text string) error {
	res, err := c.admin(http.MethodPost, "/load", text)
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
	res, err := c.admin(http.MethodGet, path, "")
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
