// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// http3Transport speaks HTTP/3 with the node.
func (n *node) http3Transport(address string, sessions tls.ClientSessionCache) *http3.Transport {
	t := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "api.test", ClientSessionCache: sessions},
		QUICConfig:      &quic.Config{},
		Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, address, tlsConfig, config)
		},
	}
	n.t.Cleanup(func() { _ = t.Close() })
	return t
}

// TestProtocols: the same rules hold whatever carries the request.
func TestProtocols(t *testing.T) {
	n := prepare(t)
	n.reload(secure(t, n, site(oneIssuer), ""))
	h1, h2 := n.transport(), n.transport()
	h2.ForceAttemptHTTP2 = true
	for _, test := range []struct {
		proto     string
		transport http.RoundTripper
	}{
		{"HTTP/1.1", h1},
		{"HTTP/2.0", h2},
		{"HTTP/3.0", n.http3Transport("127.0.0.1:"+n.port, nil)},
	} {
		t.Run(test.proto, func(t *testing.T) {
			n.t = t
			c := n.client()
			send := func(method, proof string) answer {
				a := n.sendVia(test.transport, method, n.secureURL("/x?y=1"), "Authorization", "DPoP "+c.token, "DPoP", proof)
				if a.proto != test.proto {
					t.Fatalf("spoke %s", a.proto)
				}
				return a
			}
			p := c.proof("GET", n.secureURL("/x")).String()
			send("GET", p).passed()
			send("GET", p).refused(401, "jti_replayed", challenged("invalid_dpop_proof", "The proof was used before"))
			send("POST", c.proof("POST", n.secureURL("/x")).String()).passed()
			send("POST", c.proof("GET", n.secureURL("/x")).String()).refusedFor("htm_mismatch")
			send("GET", c.proof("GET", n.url("/x")).String()).refusedFor("htu_mismatch")
			send("GET", c.proof("GET", "https://api.test/x").String()).refusedFor("htu_mismatch")
			n.sendVia(test.transport, "GET", n.secureURL("/"), "Authorization", "DPoP "+c.token, "DPoP", "a", "DPoP", "b").refusedFor("proof_repeated")
			n.sendVia(test.transport, "GET", n.secureURL("/")).refused(401, "no_credentials", challenged("", ""))
		})
	}
}
