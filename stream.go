// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// endWithToken makes an upgraded or streaming response end when the access
// token expires: an open connection must not outlive the right to it. A
// response that is merely in progress is left to finish.
func (h *Handler) endWithToken(w http.ResponseWriter, r *http.Request, c *check) (http.ResponseWriter, *http.Request, func()) {
	if c.claims == nil || c.claims.Expiry.IsZero() {
		return w, r, func() {}
	}
	ctx, cancel := context.WithCancel(r.Context())
	s := &streamWriter{
		ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		expires:               c.claims.Expiry.Add(h.clockSkew()),
		now:                   h.app.now,
		cancel:                cancel,
	}
	return s, r.WithContext(ctx), s.end
}

// streamWriter notices that a response is a stream, by its first flush or by
// the connection being taken over, and from then on counts down to the end of
// the access token. Other responses never start a timer.
type streamWriter struct {
	caddyhttp.ResponseWriterWrapper
	expires time.Time
	now     func() time.Time
	cancel  context.CancelFunc

	mu    sync.Mutex // proxies flush from a goroutine of their own
	timer *time.Timer
	done  bool
}

// FlushError implements the method that http.ResponseController looks for.
func (s *streamWriter) FlushError() error {
	s.countDown(s.cancel)
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// Flush implements http.Flusher for handlers that ask for it by type.
func (s *streamWriter) Flush() { _ = s.FlushError() }

// Hijack implements http.Hijacker.
func (s *streamWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err == nil {
		s.countDown(func() {
			s.cancel()
			_ = conn.Close()
		})
	}
	return conn, rw, err
}

func (s *streamWriter) countDown(end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil && !s.done {
		s.timer = time.AfterFunc(s.expires.Sub(s.now()), end)
	}
}

// end stops the countdown when the response is complete.
func (s *streamWriter) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.cancel()
}
