// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// node is a Caddy in this process, with an authorization server beside it and
// an upstream behind it. There is one at a time, so tests that start one must
// not run in parallel.
type node struct {
	t        *testing.T
	port     string
	dir      string
	globals  string
	clock    *testkit.Clock
	issuer   *testkit.Issuer
	upstream *upstream
	log      *logBuffer
	app      *App // of the configuration that was loaded last

	before func() // called before each request, unless nil
	beside string // sites that every configuration has besides its own

	starting func() // called by an app that fails to start, see loadAndFail

	secrets []string // that must not be in any log
}

// underTest is what the modules below hand to the configuration being loaded.
var underTest *node

// globalOptions keep a test's Caddy within the test.
const globalOptions = `{
	admin off
	persist_config off
	default_bind 127.0.0.1
	storage dpop_test $DIR/storage
	auto_https disable_redirects
	skip_install_trust
	grace_period 1s
	log {
		output dpop_test
		level DEBUG
		format filter {
			wrap json
			request>headers>Dpop delete
		}
	}
	$GLOBALS
}
`

// prepare makes everything but Caddy itself. The clock stands still, some
// seconds ahead of the machine's: a table that is made now refuses what was
// issued in this second or before it.
func prepare(t *testing.T, globals ...string) *node {
	t.Helper()
	n := &node{
		t:        t,
		port:     freePort(t),
		dir:      tempDir(t),
		globals:  strings.Join(globals, "\n"),
		clock:    testkit.NewClock(time.Now().Truncate(time.Second).Add(5 * time.Second)),
		issuer:   testkit.NewIssuer(t.Name()),
		upstream: newUpstream(t),
		log:      new(logBuffer),
	}
	t.Cleanup(n.issuer.Close)
	t.Cleanup(n.checkLog)
	t.Cleanup(func() { _ = caddy.Stop() })
	underTest = n
	return n
}

// start runs a Caddyfile. In it $PORT, $ISSUER, $UPSTREAM and $DIR stand for
// those of the node; globals go among the global options.
func start(t *testing.T, config string, globals ...string) *node {
	t.Helper()
	n := prepare(t, globals...)
	n.reload(config)
	return n
}

// reload replaces the configuration.
func (n *node) reload(config string) {
	n.t.Helper()
	if err := n.load(config); err != nil {
		n.t.Fatalf("loading: %v", err)
	}
}

func (n *node) load(config string) error {
	n.t.Helper()
	value, err := n.adapt(config)
	if err != nil {
		return err
	}
	return n.loadJSON(value)
}

func (n *node) loadJSON(value []byte) error {
	n.t.Helper()
	underTest = n
	return caddy.Load(value, true)
}

// adapt makes JSON of a Caddyfile and adds the app that sets the clock.
func (n *node) adapt(config string) ([]byte, error) {
	n.t.Helper()
	value, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(n.fill(globalOptions+config+n.beside)), nil)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	var apps map[string]json.RawMessage
	must(n.t, json.Unmarshal(value, &members))
	must(n.t, json.Unmarshal(members["apps"], &apps))
	apps["dpop_test"] = json.RawMessage("{}")
	members["apps"], err = json.Marshal(apps)
	must(n.t, err)
	value, err = json.Marshal(members)
	must(n.t, err)
	return value, nil
}

func (n *node) fill(config string) string {
	config = strings.ReplaceAll(config, "$GLOBALS", n.globals)
	return strings.NewReplacer(
		"$PORT", n.port,
		"$DIR", n.dir,
		"$ISSUER", n.issuer.URL,
		"$UPSTREAM", n.upstream.address(),
	).Replace(config)
}

// oneIssuer are the options of most tests.
const oneIssuer = `
		issuer $ISSUER
		audience https://api.test
		replay memory
`

// echo answers refusals with what error routes can know of them.
const echo = `
	handle_errors {
		respond "reason={http.dpop.reason} error={http.dpop.error} jkt={http.dpop.jkt} user={http.auth.user.id}"
	}
`

// site is a site with the given options of dpop in front of the upstream.
func site(options string) string {
	return "http://api.test:$PORT {\n\tdpop {" + options + "}\n\treverse_proxy $UPSTREAM\n" + echo + "}\n"
}

// tempDir is t.TempDir for a Caddy that may still be writing when it is gone,
// such as the copy of a key set.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dpop")
	must(t, err)
	t.Cleanup(func() { eventually(t, "removal of "+dir, func() bool { return os.RemoveAll(dir) == nil }) })
	return dir
}

func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(process.FreeAddress())
	must(t, err)
	return port
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// upstream is the backend; it records what reaches it.
type upstream struct {
	server *httptest.Server

	mu       sync.Mutex
	handler  http.HandlerFunc
	requests []*http.Request
}

func newUpstream(t *testing.T) *upstream {
	u := new(upstream)
	u.server = httptest.NewServer(http.HandlerFunc(u.serve))
	t.Cleanup(func() {
		u.server.CloseClientConnections()
		u.server.Close()
	})
	return u
}

func (u *upstream) address() string { return strings.TrimPrefix(u.server.URL, "http://") }

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.requests = append(u.requests, r.Clone(r.Context()))
	handler := u.handler
	u.mu.Unlock()
	if handler != nil {
		handler(w, r)
		return
	}
	_, _ = io.WriteString(w, "from the upstream")
}

// answers sets what the upstream does from now on.
func (u *upstream) answers(h http.HandlerFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handler = h
}

func (u *upstream) hits() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.requests)
}

// last is the latest request that reached the upstream.
func (u *upstream) last(t *testing.T) *http.Request {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) == 0 {
		t.Fatal("nothing reached the upstream")
	}
	return u.requests[len(u.requests)-1]
}

func init() {
	caddy.RegisterModule(new(probe))
	caddy.RegisterModule(new(testWriter))
}

// probe is an app that gives the dpop app of its configuration to the test,
// and the test's clock to the app.
type probe struct{}

func (*probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "dpop_test", New: func() caddy.Module { return new(probe) }}
}

func (*probe) Provision(ctx caddy.Context) error {
	app, err := ctx.App("dpop")
	if err != nil {
		return err
	}
	underTest.app = app.(*App)
	underTest.app.clock.now = underTest.clock.Now
	return nil
}

func (*probe) Start() error { return nil }
func (*probe) Stop() error  { return nil }

// testWriter is a log output that the running test can read.
type testWriter struct{}

func (*testWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.writers.dpop_test", New: func() caddy.Module { return new(testWriter) }}
}

func (*testWriter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (*testWriter) String() string                            { return "the test" }
func (*testWriter) WriterKey() string                         { return fmt.Sprintf("%s %p", underTest.t.Name(), underTest.log) }
func (*testWriter) OpenWriter() (w io.WriteCloser, err error) { return underTest.log, nil }

// logBuffer keeps what Caddy logs.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) Close() error { return nil }

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// checkLog looks through everything that was logged, at debug level and with
// the filter that the documentation recommends, for credentials.
func (n *node) checkLog() {
	log := n.log.String()
	for _, secret := range n.secrets {
		if strings.Contains(log, secret) {
			n.t.Errorf("a credential is in the log: %.40s...", secret)
		}
	}
}

// keepSecret notes the segments of a field that make a credential of it; what
// is too short to be told from other words is left out.
func (n *node) keepSecret(field string) {
	_, value, found := strings.Cut(field, " ")
	if !found {
		value = field
	}
	for _, segment := range strings.Split(value, ".") {
		if len(segment) > 30 && strings.Trim(segment, "a") != "" {
			n.secrets = append(n.secrets, segment)
		}
	}
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", deadline, what)
		}
	}
}

// entries are the log lines of a logger, newest last; "" means all.
func (b *logBuffer) entries(t *testing.T, logger string) []map[string]any {
	t.Helper()
	var entries []map[string]any
	for line := range strings.Lines(b.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if name, _ := entry["logger"].(string); logger == "" || name == logger {
			entries = append(entries, entry)
		}
	}
	return entries
}

// Interface guards
var (
	_ caddy.App          = (*probe)(nil)
	_ caddy.Provisioner  = (*probe)(nil)
	_ caddy.WriterOpener = (*testWriter)(nil)
)
