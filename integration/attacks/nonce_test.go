// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// fetchNonce gets a nonce from the case's site as a client does: by a challenge.
func fetchNonce(c *run) string {
	c.Helper()
	return nonceOf(c, c.site(c.on))
}

func nonceOf(c *run, s *site) string {
	c.Helper()
	a := newAttempt(s)
	r := a.send()
	r.check(c, needNonce("nonce_missing"))
	return r.Header.Get("Dpop-Nonce")
}

// withNonce is a good request with a live nonce.
func (c *run) withNonce() *attempt {
	c.Helper()
	a := c.attempt()
	a.claim("nonce", fetchNonce(c))
	return a
}

// nonces sends proofs with each of these as nonce.
func nonces(w want, values map[string]any) test {
	return func(c *run) {
		for _, name := range sortedKeys(values) {
			c.variant(name, w, func(a *attempt) { a.claim("nonce", values[name]) })
		}
	}
}

// required runs a case on the site that requires nonces.
func required(f test) test { return at("nonce/required", f) }

// nonceChars is the grammar of DPoP-Nonce (RFC 9449, section 8.1).
var nonceChars = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)

// Group M: server-provided nonces.
var _ = add(cases{
	"M01": required(func(c *run) {
		r := c.expect(c.attempt(), needNonce("nonce_missing"))
		if got := r.Header.Values("Dpop-Nonce"); len(got) != 1 || !nonceChars.MatchString(got[0]) {
			c.Errorf("DPoP-Nonce %q", got)
		}
	}),
	"M02": required(func(c *run) { c.expect(c.withNonce(), accepted) }),
	"M04": at("dying/nonce", func(c *run) {
		first := fetchNonce(c)
		c.eventually(15*time.Second, func() bool { return fetchNonce(c) != first })
		a := c.attempt()
		a.claim("nonce", first)
		c.expect(a, accepted)
	}),
	"M05": required(all(nonces(needNonce("nonce_unknown"), map[string]any{"random": testkit.NewID(), "empty": "", "short": "x", "long": strings.Repeat("x", 512)}),
		func(c *run) {
			live := fetchNonce(c)
			for _, forged := range []string{live[1:], live[:len(live)-1], live + "A", flipFirst(live), reversed(live), testkit.LooseBits(live)} {
				if forged == live {
					continue
				}
				a := c.attempt()
				a.claim("nonce", forged)
				c.expect(a, needNonce("nonce_unknown"))
			}
		})),
	"M07": func(c *run) {
		c.on = "node2/nonce"
		a := c.attempt()
		a.claim("nonce", nonceOf(c, c.site("node1/nonce")))
		c.expect(a, accepted)
	},
	"M08": required(func(c *run) {
		a := c.attempt()
		a.claim("nonce", nonceOf(c, c.site("dying/nonce"))) // made under other keys
		c.expect(a, needNonce("nonce_unknown"))
	}),
	"M09": required(func(c *run) {
		a := c.attempt()
		a.claim("nonce", nonceOf(c, c.site("nonce/b")))
		c.expect(a, accepted) // one set of keys per installation
	}),
	"M11": required(func(c *run) {
		live := fetchNonce(c)
		a := c.attempt()
		a.claim("nonce", flipFirst(live)) // a later time under the same tag
		c.expect(a, needNonce("nonce_unknown"))
	}),
	"M12": required(func(c *run) {
		live := fetchNonce(c)
		values := oddValues()
		values["array of the right value"] = []string{live}
		nonces(badProof("nonce_invalid"), values)(c)
	}),
	"M14": required(func(c *run) {
		live := fetchNonce(c)
		nonces(needNonce("nonce_unknown"), map[string]any{
			"blank": live + " ", "quote": `"` + live + `"`, "backslash": `\` + live, "crlf": live + "\r\nX-Evil: 1",
			"nul": live + "\x00", "latin": "é", "blank first": " " + live,
		})(c)
	}),
	"M15": required(all(nonces(badProof("nonce_invalid"), map[string]any{"513": strings.Repeat("x", 513), "5 kB": strings.Repeat("x", 5000)}),
		nonces(badProof("proof_too_large"), map[string]any{"10 kB": strings.Repeat("x", 10000)}))),
	"M18": required(each(needNonce("nonce_missing"), variants{"": func(a *attempt) { a.proof.Key = client2 }})),
	"M19": all(required(one(needNonce("nonce_missing"), func(a *attempt) { a.iat(-time.Hour) })),
		at("nonce/optional", each(needNonce("iat_challenged"), variants{
			"behind": func(a *attempt) { a.iat(-time.Hour) },
			"ahead":  func(a *attempt) { a.iat(time.Hour) },
		}))),
	"M20": required(func(c *run) {
		for _, d := range []time.Duration{-time.Hour, time.Hour} {
			a := c.withNonce()
			a.iat(d)
			c.expect(a, accepted)
			c.must(a.again(), replayed)
		}
	}),
	"M22": required(func(c *run) {
		a := c.withNonce()
		c.must(a, accepted)
		c.expect(a.again(), replayed)
	}),
	"M23": at("dying/nonce", func(c *run) {
		first := fetchNonce(c)
		var r *result
		c.eventually(15*time.Second, func() bool {
			a := c.attempt()
			a.claim("nonce", first)
			r = c.must(a, accepted)
			return len(r.Header.Values("Dpop-Nonce")) > 0
		})
		if c.Failed() {
			return
		}
		got := r.Header.Values("Dpop-Nonce")
		if len(got) != 1 || got[0] == first {
			c.Errorf("DPoP-Nonce %q after %q", got, first)
		}
		if control := r.Header.Get("Cache-Control"); !strings.Contains(control, "private") && !strings.Contains(control, "no-store") {
			c.Errorf("a nonce with Cache-Control %q", control)
		}
		a := c.attempt()
		a.claim("nonce", got[0])
		c.expect(a, accepted)
		// Past its life a nonce is challenged.
		c.eventually(15*time.Second, func() bool {
			a := c.attempt()
			a.claim("nonce", first)
			r := a.send()
			if r.Status == 401 {
				r.check(c, needNonce("nonce_stale"))
			}
			return r.Status == 401
		})
	}),
	"M24": required(nonceQuality),
	"M25": nonceAfterRestart,
	"M29": required(func(c *run) {
		live := fetchNonce(c)
		for _, other := range []string{strings.ToUpper(live), strings.ToLower(live)} {
			if other == live {
				continue
			}
			a := c.attempt()
			a.claim("nonce", other)
			c.expect(a, needNonce("nonce_unknown"))
		}
	}),
	"M31": elsewhere,
	"M32": required(func(c *run) {
		a := c.attempt()
		a.request("POST", "/api/items")
		a.body = make([]byte, 10<<20)
		a.field("Expect", "100-continue")
		c.answered(needNonce("nonce_missing"))
		// The head first: the decision does not wait for the body.
		conn, err := testkit.Dial(a.site.address)
		c.ok(err)
		defer conn.Close()
		wire := a.wire()
		c.ok(conn.Write(wire[:len(wire)-len(a.body)]))
		r := &result{attempt: a}
		r.Answer, r.err = conn.Read("POST")
		r.check(c, needNonce("nonce_missing"))
	}),
	"M33": required(one(noCredentials, func(a *attempt) { a.anonymous() })),
	"M34": at("nonce/mixed", one(accepted, func(a *attempt) {
		a.token(func(t *testkit.JWS) { t.Claims.Delete("cnf") })
		a.bearer()
	})),
	"M36": required(func(c *run) {
		live := fetchNonce(c)
		a := c.attempt()
		a.request("GET", "/b/other")
		a.claim("nonce", live)
		c.expect(a, accepted)
		// For the same nonce may serve many proofs.
		b := c.attempt()
		b.claim("nonce", live)
		c.must(b, accepted)
	}),
})

// flipFirst changes the beginning of a nonce.
func flipFirst(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// nonceQuality collects nonces over several seconds: all of the allowed characters,
// none a bare number or time, none the same after its second is over.
func nonceQuality(c *run) {
	c.answered(needNonce("nonce_missing"))
	seen := map[string]time.Time{}
	stop := time.Now().Add(3 * time.Second)
	for time.Now().Before(stop) {
		before := time.Now()
		n := fetchNonce(c)
		if c.Failed() {
			return
		}
		if !nonceChars.MatchString(n) || len(n) < 20 || strings.Contains(n, before.Format("2006")) && strings.Trim(n, "0123456789") == "" {
			c.Fatalf("nonce %q", n)
		}
		if first, again := seen[n]; again && before.Sub(first) > 1500*time.Millisecond {
			c.Fatalf("the nonce of %v came again after %v", first, before.Sub(first))
		} else if !again {
			seen[n] = before
		}
	}
	if len(seen) < 2 {
		c.Errorf("%d different nonces in three seconds", len(seen))
	}
}

// nonceAfterRestart: the keys are in Caddy's storage, so a nonce outlives the process.
func nonceAfterRestart(c *run) {
	c.on = "nonces/nonce"
	s := c.site(c.on)
	live := fetchNonce(c)
	s.server.Stop()
	c.ok(s.server.start())
	c.eventually(10*time.Second, func() bool {
		a := c.attempt()
		a.claim("nonce", live)
		r := a.send()
		return r.Status == 200 || r.Status == 401 && r.reason() != "issued_before_start"
	})
	a := c.attempt()
	a.claim("nonce", live)
	c.expect(a, accepted)
}
