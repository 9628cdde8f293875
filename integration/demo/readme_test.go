// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// newcomer does what the README says, with other ports.
type newcomer struct {
	*testing.T
	readme string
	dir    string
	ports  []string // addresses in the README and what they are here, in turn
}

// blocks are the README's fenced blocks in a language, with the addresses of here.
func (n *newcomer) blocks(language string) []string {
	var blocks []string
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(n.readme, -1) {
		blocks = append(blocks, strings.NewReplacer(n.ports...).Replace(match[1]))
	}
	return blocks
}

// shell runs a command and returns all that a terminal would show.
func (n *newcomer) shell(line string) string {
	n.Helper()
	rest, ok := strings.CutPrefix(line, "./caddy ")
	if !ok {
		rest, ok = strings.CutPrefix(line, "go run ./cmd/caddy ")
	}
	if !ok {
		n.Fatalf("%q is not a command of ours", line)
	}
	cmd := exec.CommandContext(n.Context(), caddyBinary(n.T), strings.Fields(rest)...)
	cmd.Dir, cmd.Env = n.dir, process.Environment(n.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.Errorf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// session runs what stands behind each $ and compares what comes out.
func (n *newcomer) session(text string) {
	n.Helper()
	for _, part := range strings.Split("\n"+text, "\n$ ")[1:] {
		command, want, _ := strings.Cut(part, "\n")
		if out := n.shell(command); !transcript(want).MatchString(out) {
			n.Errorf("%s prints\n%s\nand not\n%s", command, out, want)
		}
	}
}

// warm repeats a command until it works: proofs of the second in which a replay store
// is made are refused.
func (n *newcomer) warm(args ...string) {
	n.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		code, _, errOut := run(n.T, n.TempDir(), args...)
		if code == 0 {
			return
		}
		if !strings.Contains(errOut, "older than the memory") || time.Now().After(end) {
			n.Fatalf("exit code %d: %s", code, errOut)
		}
	}
}

// chance are the members whose values differ from run to run.
var chance = regexp.MustCompile(`("(?:jkt|token_id)": ")[^"]+`)

// transcript is what a session of the README matches: its lines, where three dots
// stand for any number of others.
func transcript(text string) *regexp.Regexp {
	var pattern strings.Builder
	pattern.WriteString(`^`)
	for line := range strings.Lines(strings.TrimSuffix(text, "\n") + "\n") {
		if strings.TrimSpace(line) == "..." {
			pattern.WriteString(`(?s:.*)`)
			continue
		}
		parts := chance.FindStringSubmatchIndex(line)
		if parts == nil {
			pattern.WriteString(regexp.QuoteMeta(line))
			continue
		}
		pattern.WriteString(regexp.QuoteMeta(line[:parts[3]]) + `[\w-]{20,}` + regexp.QuoteMeta(line[parts[1]:]))
	}
	return regexp.MustCompile(strings.TrimSuffix(pattern.String(), "\n") + `\n*$`)
}

// users is a backend that keeps what it was told about who calls.
type users struct {
	mu   sync.Mutex
	seen []string
}

func (u *users) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = append(u.seen, strings.Join(r.Header.Values("X-User"), ","))
	_, _ = w.Write([]byte("hello from the backend\n"))
}

// names are those seen since the last call, each once.
func (u *users) names() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	slices.Sort(u.seen)
	defer func() { u.seen = nil }()
	return slices.Compact(u.seen)
}

// tokenEndpoint answers the client credentials grant as somebody else's
// authorization server does, to one client.
func tokenEndpoint(issuer *testkit.Issuer, id, secret, audience string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if user, password, _ := r.BasicAuth(); user != id || password != secret {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error": "invalid_client"}`))
			return
		}
		encoded, _, _ := strings.Cut(r.Header.Get("DPoP"), ".")
		header, _ := base64.RawURLEncoding.DecodeString(encoded)
		var proof struct {
			JWK struct{ Kty, Crv, X, Y string }
		}
		_ = json.Unmarshal(header, &proof)
		jwk := testkit.Object{{Name: "crv", Value: proof.JWK.Crv}, {Name: "kty", Value: proof.JWK.Kty}, {Name: "x", Value: proof.JWK.X}, {Name: "y", Value: proof.JWK.Y}}
		token := issuer.Token(testkit.TokenClaims{Audience: audience, Subject: "alice", ClientID: id, Thumbprint: testkit.Thumbprint(jwk)}, time.Now())
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token.String(), "token_type": "DPoP", "expires_in": 3600})
	}
}

// TestREADME follows the README from the demo to one's own backend with one's own
// issuer: every session prints what it says, and every command works.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	demo, backend := start(t), new(users)
	upstream := httptest.NewServer(backend)
	defer upstream.Close()
	_, port, _ := net.SplitHostPort(process.FreeAddress())
	n := &newcomer{T: t, readme: string(text), dir: t.TempDir(), ports: []string{
		"http://localhost:8080", demo.url, "http://localhost:9080", "http://localhost:" + port,
		"localhost:3000", strings.TrimPrefix(upstream.URL, "http://"),
	}}

	sessions := n.blocks("console")
	if len(sessions) != 2 {
		t.Fatalf("%d sessions, want the demo's and one's own", len(sessions))
	}
	n.session(sessions[0])

	// One's own backend, with the demo's issuer.
	site := slices.IndexFunc(n.blocks("caddyfile"), func(block string) bool { return strings.HasPrefix(block, "http://localhost:"+port) })
	if site < 0 {
		t.Fatal("no site of one's own")
	}
	own := &process.Caddy{Binary: caddyBinary(t), Dir: n.dir, Admin: process.FreeAddress()}
	options := "{\n\tadmin " + own.Admin + "\n\tpersist_config off\n\tdefault_bind 127.0.0.1\n}\n"
	own.Text = options + n.blocks("caddyfile")[site]
	t.Cleanup(own.Stop)
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	n.warm("dpop", "request", "--issuer", demo.url, "http://localhost:"+port+"/")
	n.session(sessions[1])
	if got := backend.names(); !slices.Equal(got, []string{"caddy-dpop"}) {
		t.Errorf("the backend saw the users %q", got)
	}
	n.shell("./caddy dpop request -H X-User:root --issuer " + demo.url + " http://localhost:" + port + "/")
	if got := backend.names(); !slices.Equal(got, []string{"caddy-dpop"}) {
		t.Errorf("the backend saw the users %q after one claimed to be root", got)
	}

	// One's own issuer. Its tokens are for another audience than the demo's.
	issuer := testkit.NewIssuer("of one's own")
	defer issuer.Close()
	endpoint := httptest.NewServer(tokenEndpoint(issuer, "me", "s3cret", "https://api.example"))
	defer endpoint.Close()
	issuer.SetMetadata("token_endpoint", endpoint.URL)
	if err := os.WriteFile(filepath.Join(n.dir, "secret"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("issuer "+demo.url, "issuer "+issuer.URL, "audience "+demo.url+"/api", "audience https://api.example").Replace(own.Text)
	if err := os.WriteFile(filepath.Join(n.dir, "Caddyfile"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, block := range n.blocks("sh") {
		for line := range strings.Lines(block) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "./caddy ") {
				n.shell(strings.NewReplacer("ISSUER", issuer.URL, "ID", "me", "@FILE", "@secret").Replace(line))
				ran++
			}
		}
	}
	if got := backend.names(); ran != 2 || !slices.Equal(got, []string{"alice"}) {
		t.Errorf("after %d commands the backend saw the users %q", ran, got)
	}
}
