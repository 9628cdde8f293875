// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/proof"
)

// What all servers are called, and ask for.
const (
	host       = "api.test"
	path       = "/v1/accounts/4711/items"
	resource   = "http://" + host + path
	issuerName = "https://issuer.test"
	audience   = "https://api.test"
)

// issuer signs the access tokens.
type issuer struct {
	key     *testkit.Key
	keyFile string
}

func newIssuer(dir string) (*issuer, error) {
	i := &issuer{testkit.P256("issuer"), filepath.Join(dir, "keys.json")}
	set, err := json.Marshal(map[string]any{"keys": []any{i.key.JWK("k1")}})
	if err != nil {
		return nil, err
	}
	return i, os.WriteFile(i.keyFile, set, 0o600)
}

// client has a key and a token that is bound to it.
type client struct {
	signer *proof.Signer
	token  string
}

func (i *issuer) clients(n int) []*client {
	clients := make([]*client, n)
	for c := range clients {
		key := testkit.P256(fmt.Sprint("client ", c))
		signer, err := proof.NewSigner(key.Private, "ES256")
		if err != nil {
			panic(err)
		}
		clients[c] = &client{signer, testkit.NewToken(i.key, "k1", testkit.TokenClaims{
			Issuer: issuerName, Audience: audience, Subject: fmt.Sprint("user", c), ClientID: "app",
			Scope: "accounts:read payments:write", Thumbprint: key.Thumbprint(),
		}, time.Now()).String()}
	}
	return clients
}

// job is one request to be sent, maybe the same as another one.
type job struct {
	*request
	after *job // not before this one has been answered; for a replay
}

// request is what goes over the wire, and how often it was accepted.
type request struct {
	wire     []byte
	accepted atomic.Int32
	answered atomic.Bool
}

func (c *client) request(uri string) *request {
	text, err := c.signer.Sign(proof.SignRequest{Method: "GET", URI: uri, AccessToken: c.token})
	if err != nil {
		panic(err)
	}
	return &request{wire: fmt.Appendf(nil, "GET "+path+" HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAuthorization: DPoP %s\r\nDPoP: %s\r\n\r\n", host, c.token, text)}
}

// fresh are requests with a proof of their own each.
func (s *server) fresh(clients []*client, n int) []job {
	jobs := make([]job, n)
	for i := range jobs {
		jobs[i].request = clients[i%len(clients)].request(s.resource)
	}
	return jobs
}

// mixed are requests of which a fifth are sent twice at the same moment, and
// another fifth again after they have been answered.
func (s *server) mixed(clients []*client, n int) []job {
	var jobs []job
	for i, j := range s.fresh(clients, n) {
		jobs = append(jobs, j)
		switch i % 5 {
		case 0:
			jobs = append(jobs, j)
		case 1:
			if earlier := jobs[rand.IntN(len(jobs))]; earlier.after == nil {
				jobs = append(jobs, job{earlier.request, &earlier})
			}
		}
	}
	return jobs
}

// acceptedTwice counts the proofs that were accepted more than once.
func acceptedTwice(jobs []job) int {
	seen := make(map[*request]bool)
	for _, j := range jobs {
		if j.accepted.Load() > 1 {
			seen[j.request] = true
		}
	}
	return len(seen)
}
