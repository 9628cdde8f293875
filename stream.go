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
func (h *Handler) endWithToken(w http.ResponseWriter, r *http.Request, c *check) *stream {
	return &stream{
		ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		Context:               r.Context(),
		expires:               c.claims.Expiry.Add(h.clockSkew()),
		app:                   h.app,
	}
}

// stream notices that a response is a stream, by its first flush or by the
// connection being taken over, and from then on counts down to the end of
// the access token. Other responses never start a timer.
//
// It is the request's context, too, and can end it. Few handlers ask when their
// request ends, so what that takes is made when the first one does.
type stream struct {
	caddyhttp.ResponseWriterWrapper
	context.Context // of the request as it came

	expires time.Time
	app     *App

	mu     sync.Mutex // proxies flush from a goroutine of their own
	ctx    context.Context
	cancel context.CancelFunc
	timer  *time.Timer
	taken  net.Conn // that the handler took over; nil for other streams
	done   bool
	over   bool // the token has expired
}

// ending returns a context that this stream can end.
func (s *stream) ending() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		s.ctx, s.cancel = context.WithCancel(s.Context)
		if s.done {
			s.cancel()
		}
	}
	return s.ctx
}

// Done implements context.Context.
func (s *stream) Done() <-chan struct{} { return s.ending().Done() }

// Err implements context.Context.
func (s *stream) Err() error { return s.latest().Err() }

// Value implements context.Context. Package context asks this way, after Done,
// for a parent that it can tell about children.
func (s *stream) Value(key any) any { return s.latest().Value(key) }

func (s *stream) latest() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		return s.Context
	}
	return s.ctx
}

// FlushError implements the method that http.ResponseController looks for.
func (s *stream) FlushError() error {
	s.countDown(nil)
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// Flush implements http.Flusher for handlers that ask for it by type.
func (s *stream) Flush() { _ = s.FlushError() }

// Hijack implements http.Hijacker.
func (s *stream) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err == nil {
		s.countDown(conn)
	}
	return conn, rw, err
}

// countDown begins to wait for the token's end, once. A connection that was
// taken over, now or at any later time, is closed then.
func (s *stream) countDown(taken net.Conn) {
	s.ending()
	s.mu.Lock()
	if taken != nil {
		s.taken = taken
	}
	if s.timer == nil && !s.done {
		s.timer = time.AfterFunc(s.expires.Sub(s.app.now()), s.expire)
	}
	over := s.over
	s.mu.Unlock()
	if over && taken != nil {
		_ = taken.Close()
	}
}

func (s *stream) expire() {
	s.mu.Lock()
	s.over = true
	taken := s.taken
	s.mu.Unlock()
	s.cancel()
	if taken != nil {
		_ = taken.Close()
	}
}

// end stops the countdown when the response is complete.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.cancel != nil {
		s.cancel()
	}
}
