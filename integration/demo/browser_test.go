// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

// seen is what integration/node/demo.mjs saw on the page.
type seen struct {
	State, Status, Key, Token, Proof, Decoded string
	Requests                                  []struct {
		ID     string
		Status int
		Good   bool
		Text   string
	}
	Meters   map[string]int
	Overflow int
}

type visit struct {
	Name              string
	Problems, Origins []string
	First, Second     seen
}

// TestPage opens the page in a headless Chromium, in light, in dark and as wide
// as a telephone. DPOP_SCREENSHOTS names a folder for pictures of it.
func TestPage(t *testing.T) {
	chromium := find(t, "CHROMIUM", "chromium", "chromium-browser", "google-chrome")
	node := find(t, "NODE", "node")
	driver := filepath.Join(repository(t), "integration", "node")
	if _, err := os.Stat(filepath.Join(driver, "node_modules", "playwright-core")); err != nil {
		t.Skip("playwright-core is missing: npm ci --prefix integration/node")
	}

	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	args := []string{filepath.Join(driver, "demo.mjs"), chromium, s.url + "/"}
	if folder := os.Getenv("DPOP_SCREENSHOTS"); folder != "" {
		args = append(args, folder)
	}
	cmd := exec.CommandContext(ctx, node, args...)
	cmd.Env = process.Environment(t.TempDir())
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, errOut.String(), s.caddy.Log())
	}
	var report struct{ Visits []visit }
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%s: %v", out.String(), err)
	}
	if len(report.Visits) != 3 {
		t.Fatalf("%d visits", len(report.Visits))
	}
	for i, v := range report.Visits {
		t.Run(v.Name, func(t *testing.T) {
			if len(v.Problems) > 0 {
				t.Errorf("the browser complains: %s", strings.Join(v.Problems, "\n"))
			}
			if !slices.Equal(v.Origins, []string{s.url}) {
				t.Errorf("the page loads from %v", v.Origins)
			}
			v.First.check(t, s)
			v.Second.check(t, s)
			if v.First.Key == v.Second.Key {
				t.Error("the second run has the first one's key")
			}
			// Each run moves each counter by one: a person sees it.
			for run, have := range []map[string]int{v.First.Meters, v.Second.Meters} {
				for _, reason := range []string{"accepted", "jti_replayed", "bearer_refused", "htu_mismatch"} {
					if want := 2*i + run + 1; have[reason] != want {
						t.Errorf("run %d: %s is %d, want %d", run+1, reason, have[reason], want)
					}
				}
			}
		})
	}
}

// check looks at the page after one run.
func (p seen) check(t *testing.T, s *site) {
	t.Helper()
	if p.State != "done" || p.Status != "Done. One request was let in, three were refused." {
		t.Errorf("state %s: %s", p.State, p.Status)
	}
	if p.Overflow > 0 {
		t.Errorf("the page is %d pixels too wide", p.Overflow)
	}
	for _, want := range []struct{ where, text, in string }{
		{"key", "refused: InvalidAccessError", p.Key},
		{"token", "the thumbprint from above", p.Token},
		{"proof", s.url + "/api/hello", p.Proof},
		{"decoded proof", `"typ": "dpop+jwt"`, p.Decoded},
	} {
		if !strings.Contains(want.in, want.text) {
			t.Errorf("%s: no %q in %q", want.where, want.text, want.in)
		}
	}
	wanted := []struct {
		id     string
		status int
		text   string
	}{
		{"good", 200, `"message": "Hello, browser"`},
		{"replay", 401, `WWW-Authenticate: DPoP error="invalid_dpop_proof"`},
		{"bearer", 401, `WWW-Authenticate: DPoP error="invalid_token"`},
		{"other-url", 401, `WWW-Authenticate: DPoP error="invalid_dpop_proof"`},
	}
	if len(p.Requests) != len(wanted) {
		t.Fatalf("%d requests", len(p.Requests))
	}
	for i, want := range wanted {
		have := p.Requests[i]
		if have.ID != want.id || have.Status != want.status || !have.Good || !strings.Contains(have.Text, want.text) {
			t.Errorf("request %s: %+v, want %d and %q", want.id, have, want.status, want.text)
		}
	}
}

// find returns a program, or skips the test.
func find(t *testing.T, variable string, names ...string) string {
	t.Helper()
	if path := os.Getenv(variable); path != "" {
		return path
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed; the page is not tried in a browser", names[0])
	return ""
}
