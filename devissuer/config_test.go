// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package devissuer

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestCaddyfile(t *testing.T) {
	d := caddyfile.NewTestDispenser(`dpop_dev_issuer http://localhost:8080 {
		audience https://api.example https://other.example
		client app secret
		client public
		scope read write
		lifetime 1d
		nonce
		demo_page
		allow_non_loopback
	}`)
	var have Handler
	if err := have.UnmarshalCaddyfile(d); err != nil {
		t.Fatal(err)
	}
	want := Handler{
		Issuer:           "http://localhost:8080",
		Audience:         []string{"https://api.example", "https://other.example"},
		Clients:          []Client{{ID: "app", Secret: "secret"}, {ID: "public"}},
		Scopes:           []string{"read", "write"},
		Lifetime:         caddy.Duration(24 * time.Hour),
		Nonce:            true,
		DemoPage:         true,
		AllowNonLoopback: true,
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("have %+v, want %+v", have, want)
	}
	b, err := json.Marshal(have)
	if err != nil {
		t.Fatal(err)
	}
	const wantJSON = `{"issuer":"http://localhost:8080","audience":["https://api.example","https://other.example"],` +
		`"clients":[{"id":"app","secret":"secret"},{"id":"public"}],"scopes":["read","write"],"lifetime":86400000000000,` +
		`"nonce":true,"demo_page":true,"allow_non_loopback":true}`
	if string(b) != wantJSON {
		t.Errorf("JSON\n%s, want\n%s", b, wantJSON)
	}
}

func TestCaddyfileErrors(t *testing.T) {
	tests := []struct{ name, input, want string }{
		{"no issuer", `dpop_dev_issuer`, "want one argument, the issuer's URL"},
		{"two issuers", `dpop_dev_issuer a b`, "want one argument, the issuer's URL"},
		{"unknown", "dpop_dev_issuer a {\n audiences x\n}", `unrecognized subdirective "audiences"`},
		{"repeated", "dpop_dev_issuer a {\n lifetime 1m\n lifetime 2m\n}", "lifetime: given twice"},
		{"no audience", "dpop_dev_issuer a {\n audience\n}", "wrong argument count"},
		{"no scope", "dpop_dev_issuer a {\n scope\n}", "wrong argument count"},
		{"client", "dpop_dev_issuer a {\n client\n}", "client: want an ID and at most a secret, have 0 arguments"},
		{"empty secret", "dpop_dev_issuer a {\n client app \"\"\n}", "client app: the secret is empty"},
		{"duration", "dpop_dev_issuer a {\n lifetime soon\n}", `lifetime "soon": not a duration`},
		{"no time", "dpop_dev_issuer a {\n lifetime 0\n}", `lifetime "0": must be positive`},
		{"flag", "dpop_dev_issuer a {\n demo_page yes\n}", "wrong argument count"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.input))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("have %v, want %q", err, tt.want)
			}
		})
	}
}

func TestProvisionErrors(t *testing.T) {
	t.Setenv("DPOP_TEST_EMPTY", "")
	tests := []struct {
		name string
		h    Handler
		want string
	}{
		{"no issuer", Handler{}, "issuer: missing"},
		{"scheme", Handler{Issuer: "ftp://localhost"}, "must be an http or https URL"},
		{"query", Handler{Issuer: "http://localhost?x"}, "no user, query, fragment or final slash"},
		{"slash", Handler{Issuer: "http://localhost/"}, "no user, query, fragment or final slash"},
		{"public", Handler{Issuer: "https://auth.example.com"}, "for development only"},
		{"looks like localhost", Handler{Issuer: "http://localhost.example.com"}, "for development only"},
		{"public address", Handler{Issuer: "http://192.0.2.1:8080"}, "for development only"},
		{"empty secret", Handler{Issuer: testIssuer, Clients: []Client{{ID: "app", Secret: "{env.DPOP_TEST_EMPTY}"}}}, "expanding placeholders"},
		{"client twice", Handler{Issuer: testIssuer, Clients: []Client{{ID: "app"}, {ID: "app"}}}, `client "app": given twice`},
		{"client", Handler{Issuer: testIssuer, Clients: []Client{{ID: "a b"}}}, `client "a b": an ID has`},
		{"scope", Handler{Issuer: testIssuer, Scopes: []string{"a b"}}, `scope "a b": not a scope`},
		{"lifetime", Handler{Issuer: testIssuer, Lifetime: -1}, "must be positive"},
		{"short lifetime", Handler{Issuer: testIssuer, Lifetime: 1}, "must be a second or more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
			defer cancel()
			err := tt.h.Provision(ctx)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("have %v, want %q", err, tt.want)
			}
			if err := tt.h.Cleanup(); err != nil {
				t.Errorf("Cleanup after a failed Provision: %v", err)
			}
		})
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "auth.localhost": true, "localhost.": true,
		"127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"": false, "example.com": false, "notlocalhost": false, "10.0.0.1": false, "0.0.0.0": false,
	} {
		if have := isLoopback(host); have != want {
			t.Errorf("%q: have %t, want %t", host, have, want)
		}
	}
}

func TestMetadata(t *testing.T) {
	for _, path := range []string{"/.well-known/oauth-authorization-server/as", "/as/.well-known/openid-configuration"} {
		h, _ := newHandler(t, &Handler{Issuer: "http://localhost:8080/as", Clients: []Client{{ID: "app", Secret: "x"}}, Scopes: []string{"read"}})
		w := serve(t, h, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %d %v", path, w.Code, w.Header())
		}
		have := decodeBody(t, w)
		for name, want := range map[string]any{
			"issuer":                                "http://localhost:8080/as",
			"token_endpoint":                        "http://localhost:8080/as/token",
			"jwks_uri":                              "http://localhost:8080/as/jwks",
			"grant_types_supported":                 []any{"client_credentials"},
			"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post"},
			"dpop_signing_alg_values_supported":     []any{"ES256", "EdDSA", "Ed25519", "PS256", "RS256"},
			"scopes_supported":                      []any{"read"},
			"development_only":                      true,
		} {
			if !reflect.DeepEqual(have[name], want) {
				t.Errorf("%s: %s is %v, want %v", path, name, have[name], want)
			}
		}
	}
}

func TestRoutes(t *testing.T) {
	tests := []struct {
		name, method, path string
		demo               bool
		status             int
	}{
		{"metadata", "GET", "/.well-known/oauth-authorization-server", false, 200},
		{"HEAD", "HEAD", "/jwks", false, 200},
		{"wrong method", "POST", "/jwks", false, 405},
		{"page", "GET", "/", true, 200},
		{"page's files", "GET", "/demo.js", true, 200},
		{"no page", "GET", "/", false, passedOn},
		{"no page's files", "GET", "/demo.js", false, passedOn},
		{"API", "GET", "/api/hello", true, passedOn},
		{"below", "GET", "/token/x", true, passedOn},
		{"out of the folder", "GET", "/../demo.go", true, passedOn},
		{"the page by name", "GET", "/index.html", true, passedOn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := newHandler(t, &Handler{DemoPage: tt.demo})
			if w := serve(t, h, httptest.NewRequest(tt.method, tt.path, nil)); w.Code != tt.status {
				t.Errorf("have %d, want %d", w.Code, tt.status)
			}
		})
	}
}

// The page must do with what the policy allows: no inline script or style, and
// nothing from elsewhere.
func TestDemoPageKeepsItsPolicy(t *testing.T) {
	h, _ := newHandler(t, &Handler{DemoPage: true})
	for name, contentType := range map[string]string{
		"": "text/html; charset=utf-8", "base.css": "text/css; charset=utf-8", "demo.css": "text/css; charset=utf-8", "demo.js": "text/javascript; charset=utf-8",
		"dpop.js": "text/javascript; charset=utf-8", "metrics.js": "text/javascript; charset=utf-8", "demo.svg": "image/svg+xml",
	} {
		w := serve(t, h, httptest.NewRequest(http.MethodGet, "/"+name, nil))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != contentType {
			t.Errorf("/%s: %d, %q", name, w.Code, w.Header().Get("Content-Type"))
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") {
			t.Errorf("/%s: policy %q", name, csp)
		}
		body := w.Body.String()
		for _, forbidden := range []string{"style=\"", "onclick", "<style", "innerHTML", "eval(", "@import", ": url(", "src=\"http"} {
			if strings.Contains(body, forbidden) {
				t.Errorf("/%s contains %s", name, forbidden)
			}
		}
	}
}

// A reload keeps the key, so that tokens stay good; the end of the last
// configuration ends it.
func TestKeySurvivesReload(t *testing.T) {
	provision := func() *Handler {
		h := &Handler{Issuer: "http://localhost:9999"}
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		t.Cleanup(cancel)
		if err := h.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := provision()
	kid := first.state.publicKey.KeyID
	second := provision()
	if err := first.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if second.state.publicKey.KeyID != kid {
		t.Error("the reload made a new key")
	}
	if err := second.Cleanup(); err != nil {
		t.Fatal(err)
	}
	third := provision()
	defer third.Cleanup() //nolint:errcheck // the test is over
	if third.state.publicKey.KeyID == kid {
		t.Error("the key outlived the last configuration")
	}
}
