// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
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
	process.Caddy
	k           *kitchen
	http, https string // addresses
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
	self, err := os.Executable()
	if err != nil {
		k.Fatal(err)
	}
	n := &node{k: k, http: process.FreeAddress(), https: process.FreeAddress()}
	n.Binary, n.Dir, n.Text = self, k.TempDir(), k.configuration(n)
	n.Env = append([]string{beCaddy + "=1"}, k.env...)
	k.Cleanup(n.Stop)
	if err := n.Start(); err != nil {
		k.Fatalf("Caddy does not take the recipe: %v", err)
	}
	return n
}

// refusals are the log lines of refused requests, oldest first.
func (n *node) refusals() []map[string]any {
	var all []map[string]any
	for line := range strings.Lines(n.Log()) {
		var entry map[string]any
		if strings.Contains(line, `"request refused"`) && json.Unmarshal([]byte(line), &entry) == nil {
			all = append(all, entry)
		}
	}
	return all
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
