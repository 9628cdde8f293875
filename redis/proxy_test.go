// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands before a Redis and loses what it is told to lose.
type proxy struct {
	listener net.Listener
	target   string

	mu       sync.Mutex
	conns    map[net.Conn]bool
	swallow  bool          // requests get through, answers do not
	held     chan struct{} // requests wait until it is closed
	refusing bool
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: make(map[net.Conn]bool)}
	t.Cleanup(func() {
		_ = l.Close()
		p.set(func() { p.swallow, p.held = false, nil })
		p.cut()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	refusing := p.refusing
	p.mu.Unlock()
	if refusing {
		return
	}
	upstream, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer upstream.Close()
	p.set(func() { p.conns[client], p.conns[upstream] = true, true })
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.copy(upstream, client, func() bool {
			p.mu.Lock()
			held := p.held
			p.mu.Unlock()
			if held != nil {
				<-held
			}
			return true
		})
		_ = upstream.Close()
	}()
	p.copy(client, upstream, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.swallow
	})
	_ = client.Close()
	<-done
	p.set(func() { delete(p.conns, client); delete(p.conns, upstream) })
}

func (p *proxy) copy(to io.Writer, from io.Reader, pass func() bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && pass() {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
