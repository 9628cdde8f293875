// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// giveUp sends the beginning of a request and closes the connection.
func giveUp(a *attempt, cut int) error {
	conn, err := net.DialTimeout("tcp", a.site.address, 5*time.Second)
	if err != nil {
		return err
	}
	wire := a.wire()
	_, err = conn.Write(wire[:cut%len(wire)])
	_ = conn.Close()
	return err
}

// Group S, further.
var _ = add(cases{
	"S80": func(c *run) {
		a := c.attempt()
		a.target = strings.Repeat("/a/..", 1600) + "/api/items"
		a.reproof()
		if r := c.expect(a, badProof("proof_too_large")); r.Took > slowest {
			c.Errorf("it took %v", r.Took)
		}
		b := c.attempt()
		b.target = strings.Repeat("/a/..", 1600) + "/api/items"
		b.reproof()
		b.htu(origin + "/api/items")
		c.must(b, accepted)
	},
	"S81": one(accepted, func(a *attempt) {
		a.target = "/" + strings.Repeat("aZ", 850)
		a.reproof()
		a.htu(origin + "/" + strings.Repeat("%61%5A", 850))
	}),
	"S82": bend(tokenInvalid, map[string]func(*testkit.JWS){
		"exp": func(t *testkit.JWS) { t.Set("exp", testkit.Raw(strings.Repeat("9", 9000))) }, "iat": func(t *testkit.JWS) { t.Set("iat", testkit.Raw("-"+strings.Repeat("9", 9000))) },
		"exponent": func(t *testkit.JWS) { t.Set("nbf", testkit.Raw("1e"+strings.Repeat("9", 9000))) },
	}),
	"S83": func(c *run) {
		parallel(100, func(i int) {
			a := newAttempt(c.site("ref"))
			a.request("POST", "/api/items")
			a.field("Content-Length", "100000")
			a.anonymous()
			if err := giveUp(a, 20+i*7); err != nil {
				c.Error(err)
			}
		})
		c.expect(c.attempt(), accepted)
	},
	"S84": func(c *run) {
		conn, err := dialH2(c.site("ref"))
		c.ok(err)
		for range 200 {
			a := c.attempt()
			a.anonymous()
			id, err := conn.send(pseudo(a), nil, true)
			if err != nil {
				break // the server may hang up on such a client
			}
			if conn.framer.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				break
			}
		}
		conn.close()
		a := c.attempt()
		c.answered(accepted)
		a.sendH2(nil).check(c, accepted)
		c.must(c.attempt(), accepted)
	},
	"S85": func(c *run) {
		c.answered(accepted)
		parallel(400, func(i int) {
			a := newAttempt(c.site("ref"))
			w := accepted
			switch i % 8 {
			case 0:
				a.authorization("Basic YTpi")
				w = want{status: 401, reason: "scheme_unsupported"}
			case 1:
				a.dpop(strings.Repeat("x", i))
				w = malformed
			case 2:
				a.client = testkit.P256(fmt.Sprint("stranger ", i))
				a.reproof()
				w = badToken("jkt_mismatch")
			case 3:
				a.token(func(t *testkit.JWS) { t.Set("iss", "https://"+testkit.NewID()) })
				w = issuerUnknown
			case 4:
				a.anonymous()
				w = noCredentials
			}
			a.send().check(c, w)
		})
	},
	"S86": all(
		one(badSignature, signed(func(_, s []byte) []byte { return append(s, make([]byte, 4900)...) })),
		one(badProof("proof_too_large"), signed(func(_, s []byte) []byte { return append(s, make([]byte, 8000)...) }))),
})
