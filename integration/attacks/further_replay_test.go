// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"net"
	"slices"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// elsewhereAgain is a replay at another site.
func (c *run) elsewhereAgain(a *attempt, site string) *attempt {
	c.Helper()
	b := a.again()
	b.site = c.site(site)
	return b
}

// swappingProfile has a handler whose configuration cases change.
func swappingProfile(b *builder) {
	i := testkit.NewIssuer("swapping")
	b.admin = process.FreeAddress()
	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", reference(i)), toUpstream())
}

// swapping runs a case on a process of its own whose configuration it may change.
func swapping(f func(c *run, s *site, reload func(from, to string))) test {
	return func(c *run) {
		p := &profile{build: swappingProfile}
		c.ok(p.start("swapping"))
		defer p.server.Stop()
		s := p.sites["ref"]
		text := s.server.Text
		f(c, s, func(from, to string) {
			c.Helper()
			changed := strings.Replace(text, from, to, 1)
			if changed == text && from != to {
				c.Fatalf("the configuration has no %q", from)
			}
			c.ok(s.server.Reload(changed))
			text = changed
		})
		for _, l := range append(p.server.log.leaks, p.server.log.bad...) {
			c.Error(l)
		}
	}
}

// afterReload sends an attempt until it is answered: a reload closes the listener before
// it, with what waits in its queue.
func (c *run) afterReload(next func() *attempt, w want) {
	c.Helper()
	for range 10 {
		a := next()
		r := a.send()
		if r.err == nil {
			r.check(c, w)
			return
		}
		if len(r.hits) != 0 {
			c.Errorf("reached the upstream, and then %v", r.err)
		}
	}
	c.Fatal("no answer")
}

// useAt sends a good request to a site that no profile knows.
func (c *run) useAt(s *site) *attempt {
	c.Helper()
	a := newAttempt(s)
	c.must(a, accepted)
	return a
}

// expectUsed wants a used proof refused, where the store may be newer than the proof: it
// then refuses whatever was issued before it.
func (c *run) expectUsed(a *attempt) {
	c.Helper()
	r := a.again().send()
	for range 10 {
		if r.err != nil {
			r = a.again().send() // as in afterReload
		}
	}
	w := replayed
	if r.reason() == "issued_before_start" {
		w = badProof("issued_before_start")
	}
	c.answered(w)
	r.check(c, w)
}

// variantsOfReplay sends the claims of a used proof again, in another form.
func variantsOfReplay(changes map[string]func(j *testkit.JWS)) test {
	return func(c *run) {
		for _, name := range sortedKeys(changes) {
			b := c.use().again()
			b.compact, b.proof = "", b.proof.Clone()
			changes[name](b.proof)
			if c.expect(b, replayed); c.Failed() {
				c.Fatal(name)
			}
		}
	}
}

// refusedFirst sends bad requests with a jti, and then a good one with it.
func refusedFirst(faults map[string]func(a *attempt)) test {
	return func(c *run) {
		for _, name := range sortedKeys(faults) {
			a := c.attempt()
			faults[name](a)
			if r := a.send(); r.err != nil || r.Status != 401 || len(r.hits) != 0 {
				c.Fatalf("%s: %d, %v", name, r.Status, r.err)
			}
			b := c.attempt()
			b.claim("jti", a.proof.Claims.Get("jti"))
			if c.expect(b, accepted); c.Failed() {
				c.Fatalf("a jti is used up by: %s", name)
			}
		}
	}
}

// Group L, further.
var _ = add(cases{
	"L80": func(c *run) {
		for _, order := range [][2]string{{"memory", "stored"}, {"stored", "memory"}, {"memory", "optional"}, {"required", "stored"}} {
			c.on = "replays/" + order[0]
			a := c.attempt()
			if order[0] == "required" {
				a.claim("nonce", fetchNonce(c))
			}
			c.must(a, accepted)
			c.expect(c.elsewhereAgain(a, "replays/"+order[1]), replayed)
		}
	},
	"L81": at("replays/monitor", func(c *run) {
		a := c.use()
		for _, site := range []string{"memory", "stored"} {
			c.expect(c.elsewhereAgain(a, "replays/"+site), replayed)
		}
	}),
	"L82": at("replays/off", func(c *run) {
		a := c.use()
		c.expect(a.again(), accepted)
		c.must(c.elsewhereAgain(a, "replays/memory"), accepted)
		c.must(c.elsewhereAgain(a, "replays/memory"), replayed)
		c.must(c.elsewhereAgain(a, "replays/stored"), replayed)
	}),
	"L83": at("replays/memory", func(c *run) {
		a := c.attempt()
		a.request("POST", "/api/items")
		c.must(a, accepted)
		c.expect(c.elsewhereAgain(a, "replays/endpoint"), accepted)
		c.must(a.again(), replayed)
		r := c.elsewhereAgain(a, "replays/endpoint").send()
		if r.Status != 400 || r.reason() != "jti_replayed" || len(r.hits) != 0 {
			c.Errorf("again at the token endpoint: %d %q", r.Status, r.reason())
		}
	}),
	"L84": swapping(func(c *run, s *site, reload func(from, to string)) {
		a := c.useAt(s)
		for _, stores := range [][2]string{{"memory", "storage"}, {"storage", "memory"}, {"memory", "storage"}} {
			reload("replay "+stores[0], "replay "+stores[1])
			c.expectUsed(a)
			c.ok(warm(s))
			b := c.useAt(s)
			c.must(b.again(), replayed)
			c.expectUsed(a)
		}
	}),
	"L85": swapping(func(c *run, s *site, reload func(from, to string)) {
		a := c.useAt(s)
		_, block, _ := strings.Cut(s.server.Text, "\tdpop {")
		block, _, _ = strings.Cut(block, "\n\t}\n")
		block = "\tdpop {" + block + "\n\t}\n"
		reload(block, "\trespond gone\n")
		reload("\trespond gone\n", block)
		c.expectUsed(a)
		c.ok(warm(s))
		c.must(c.useAt(s).again(), replayed)
	}),
	"L86": swapping(func(c *run, s *site, reload func(from, to string)) {
		a := c.useAt(s)
		for _, age := range [][2]string{{"50s", "100s"}, {"100s", "5m"}, {"5m", "20s"}} {
			reload("max_age "+age[0], "max_age "+age[1])
			c.answered(replayed)
			c.afterReload(a.again, replayed)
			c.ok(warm(s))
		}
	}),
	"L87": func(c *run) {
		conn, err := dialH2(c.site("ref"))
		c.ok(err)
		defer conn.close()
		sent := map[uint32]*attempt{}
		for _, a := range copies(c.attempt(), 10) {
			id, err := conn.send(pseudo(a), nil, true)
			c.ok(err)
			sent[id] = a
		}
		c.answered(replayed)
		ok := 0
		for id, a := range sent {
			answer, err := conn.wait(id, false)
			c.ok(err)
			r := &result{Answer: answer, attempt: a}
			if r.Status == 200 {
				ok++
				continue
			}
			r.check(c, replayed)
		}
		if ok != 1 {
			c.Errorf("%d of ten streams were accepted", ok)
		}
	},
	"L88": func(c *run) {
		s := c.site("tls/api")
		client := h3client(s, nil)
		defer client.Close()
		a := newAttempt(s)
		c.must(a, accepted)
		c.answered(replayed)
		a.again().sendH3(client, "GET").check(c, replayed)
		a.again().sendH2(nil).check(c, replayed)
		b := newAttempt(s)
		b.sendH3(client, "GET").check(c, accepted)
		c.must(b.again(), replayed)
	},
	"L89": all(
		replay(replayed, func(a *attempt) { a.authorization("dpop   " + a.accessToken) }),
		replay(replayed, func(a *attempt) {
			a.noAuth, a.noProof = true, true
			a.field("dPOP", a.compact)
			a.field("aUTHORIZATION", "DPOP "+a.accessToken)
		}),
		replay(replayed, func(a *attempt) { a.dpop(" \t" + a.compact + "\t ") })),
	"L90": variantsOfReplay(map[string]func(*testkit.JWS){"signed again": func(*testkit.JWS) {}}),
	"L91": variantsOfReplay(map[string]func(*testkit.JWS){
		"kid": func(j *testkit.JWS) { j.Head("kid", "1") }, "typ": func(j *testkit.JWS) { j.Head("typ", "DPoP+JWT") },
		"order": func(j *testkit.JWS) { slices.Reverse(j.Header) }, "members": func(j *testkit.JWS) {
			k := j.Header.Get("jwk").(testkit.Object).Clone()
			slices.Reverse(k)
			j.Head("jwk", k.With("use", "sig"))
		},
	}),
	"L92": variantsOfReplay(map[string]func(*testkit.JWS){
		"order": func(j *testkit.JWS) { slices.Reverse(j.Claims) }, "another claim": func(j *testkit.JWS) { j.Set("extra", 1) },
		"white space": func(j *testkit.JWS) { j.RawClaims = []byte(strings.ReplaceAll(j.Claims.String(), ",", " , ")) },
		"escape": func(j *testkit.JWS) {
			j.RawClaims = []byte(strings.Replace(j.Claims.String(), `"jti"`, `"\u006ati"`, 1))
		},
		"later iat": func(j *testkit.JWS) { j.Set("iat", now().Unix()+1) }, "fraction": func(j *testkit.JWS) { j.Set("iat", float64(now().Unix())+0.5) },
	}),
	"L93": refusedFirst(map[string]func(*attempt){
		"ath": func(a *attempt) { a.claim("ath", testkit.ATH("x")) }, "signature": signed(func(_, s []byte) []byte { s[3] ^= 4; return s }),
		"method": func(a *attempt) { a.claim("htm", "PUT") }, "uri": func(a *attempt) { a.htu(origin + "/other") },
		"stranger": func(a *attempt) { a.client = client2; a.reproof() }, "signed by a stranger": func(a *attempt) { a.proof.Key = client2 },
		"no token": func(a *attempt) { a.noAuth = true }, "twice": func(a *attempt) { a.dpop(a.write(), a.write()) }, "bearer": func(a *attempt) { a.authorization("Bearer " + a.accessToken) },
	}),
	"L94": refusedFirst(map[string]func(*attempt){
		"expired": func(a *attempt) { a.token(func(t *testkit.JWS) { t.Set("exp", now().Add(-time.Hour).Unix()) }) }, "forged": func(a *attempt) { a.token(func(t *testkit.JWS) { t.Key = client2 }) },
		"foreign": func(a *attempt) { a.token(func(t *testkit.JWS) { t.Set("aud", "x") }) }, "unbound": func(a *attempt) { a.token(func(t *testkit.JWS) { t.Claims.Delete("cnf") }) },
		"garbage": func(a *attempt) { a.useToken(testkit.NewID()) },
	}),
	"L95": func(c *run) {
		a := c.attempt()
		conn, err := net.DialTimeout("tcp", a.site.address, 5*time.Second)
		c.ok(err)
		_, err = conn.Write(a.wire())
		c.ok(err)
		_ = conn.Close()
		b := a.again()
		if r := b.send(); r.Status == 200 { // came before the other was looked at
			if len(backend.of(a.name)) != 0 {
				c.Error("both reached the upstream")
			}
		} else {
			r.check(c, replayed)
		}
		c.expect(a.again(), replayed)
	},
	"L96": func(c *run) {
		c.answered(replayed)
		for range 10 {
			list := copies(newAttempt(c.site("replays/stored")), 6)
			list[0].site, list[3].site = c.site("replays/memory"), c.site("replays/memory")
			if ok := race(c, list, func(_ int, a *attempt) *result { return a.send() }); ok != 1 {
				c.Errorf("%d copies were accepted by two handlers", ok)
			}
		}
	},
})
