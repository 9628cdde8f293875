// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
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
	url, admin string
	file       string
	text       string
	dir        string
	client     *http.Client

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	log    bytes.Buffer // guarded by mu
}

// start brings up n processes that use the given replay block and share a
// storage directory.
func start(t *testing.T, n int, storage, replay string) *cluster {
	t.Helper()
	c := &cluster{issuer: testkit.NewIssuer("nodes")}
	t.Cleanup(c.issuer.Close)
	for i := range n {
		dir := t.TempDir()
		nd := &node{dir: dir, file: filepath.Join(dir, "Caddyfile"), client: newClient()}
		address, admin := freeAddress(t), freeAddress(t)
		nd.url, nd.admin = "http://"+address, "http://"+admin
		c.nodes = append(c.nodes, nd)
		nd.text = c.configuration(i, storage, replay)
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
`, strings.TrimPrefix(n.admin, "http://"), storage, n.url, c.issuer.URL, audience, publicURL, replay, i)
}

func newClient() *http.Client {
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs the process and returns when it serves.
func (n *node) start(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(n.file, []byte(n.text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(caddyBinary, "run", "--config", n.file, "--adapter", "caddyfile")
	cmd.Dir = n.dir
	cmd.Env = append(os.Environ(), "HOME="+n.dir, "XDG_DATA_HOME="+n.dir, "XDG_CONFIG_HOME="+n.dir)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serving, exited := make(chan struct{}), make(chan struct{})
	n.mu.Lock()
	n.cmd, n.exited = cmd, exited
	n.mu.Unlock()
	go n.follow(stderr, serving, func() {
		_ = cmd.Wait()
		close(exited)
	})
	select {
	case <-serving:
	case <-exited:
		t.Fatalf("caddy ended at start:\n%s", n.tail())
	case <-time.After(time.Minute):
		t.Fatalf("caddy does not serve:\n%s", n.tail())
	}
}

func (n *node) follow(r io.Reader, serving chan struct{}, ended func()) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "serving initial configuration") {
			close(serving)
		}
		if !strings.Contains(lines.Text(), "request refused") {
			n.mu.Lock()
			n.log.WriteString(lines.Text() + "\n")
			n.mu.Unlock()
		}
	}
	ended()
}

func (n *node) tail() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	text := n.log.String()
	return text[max(0, len(text)-4000):]
}

// kill ends the process as kill -9 does.
func (n *node) kill() {
	n.mu.Lock()
	cmd, exited := n.cmd, n.exited
	n.cmd = nil
	n.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		<-exited
		n.client.CloseIdleConnections()
	}
}

// reload posts the configuration again, changed so that Caddy takes it.
func (n *node) reload(t *testing.T, generation int) {
	t.Helper()
	text := fmt.Sprintf("%s\n# generation %d\n", strings.Replace(n.text, "respond \"", fmt.Sprintf("respond \"generation %d, ", generation), 1), generation)
	response, err := http.Post(n.admin+"/load", "text/caddyfile", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		t.Fatalf("reload: %d %s", response.StatusCode, body)
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
				t.Fatalf("node %d answers %d:\n%s", i, status, n.tail())
			}
		}
	}
}
