// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestRefusedBody: a refusal neither waits for a body nor spoils the
// connection of one that was sent.
func TestRefusedBody(t *testing.T) {
	n := start(t, site(oneIssuer))
	dial := func(t *testing.T) (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+n.port)
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		return conn, bufio.NewReader(conn)
	}
	read := func(t *testing.T, r *bufio.Reader) {
		t.Helper()
		response, err := http.ReadResponse(r, nil)
		must(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		must(t, err)
		if response.StatusCode != http.StatusUnauthorized {
			t.Fatalf("status %d", response.StatusCode)
		}
	}
	head := "POST /x HTTP/1.1\r\nHost: api.test:" + n.port + "\r\n"

	t.Run("sent, on one connection again and again", func(t *testing.T) {
		conn, r := dial(t)
		for range 5 {
			_, err := io.WriteString(conn, head+"Content-Length: 7\r\n\r\nseven b")
			must(t, err)
			read(t, r)
		}
	})
	for name, fields := range map[string]string{
		"announced and not sent": "Content-Length: 10000000\r\n\r\n",
		"chunked and not sent":   "Transfer-Encoding: chunked\r\n\r\n",
		"to be asked for":        "Content-Length: 7\r\nExpect: 100-continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, r := dial(t)
			_, err := io.WriteString(conn, head+fields)
			must(t, err)
			read(t, r)
		})
	}
	if text := n.log.String(); strings.Contains(text, "panic") {
		t.Error("a panic in the log")
	}
}
