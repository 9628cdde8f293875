// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// backend is the application behind Caddy. It answers 200 and remembers.
type backend struct {
	*httptest.Server

	mu   sync.Mutex
	hits []hit
}

// hit is a request that reached the backend.
type hit struct {
	method, uri string
	proof       jws
	body        string
}

// jws is what a client wrote into a proof.
type jws struct {
	header, claims map[string]any
}

func startBackend(t *testing.T) *backend {
	t.Helper()
	b := new(backend)
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h := hit{method: r.Method, uri: r.RequestURI, body: string(body)}
	if parts := strings.Split(r.Header.Get("DPoP"), "."); len(parts) == 3 {
		h.proof = jws{decodeSegment(parts[0]), decodeSegment(parts[1])}
	}
	b.mu.Lock()
	b.hits = append(b.hits, h)
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "{\"method\":%q,\"uri\":%q}\n", r.Method, r.RequestURI)
}

func decodeSegment(s string) map[string]any {
	var m map[string]any
	if raw, err := base64.RawURLEncoding.DecodeString(s); err == nil {
		_ = json.Unmarshal(raw, &m)
	}
	return m
}

// address is host and port.
func (b *backend) address() string { return b.Listener.Addr().String() }

// of returns the requests with that method and URI.
func (b *backend) of(method, uri string) []hit {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []hit
	for _, h := range b.hits {
		if h.method == method && h.uri == uri {
			found = append(found, h)
		}
	}
	return found
}

// all returns every request so far.
func (b *backend) all() []hit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]hit(nil), b.hits...)
}

// reset forgets.
func (b *backend) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hits = nil
}
