// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

// quic-go's client has a data race of its own when it sends early data (v0.63.0,
// transport parameters against the first stream). TestEarlyData is there for -race.

package dpop

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// TestHTTP3EarlyData sends a real request in 0-RTT data, and again when the
// handshake is over.
func TestHTTP3EarlyData(t *testing.T) {
	n := prepare(t)
	n.reload(secure(t, n, site(oneIssuer), ""))
	early, again := n.inEarlyData(n.client())
	early.refused(425, "early_data")
	again().passed()
}

// inEarlyData sends a good request in 0-RTT data. A relay keeps the server's part
// of the handshake back until the request was judged, so that it cannot come in
// anything else.
func (n *node) inEarlyData(c *client) (early answer, again func() answer) {
	n.t.Helper()
	relay := newRelay(n.t, "127.0.0.1:"+n.port)
	sessions := tls.NewLRUClientSessionCache(4)
	send := func(transport http.RoundTripper, method string) answer {
		return n.sendVia(transport, method, n.secureURL("/"), "Authorization", "DPoP "+c.token, "DPoP", c.proof("GET", n.secureURL("/")).String())
	}

	first := n.http3Transport(relay.address, sessions)
	send(first, "GET").passed()
	eventually(n.t, "a session ticket", func() bool {
		state, ok := sessions.Get("api.test")
		return ok && state != nil
	})
	must(n.t, first.Close())

	judged := func() int { return strings.Count(n.log.String(), `"reason":"early_data"`) + n.upstream.hits() }
	before := judged()
	relay.hold()
	go func() {
		for end := time.Now().Add(deadline); judged() == before && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		relay.release()
	}()
	second := n.http3Transport(relay.address, sessions)
	early = send(second, http3.MethodGet0RTT)
	return early, func() answer { return send(second, "GET") }
}

// relay passes datagrams on in both directions.
type relay struct {
	address string
	front   *net.UDPConn
	server  *net.UDPAddr

	mu      sync.Mutex
	holding bool
	held    []func()
	backs   map[string]*net.UDPConn
}

func newRelay(t *testing.T, server string) *relay {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", server)
	must(t, err)
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	r := &relay{address: front.LocalAddr().String(), front: front, server: to, backs: make(map[string]*net.UDPConn)}
	t.Cleanup(r.close)
	go r.run()
	return r
}

func (r *relay) run() {
	buf := make([]byte, 1<<16)
	for {
		size, from, err := r.front.ReadFromUDP(buf)
		if err != nil {
			return
		}
		r.forward(append([]byte(nil), buf[:size]...), from)
	}
}

func (r *relay) forward(datagram []byte, from *net.UDPAddr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	back := r.backs[from.String()]
	if back == nil {
		var err error
		if back, err = net.DialUDP("udp", nil, r.server); err != nil {
			return
		}
		r.backs[from.String()] = back
		go r.answer(back, from)
	}
	_, _ = back.Write(datagram)
}

func (r *relay) answer(back *net.UDPConn, to *net.UDPAddr) {
	buf := make([]byte, 1<<16)
	for {
		size, err := back.Read(buf)
		if err != nil {
			return
		}
		r.pass(append([]byte(nil), buf[:size]...), to)
	}
}

// pass passes a datagram on to the client, or keeps it.
func (r *relay) pass(datagram []byte, to *net.UDPAddr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	send := func() { _, _ = r.front.WriteToUDP(datagram, to) }
	if r.holding {
		r.held = append(r.held, send)
		return
	}
	send()
}

// hold keeps back what the server sends, until release.
func (r *relay) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holding = true
}

func (r *relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holding = false
	for _, send := range r.held {
		send()
	}
	r.held = nil
}

func (r *relay) close() {
	_ = r.front.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, back := range r.backs {
		_ = back.Close()
	}
}
