// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// browserClient is a client's script that Chromium can run, too.
type browserClient struct {
	client
	alg string
}

var browserClients = []browserClient{
	{client{name: "openid-client", npm: "openid-client"}, "ES256"},
	{client{name: "oauth4webapi", npm: "oauth4webapi"}, "ES256"},
	{client{name: "dpop", npm: "dpop"}, "ES256"},
	{client{name: "oidc-client-ts", npm: "oidc-client-ts"}, "ES256"},
	{client{name: "okta", npm: "@okta/okta-auth-js"}, "RS256"},
}

// page loads a client's script. The import map says where the packages are, and puts
// something in place of what only Node has.
const page = `<!doctype html><title>%[1]s</title>
<script type="importmap">{"imports": {
	"node:fs": "data:text/javascript,export const readFileSync = () => standardInput",
	"fake-indexeddb/auto": "data:text/javascript,",
	"openid-client": "/node_modules/openid-client/build/index.js",
	"oauth4webapi": "/node_modules/oauth4webapi/build/index.js",
	"dpop": "/node_modules/dpop/build/index.js",
	"jose/errors": "/node_modules/jose/dist/webapi/util/errors.js",
	"jose/jwe/compact/decrypt": "/node_modules/jose/dist/webapi/jwe/compact/decrypt.js",
	"jwt-decode": "/node_modules/jwt-decode/build/esm/index.js",
	"oidc-client-ts": "/node_modules/oidc-client-ts/dist/esm/oidc-client-ts.js",
	"@okta/okta-auth-js": "data:text/javascript,export const OktaAuth = window.OktaAuth",
	"/node_modules/@okta/okta-auth-js/esm/node/oidc/dpop.js": "/node_modules/@okta/okta-auth-js/esm/browser/oidc/dpop.js"
}}</script>
<script src="/node_modules/@okta/okta-auth-js/dist/okta-auth-js.min.js"></script>
<script type="module" src="/interop/%[1]s.mjs"></script>
`

// startPages serves /NAME.html for each client's script.
func startPages(t *testing.T) *httptest.Server {
	t.Helper()
	files := http.FileServer(http.Dir(nodeDir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if script, ok := strings.CutSuffix(name, ".html"); ok && !strings.Contains(name, "/") {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, page, script)
			return
		}
		if strings.HasSuffix(name, ".mjs") {
			w.Header().Set("Content-Type", "text/javascript")
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// TestBrowser: pages of another origin, with keys that cannot be exported, call the API
// from Chromium.
func TestBrowser(t *testing.T) {
	node, chromium := needNode(t), needChromium(t)
	pages := startPages(t)
	issuer, _ := startProvider(t, "NONCE=off")
	requests := filepath.Join(t.TempDir(), "requests.log")
	s := startStandWith(t, issuer, audience,
		fmt.Sprintf("issuer %s\naudience %s\ncors %s", issuer, audience, pages.URL),
		fmt.Sprintf("log {\noutput file %s\n}\n", requests))

	run := func(t *testing.T, page string, c browserClient, calls []call) answers {
		t.Helper()
		s.backend.reset()
		cmd := exec.Command(node, filepath.Join("interop", "browser.mjs"))
		cmd.Dir = nodeDir
		env := append(s.environment(c.alg), "CHROMIUM="+chromium, "PAGE="+page+"/"+c.name+".html")
		return runClient(t, cmd, env, s.base, calls)
	}
	for _, c := range browserClients {
		t.Run(c.name, func(t *testing.T) {
			calls := without(standardCalls(), "no ath")
			held := checkCalls(t, s.base, calls, run(t, pages.URL, c, calls), s.backend)
			if !t.Failed() {
				record("browser", []string{"library", "version", "alg", "calls"},
					[]string{c.npm, versionOf(c.client), c.alg, fmt.Sprintf("%d of %d", len(held), len(calls))})
			}
		})
	}
	t.Run("preflights", func(t *testing.T) {
		raw, err := os.ReadFile(requests)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(raw)) {
			if strings.Contains(line, `"method":"OPTIONS"`) && strings.Contains(line, `"status":204`) && !strings.Contains(line, `"Authorization"`) {
				n++
			}
		}
		if n < len(browserClients) {
			t.Errorf("%d preflights were answered with 204, want at least one for each client", n)
		}
	})
	t.Run("unlisted origin", func(t *testing.T) {
		elsewhere := strings.Replace(pages.URL, "127.0.0.1", "localhost", 1)
		c := browserClients[1]
		got := run(t, elsewhere, c, []call{{name: "GET", method: "GET", path: "/api/unlisted"}})
		if len(got) > 0 || len(s.backend.all()) > 0 {
			t.Errorf("a page of an origin that is not listed got %q, the backend %v", got, s.backend.all())
		}
	})
}
