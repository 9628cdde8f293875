// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// client has a key and a token that is bound to it.
type client struct {
	k     *kitchen
	key   *testkit.Key
	token string
	nonce string // goes into proofs when it is not empty
}

// client makes one whose token is for this audience.
func (k *kitchen) client(audience, scope string) *client {
	key := testkit.P256("client")
	return &client{k: k, key: key, token: k.issuer.Token(testkit.TokenClaims{
		Audience: audience, Subject: "alice", ClientID: "app", Scope: scope, Thumbprint: key.Thumbprint(),
	}, time.Now()).String()}
}

func (c *client) proof(method, url string) *testkit.JWS {
	p := testkit.NewProof(c.key, method, url, c.token, time.Now())
	if c.nonce != "" {
		p.Set("nonce", c.nonce)
	}
	return p
}

// get makes a good request, as far as the client knows.
func (c *client) get(n *node, url string, fields ...string) *answer {
	c.k.Helper()
	return c.present(n, "GET", url, c.proof("GET", url).String(), fields...)
}

// present sends the token with any proof.
func (c *client) present(n *node, method, url, proof string, fields ...string) *answer {
	c.k.Helper()
	return n.send(method, url, "", append([]string{"Authorization", "DPoP " + c.token, "DPoP", proof}, fields...)...)
}

// warm repeats a good request until it passes: a store refuses what was issued in the
// second in which it began, or before.
func (c *client) warm(n *node, url string) *answer {
	c.k.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		a := c.get(n, url)
		if a.status == http.StatusOK {
			return a
		}
		if nonce := a.header.Get("DPoP-Nonce"); nonce != "" {
			c.nonce = nonce
		}
		if time.Now().After(deadline) {
			c.k.Fatalf("a good request is answered %d\n%s", a.status, n.Log())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// answer is one response, read to its end.
type answer struct {
	n      *node
	status int
	header http.Header
	body   string
	hits   int // requests that reached the backend meanwhile
	before int // refusals logged before the request
}

// send makes a request with these fields, names and values in turn, to the node that
// stands for every host. A field "via" says http for what a front proxy sends on.
func (n *node) send(method, url, body string, fields ...string) *answer {
	n.k.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		n.k.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "via" {
			r.URL.Scheme = fields[i+1]
			continue
		}
		r.Header.Add(fields[i], fields[i+1])
	}
	address := n.https
	if r.URL.Scheme == "http" {
		address = n.http
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true,
	}
	a := &answer{n: n, hits: n.k.backend.hits(), before: len(n.refusals())}
	res, err := transport.RoundTrip(r)
	for range 200 { // there is no certificate yet, so no request was sent
		if err == nil || !strings.Contains(err.Error(), "tls: internal error") {
			break
		}
		time.Sleep(50 * time.Millisecond)
		res, err = transport.RoundTrip(r)
	}
	if err != nil {
		n.k.Fatalf("%s %s: %v\n%s", method, url, err, n.Log())
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		n.k.Fatal(err)
	}
	a.status, a.header, a.body = res.StatusCode, res.Header, string(text)
	a.hits = n.k.backend.hits() - a.hits
	return a
}

// passed checks that the backend answered.
func (a *answer) passed() *answer {
	a.n.k.Helper()
	if a.status != http.StatusOK || a.hits != 1 {
		a.n.k.Errorf("not passed: %d %q %q, %d hits", a.status, a.body, a.header["Www-Authenticate"], a.hits)
	}
	return a
}

// refused checks status and reason, and that the backend was not reached.
func (a *answer) refused(status int, reason string) *answer {
	a.n.k.Helper()
	if a.status != status || a.hits != 0 {
		a.n.k.Errorf("%d %q, %d hits, want %d for %s", a.status, a.body, a.hits, status, reason)
	}
	if got := a.reason(); got != reason {
		a.n.k.Errorf("reason %q, want %q", got, reason)
	}
	return a
}

// reason is what the log says about this request.
func (a *answer) reason() string {
	for range 100 {
		if all := a.n.refusals(); len(all) > a.before {
			reason, _ := all[len(all)-1]["reason"].(string)
			return reason
		}
		time.Sleep(20 * time.Millisecond)
	}
	return ""
}

// has checks a header field.
func (a *answer) has(name, want string) *answer {
	a.n.k.Helper()
	if got := strings.Join(a.header.Values(name), " | "); !strings.Contains(got, want) {
		a.n.k.Errorf("%s is %q, want something with %q", name, got, want)
	}
	return a
}
