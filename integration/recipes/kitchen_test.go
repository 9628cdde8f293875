// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// kitchen is everything around the Caddy of one recipe: an authorization server, a
// backend, a directory that nodes share, and what stands for what in the recipe.
type kitchen struct {
	*testing.T
	text     string // the recipe
	dir      string
	issuer   *testkit.Issuer
	backend  *backend
	replaced []string // addresses of the recipe and what they are here, in turn
	env      []string
}

func newKitchen(t *testing.T, text string) *kitchen {
	k := &kitchen{T: t, text: text, dir: t.TempDir(), issuer: testkit.NewIssuer(t.Name()), backend: newBackend(t)}
	t.Cleanup(k.issuer.Close)
	k.replaced = []string{"https://auth.example.com", k.issuer.URL, "app:8080", k.backend.address}
	return k
}

// replace says what an address of the recipe is here.
func (k *kitchen) replace(from, to string) {
	if !strings.Contains(k.text, from) {
		k.Fatalf("the recipe does not mention %s", from)
	}
	k.replaced = append([]string{from, to}, k.replaced...)
}

// node is one Caddy process with the recipe's configuration.
type node struct {
	k           *kitchen
	http, https string // addresses

	mu    sync.Mutex
	lines []string
}

// testOptions keep a process to itself and to this machine, which is all that
// is added to a recipe. Certificates come from an authority of its own.
const testOptions = `
	admin off
	persist_config off
	default_bind 127.0.0.1
	http_port $HTTP
	https_port $HTTPS
	local_certs
	skip_install_trust
	auto_https disable_redirects
	grace_period 1s
	storage_clean_interval off
`

// configuration is the recipe for one node.
func (k *kitchen) configuration(n *node) string {
	_, httpPort, _ := net.SplitHostPort(n.http)
	_, httpsPort, _ := net.SplitHostPort(n.https)
	options := strings.NewReplacer("$HTTPS", httpsPort, "$HTTP", httpPort).Replace(testOptions)
	text := strings.NewReplacer(k.replaced...).Replace(k.text)
	text = strings.ReplaceAll(text, "\n:8080 {", "\n:"+httpPort+" {")
	if !strings.Contains(text, "\n\tstorage ") {
		options += "\tstorage file_system " + filepath.Join(k.dir, "storage") + "\n"
	}
	if rest, ok := strings.CutPrefix(text, "{\n"); ok {
		return "{" + options + rest
	}
	return "{" + options + "}\n" + text
}

// start runs a node and returns when it serves.
func (k *kitchen) start() *node {
	k.Helper()
	n := &node{k: k, http: freeAddress(k), https: freeAddress(k)}
	dir := k.TempDir()
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(k.configuration(n)), 0o600); err != nil {
		k.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		k.Fatal(err)
	}
	cmd := exec.Command(self, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), beCaddy+"=1", "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.Env = append(cmd.Env, k.env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		k.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	ended := make(chan struct{})
	serving := make(chan struct{})
	go func() {
		n.read(bufio.NewScanner(stderr), serving)
		_ = cmd.Wait()
		close(ended)
	}()
	k.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
		}
	})
	select {
	case <-serving:
	case <-ended:
		k.Fatalf("Caddy does not take the recipe:\n%s", n.log())
	case <-time.After(time.Minute):
		k.Fatalf("Caddy does not serve:\n%s", n.log())
	}
	return n
}

func (n *node) read(lines *bufio.Scanner, serving chan struct{}) {
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		n.mu.Lock()
		n.lines = append(n.lines, line)
		n.mu.Unlock()
		if strings.Contains(line, "serving initial configuration") {
			close(serving)
		}
	}
}

func (n *node) log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

// refusals are the log lines of refused requests, oldest first.
func (n *node) refusals() []map[string]any {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []map[string]any
	for _, line := range n.lines {
		var entry map[string]any
		if strings.Contains(line, `"request refused"`) && json.Unmarshal([]byte(line), &entry) == nil {
			all = append(all, entry)
		}
	}
	return all
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// backend is what the recipes protect. It says what reached it.
type backend struct {
	address string

	mu       sync.Mutex
	requests []*http.Request
	status   int
}

func newBackend(t *testing.T) *backend {
	b := &backend{status: http.StatusOK}
	server := httptest.NewServer(b)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	b.address = strings.TrimPrefix(server.URL, "http://")
	return b
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, r)
	w.WriteHeader(b.status)
	_, _ = w.Write([]byte("from the backend"))
}

func (b *backend) hits() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.requests)
}

// last is the newest request that arrived.
func (b *backend) last(t testing.TB) *http.Request {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.requests) == 0 {
		t.Fatal("nothing reached the backend")
	}
	return b.requests[len(b.requests)-1]
}
