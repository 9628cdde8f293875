// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// use sends a good request that must pass and returns it for replaying.
func (c *run) use() *attempt {
	c.Helper()
	a := c.attempt()
	c.must(a, accepted)
	return a
}

// replay sends the very same request again, changed by edit if that is not nil.
func replay(w want, edit func(*attempt)) test {
	return func(c *run) {
		c.Helper()
		b := c.use().again()
		if edit != nil {
			edit(b)
		}
		c.expect(b, w)
	}
}

// race sends attempts at the same time and returns how many were accepted; the others
// must have been refused as replays.
func race(c *run, list []*attempt, send func(int, *attempt) *result) (ok int) {
	c.Helper()
	results := make([]*result, len(list))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, a := range list {
		a.write()
		wg.Go(func() {
			<-start
			results[i] = send(i, a)
		})
	}
	close(start)
	wg.Wait()
	for _, r := range results {
		if r.Status == http.StatusOK {
			ok++
			continue
		}
		r.check(c, replayed)
	}
	return ok
}

// copies returns n replays of one attempt.
func copies(a *attempt, n int) (list []*attempt) {
	for range n {
		list = append(list, a.again())
	}
	return list
}

// Group L: each proof once.
var _ = add(cases{
	"L01": all(replay(replayed, nil), func(c *run) {
		a := c.attempt()
		if ok := race(c, copies(a, 30), func(_ int, a *attempt) *result { return a.send() }); ok != 1 {
			c.Errorf("%d of 30 copies at once were accepted", ok)
		}
	}),
	"L03": func(c *run) {
		c.answered(replayed)
		for range 5 {
			ok := race(c, copies(c.attempt(), 6), func(i int, a *attempt) *result {
				if i%2 == 0 {
					return a.sendH2(nil)
				}
				return a.send()
			})
			if ok != 1 {
				c.Errorf("%d copies were accepted over HTTP/1.1 and HTTP/2", ok)
			}
		}
	},
	"L04": func(c *run) {
		a := c.attempt()
		b := a.again()
		conn, err := testkit.Dial(a.site.address)
		c.ok(err)
		defer conn.Close()
		c.ok(conn.Write(append(a.wire(), b.wire()...)))
		for i, w := range []want{accepted, replayed} {
			r := &result{attempt: []*attempt{a, b}[i]}
			r.Answer, r.err = conn.Read("GET")
			r.check(c, w)
		}
		c.answered(replayed)
	},
	"L05": func(c *run) {
		a := newAttempt(c.site("node1/ref"))
		second := c.site("node2/ref")
		c.must(a, accepted)
		b := a.again()
		b.site = second
		c.expect(b, replayed)
		for range 5 { // and at once
			x := newAttempt(a.site)
			list := copies(x, 4)
			list[1].site, list[3].site = second, second
			if ok := race(c, list, func(_ int, a *attempt) *result { return a.send() }); ok > 1 {
				c.Errorf("%d copies were accepted by two nodes", ok)
			}
		}
	},
	"L07": onReload(replayAfterReload),
	"L08": onReload(replayDuringReload),
	"L09": replayAfterRestart,
	"L12": replayUntilTooOld(2 * time.Second),
	"L13": replayUntilTooOld(0),
	"L14": func(c *run) {
		a := newAttempt(c.site("short/ref"))
		c.must(a, accepted)
		tooOld := badProof("iat_too_old")
		c.eventually(12*time.Second, func() bool {
			r := a.again().send()
			if r.Status != 401 {
				c.Fatalf("replayed: %d", r.Status)
			}
			return r.reason() == tooOld.reason
		})
		c.expect(a.again(), tooOld)
	},
	"L15": all(
		replay(replayed, func(a *attempt) { a.target = "/api/items?x=2" }),
		replay(replayed, func(a *attempt) { a.field("User-Agent", "another"); a.field("Accept", "*/*") }),
		replay(replayed, func(a *attempt) { a.target = "/api/%69tems" }),
		func(c *run) {
			a := c.attempt()
			a.request("POST", "/api/items")
			a.body = []byte("one")
			c.must(a, accepted)
			b := a.again()
			b.body = []byte("two")
			c.expect(b, replayed)
		}),
	"L16": replay(replayed, func(a *attempt) {
		a.rewrite(func(s string) string { return testkit.WithSignature(s, testkit.MalleateECDSA) })
	}),
	"L17": replay(malformed, func(a *attempt) { a.rewrite(func(s string) string { return segment(s, 2, testkit.LooseBits) }) }),
	"L21": func(c *run) {
		a := c.use()
		b := a.again()
		b.site = c.site("main/tenantb")
		b.host = "b.example.test"
		c.expect(b, htuMismatch)
		d := a.again() // another site that has the same public URL
		d.site = c.site("main/bare")
		d.site = &site{address: d.site.address, origin: d.site.origin, silent: true, tokens: true}
		c.must(d, replayed)
	},
	"L23": storageFault(slowStorage, unavailable("replay_unavailable")),
	"L24": storeFull,
	"L25": flooded,
	"L28": at("main/scoped", func(c *run) {
		a := c.attempt()
		c.must(a, noScope)
		c.expect(a.again(), noScope) // the policy comes before the claim, so nothing was used up
	}),
	"L29": func(c *run) {
		a := newAttempt(c.site("main/down"))
		r := a.send()
		if r.err != nil || r.Status != http.StatusBadGateway {
			c.Fatalf("upstream down: %d, %v", r.Status, r.err)
		}
		l, err := net.Listen("tcp", lateAddress)
		c.ok(err)
		srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Minute}
		go func() { _ = srv.Serve(l) }()
		defer srv.Close()
		c.expect(a.again(), replayed)
	},
	"L30": at("main/flaky", one(accepted, func(*attempt) {})),
	"L32": at("main/chained", func(c *run) {
		a := c.attempt()
		c.expect(a, accepted)
		c.must(a.again(), replayed)
	}),
	"L33": storageFault(goneStorage, unavailable("replay_unavailable")),
	"L34": func(c *run) {
		// Clocks that differ by the skew, seen from either node, are proofs dated so.
		for _, d := range []time.Duration{9 * time.Second, -9 * time.Second} {
			for _, order := range [][2]string{{"node1/ref", "node2/ref"}, {"node2/ref", "node1/ref"}} {
				if d < 0 {
					c.waitAge(c.site(order[0]).server, -d+2*time.Second)
					c.waitAge(c.site(order[1]).server, -d+2*time.Second)
				}
				a := newAttempt(c.site(order[0]))
				a.iat(d)
				c.must(a, accepted)
				b := a.again()
				b.site = c.site(order[1])
				c.expect(b, replayed)
			}
		}
	},
	"L35": earlyReplay,
	"L36": func(c *run) {
		b := c.use().again()
		b.accessToken = b.newToken(nil)
		c.expect(b, badProof("ath_mismatch"))
	},
	"L37": func(c *run) {
		for _, site := range []string{"main/ref", "main/hosts", "main/stripped", "main/rewritten", "main/two", "main/defaults", "mixed/bearer", "mixed/only", "proxy/trusted", "tls/api", "small/ref", "cors/ref", "meta/ref", "node1/ref", "nonce/optional"} {
			a := newAttempt(c.site(site))
			r := a.send()
			if site == "small/ref" && r.Status == 503 {
				continue // another case has filled it
			}
			r.check(c, accepted)
			c.expect(a.again(), replayed)
		}
	},
	"L38": func(c *run) {
		for _, method := range []string{"HEAD", "OPTIONS", "DELETE", "PATCH"} {
			a := c.attempt()
			a.request(method, "/api/items")
			c.must(a, accepted)
			c.expect(a.again(), replayed)
		}
	},
})

// jtiAfterTheWindow uses a jti again in a new proof when the entry has expired.
func jtiAfterTheWindow(c *run) {
	s := c.site("short/ref")
	send := func(jti string) *result {
		a := newAttempt(s)
		a.claim("jti", jti)
		return a.send()
	}
	jti := testkit.NewID()
	send(jti).check(c, accepted)
	send(jti).check(c, replayed)
	c.eventually(15*time.Second, func() bool {
		r := send(jti)
		if r.Status == 200 {
			return true
		}
		r.check(c, replayed)
		return false
	})
	c.answered(accepted)
}

// replayUntilTooOld uses a proof whose iat is off by d and replays it without pause
// until its time is over: it must never pass again.
func replayUntilTooOld(d time.Duration) test {
	return func(c *run) {
		s := c.site("short/ref")
		a := newAttempt(s)
		if d > 0 {
			d = time.Second // the skew of this site
		}
		a.iat(d)
		c.must(a, accepted)
		c.answered(replayed)
		c.eventually(15*time.Second, func() bool {
			r := a.again().send()
			if r.Status != 401 || r.reason() != "jti_replayed" && r.reason() != "iat_too_old" {
				c.Fatalf("replayed: %d %q, %v", r.Status, r.reason(), r.err)
			}
			return r.reason() == "iat_too_old"
		})
	}
}

// eventually polls until f says that it has happened.
func (c *run) eventually(limit time.Duration, f func() bool) {
	c.Helper()
	deadline := time.Now().Add(limit)
	for !f() {
		if c.Failed() {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("did not happen within %v", limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// waitAge waits until a process is so old that its store is older than the proofs that
// a case will send.
func (c *run) waitAge(s *server, age time.Duration) {
	c.Helper()
	c.eventually(age+5*time.Second, func() bool { return time.Since(s.started) >= age })
}

// flooded: an attacker's own proofs never push out the entry of a victim's.
func flooded(c *run) {
	victim := c.attempt()
	victim.iat(9 * time.Second) // so that it does not grow too old on a busy machine
	c.must(victim, accepted)
	parallel(300, func(i int) {
		a := newAttempt(victim.site)
		a.bind(testkit.P256(fmt.Sprint("flood ", i%3)))
		if r := a.send(); r.Status != 200 && r.Status != 429 && r.Status != 503 {
			c.Errorf("flooding: %d %q, %v", r.Status, r.reason(), r.err)
		}
	})
	c.expect(victim.again(), replayed)
}

// storeFull fills a small store: nothing is forgotten, new proofs get 503, and the one
// client that sends too many gets 429.
func storeFull(c *run) {
	s := c.site("small/ref")
	var first *attempt
	over := want{status: 429, reason: "key_over_limit"}
	greedy := testkit.P256("greedy")
	for i := range 41 {
		a := newAttempt(s)
		a.bind(greedy)
		a.iat(9 * time.Second) // so that it does not grow too old on a busy machine
		r := a.send()
		if i == 0 {
			first = a
		}
		if r.Status == 429 {
			r.check(c, over)
			break
		}
		r.check(c, accepted)
		if i == 40 {
			c.Error("more than max_per_key live proofs of one key")
		}
	}
	full := unavailable("replay_full")
	c.answered(full)
	for i := range 65 {
		a := newAttempt(s)
		a.bind(testkit.P256(fmt.Sprint("filler ", i)))
		r := a.send()
		if r.Status == 503 {
			r.check(c, full)
			break
		}
		r.check(c, accepted)
		if i == 64 {
			c.Error("more than max_entries live proofs")
		}
	}
	c.must(first.again(), replayed)
}
