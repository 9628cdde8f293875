// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// brief is a client whose token ends soon by the machine's clock; the node's
// stands still.
func (n *node) brief(d time.Duration) *client {
	key := testkit.P256("client")
	claims := n.claims(key)
	claims.Expiry = d
	return &client{n, key, n.issuer.Token(claims, n.clock.Now()).String()}
}

// TestStreamEnds: a stream does not outlive the token.
func TestStreamEnds(t *testing.T) {
	n := start(t, strings.Replace(site(oneIssuer+"clock_skew 0s\n"), "$UPSTREAM", "$UPSTREAM {\nflush_interval -1\n}", 1))
	gone := make(chan struct{})
	n.upstream.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	c := n.brief(time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", n.url("/"), nil)
	must(t, err)
	r.Header.Set("Authorization", "DPoP "+c.token)
	r.Header.Set("DPoP", c.proof("GET", n.url("/")).String())
	begin := time.Now()
	res, err := n.transport().RoundTrip(r)
	must(t, err)
	defer res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("status %d", res.StatusCode)
	}
	body, _ := io.ReadAll(res.Body)
	if took := time.Since(begin); string(body) != "data: 1\n\n" || took < 900*time.Millisecond || took > deadline-time.Second {
		t.Errorf("%q in %v", body, took)
	}
	select {
	case <-gone:
	case <-time.After(deadline):
		t.Error("the upstream is still streaming")
	}
}

// TestUpgradeEnds: nor does a connection that was upgraded.
func TestUpgradeEnds(t *testing.T) {
	n := start(t, site(oneIssuer+"clock_skew 0s\n"))
	n.upstream.answers(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	})
	c := n.brief(time.Second)
	conn, err := testkit.Dial("127.0.0.1:" + n.port)
	must(t, err)
	defer conn.Close()
	m := testkit.Message{Method: "GET", Target: "/ws", Fields: []testkit.Field{
		{Name: "Host", Value: "api.test:" + n.port},
		{Name: "Connection", Value: "Upgrade"},
		{Name: "Upgrade", Value: "echo"},
		{Name: "Authorization", Value: "DPoP " + c.token},
		{Name: "DPoP", Value: c.proof("GET", n.url("/ws")).String()},
	}}
	begin := time.Now()
	must(t, conn.Write(m.Bytes()))
	a, err := conn.Read("GET")
	must(t, err)
	if a.Status != 101 {
		t.Fatalf("status %d", a.Status)
	}
	must(t, conn.Write([]byte("x")))
	if conn.Closed(100 * time.Millisecond) {
		t.Fatal("closed at once")
	}
	if !eventuallyClosed(conn) || time.Since(begin) < 900*time.Millisecond {
		t.Errorf("the connection outlives the token, or ended early, after %v", time.Since(begin))
	}
}

// TestUpgradeAfterFlush: a connection that is taken over when the countdown has begun
// already, or is over, ends with the token as well.
func TestUpgradeAfterFlush(t *testing.T) {
	for _, test := range []struct {
		name string
		left time.Duration // of the token, at the flush
	}{
		{"counting down", 200 * time.Millisecond},
		{"token expired", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			ended := make(chan error, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				app := &App{clock: &clock{time.Now}}
				s := &stream{
					ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
					Context:               r.Context(),
					expires:               time.Now().Add(test.left),
					app:                   app,
				}
				defer s.end()
				s.Flush()
				if test.left == 0 {
					<-s.Done()
				}
				conn, _, err := s.Hijack()
				if err == nil {
					defer conn.Close()
					_ = conn.SetReadDeadline(time.Now().Add(deadline))
					_, err = conn.Read(make([]byte, 1))
				}
				ended <- err
			}))
			defer server.Close()
			res, err := server.Client().Get(server.URL)
			must(t, err)
			defer res.Body.Close()
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("the connection ended with %v", err)
			}
		})
	}
}

// eventuallyClosed reads what was echoed until the end.
func eventuallyClosed(conn *testkit.Conn) bool {
	conn.Timeout = deadline
	_, err := conn.Read("GET") // "x", then the end: no answer
	return err != nil && conn.Closed(deadline)
}

// TestSlowAnswer: an answer that is no stream is left to finish.
func TestSlowAnswer(t *testing.T) {
	n := start(t, site(oneIssuer+"clock_skew 0s\n"))
	n.upstream.answers(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			t.Error("cancelled")
		case <-time.After(1500 * time.Millisecond):
		}
		_, _ = io.WriteString(w, "done")
	})
	if a := n.brief(time.Second).get("/").passed(); a.body != "done" {
		t.Errorf("%q", a.body)
	}
}

// TestRefusedBeforeBody: the decision comes before the body is asked for.
func TestRefusedBeforeBody(t *testing.T) {
	n := start(t, site(oneIssuer))
	conn, err := net.Dial("tcp", "127.0.0.1:"+n.port)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(deadline)))
	m := testkit.Message{Method: "POST", Target: "/", Fields: []testkit.Field{
		{Name: "Host", Value: "api.test:" + n.port}, {Name: "Expect", Value: "100-continue"}, {Name: "Content-Length", Value: "1000000000"},
	}}
	_, err = conn.Write(m.Bytes())
	must(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer res.Body.Close()
	if res.StatusCode != 401 {
		t.Errorf("first answer %d", res.StatusCode)
	}
}
