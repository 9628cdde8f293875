// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

func (a answer) document() map[string]any {
	a.t.Helper()
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		a.t.Fatalf("no document: %d %q", a.status, a.body)
	}
	var members map[string]any
	must(a.t, json.Unmarshal([]byte(a.body), &members))
	return members
}

func wantDocument(t *testing.T, got map[string]any, want string) {
	t.Helper()
	var members map[string]any
	must(t, json.Unmarshal([]byte(want), &members))
	equal := func(a, b any) bool {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		return string(x) == string(y)
	}
	if !maps.EqualFunc(got, members, equal) {
		t.Errorf("document\n got %v\nwant %v", got, members)
	}
}

func TestMetadata(t *testing.T) {
	n := start(t, site(oneIssuer+`
		scope read
		public_url http://api.test:$PORT
		metadata {
			resource_name "The API"
			resource_documentation https://docs.test
			ui_locales_supported en de
			resource_signing_alg_values_supported ES256
		}
	`))
	a := n.send("GET", n.url(wellKnown))
	wantDocument(t, a.document(), n.fill(`{
		"resource": "http://api.test:$PORT",
		"authorization_servers": ["$ISSUER"],
		"scopes_supported": ["read"],
		"bearer_methods_supported": ["header"],
		"dpop_signing_alg_values_supported": ["ES256", "EdDSA", "Ed25519", "PS256", "RS256"],
		"dpop_bound_access_tokens_required": true,
		"resource_name": "The API",
		"resource_documentation": "https://docs.test",
		"ui_locales_supported": ["en", "de"],
		"resource_signing_alg_values_supported": ["ES256"]
	}`))
	a.wantHeader("Access-Control-Allow-Origin", "*").wantHeader("Cache-Control", "public, max-age=300")

	// The document never depends on what a request says.
	other := n.send("GET", n.url(wellKnown), "X-Forwarded-Host", "evil.test", "X-Forwarded-Proto", "https")
	if other.body != a.body {
		t.Errorf("another document: %s", other.body)
	}
	if head := n.send("HEAD", n.url(wellKnown)); head.status != 200 || head.body != "" {
		t.Errorf("HEAD: %d %q", head.status, head.body)
	}
	if options := n.send("OPTIONS", n.url(wellKnown), "Origin", page, "Access-Control-Request-Method", "GET"); options.status != 204 {
		t.Errorf("OPTIONS: %d", options.status)
	} else {
		options.wantHeader("Access-Control-Allow-Origin", "*").wantHeader("Access-Control-Allow-Methods", "GET, HEAD")
	}
	if post := n.send("POST", n.url(wellKnown)); post.status != 405 {
		t.Errorf("POST: %d", post.status)
	}

	// Everything around it stays protected, and challenges name it.
	challenge := "DPoP " + algs + `, resource_metadata="` + n.url(wellKnown) + `"`
	for _, path := range []string{wellKnown + "/x", wellKnown + "x", "/.well-known/", "/x" + wellKnown} {
		n.send("GET", n.url(path)).refused(401, "no_credentials", challenge)
	}
	n.client().get("/").passed()
}

// TestMetadataElsewhere: documents of several URLs, of paths, and of dpop that
// have a matcher, found by host and path wherever dpop_metadata stands.
func TestMetadataElsewhere(t *testing.T) {
	n := start(t, `http://api.test:$PORT, http://www.test:$PORT, http://other.test:$PORT {
	dpop_metadata
	dpop /v1/* {`+oneIssuer+`
		public_url http://api.test:$PORT http://www.test:$PORT/base
		metadata /v1
		bearer allow
		realm api
	}
	dpop /v2/* {`+oneIssuer+`
		public_url http://api.test:$PORT
		metadata /v2
		mtls
	}
	reverse_proxy $UPSTREAM
`+echo+`
}
`)
	at := func(host, path string) string { return "http://" + host + ":" + n.port + path }
	resource := func(url string) string {
		t.Helper()
		return n.send("GET", url).document()["resource"].(string)
	}
	for url, want := range map[string]string{
		at("api.test", wellKnown+"/v1"):      at("api.test", "/v1"),
		at("www.test", wellKnown+"/base/v1"): at("www.test", "/base/v1"),
		at("api.test", wellKnown+"/v2"):      at("api.test", "/v2"),
	} {
		if got := resource(url); got != want {
			t.Errorf("%s is about %s", url, got)
		}
	}
	for _, url := range []string{at("api.test", wellKnown), at("api.test", wellKnown+"/v3")} {
		n.send("GET", url).passed() // the upstream's business
	}
	v1 := n.send("GET", at("api.test", wellKnown+"/v1")).document()
	if v1["dpop_bound_access_tokens_required"] != false {
		t.Errorf("bearer allow: %v", v1)
	}
	v2 := n.send("GET", at("api.test", wellKnown+"/v2")).document()
	if v2["tls_client_certificate_bound_access_tokens"] != true {
		t.Errorf("mtls: %v", v2)
	}

	// Each challenge names the document of the URL that was asked.
	for host, path := range map[string]string{"api.test": "/v1", "www.test": "/base/v1"} {
		shared := `realm="api", resource_metadata="` + at(host, wellKnown+path) + `"`
		n.send("GET", at(host, "/v1/x")).refused(401, "no_credentials", "DPoP "+algs+", "+shared, "Bearer "+shared)
	}
	c := n.client()
	c.present(c.proof("GET", at("www.test", "/base/v1/x")), "GET", at("www.test", "/v1/x")).passed()
	c.present(c.proof("GET", at("other.test", "/v1/x")), "GET", at("other.test", "/v1/x")).refused(421, "host_unknown")
}

// TestMetadataSchemes: public URLs that differ in the scheme only have a document
// each, and challenges name the one of the scheme that was used.
func TestMetadataSchemes(t *testing.T) {
	n := start(t, `http://api.test:$PORT {
	dpop {`+oneIssuer+`
		public_url http://api.test https://api.test
		metadata
	}
	reverse_proxy $UPSTREAM
`+echo+`
}
`, "servers {\ntrusted_proxies static 127.0.0.0/8\n}")
	for _, scheme := range []string{"http", "https"} {
		for _, host := range []string{"api.test", "API.test:" + map[string]string{"http": "80", "https": "443"}[scheme]} {
			fields := []string{"Host", host, "X-Forwarded-Proto", scheme}
			url := scheme + "://api.test"
			n.send("GET", n.url("/x"), fields...).refused(401, "no_credentials",
				"DPoP "+algs+`, resource_metadata="`+url+wellKnown+`"`)
			if got := n.send("GET", n.url(wellKnown), fields...).document()["resource"]; got != url {
				t.Errorf("%s, %s: a document about %v", scheme, host, got)
			}
		}
	}
}

// TestMetadataConflicts: two documents for one URL are a mistake, the same one
// twice is not.
func TestMetadataConflicts(t *testing.T) {
	n := prepare(t)
	body := func(second string) string {
		return "http://api.test:$PORT {\ndpop /a* {" + oneIssuer + "public_url https://api.test\nmetadata\n}\n" +
			"dpop /b* {" + oneIssuer + "public_url https://api.test\nmetadata\n" + second + "}\n}\n"
	}
	must(t, n.load(body("")))
	err := n.load(body("scope x\n"))
	if err == nil || !strings.Contains(err.Error(), "metadata: two different documents for https://api.test"+wellKnown) {
		t.Errorf("got %v", err)
	}
	must(t, n.load(strings.Replace(body("scope x\n"), "metadata\nscope", "metadata /b\nscope", 1)))
}
