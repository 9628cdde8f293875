// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const (
	publicURL = "https://api.example.test"
	target    = publicURL + "/items"
	audience  = "https://api.example.test"
)

// cluster is a number of Caddy processes with one configuration.
type cluster struct {
	issuer *testkit.Issuer
	nodes  []*node
}

// node is one Caddy process.
type node struct {
	process.Caddy
	url    string
	client *http.Client
}

// start brings up n processes that use the given replay block and share a
// storage directory.
func start(t *testing.T, n int, storage, replay string) *cluster {
	t.Helper()
	c := &cluster{issuer: testkit.NewIssuer("nodes")}
	t.Cleanup(c.issuer.Close)
	binary, err := process.Binary()
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		address := process.FreeAddress()
		nd := &node{url: "http://" + address, client: newClient()}
		nd.Binary, nd.Dir, nd.Admin = binary, t.TempDir(), process.FreeAddress()
		nd.Keep = func(line string) bool { return !strings.Contains(line, "request refused") }
		c.nodes = append(c.nodes, nd)
		nd.Text = c.configuration(i, storage, replay)
		t.Cleanup(nd.kill)
		nd.start(t)
	}
	return c
}

// configuration is a node's Caddyfile.
func (c *cluster) configuration(i int, storage, replay string) string {
	n := c.nodes[i]
	return fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	storage file_system %s
}
%s {
	dpop {
		issuer %s
		audience %s
		public_url %s
		replay %s
	}
	respond "node %d"
}
`, n.Admin, storage, n.url, c.issuer.URL, audience, publicURL, replay, i)
}

func newClient() *http.Client {
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	}
}

// start runs the process and returns when it serves.
func (n *node) start(t *testing.T) {
	t.Helper()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill ends the process as kill -9 does.
func (n *node) kill() {
	n.Kill()
	n.client.CloseIdleConnections()
}

// reload posts the configuration again, changed so that Caddy takes it.
func (n *node) reload(t *testing.T, generation int) {
	t.Helper()
	text := fmt.Sprintf("%s\n# generation %d\n", strings.Replace(n.Text, "respond \"", fmt.Sprintf("respond \"generation %d, ", generation), 1), generation)
	if err := n.Reload(text); err != nil {
		t.Fatal(err)
	}
}

type minted struct{ token, proof string }

// minter makes fresh proofs of several clients, so that no key has too many.
func (c *cluster) minter(seed string) func() minted {
	const perClient = 1000
	var mu sync.Mutex
	var made int
	var key *testkit.Key
	var token string
	return func() minted {
		now := time.Now()
		mu.Lock()
		if made%perClient == 0 {
			key = testkit.P256(fmt.Sprint(seed, made/perClient))
			token = c.issuer.Token(testkit.TokenClaims{Audience: audience, Thumbprint: key.Thumbprint()}, now).String()
		}
		made++
		k, tok := key, token
		mu.Unlock()
		return minted{tok, testkit.NewProof(k, http.MethodGet, target, tok, now).String()}
	}
}

// mint makes n proofs at once.
func (c *cluster) mint(seed string, n int) []minted {
	next := c.minter(seed)
	all := make([]minted, n)
	for i := range all {
		all[i] = next()
	}
	return all
}

// send presents a proof to a node and returns the status, 0 for a connection
// that broke.
func (n *node) send(m minted) int {
	request, err := http.NewRequest(http.MethodGet, n.url+"/items", nil)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "DPoP "+m.token)
	request.Header.Set("DPoP", m.proof)
	response, err := n.client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// warm waits until fresh proofs pass at every node: until the cut-off second
// of a new store is over.
func (c *cluster) warm(t *testing.T) {
	t.Helper()
	for i, n := range c.nodes {
		deadline := time.Now().Add(20 * time.Second)
		for attempt := 0; ; attempt++ {
			status := n.send(c.mint(fmt.Sprint("warm", i, "-", attempt), 1)[0])
			if status == http.StatusOK {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("node %d answers %d:\n%s", i, status, n.Tail())
			}
		}
	}
}
