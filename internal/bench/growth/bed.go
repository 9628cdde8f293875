// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	// The Caddyfile adapter and what a configuration needs.
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	dpop "github.com/caddy-dpop/caddy-dpop"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/proof"
)

// bed is a handler as a Caddyfile makes it, and clients of it.
type bed struct {
	dir     string
	handler *dpop.Handler
	issuer  *testkit.Key
	server  *caddyhttp.Server
	clients []*client
	size    int // of a token
}

type client struct {
	key    *testkit.Key
	signer *proof.Signer
	token  string
}

// chunk is how many requests are prepared, then measured, at a time.
const chunk = 256

const url = "http://api.test/v1/accounts/4711/items"

func newBed() (*bed, error) {
	dir, err := os.MkdirTemp("", "dpop-growth-")
	if err != nil {
		return nil, err
	}
	b := &bed{dir: dir, issuer: testkit.P256("issuer"), server: new(caddyhttp.Server)}
	keys := filepath.Join(dir, "keys.json")
	set, err := json.Marshal(map[string]any{"keys": []any{b.issuer.JWK("k1")}})
	if err == nil {
		err = os.WriteFile(keys, set, 0o600)
	}
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(`{
			admin off
			persist_config off
			default_bind 127.0.0.1
			storage file_system `+dir+`
			log {
				output discard
			}
			dpop {
				max_per_key 1000000000
				token_cache 200000
			}
		}
		http://api.test:`+port+` {
			dpop {
				issuer https://issuer.test {
					jwks_file `+keys+`
				}
				audience https://api.test
				replay memory
			}
		}`), nil)
	if err != nil {
		return nil, err
	}
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		return nil, err
	}
	if err := caddy.Run(&config); err != nil {
		return nil, err
	}
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		return nil, err
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		if b.handler = find(server.Routes); b.handler != nil {
			time.Sleep(1100 * time.Millisecond) // a table refuses what was issued in its first second
			return b, nil
		}
	}
	return nil, errors.New("no handler in the configuration")
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func find(routes caddyhttp.RouteList) *dpop.Handler {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch handler := handler.(type) {
			case *dpop.Handler:
				return handler
			case *caddyhttp.Subroute:
				if h := find(handler.Routes); h != nil {
					return h
				}
			}
		}
	}
	return nil
}

func (b *bed) close() {
	_ = caddy.Stop()
	_ = os.RemoveAll(b.dir)
}

// join adds clients with tokens of about a size, some 550 bytes for 0.
func (b *bed) join(n, size int) {
	b.size = size
	for range n {
		key := testkit.P256(fmt.Sprint("client ", len(b.clients)))
		signer, err := proof.NewSigner(key.Private, "ES256")
		if err != nil {
			panic(err)
		}
		c := &client{key: key, signer: signer}
		b.issue(c)
		b.clients = append(b.clients, c)
	}
}

func (b *bed) issue(c *client) {
	j := testkit.NewToken(b.issuer, "k1", testkit.TokenClaims{
		Issuer: "https://issuer.test", Audience: "https://api.test", Subject: "alice", ClientID: "app",
		Scope: "accounts:read payments:write", Thumbprint: c.key.Thumbprint(),
	}, time.Now())
	if more := (b.size - 580) * 3 / 4; more > 0 {
		groups := make([]string, max(more/40, 1))
		for i := range groups {
			groups[i] = fmt.Sprintf("%04d%s", i, strings.Repeat("g", 32))
		}
		j.Set("groups", groups)
	}
	c.token = j.String()
}

// renew gives every client a new token.
func (b *bed) renew() {
	for _, c := range b.clients {
		b.issue(c)
	}
}

// warm sends one request of each client.
func (b *bed) warm() error {
	for from := 0; from < len(b.clients); from += chunk {
		run, err := b.requests(b.clients[from:min(from+chunk, len(b.clients))])
		if err != nil {
			return err
		}
		run()
	}
	return nil
}

// ratio is what one request of a random client costs, as a multiple of a bare
// signature check: the median over rounds.
func (b *bed) ratio(rounds int) (float64, error) {
	var ratios []float64
	for range rounds {
		raw := rawVerify()
		var own float64
		const chunks = 4
		for range chunks {
			some := make([]*client, chunk)
			for i := range some {
				some[i] = b.clients[rand.IntN(len(b.clients))]
			}
			run, err := b.requests(some)
			if err != nil {
				return 0, err
			}
			own += cost(chunk, run) / chunks
		}
		ratios = append(ratios, own/raw)
	}
	return median(ratios), nil
}

// requests prepares a request of each of the clients, and returns what sends
// them through the handler.
func (b *bed) requests(clients []*client) (func(), error) {
	requests := make([]*http.Request, len(clients))
	writer := discard{}
	for i, c := range clients {
		text, err := c.signer.Sign(proof.SignRequest{Method: "GET", URI: url, AccessToken: c.token})
		if err != nil {
			return nil, err
		}
		r, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		r.Header["Authorization"] = []string{"DPoP " + c.token}
		r.Header["Dpop"] = []string{text}
		requests[i] = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), writer, b.server)
	}
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	return func() {
		for _, r := range requests {
			if err := b.handler.ServeHTTP(writer, r, next); err != nil {
				panic(err)
			}
		}
	}, nil
}

// discard is a response that goes nowhere.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
