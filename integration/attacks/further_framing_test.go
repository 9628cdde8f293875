// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// insert puts bytes into the request as it is sent, behind the first occurrence of a
// text.
func (a *attempt) insert(behind, text string) {
	wire := a.wire()
	i := bytes.Index(wire, []byte(behind))
	if i < 0 {
		panic("attacks: the request has no " + behind)
	}
	i += len(behind)
	a.bytes = []byte(string(wire[:i]) + text + string(wire[i:]))
}

// everywhere sends one manipulation over HTTP/1.1, HTTP/2 in clear text, HTTP/2 and
// HTTP/3.
func everywhere(w want, change func(*attempt)) test {
	return func(c *run) {
		c.answered(w)
		a := c.attempt()
		change(a)
		c.must(a, w)
		h2(w, change)(c)
		s := c.site("tls/api")
		client := h3client(s, nil)
		defer client.Close()
		b := newAttempt(s)
		change(b)
		b.sendH3(client, b.method).check(c, w)
	}
}

// refusedByServer wants 400, or the stream reset that stands for it in HTTP/2.
func (c *run) refusedByServer(r *result) {
	c.Helper()
	c.answered(caddyRefuses)
	if r.err != nil && !errors.Is(r.err, errReset) || r.err == nil && r.Status != 400 || len(r.hits) != 0 {
		c.Errorf("answered %d, %v, the upstream was reached %d times", r.Status, r.err, len(r.hits))
	}
}

// Group A, further: folded lines, control bytes, framing.
var _ = add(cases{
	"A80": each(malformed, variants{
		"between segments": func(a *attempt) { a.insert("DPoP: "+strings.Split(a.write(), ".")[0]+".", "\r\n ") },
		"in a segment":     func(a *attempt) { a.insert("DPoP: "+a.write()[:40], "\r\n\t") },
	}),
	"A81": each(accepted, variants{
		"proof": func(a *attempt) { a.insert("DPoP:", "\r\n") },
		"token": func(a *attempt) { a.insert("Authorization: DPoP", "\r\n") },
	}),
	"A82": one(caddyRefuses, func(a *attempt) { a.insert("HTTP/1.1\r\n", " X-Filler: x\r\n") }),
	"A83": func(c *run) {
		for _, b := range []string{"\x00", "\r", "\x7f", "\x01", "\x1b"} {
			c.variant(fmt.Sprintf("proof %q", b), caddyRefuses, func(a *attempt) { a.dpop(a.write()[:30] + b + a.write()[30:]) })
			c.variant(fmt.Sprintf("token %q", b), caddyRefuses, func(a *attempt) { a.authorization("DPoP " + b + a.accessToken) })
		}
	},
	"A84": each(malformed, variants{
		"ff":           func(a *attempt) { a.dpop(a.write()[:30] + "\xff" + a.write()[30:]) },
		"80":           func(a *attempt) { a.dpop(a.write() + "\x80") },
		"nbsp before":  func(a *attempt) { a.dpop("\u00a0" + a.write()) },
		"nbsp after":   func(a *attempt) { a.dpop(a.write() + "\u00a0") },
		"latin 1 nbsp": func(a *attempt) { a.dpop("\xa0" + a.write()) },
	}),
	"A85": each(badRequest("authorization_malformed"), variants{
		"nbsp":    func(a *attempt) { a.authorization("\u00a0DPoP " + a.accessToken) },
		"mark":    func(a *attempt) { a.authorization("\ufeffDPoP " + a.accessToken) },
		"between": func(a *attempt) { a.authorization("DPoP\u00a0" + a.accessToken) },
		"latin 1": func(a *attempt) { a.authorization("\xa0DPoP " + a.accessToken) },
	}),
	"A86": each(badRequest("authorization_repeated"), variants{
		"Basic first":  func(a *attempt) { a.authorization("Basic YTpi", "DPoP "+a.accessToken) },
		"Basic second": func(a *attempt) { a.authorization("DPoP "+a.accessToken, "Basic YTpi") },
		"three":        func(a *attempt) { a.authorization("Basic YTpi", "DPoP "+a.accessToken, "Bearer "+a.accessToken) },
		"other case":   func(a *attempt) { a.first = []testkit.Field{{Name: "authorization", Value: "x"}} },
	}),
	"A87": func(c *run) {
		for _, name := range []string{"D-PoP", "DPoP_", "X-DPoP", "DPoP-Proof", "HTTP_DPOP"} {
			c.variant(name, badProof("proof_missing"), func(a *attempt) {
				a.noProof = true
				a.field(name, a.write())
			})
		}
	},
	"A88": func(c *run) {
		for _, site := range []string{"ref", "tls/api"} {
			a := newAttempt(c.site(site))
			a.noProof = true
			c.refusedByServer(a.sendH2(func(fields []hpack.HeaderField) []hpack.HeaderField {
				return append(fields, hpack.HeaderField{Name: "DPoP", Value: a.write()})
			}))
		}
	},
	"A89": all(
		h2(malformed, func(a *attempt) { a.dpop(" " + a.write()) }),
		h2(malformed, func(a *attempt) { a.dpop(a.write() + " ") })),
	"A90": func(c *run) {
		inner := c.attempt()
		inner.anonymous()
		a := c.attempt()
		a.request("POST", "/api/items")
		a.field("Content-Length", "5")
		a.field("Transfer-Encoding", "chunked")
		a.body = []byte("0\r\n\r\n" + string(inner.wire()))
		c.expect(a, accepted)
		if n := len(backend.of(inner.name)); n != 0 {
			c.Error("what hid behind the body reached the upstream")
		}
	},
	"A91": func(c *run) {
		for _, lengths := range [][]string{{"0", "5"}, {"5", "0"}, {"5, 6"}, {"+5"}, {"0x5"}, {"-5"}, {"5 5"}} {
			c.variant(strings.Join(lengths, " and "), caddyRefuses, func(a *attempt) {
				a.request("POST", "/api/items")
				for _, l := range lengths {
					a.field("Content-Length", l)
				}
				a.body = []byte("hello")
			})
		}
	},
	"A92": func(c *run) {
		a := c.attempt()
		a.request("POST", "/api/items")
		a.claim("htm", "PUT")
		a.field("Content-Length", "1000000")
		a.field("Expect", "100-continue")
		if line := firstLine(c, a); line != "HTTP/1.1 401 Unauthorized" {
			c.Errorf("the answer begins with %q", line)
		}
		b := c.attempt()
		b.request("POST", "/api/items")
		b.claim("htm", "PUT")
		b.field("Content-Length", "1000000")
		b.field("Expect", "100-continue")
		c.expect(b, htmMismatch)
	},
	"A93": func(c *run) {
		a, b := c.attempt(), c.attempt()
		a.claim("htm", "PUT")
		conn, err := testkit.Dial(a.site.address)
		c.ok(err)
		defer conn.Close()
		c.ok(conn.Write(append(a.wire(), b.wire()...)))
		for i, w := range []want{htmMismatch, accepted} {
			r := &result{attempt: []*attempt{a, b}[i]}
			r.Answer, r.err = conn.Read("GET")
			r.check(c, w)
		}
		c.answered(accepted)
	},
	"A94": one(accepted, func(a *attempt) {
		for i := range 50 {
			a.first = append(a.first, testkit.Field{Name: fmt.Sprint("X-Before-", i%30), Value: "v"})
			a.field(fmt.Sprint("X-After-", i%30), "v")
		}
	}),
	"A95": func(c *run) {
		s := c.site("tls/api")
		client := h3client(s, nil)
		defer client.Close()
		w := badRequest("authorization_repeated")
		c.answered(w)
		for _, first := range []string{"DPoP x", "Basic YTpi"} {
			a := newAttempt(s)
			a.authorization(first, "DPoP "+a.accessToken)
			a.sendH3(client, "GET").check(c, w)
		}
	},
	"A96": func(c *run) {
		a := c.attempt()
		tokenOf(12000)(a)
		conn, err := dialH2(a.site)
		c.ok(err)
		defer conn.close()
		conn.frame = 3000
		id, err := conn.send(pseudo(a), nil, true)
		c.ok(err)
		r := &result{attempt: a, Answer: &testkit.Answer{}}
		if answer, err := conn.wait(id, false); err != nil {
			r.err = err
		} else {
			r.Answer = answer
		}
		c.answered(accepted)
		r.check(c, accepted)
	},
	"A97": each(badProof("proof_repeated"), variants{
		"twenty":  func(a *attempt) { a.dpop(repeated(a.write(), 20)...) },
		"hundred": func(a *attempt) { a.dpop(append(repeated("x", 99), a.write())...) },
	}),
})

func repeated(s string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}

// firstLine is the status line that comes first, an interim one too.
func firstLine(c *run, a *attempt) string {
	c.Helper()
	conn, err := net.DialTimeout("tcp", a.site.address, 5*time.Second)
	c.ok(err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = conn.Write(a.wire())
	c.ok(err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	c.ok(err)
	return strings.TrimRight(line, "\r\n")
}
