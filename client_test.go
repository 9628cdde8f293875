// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// url is where the test's site is.
func (n *node) url(path string) string { return "http://api.test:" + n.port + path }

// send makes a request with exactly these fields: names and values in turn.
// Whatever the host, it goes to the node.
func (n *node) send(method, url string, fields ...string) answer {
	n.t.Helper()
	return n.sendVia(n.transport(), method, url, fields...)
}

func (n *node) sendVia(transport http.RoundTripper, method, url string, fields ...string) answer {
	n.t.Helper()
	r, err := http.NewRequest(method, url, nil)
	must(n.t, err)
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
			continue
		}
		r.Header.Add(fields[i], fields[i+1])
		if fields[i] == "Authorization" || fields[i] == "DPoP" {
			n.keepSecret(fields[i+1])
		}
	}
	if n.before != nil {
		n.before()
	}
	before := n.upstream.hits()
	res, err := roundTrip(transport, r)
	must(n.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(n.t, err)
	return answer{n.t, res.StatusCode, res.Header, string(body), res.Proto, n.upstream.hits() - before}
}

// roundTrip tries again when a connection still met the old listener, as it can
// just after a reload.
func roundTrip(transport http.RoundTripper, r *http.Request) (*http.Response, error) {
	res, err := transport.RoundTrip(r)
	for range 5 {
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			break
		}
		res, err = transport.RoundTrip(r)
	}
	return res, err
}

func (n *node) transport() *http.Transport {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+n.port)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	n.t.Cleanup(t.CloseIdleConnections)
	return t
}

// client is somebody with a key and a token that is bound to it.
type client struct {
	n     *node
	key   *testkit.Key
	token string
}

// claims are what tokens hold unless a test wants others.
func (n *node) claims(key *testkit.Key) testkit.TokenClaims {
	return testkit.TokenClaims{
		Audience: "https://api.test", Subject: "alice", ClientID: "app", Scope: "read write", Thumbprint: key.Thumbprint(),
	}
}

// bound makes a good token for a key, ready to be bent.
func (n *node) bound(key *testkit.Key) *testkit.JWS {
	return n.issuer.Token(n.claims(key), n.clock.Now())
}

func (n *node) client() *client {
	key := testkit.P256("client")
	return &client{n, key, n.bound(key).String()}
}

// with is the same client with another token.
func (c *client) with(token *testkit.JWS) *client { return &client{c.n, c.key, token.String()} }

func (c *client) proof(method, url string) *testkit.JWS {
	return testkit.NewProof(c.key, method, url, c.token, c.n.clock.Now())
}

// send signs for the URL that it asks for.
func (c *client) send(method, url string, fields ...string) answer {
	c.n.t.Helper()
	return c.present(c.proof(method, url), method, url, fields...)
}

// present sends the token with any proof.
func (c *client) present(proof *testkit.JWS, method, url string, fields ...string) answer {
	c.n.t.Helper()
	return c.n.send(method, url, append([]string{"Authorization", "DPoP " + c.token, "DPoP", proof.String()}, fields...)...)
}

func (c *client) get(path string, fields ...string) answer {
	c.n.t.Helper()
	return c.send("GET", c.n.url(path), fields...)
}

// answer is one response, read to its end.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
	proto  string
	hits   int // requests that reached the upstream meanwhile
}

var echoed = regexp.MustCompile(`^reason=(\S*) error=(\S*) `)

// passed checks that the upstream answered, and that a success has nothing
// that belongs to refusals.
func (a answer) passed() answer {
	a.t.Helper()
	if a.status != 200 || a.hits != 1 {
		a.t.Fatalf("not passed: status %d, %d upstream hits, %q, %q", a.status, a.hits, a.header["Www-Authenticate"], a.body)
	}
	if got := a.header["Www-Authenticate"]; got != nil {
		a.t.Errorf("WWW-Authenticate on a success: %q", got)
	}
	return a
}

// refused checks everything that each refusal has in common, the reason that
// error routes see, and the challenges, which are none unless given.
func (a answer) refused(status int, reason Reason, challenges ...string) answer {
	a.t.Helper()
	if a.hits != 0 {
		a.t.Errorf("a refused request reached the upstream")
	}
	if a.status != status {
		a.t.Errorf("status %d, want %d", a.status, status)
	}
	if m := echoed.FindStringSubmatch(a.body); m == nil || m[1] != string(reason) {
		a.t.Errorf("body %q, want reason %s", a.body, reason)
	}
	if got := a.header["Www-Authenticate"]; !slices.Equal(got, challenges) {
		a.t.Errorf("WWW-Authenticate\n got %q\nwant %q", got, challenges)
	}
	if got := a.header["Cache-Control"]; !slices.Equal(got, []string{"no-store"}) {
		a.t.Errorf("Cache-Control %q", got)
	}
	if _, err := testkit.ParseChallenges(a.header["Www-Authenticate"]); err != nil {
		a.t.Errorf("challenge: %v", err)
	}
	return a
}

// reason is what error routes saw.
func (a answer) reason() Reason {
	if m := echoed.FindStringSubmatch(a.body); m != nil {
		return Reason(m[1])
	}
	return ""
}

// refusedFor checks the reason alone, where another test knows the rest.
func (a answer) refusedFor(reason Reason) answer {
	a.t.Helper()
	if got := a.reason(); got != reason || a.hits != 0 {
		a.t.Errorf("status %d, reason %q, %d upstream hits, want %q and none", a.status, got, a.hits, reason)
	}
	return a
}

// algs end each challenge of a handler with the default algorithms.
const algs = `algs="ES256 EdDSA Ed25519 PS256 RS256"`

// challenged spells a DPoP challenge.
func challenged(code, description string) string {
	if code == "" {
		return "DPoP " + algs
	}
	return `DPoP error="` + code + `", error_description="` + description + `", ` + algs
}

// deadline bounds what a test waits for; none is meant to be reached.
const deadline = 20 * time.Second
