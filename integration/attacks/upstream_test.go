// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// attemptHeader names a request all the way to the upstream.
const attemptHeader = "X-Attempt"

// hit is one request that reached the upstream.
type hit struct {
	Method, URI, Host string
	Header            http.Header
	Trailer           http.Header
	Body              int
}

// upstream is the application behind Caddy. It answers 200 and remembers.
type upstream struct {
	address string

	mu        sync.Mutex
	hits      map[string][]hit // by attempt
	anonymous []hit            // without an attempt's name
	total     int
	behave    map[string]http.HandlerFunc // by attempt
}

var backend *upstream

func newUpstream() (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{address: l.Addr().String(), hits: map[string][]hit{}, behave: map[string]http.HandlerFunc{}}
	srv := &http.Server{Handler: http.HandlerFunc(u.serve), ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = srv.Serve(l) }()
	return u, nil
}

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	name := r.Header.Get(attemptHeader)
	h := hit{Method: r.Method, URI: r.RequestURI, Host: r.Host, Header: r.Header.Clone()}
	u.mu.Lock()
	behave := u.behave[name]
	u.total++
	if name == "" {
		u.anonymous = append(u.anonymous, h)
	} else {
		u.hits[name] = append(u.hits[name], h)
	}
	at := len(u.hits[name]) - 1
	u.mu.Unlock()
	if behave != nil {
		behave(w, r)
		return
	}
	n, _ := io.Copy(io.Discard, r.Body)
	u.mu.Lock()
	if name != "" {
		u.hits[name][at].Body = int(n)
		u.hits[name][at].Trailer = r.Trailer.Clone()
	}
	u.mu.Unlock()
	switch {
	case strings.HasPrefix(r.URL.Path, "/pkg."):
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte{0, 0, 0, 0, 0})
		w.Header().Set("Grpc-Status", "0")
	default:
		fmt.Fprintf(w, "hello from upstream\n")
	}
}

// of returns what reached the upstream under an attempt's name.
func (u *upstream) of(name string) []hit {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]hit(nil), u.hits[name]...)
}

// strangers returns the requests that came without a name: each is a smuggled one.
func (u *upstream) strangers() []hit {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]hit(nil), u.anonymous...)
}

// on makes the upstream answer one attempt in another way.
func (u *upstream) on(name string, f http.HandlerFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.behave[name] = f
}
