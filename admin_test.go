// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// loadWithAdmin loads a Caddyfile with the admin API on an address.
func (n *node) loadWithAdmin(config, address string) error {
	n.t.Helper()
	value, err := n.adapt(config)
	must(n.t, err)
	var members map[string]json.RawMessage
	must(n.t, json.Unmarshal(value, &members))
	members["admin"] = json.RawMessage(fmt.Sprintf(`{"listen": %q, "config": {"persist": false}}`, address))
	value, err = json.Marshal(members)
	must(n.t, err)
	return n.loadJSON(value)
}

// TestAdminAPI asks it before and after a configuration that does not load:
// Caddy has replaced its admin API by then, and what is asked for is what runs.
func TestAdminAPI(t *testing.T) {
	n := prepare(t)
	address := "127.0.0.1:" + freePort(t)
	t.Cleanup(func() { _ = caddy.Load([]byte(`{"admin": {"disabled": true, "config": {"persist": false}}}`), true) })
	must(t, n.loadWithAdmin(site(oneIssuer), address))
	n.client().get("/").passed()

	call := func(method, path string, want int) string {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+address+path, nil)
		must(t, err)
		r.Close = true
		var res *http.Response
		eventually(t, "an answer of the admin API", func() bool { // which Caddy replaces, and then resets connections
			res, err = http.DefaultClient.Do(r)
			return err == nil
		})
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		must(t, err)
		if res.StatusCode != want {
			t.Errorf("%s %s: %s, want %d; %s", method, path, res.Status, want, body)
		}
		return string(body)
	}
	look := func(t *testing.T) {
		var status Status
		must(t, json.Unmarshal([]byte(call("GET", "/dpop/status", 200)), &status))
		if status.Handlers != 1 || len(status.KeySets) != 1 || len(status.Replay) != 1 || status.Replay[0].Entries != 1 {
			t.Errorf("status %+v", status)
		}
		fetches := n.issuer.Count(testkit.PathJWKS)
		call("POST", "/dpop/keys/refresh", 204)
		if got := n.issuer.Count(testkit.PathJWKS) - fetches; got != 1 {
			t.Errorf("%d fetches of the keys, want 1", got)
		}
	}
	t.Run("running", look)
	for name, broken := range map[string]string{
		"fails when provisioned": site(oneIssuer + "mode off\n"),
		"fails at start":         strings.Replace(site(oneIssuer), "api.test", "*.test", 1),
	} {
		if err := n.loadWithAdmin(broken, address); err == nil {
			t.Fatal("loaded")
		}
		t.Run(name, look)
	}

	call("POST", "/dpop/status", 405)
	call("GET", "/dpop/keys/refresh", 405)
	n.issuer.Fault(testkit.PathJWKS, testkit.Status(http.StatusInternalServerError, "text/plain", "down"))
	if body := call("POST", "/dpop/keys/refresh", 502); !strings.Contains(body, n.issuer.URL) {
		t.Errorf("which key set failed? %s", body)
	}
	must(t, n.loadJSON([]byte(fmt.Sprintf(`{"admin": {"listen": %q, "config": {"persist": false}}}`, address))))
	call("GET", "/dpop/status", 404)
}
