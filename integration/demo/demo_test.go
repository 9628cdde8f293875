// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// client is somebody with a key, made without the plugin's own packages.
type client struct {
	key   *testkit.Key
	site  *site
	token string
}

func newClient(t *testing.T, s *site, seed string) *client {
	t.Helper()
	c := &client{key: testkit.P256(seed), site: s}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {seed}}
	r, err := http.NewRequest(http.MethodPost, s.url+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("DPoP", testkit.NewProof(c.key, http.MethodPost, s.url+"/token", "", time.Now()).String())
	status, _, body := send(t, r)
	var answer struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK || answer.Type != "DPoP" {
		t.Fatalf("token: %d %s: %v", status, body, err)
	}
	c.token = answer.Token
	return c
}

func (c *client) proof(path string) string {
	return testkit.NewProof(c.key, http.MethodGet, c.site.url+path, c.token, time.Now()).String()
}

func (c *client) get(t *testing.T, authorization, proof string) (int, http.Header, []byte) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, c.site.url+"/api/hello", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	if proof != "" {
		r.Header.Set("DPoP", proof)
	}
	return send(t, r)
}

func send(t *testing.T, r *http.Request) (int, http.Header, []byte) {
	t.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, body
}

// The four requests of the page, by a program.
func TestFourRequests(t *testing.T) {
	s := start(t)
	c := newClient(t, s, "gopher")
	before := counters(t, s)

	good := c.proof("/api/hello")
	status, header, body := c.get(t, "DPoP "+c.token, good)
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		t.Fatalf("good proof: %d %v %s", status, header, body)
	}
	var hello map[string]string
	if err := json.Unmarshal(body, &hello); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	for name, want := range map[string]string{
		"message": "Hello, gopher", "issuer": s.url, "client_id": "gopher", "scope": "hello", "jkt": c.key.Thumbprint(),
	} {
		if hello[name] != want {
			t.Errorf("%s is %q, want %q", name, hello[name], want)
		}
	}
	if len(hello["token_id"]) < 20 {
		t.Errorf("token_id is %q", hello["token_id"])
	}

	for _, refusal := range []struct{ name, authorization, proof, code string }{
		{"same proof again", "DPoP " + c.token, good, "invalid_dpop_proof"},
		{"token as Bearer", "Bearer " + c.token, "", "invalid_token"},
		{"proof for another URL", "DPoP " + c.token, c.proof("/api/other"), "invalid_dpop_proof"},
	} {
		status, header, _ := c.get(t, refusal.authorization, refusal.proof)
		challenges, err := testkit.ParseChallenges(header.Values("WWW-Authenticate"))
		if err != nil {
			t.Errorf("%s: %v", refusal.name, err)
			continue
		}
		challenge := testkit.FindChallenge(challenges, "DPoP")
		if status != http.StatusUnauthorized || challenge == nil || challenge.Params["error"] != refusal.code {
			t.Errorf("%s: %d %v, want 401 %s", refusal.name, status, header.Values("WWW-Authenticate"), refusal.code)
		}
	}

	after := counters(t, s)
	for reason, want := range map[string]int{"": 1, "jti_replayed": 1, "bearer_refused": 1, "htu_mismatch": 1} {
		if moved := after[reason] - before[reason]; moved != want {
			t.Errorf("the counter of %q moved by %d, want %d", reason, moved, want)
		}
	}
}

var counter = regexp.MustCompile(`(?m)^caddy_dpop_requests_total\{.*reason="([^"]*)".*\} (\d+)$`)

// counters reads the metrics by reason, "" for what was let in.
func counters(t *testing.T, s *site) map[string]int {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	status, _, body := send(t, r)
	if status != http.StatusOK {
		t.Fatalf("metrics: %d", status)
	}
	sums := make(map[string]int)
	for _, m := range counter.FindAllSubmatch(body, -1) {
		n, _ := strconv.Atoi(string(m[2]))
		sums[string(m[1])] += n
	}
	return sums
}

// A second run finds the first one's key set in the storage. Tokens of the new
// key must be good at once, and those of the old one no longer.
func TestRestart(t *testing.T) {
	first := start(t)
	old := newClient(t, first, "gopher")
	if status, _, body := old.get(t, "DPoP "+old.token, old.proof("/api/hello")); status != http.StatusOK {
		t.Fatalf("before: %d %s", status, body)
	}
	first.stop()

	second := startIn(t, first.folder, first.home, first.port)
	fresh := newClient(t, second, "gopher")
	if status, header, body := fresh.get(t, "DPoP "+fresh.token, fresh.proof("/api/hello")); status != http.StatusOK {
		t.Errorf("a token of the new key: %d %v %s", status, header, body)
	}
	if status, _, _ := old.get(t, "DPoP "+old.token, old.proof("/api/hello")); status == http.StatusOK {
		t.Error("a token of the old key was accepted")
	}
}

func TestCommands(t *testing.T) {
	s := start(t)
	home := t.TempDir()

	code, out, errOut := run(t, home, "dpop", "request", s.url+"/api/hello")
	var hello map[string]string
	if err := json.Unmarshal([]byte(out), &hello); err != nil || code != 0 || errOut != "200 OK\n" {
		t.Errorf("request: exit code %d, %q, %q: %v", code, out, errOut, err)
	}
	if hello["client_id"] != "caddy-dpop" || len(hello["jkt"]) != 43 {
		t.Errorf("request: %v", hello)
	}

	code, out, errOut = run(t, home, "dpop", "check", "--json", s.url+"/api/hello")
	var report struct {
		Findings       []any
		Failed, Warned []string
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		t.Fatalf("check: exit code %d, %s: %v\n%s", code, errOut, err, out)
	}
	if len(report.Failed)+len(report.Warned) > 0 || len(report.Findings) < 30 {
		t.Errorf("check: %d findings, failed %v, warned %v\n%s", len(report.Findings), report.Failed, report.Warned, out)
	}

	if code, _, errOut = run(t, home, "dpop", "request", s.url+"/api/hello", "--scope", "admin"); code != 2 || !strings.Contains(errOut, "invalid_scope") {
		t.Errorf("a scope that is not to be had: exit code %d, %q", code, errOut)
	}
}

// What the demonstration promises about itself.
func TestStaysInItsPlace(t *testing.T) {
	s := start(t)
	c := newClient(t, s, "gopher")
	used := c.proof("/api/hello")
	if status, _, body := c.get(t, "DPoP "+c.token, used); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}

	t.Run("loopback only", func(t *testing.T) {
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addresses {
			ip, _, err := net.ParseCIDR(a.String())
			if err != nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
				continue
			}
			if conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip.String(), s.port), time.Second); err == nil {
				_ = conn.Close()
				t.Errorf("listens on %s", ip)
			}
		}
	})
	t.Run("says that it is for development", func(t *testing.T) {
		if !strings.Contains(s.caddy.Log(), "for development only") {
			t.Errorf("the log does not say so\n%s", s.caddy.Log())
		}
	})
	s.stop()
	t.Run("no proof in the log", func(t *testing.T) {
		log := s.caddy.Log()
		if !strings.Contains(log, `"uri":"/api/hello"`) {
			t.Fatalf("no access log\n%s", log)
		}
		for name, secret := range map[string]string{"proof": used, "token": c.token} {
			if strings.Contains(log, secret) {
				t.Errorf("the %s is in the log", name)
			}
		}
	})
	t.Run("files in .demo only", func(t *testing.T) {
		for _, folder := range []string{s.folder, s.home} {
			err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				if relative, _ := filepath.Rel(s.folder, path); !strings.HasPrefix(relative, ".demo"+string(filepath.Separator)) {
					t.Errorf("wrote %s", path)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(filepath.Join(s.folder, ".demo")); err != nil {
			t.Error(err)
		}
	})
}

func TestCaddyfileIsFormatted(t *testing.T) {
	have, err := os.ReadFile(filepath.Join(repository(t), "example.Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, caddyfile.Format(have)) {
		t.Error("caddy fmt would change example.Caddyfile")
	}
}
