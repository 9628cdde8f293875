// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/replay"
)

func init() {
	caddy.RegisterModule(new(watchedStorage))
	caddy.RegisterModule(new(lateFailure))
}

// watchedStorage is a file storage that asks the test before each Store of ours.
type watchedStorage struct {
	Root string `json:"root,omitempty"`
	*certmagic.FileStorage
}

// beforeStore gets the last element of the storage's path.
var beforeStore atomic.Pointer[func(storage string) error]

func (*watchedStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.dpop_watched", New: func() caddy.Module { return new(watchedStorage) }}
}

func (s *watchedStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	d.Args(&s.Root)
	return nil
}

func (s *watchedStorage) CertMagicStorage() (certmagic.Storage, error) {
	s.FileStorage = &certmagic.FileStorage{Path: s.Root}
	return s, nil
}

func (s *watchedStorage) Store(ctx context.Context, key string, value []byte) error {
	if ask := beforeStore.Load(); ask != nil && strings.HasPrefix(key, replayPrefix) {
		if err := (*ask)(filepath.Base(s.Root)); err != nil {
			return err
		}
	}
	return s.FileStorage.Store(ctx, key, value)
}

func watchStores(t *testing.T, ask func(storage string) error) {
	beforeStore.Store(&ask)
	t.Cleanup(func() { beforeStore.Store(nil) })
}

// lateFailure is an app that fails to start, after or before dpop has: Caddy
// starts apps in no order.
type lateFailure struct{}

var errLateFailure = errors.New("another app does not start")

func (*lateFailure) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "dpop_late_failure", New: func() caddy.Module { return new(lateFailure) }}
}

func (*lateFailure) Start() error {
	underTest.starting()
	return errLateFailure
}

func (*lateFailure) Stop() error { return nil }

// loadAndFail loads a configuration of which another app fails, until dpop has
// started before that one; meanwhile is called then.
func (n *node) loadAndFail(config string, meanwhile func()) {
	n.t.Helper()
	value, err := n.adapt(config)
	must(n.t, err)
	value = withApps(n.t, value, func(apps map[string]json.RawMessage) { apps["dpop_late_failure"] = json.RawMessage("{}") })
	running := n.app
	for late := false; !late; {
		n.starting = func() {
			runningApps.mu.Lock()
			late = len(runningApps.apps) == 2
			runningApps.mu.Unlock()
			if late && meanwhile != nil {
				meanwhile()
			}
		}
		if err := n.loadJSON(value); err == nil || !strings.Contains(err.Error(), errLateFailure.Error()) {
			n.t.Fatalf("loading: %v", err)
		}
	}
	n.app = running
}

// withApps changes the apps of a configuration.
func withApps(t *testing.T, config []byte, change func(map[string]json.RawMessage)) []byte {
	t.Helper()
	var members, apps map[string]json.RawMessage
	must(t, json.Unmarshal(config, &members))
	must(t, json.Unmarshal(members["apps"], &apps))
	change(apps)
	var err error
	members["apps"], err = json.Marshal(apps)
	must(t, err)
	config, err = json.Marshal(members)
	must(t, err)
	return config
}

func watchedSite(storage string) string {
	return site("\nissuer $ISSUER\naudience https://api.test\nreplay storage {\nstorage dpop_watched $DIR/" + storage + "\n}\n")
}

// heads are the nodes that have announced something in one of the storages.
func (n *node) heads(storage string) int {
	n.t.Helper()
	found, err := filepath.Glob(filepath.Join(n.dir, storage, replayPrefix, "*", "head"))
	must(n.t, err)
	return len(found)
}

// TestStorageThatFails: a storage that cannot be written to fails the load with a
// sentence that helps, and until then the running configuration goes on with its own.
func TestStorageThatFails(t *testing.T) {
	n := start(t, watchedSite("one"))
	c := n.client()
	used := c.proof("GET", n.url("/"))
	c.present(used, "GET", n.url("/")).passed()
	for _, test := range []struct {
		err  error
		want string
	}{
		{fs.ErrPermission, "replay storage: this process may not write there"},
		{syscall.EROFS, "replay storage: this process may not write there"},
		{syscall.ENOENT, "replay storage: there is no such place to write to"},
		{syscall.ENOTDIR, "replay storage: there is no such place to write to"},
	} {
		entered, release := make(chan struct{}, 100), make(chan struct{})
		watchStores(t, func(storage string) error {
			if storage != "two" {
				return nil
			}
			entered <- struct{}{}
			<-release
			return test.err
		})
		loaded := make(chan error, 1)
		go func() { loaded <- n.load(watchedSite("two")) }()
		<-entered
		for range 3 {
			c.get("/").passed()
		}
		c.present(used, "GET", n.url("/")).refusedFor("jti_replayed")
		close(release)
		if err := <-loaded; err == nil || !errors.Is(err, test.err) && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got %v, want %s", test.err, err, test.want)
		}
		c.get("/").passed()
		c.present(used, "GET", n.url("/")).refusedFor("jti_replayed")
		if got := n.heads("two"); got != 0 {
			t.Errorf("%d nodes have moved", got)
		}
	}
}

// TestStorageOfGenerations: claims stay where they are as long as a load can fail,
// and move, with all that is remembered, when it has succeeded.
func TestStorageOfGenerations(t *testing.T) {
	n := start(t, watchedSite("one"))
	c := n.client()
	used := []*testkit.JWS{c.proof("GET", n.url("/"))}
	c.present(used[0], "GET", n.url("/")).passed()
	n.loadAndFail(watchedSite("two"), func() {
		p := c.proof("GET", n.url("/"))
		c.present(p, "GET", n.url("/")).passed()
		used = append(used, p)
	})
	c.get("/").passed()
	if one, two := n.heads("one"), n.heads("two"); one != 1 || two != 0 {
		t.Errorf("announced by %d nodes in the one and %d in the other storage", one, two)
	}

	n.reload(watchedSite("two"))
	watchStores(t, func(storage string) error {
		if storage == "one" {
			return errors.New("nobody writes there any more")
		}
		return nil
	})
	c.get("/").passed()
	for _, p := range used {
		c.present(p, "GET", n.url("/")).refusedFor("jti_replayed")
	}
	// Another node there knows them, too.
	other := replay.NewLog(replay.LogConfig{Storage: &certmagic.FileStorage{Path: filepath.Join(n.dir, "two")}})
	other.SetWindow(replay.Window{Proof: defaultMaxAge + defaultClockSkew})
	for _, p := range used {
		claim := replay.Claim{ID: replay.NewID(c.key.Thumbprint(), p.Claims.Get("jti").(string)), IssuedAt: p.Claims.Get("iat").(int64)}
		if err := other.Claim(t.Context(), claim); !errors.Is(err, replay.ErrReplayed) {
			t.Errorf("another node: %v, want %v", err, replay.ErrReplayed)
		}
	}
	must(t, other.Close(t.Context()))
}

// TestLimitsOfGenerations: limits change when a configuration has taken over, and
// not by one that fails to load.
func TestLimitsOfGenerations(t *testing.T) {
	limits := func(entries, perKey, tokens int) string {
		return fmt.Sprintf("dpop {\nmax_entries %d\nmax_per_key %d\ntoken_cache %d\n}", entries, perKey, tokens)
	}
	const tokens = 200 // several in each part of the cache
	n := start(t, site(oneIssuer), limits(1000, 500, 10000))
	c := n.client()
	for i := range tokens {
		c.with(n.bound(c.key).Set("sub", fmt.Sprint(i))).get("/").passed()
	}
	inForce := func(what string, entries int, shrunk bool) {
		t.Helper()
		status := n.app.status()
		if got := status.Replay[0].MaxEntries; got != entries {
			t.Errorf("%s: max_entries %d, want %d", what, got, entries)
		}
		if got := status.TokenCache; got < tokens != shrunk {
			t.Errorf("%s: %d tokens in the cache", what, got)
		}
	}
	running := n.app
	n.globals = limits(20, 10, 1)
	for _, broken := range []string{
		site(oneIssuer + "mode off\n"),
		strings.Replace(site(oneIssuer), "api.test", "*.test", 1), // fails in Start
	} {
		if n.load(broken) == nil {
			t.Fatal("loaded")
		}
		n.app = running
		inForce("after a failed load", 1000, false)
		c.get("/").passed()
	}
	n.loadAndFail(site(oneIssuer), func() { c.get("/").passed() })
	inForce("after a load that failed late", 1000, false)
	c.get("/").passed()

	n.reload(site(oneIssuer))
	inForce("after a reload", 20, true)
	c.get("/").refusedFor("replay_full")
}

// everything uses all that outlives a configuration.
const everything = `
		issuer $ISSUER
		introspection $ISSUER/introspect {
			client_id api
			client_secret {env.DPOP_SECRET}
		}
		audience https://api.test
		nonce optional
`

// TestLogsOfGenerations: what outlives a configuration logs where the present one does.
func TestLogsOfGenerations(t *testing.T) {
	t.Setenv("DPOP_SECRET", "the secret of the resource server")
	n := start(t, site(everything))
	n.client().get("/").passed()
	n.opaque(testkit.P256("client")).get("/").passed()
	before := n.log
	n.log = new(logBuffer)
	n.reload(site(everything))
	logged := len(before.String())

	storageFails.Store(true)
	t.Cleanup(func() { storageFails.Store(false) })
	down := testkit.Status(http.StatusInternalServerError, "text/plain", "down")
	n.issuer.Fault(testkit.PathJWKS, down)
	n.issuer.Fault(testkit.PathIntrospect, down)
	n.client().get("/").refusedFor("replay_unavailable")
	n.opaque(testkit.P256("client")).get("/").refusedFor("introspection_unavailable")
	if n.app.sets[0].Refresh(t.Context()) == nil {
		t.Error("the key set was fetched")
	}
	ctx, cancel := context.WithCancel(t.Context())
	go n.app.nonces.refresh(ctx)
	defer cancel()
	for _, line := range []string{
		"replay storage failed", "key set not fetched", "introspection fails",
		"the nonce keys cannot be read; those in memory stay in use",
	} {
		eventually(t, line, func() bool { return strings.Contains(n.log.String(), `"`+line+`"`) })
	}
	for what, slot := range map[string]*sharedStorage{"key set": n.app.sets[0].storage, "nonce keys": n.app.nonces.storage} {
		if *slot.current.Load() != n.app.ctx.Storage() {
			t.Errorf("%s: not on the storage of this configuration", what)
		}
	}
	if late := before.String()[logged:]; strings.Contains(late, `"logger":"dpop"`) || strings.Contains(late, `"logger":"http.handlers.dpop"`) {
		t.Errorf("the former log has got %s", late)
	}
}

// TestGenerationsAreLetGo: what outlives a configuration does not keep it.
func TestGenerationsAreLetGo(t *testing.T) {
	t.Setenv("DPOP_SECRET", "the secret of the resource server")
	n := prepare(t)
	// Caddy's cache of certificates keeps the logger of the first configuration, and
	// with a filter that keeps the configuration: let it not be ours.
	plain, err := n.adapt("http://api.test:$PORT {\nrespond ok\n}\n")
	must(t, err)
	must(t, n.loadJSON(withApps(t, plain, func(apps map[string]json.RawMessage) { delete(apps, "dpop_test") })))
	// reverse_proxy keeps its configuration for as long as a connection to the upstream.
	config := strings.Replace(site(everything), "reverse_proxy $UPSTREAM", "respond ok", 1)
	use := func() {
		for _, c := range []*client{n.client(), n.opaque(testkit.P256("client"))} {
			if a := c.get("/"); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
	}
	n.reload(config)
	use()
	first := weak.Make(n.app)
	for range 2 {
		n.reload(config)
		use()
	}
	eventually(t, "the end of the first configuration", func() bool {
		runtime.GC()
		return first.Value() == nil
	})
}

// TestGenerations: the oldest is in force, whether those after it come to stand or
// not, and also when Caddy cleans up without stopping.
func TestGenerations(t *testing.T) {
	first, failed, second := new(App), new(App), new(App)
	for _, step := range []struct {
		what string
		do   func()
		want *App
	}{
		{"the first begins", func() { runningApps.begin(first) }, first},
		{"another begins", func() { runningApps.begin(failed) }, first},
		{"its load fails", func() { must(t, failed.Cleanup()) }, first},
		{"the next begins", func() { runningApps.begin(second) }, first},
		{"the first is stopped", func() { must(t, first.Stop()) }, second},
		{"and cleaned up", func() { must(t, first.Cleanup()) }, second},
		{"the last is stopped", func() { must(t, second.Stop()) }, nil},
	} {
		step.do()
		if got := runningApps.inForce(); got != step.want {
			t.Fatalf("%s: %p, want %p", step.what, got, step.want)
		}
	}
}
