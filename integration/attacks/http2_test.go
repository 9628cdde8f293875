// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// h2conn speaks HTTP/2 frame by frame, so that a request may hold what a proper
// client would never send: a field twice, a path that is none, another scheme.
type h2conn struct {
	conn    net.Conn
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	next    uint32
	answers map[uint32]*testkit.Answer
	done    map[uint32]bool
	// connect says that the server allows extended CONNECT (RFC 8441).
	connect bool
	// frame is the most that goes into one frame of a header section.
	frame int
}

// errReset is the end of a stream that the server would not serve.
var errReset = errors.New("stream reset")

func dialH2(s *site) (*h2conn, error) {
	var conn net.Conn
	var err error
	if s.tls {
		name := strings.TrimPrefix(s.origin, "https://")
		conn, err = tls.Dial("tcp", s.address, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"h2"}}) // #nosec G402 -- the test's own certificate
	} else {
		conn, err = net.Dial("tcp", s.address)
	}
	if err != nil {
		return nil, err
	}
	c := &h2conn{conn: conn, framer: http2.NewFramer(conn, conn), next: 1, frame: 16000, answers: map[uint32]*testkit.Answer{}, done: map[uint32]bool{}}
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return nil, err
	}
	return c, c.framer.WriteSettings()
}

func (c *h2conn) close() { _ = c.conn.Close() }

// pseudo is a field list of an attempt, with the pseudo-header fields first.
func pseudo(a *attempt) []hpack.HeaderField {
	scheme := "http"
	if a.site.tls {
		scheme = "https"
	}
	list := []hpack.HeaderField{{Name: ":method", Value: a.method}, {Name: ":scheme", Value: scheme}, {Name: ":path", Value: a.target}}
	for _, f := range a.fields() {
		name := strings.ToLower(f.Name)
		if name == "host" {
			list = append(list[:1:1], append([]hpack.HeaderField{{Name: ":authority", Value: f.Value}}, list[1:]...)...)
			continue
		}
		list = append(list, hpack.HeaderField{Name: name, Value: f.Value})
	}
	return list
}

// send opens a stream with these fields and returns its number.
func (c *h2conn) send(fields []hpack.HeaderField, body []byte, end bool) (uint32, error) {
	id := c.next
	c.next += 2
	c.block.Reset()
	for _, f := range fields {
		if err := c.encoder.WriteField(f); err != nil {
			return 0, err
		}
	}
	block := c.block.Bytes()
	first := block[:min(len(block), c.frame)]
	rest := block[len(first):]
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end && body == nil, EndHeaders: len(rest) == 0})
	for len(rest) > 0 && err == nil {
		n := min(len(rest), c.frame)
		err = c.framer.WriteContinuation(id, n == len(rest), rest[:n])
		rest = rest[n:]
	}
	if err == nil && body != nil {
		err = c.framer.WriteData(id, end, body)
	}
	return id, err
}

// wait reads frames until the stream has ended, or, for a stream that stays open,
// until its headers have come.
func (c *h2conn) wait(id uint32, headersOnly bool) (*testkit.Answer, error) {
	for !c.done[id] && (!headersOnly || c.answers[id] == nil) {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if f.IsAck() {
				continue
			}
			if v, ok := f.Value(http2.SettingEnableConnectProtocol); ok && v == 1 {
				c.connect = true
			}
			if err := c.framer.WriteSettingsAck(); err != nil {
				return nil, err
			}
		case *http2.MetaHeadersFrame:
			c.headers(f)
		case *http2.DataFrame:
			if a := c.answers[f.StreamID]; a != nil {
				a.Body = append(a.Body, f.Data()...)
			}
			c.done[f.StreamID] = c.done[f.StreamID] || f.StreamEnded()
		case *http2.RSTStreamFrame:
			if f.StreamID == id && c.answers[id] == nil {
				return nil, fmt.Errorf("%w: %v", errReset, f.ErrCode)
			}
			c.done[f.StreamID] = true
		case *http2.GoAwayFrame:
			return nil, fmt.Errorf("%w: goaway %v", errReset, f.ErrCode)
		case *http2.PingFrame:
			_ = c.framer.WritePing(true, f.Data)
		}
	}
	return c.answers[id], nil
}

func (c *h2conn) headers(f *http2.MetaHeadersFrame) {
	a := c.answers[f.StreamID]
	trailer := a != nil && a.Status >= 200
	if a == nil {
		a = &testkit.Answer{Header: http.Header{}, Trailer: http.Header{}}
	}
	for _, h := range f.Fields {
		switch {
		case h.Name == ":status":
			a.Status, _ = strconv.Atoi(h.Value)
		case trailer:
			a.Trailer.Add(h.Name, h.Value)
		default:
			a.Header.Add(h.Name, h.Value)
		}
	}
	c.answers[f.StreamID] = a
	c.done[f.StreamID] = c.done[f.StreamID] || f.StreamEnded()
}

// sendH2 sends the attempt over HTTP/2, with its fields changed by edit if that is
// not nil.
func (a *attempt) sendH2(edit func([]hpack.HeaderField) []hpack.HeaderField) *result {
	r := &result{attempt: a, Answer: &testkit.Answer{Header: http.Header{}}}
	conn, err := dialH2(a.site)
	if err != nil {
		r.err = err
		return r
	}
	defer conn.close()
	fields := pseudo(a)
	if edit != nil {
		fields = edit(fields)
	}
	start := time.Now()
	id, err := conn.send(fields, a.body, true)
	if err != nil {
		r.err = err
		return r
	}
	answer, err := conn.wait(id, false)
	r.err = err
	if answer != nil {
		answer.Took = time.Since(start)
		r.Answer = answer
	}
	r.hits = backend.of(a.name)
	return r
}

// h2 is a case with one manipulation, sent over HTTP/2 in clear text and over TLS.
func h2(w want, change func(*attempt)) test {
	return func(c *run) {
		for _, site := range []string{"ref", "tls/api"} {
			a := newAttempt(c.site(site))
			change(a)
			c.answered(w)
			a.sendH2(nil).check(c, w)
		}
	}
}

// replaced sets fields of an HTTP/2 request; an empty value removes the field.
func replaced(pairs ...string) func([]hpack.HeaderField) []hpack.HeaderField {
	return func(fields []hpack.HeaderField) []hpack.HeaderField {
		for i := 0; i < len(pairs); i += 2 {
			out := []hpack.HeaderField{}
			found := false
			for _, f := range fields {
				if f.Name == pairs[i] {
					found = true
					if pairs[i+1] == "" {
						continue
					}
					f.Value = pairs[i+1]
				}
				out = append(out, f)
			}
			if !found && pairs[i+1] != "" {
				out = append(out, hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
			}
			fields = out
		}
		return fields
	}
}

// mixedStreams sends streams with and without credentials on one connection.
func mixedStreams(c *run) {
	conn, err := dialH2(c.site("ref"))
	c.ok(err)
	defer conn.close()
	sent := map[uint32]*attempt{}
	for i := range 10 {
		a := c.attempt()
		if i%2 == 1 {
			a.anonymous()
		}
		id, err := conn.send(pseudo(a), nil, true)
		c.ok(err)
		sent[id] = a
	}
	c.answered(noCredentials)
	for id, a := range sent {
		r := &result{attempt: a, Answer: &testkit.Answer{Header: http.Header{}}}
		answer, err := conn.wait(id, false)
		if r.err = err; answer != nil {
			r.Answer = answer
		}
		if a.noAuth {
			r.check(c, noCredentials)
		} else {
			r.check(c, accepted)
		}
	}
}
