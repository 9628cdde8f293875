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
	"sync"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

// TestHTTP3EarlyData sends a real request in 0-RTT data. A relay keeps the rest
// of the client's handshake back until the answer is there.
func TestHTTP3EarlyData(t *testing.T) {
	n := prepare(t)
	n.reload(secure(t, n, site(oneIssuer), ""))
	relay := newRelay(t, "127.0.0.1:"+n.port)
	sessions := tls.NewLRUClientSessionCache(4)
	c := n.client()
	send := func(transport http.RoundTripper, method string) answer {
		return n.sendVia(transport, method, n.secureURL("/"), "Authorization", "DPoP "+c.token, "DPoP", c.proof("GET", n.secureURL("/")).String())
	}

	first := n.http3Transport(relay.address, sessions)
	send(first, "GET").passed()
	eventually(t, "a session ticket", func() bool {
		state, ok := sessions.Get("api.test")
		return ok && state != nil
	})
	must(t, first.Close())

	relay.hold()
	second := n.http3Transport(relay.address, sessions)
	send(second, http3.MethodGet0RTT).refused(425, "early_data")
	relay.release()
	send(second, "GET").passed()
}

// relay passes datagrams on in both directions.
type relay struct {
	address string
	front   *net.UDPConn
	server  *net.UDPAddr

	mu       sync.Mutex
	holding  bool
	answered bool // the server has sent its part of the handshake since hold
	held     []func()
	backs    map[string]*net.UDPConn
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
	send := func() { _, _ = back.Write(datagram) }
	if r.holding && r.answered && datagram[0]&0xf0 != 0xd0 {
		r.held = append(r.held, send)
		return
	}
	send()
}

func (r *relay) answer(back *net.UDPConn, to *net.UDPAddr) {
	buf := make([]byte, 1<<16)
	for {
		size, err := back.Read(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		// A mere acknowledgement of half a ClientHello is shorter (RFC 9000,
		// section 14.1).
		r.answered = r.answered || size >= 1200
		r.mu.Unlock()
		_, _ = r.front.WriteToUDP(buf[:size], to)
	}
}

// hold keeps back what the client sends once the server has answered, but for
// early data (RFC 9000, section 17.2.3).
func (r *relay) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holding, r.answered = true, false
}

func (r *relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holding = false
	for _, send := range r.held {
		send()
	}
}

func (r *relay) close() {
	_ = r.front.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, back := range r.backs {
		_ = back.Close()
	}
}
