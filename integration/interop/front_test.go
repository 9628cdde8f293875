// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/proof"
)

// arrangement is a pair of configurations: what the Caddy in front does with /NAME/*, and
// what the one behind it does.
type arrangement struct {
	slug     string // the first segment of the path, as clients call it
	name     string
	front    string // {BEHIND} is the address of the Caddy behind
	behind   string // {DPOP} is the directive without its closing brace
	distrust bool   // the Caddy behind does not trust the one in front
	internal string // what the path has become when it reaches the backend; "" is unchanged
}

var arrangements = []arrangement{
	{
		slug: "plain", name: "forwarded as it is, `trusted_proxies`",
		front:  "reverse_proxy {BEHIND}",
		behind: "handle /plain/* {\n{DPOP}\n}\nreverse_proxy {BACKEND}\n}",
	},
	{
		slug: "path", name: "`handle_path` around `dpop`",
		front:  "reverse_proxy {BEHIND}",
		behind: "handle_path /path/* {\n{DPOP}\n}\nreverse_proxy {BACKEND}\n}", internal: "/",
	},
	{
		slug: "rewrite", name: "`rewrite` before `dpop`",
		front:  "reverse_proxy {BEHIND}",
		behind: "handle /rewrite/* {\nrewrite * /internal{uri}\n{DPOP}\n}\nreverse_proxy {BACKEND}\n}", internal: "/internal/rewrite/",
	},
	{
		slug: "strip", name: "`uri strip_prefix` before `dpop`",
		front:  "reverse_proxy {BEHIND}",
		behind: "handle /strip/* {\nuri strip_prefix /strip\n{DPOP}\n}\nreverse_proxy {BACKEND}\n}", internal: "/",
	},
	{
		slug: "base", name: "prefix taken off in front, `public_url` with a path",
		front:  "uri strip_prefix /base\nreverse_proxy {BEHIND} {\nheader_up X-Route base\n}",
		behind: "@base header X-Route base\nhandle @base {\n{DPOP}\npublic_url {PUBLIC}/base\n}\nreverse_proxy {BACKEND}\n}", internal: "/",
	},
	{
		slug: "h2c", name: "HTTP/2 without TLS between the two",
		front:  "reverse_proxy h2c://{BEHIND}",
		behind: "handle /h2c/* {\n{DPOP}\n}\nreverse_proxy {BACKEND}\n}",
	},
	{
		slug: "public", name: "no `trusted_proxies`, `public_url`", distrust: true,
		front:  "reverse_proxy {BEHIND}",
		behind: "handle /public/* {\n{DPOP}\npublic_url {PUBLIC}\n}\nreverse_proxy {BACKEND}\n}",
	},
}

// public is what clients call the Caddy in front. It stands for one on the usual port.
const public = "https://localhost"

// front is a Caddy that terminates TLS before two others: one trusts it, one does not.
type front struct {
	address         string // where it listens
	trusting, other string // addresses of the Caddys behind
	issuer          *testkit.Issuer
	backend         *backend
	roots           *x509.CertPool
}

func startFront(t *testing.T) *front {
	t.Helper()
	f := &front{address: process.FreeAddress(), trusting: process.FreeAddress(), other: process.FreeAddress(), backend: startBackend(t), issuer: testkit.NewIssuer("front")}
	t.Cleanup(f.issuer.Close)
	_, port, _ := strings.Cut(f.address, ":")
	outside := "\nhttps://localhost:" + port + " {\n\ttls internal\n"
	inside := map[string]*strings.Builder{f.trusting: {}, f.other: {}}
	for _, a := range arrangements {
		outside += fmt.Sprintf("handle /%s/* {\n%s\n}\n", a.slug, f.fill(a.front, f.behind(a)))
		inside[f.behind(a)].WriteString(f.fill(a.behind, f.behind(a)) + "\n")
	}
	c := startCaddy(t, outside+"}\n")
	startCaddy(t, f.site(f.trusting, "trusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict", inside[f.trusting].String()))
	// What this one gets without a public_url is what the connection says.
	inside[f.other].WriteString(f.fill("handle {\n{DPOP}\n}\nreverse_proxy {BACKEND}\n}", ""))
	startCaddy(t, f.site(f.other, "trusted_proxies static 192.0.2.1/32", inside[f.other].String()))

	pem, err := os.ReadFile(filepath.Join(c.Dir, "storage", "pki", "authorities", "local", "root.crt"))
	if err != nil {
		t.Fatal(err)
	}
	f.roots = x509.NewCertPool()
	f.roots.AppendCertsFromPEM(pem)
	return f
}

func (f *front) behind(a arrangement) string {
	if a.distrust {
		return f.other
	}
	return f.trusting
}

func (f *front) site(address, servers, handlers string) string {
	_, port, _ := strings.Cut(address, ":")
	return fmt.Sprintf("{\nservers {\nprotocols h1 h2c\n%s\n}\n}\nhttp://localhost:%s {\n%s%s\n}\n", servers, port, withReasons, handlers)
}

func (f *front) fill(text, behind string) string {
	directive := fmt.Sprintf("dpop {\nissuer %s\naudience %s", f.issuer.URL, audience)
	return strings.NewReplacer(
		"{BEHIND}", behind, "{DPOP}", directive, "{PUBLIC}", public, "{BACKEND}", f.backend.address(),
	).Replace(text)
}

// protocols are the ways to the Caddy in front, whose port they put in place of the usual.
func (f *front) protocols(t *testing.T) map[string]*http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS12}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, f.address)
	}
	one := &http.Transport{TLSClientConfig: config.Clone(), DialContext: dial, Protocols: new(http.Protocols)}
	one.Protocols.SetHTTP1(true)
	two := &http.Transport{TLSClientConfig: config.Clone(), DialContext: dial, Protocols: new(http.Protocols)}
	two.Protocols.SetHTTP2(true)
	three := &http3.Transport{
		TLSClientConfig: config.Clone(),
		Dial: func(ctx context.Context, _ string, config *tls.Config, q *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, f.address, config, q)
		},
	}
	t.Cleanup(func() {
		one.CloseIdleConnections()
		two.CloseIdleConnections()
		_ = three.Close()
	})
	return map[string]*http.Client{"HTTP/1.1": {Transport: one}, "HTTP/2.0": {Transport: two}, "HTTP/3.0": {Transport: three}}
}

// token makes an access token for the signer.
func (f *front) token(signer *proof.Signer) string {
	claims := testkit.TokenClaims{Audience: audience, Subject: "user", Thumbprint: signer.Thumbprint()}
	return f.issuer.Token(claims, time.Now()).String()
}
