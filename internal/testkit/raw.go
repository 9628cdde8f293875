// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Conn is a socket that sends HTTP/1.1 as the test spells it, which net/http's
// client would tidy up or refuse.
type Conn struct {
	conn   net.Conn
	reader *bufio.Reader
	// Timeout bounds each answer. The default is ten seconds.
	Timeout time.Duration
}

// Dial opens a plain connection.
func Dial(address string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

// DialTLS opens a TLS connection; the configuration names SNI and ALPN.
func DialTLS(address string, config *tls.Config) (*Conn, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, config)
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

func newConn(c net.Conn) *Conn {
	return &Conn{conn: c, reader: bufio.NewReader(c), Timeout: 10 * time.Second}
}

// Close closes the connection.
func (c *Conn) Close() { _ = c.conn.Close() }

// Write sends bytes as they are.
func (c *Conn) Write(b []byte) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.Timeout))
	_, err := c.conn.Write(b)
	return err
}

// Answer is one HTTP response, read to its end.
type Answer struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	Body    []byte
	// Took is the time from the first byte of the request to the last of the answer.
	Took time.Duration
}

// Read reads the answer to a request of that method.
func (c *Conn) Read(method string) (*Answer, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(c.Timeout))
	res, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	for res.StatusCode >= 100 && res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols {
		if res, err = http.ReadResponse(c.reader, &http.Request{Method: method}); err != nil {
			return nil, fmt.Errorf("no final answer: %w", err)
		}
	}
	a := &Answer{Status: res.StatusCode, Header: res.Header}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return a, nil
	}
	a.Body, err = io.ReadAll(io.LimitReader(res.Body, 1<<22))
	_ = res.Body.Close()
	a.Trailer = res.Trailer
	return a, err
}

// Closed reports whether the server has closed the connection, or does so within d.
func (c *Conn) Closed(d time.Duration) bool {
	_ = c.conn.SetReadDeadline(time.Now().Add(d))
	_, err := c.reader.ReadByte()
	if err == nil {
		_ = c.reader.UnreadByte()
		return false
	}
	var timeout net.Error
	return !(asNetError(err, &timeout) && timeout.Timeout())
}

func asNetError(err error, target *net.Error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // straight from the socket
	if ok {
		*target = e
	}
	return ok
}

// Field is one header line. A name is sent in the case in which it is written.
type Field struct{ Name, Value string }

// Message is an HTTP/1.1 request as bytes in the making.
type Message struct {
	Method, Target, Version string
	// Fields are sent in this order. There is no Host unless it is here.
	Fields []Field
	Body   []byte
}

// Bytes writes the message. A body gets a Content-Length unless a field says
// Transfer-Encoding or Content-Length.
func (m *Message) Bytes() []byte {
	var b strings.Builder
	version := m.Version
	if version == "" {
		version = "HTTP/1.1"
	}
	fmt.Fprintf(&b, "%s %s %s\r\n", m.Method, m.Target, version)
	framed := false
	for _, f := range m.Fields {
		fmt.Fprintf(&b, "%s:%s\r\n", f.Name, spaced(f.Value))
		switch strings.ToLower(f.Name) {
		case "content-length", "transfer-encoding":
			framed = true
		}
	}
	if len(m.Body) > 0 && !framed {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(m.Body))
	}
	b.WriteString("\r\n")
	b.Write(m.Body)
	return []byte(b.String())
}

// spaced puts the usual blank after the colon, unless the value brings white space.
func spaced(v string) string {
	if v == "" || v[0] == ' ' || v[0] == '\t' {
		return v
	}
	return " " + v
}

// Exchange sends bytes on a new connection and reads one answer.
func Exchange(address, method string, request []byte) (*Answer, error) {
	c, err := Dial(address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	start := time.Now()
	// A server may answer and close before it has read everything; its answer counts.
	werr := c.Write(request)
	a, err := c.Read(method)
	if err != nil {
		if werr != nil {
			err = fmt.Errorf("%w (write: %w)", err, werr)
		}
		return nil, err
	}
	a.Took = time.Since(start)
	return a, nil
}
