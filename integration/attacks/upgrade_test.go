// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// identity sends what a client might say about itself: the upstream must get the
// verifier's word, in the one field that it reads, and in none that folds to it.
func identity(fields ...testkit.Field) test {
	return func(c *run) {
		for _, f := range fields {
			a := c.attempt()
			spoofed(f)(a)
			r := c.expect(a, accepted)
			for _, h := range r.hits {
				if got := h.Header.Values("X-Auth-Subject"); len(got) != 1 || got[0] != "alice" {
					c.Errorf("%s: the upstream is told %q", f.Name, got)
				}
				for name, v := range h.Header {
					if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "X-Auth-Subject") && v[0] != "alice" {
						c.Errorf("%s reached the upstream as %s", f.Name, name)
					}
				}
			}
		}
	}
}

// extendedConnect is a WebSocket over HTTP/2 (RFC 8441): the proof names the method on
// the wire, which is CONNECT.
func extendedConnect(c *run) {
	s := c.site("tls/api")
	for _, htm := range []string{"CONNECT", "GET"} {
		conn, err := dialH2(s)
		c.ok(err)
		a := newAttempt(s)
		a.claim("htm", htm)
		fields := replaced(":method", "CONNECT")(pseudo(a))
		fields = append([]hpack.HeaderField{{Name: ":protocol", Value: "websocket"}}, fields...)
		fields = append(fields, hpack.HeaderField{Name: "sec-websocket-version", Value: "13"})
		backend.on(a.name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(io.Discard, r.Body)
		})
		id, err := conn.send(fields, nil, false)
		c.ok(err)
		answer, err := conn.wait(id, true)
		r := &result{attempt: a, Answer: &testkit.Answer{Header: http.Header{}}, err: err}
		if answer != nil {
			r.Answer = answer
		}
		if htm == "CONNECT" {
			c.answered(accepted)
			r.check(c, accepted)
		} else {
			r.check(c, htmMismatch)
		}
		conn.close()
	}
}
