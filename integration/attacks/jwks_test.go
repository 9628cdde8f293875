// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"sync"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// spoil breaks an issuer of the jwks profile before its server starts.
func spoil(name string, i *testkit.Issuer) {
	switch name {
	case "slow":
		i.Fault(testkit.PathJWKS, testkit.Hang(30*time.Second))
	case "empty":
		i.Publish()
	case "enc":
		i.Publish(testkit.P256("good").JWK("good"), i.Key.JWK(i.KeyID).With("use", "enc"))
	case "weak":
		i.Key = testkit.RSA(1024, "issuer")
		i.Publish(testkit.P256("good").JWK("good"), i.Key.JWK(i.KeyID))
	case "html":
		i.Fault(testkit.PathJWKS, testkit.Status(200, "text/html", "<html>sign in"))
	case "redirect":
		i.Fault(testkit.PathJWKS, testkit.Redirect(canary.URL+"/jwks"))
	case "samekid":
		k := testkit.RSA(2048, "issuer")
		i.Publish(k.JWK(i.KeyID), i.Key.JWK(i.KeyID))
	case "twice":
		i.Publish(i.Key.JWK(i.KeyID), i.Key.JWK(i.KeyID))
	case "case":
		i.KeyID = "kid1"
		i.Publish(i.Key.JWK(i.KeyID))
	case "kidless":
	}
}

var (
	noKeys       = unavailable("keys_unavailable")
	notRefreshed = unavailable("keys_not_refreshed")
	keyUnknown   = badToken("token_key_unknown")
)

// unknownKid sends a token that names a key of its own. The server may fetch the key
// set for it or not; both answers are right, at the right time.
func unknownKid(c *run) (status int) {
	c.Helper()
	a := c.attempt()
	a.token(func(t *testkit.JWS) { t.Head("kid", testkit.NewID()) })
	r := a.send()
	if r.Status == 503 {
		r.check(c, notRefreshed)
	} else {
		r.check(c, keyUnknown)
	}
	return r.Status
}

// patient expects an answer that may take as long as a request waits for keys.
func patient(site string, w want) test {
	return at(site, func(c *run) {
		r := c.expect(c.attempt(), w)
		if r.Took > 8*time.Second {
			c.Errorf("the answer took %v", r.Took)
		}
	})
}

// Group P: key sets.
var _ = add(cases{
	"P02": at("jwks/down", func(c *run) {
		c.must(c.attempt(), accepted)
		c.site(c.on).issuer.Close()
		c.expect(c.attempt(), accepted)
	}),
	"P03": func(c *run) {
		done := make(chan *result)
		slow := newAttempt(c.site("jwks/slow"))
		go func() { done <- slow.send() }()
		a := newAttempt(c.site("jwks/good"))
		if r := c.must(a, accepted); r.Took > 2*time.Second {
			c.Errorf("another site waited %v", r.Took)
		}
		r := <-done
		c.answered(noKeys)
		r.check(c, noKeys)
		if r.Took > 8*time.Second {
			c.Errorf("the answer took %v", r.Took)
		}
	},
	"P04": at("jwks/rotate", func(c *run) {
		s := c.site(c.on)
		c.must(c.attempt(), accepted)
		before := s.issuer.Count(testkit.PathJWKS)
		s.issuer.Rotate("new", false)
		var wg sync.WaitGroup
		c.answered(accepted)
		for range 20 {
			a := c.attempt()
			wg.Go(func() { a.send().check(c, accepted) })
		}
		wg.Wait()
		if n := s.issuer.Count(testkit.PathJWKS) - before; n != 1 {
			c.Errorf("a new key was fetched %d times", n)
		}
	}),
	"P05": at("jwks/removed", func(c *run) {
		s := c.site(c.on)
		old := c.attempt()
		stale := func() *result { // old token, new proof
			b := c.attempt()
			b.accessToken = old.accessToken
			b.reproof()
			return b.send()
		}
		c.must(old, accepted)
		s.issuer.Rotate("next", true)
		c.must(c.attempt(), accepted) // has the new set fetched
		c.answered(keyUnknown)
		c.eventually(25*time.Second, func() bool {
			r := stale()
			if r.Status == 503 {
				r.check(c, notRefreshed)
				return false
			}
			r.check(c, keyUnknown)
			return true
		})
	}),
	"P06": at("jwks/samekid", one(accepted, func(*attempt) {})),
	"P07": patient("jwks/empty", noKeys),
	"P11": at("jwks/enc", func(c *run) { c.expect(c.attempt(), keyUnknown) }),
	"P14": at("jwks/weak", func(c *run) {
		a := c.attempt()
		a.token(func(t *testkit.JWS) { t.Head("alg", "RS256") })
		c.expect(a, keyUnknown)
	}),
	"P15": patient("jwks/html", noKeys),
	"P16": quiet(patient("jwks/redirect", noKeys)),
	"P17": at("jwks/flood", func(c *run) {
		s := c.site(c.on)
		c.must(c.attempt(), accepted)
		before, start := s.issuer.Count(testkit.PathJWKS), time.Now()
		c.answered(keyUnknown)
		flood(c, 1000)
		allowed := 1 + int(time.Since(start)/(10*time.Second)) + 1
		if n := s.issuer.Count(testkit.PathJWKS) - before; n > allowed {
			c.Errorf("1000 unknown keys caused %d fetches, allowed are %d", n, allowed)
		}
		c.must(c.attempt(), accepted)
	}),
	"P18": at("jwks/lockout", func(c *run) {
		s := c.site(c.on)
		c.must(c.attempt(), accepted)
		flood(c, 50)
		s.issuer.Rotate("true", false)
		start := time.Now()
		c.answered(accepted)
		c.eventually(15*time.Second, func() bool {
			unknownKid(c)
			r := c.attempt().send()
			if r.Status != 200 {
				r.check(c, notRefreshed)
			}
			return r.Status == 200
		})
		c.Logf("a new key was accepted after %v under a flood", time.Since(start).Round(time.Millisecond))
	}),
	"P19": at("jwks/failing", func(c *run) {
		s := c.site(c.on)
		c.must(c.attempt(), accepted)
		s.issuer.Fault(testkit.PathJWKS, testkit.Status(500, "text/plain", "no"))
		before, start := s.issuer.Count(testkit.PathJWKS), time.Now()
		c.answered(notRefreshed)
		for range 300 {
			a := c.attempt()
			a.token(func(t *testkit.JWS) { t.Head("kid", testkit.NewID()) })
			a.send().check(c, notRefreshed)
			if c.Failed() {
				return
			}
		}
		allowed := 2 + int(time.Since(start)/(5*time.Second))
		if n := s.issuer.Count(testkit.PathJWKS) - before; n > allowed {
			c.Errorf("300 unknown keys caused %d fetches of a failing set, allowed are %d", n, allowed)
		}
		c.must(c.attempt(), accepted)
	}),
	"P20": patient("jwks/tls", noKeys),
	"P21": at("jwks/case", func(c *run) {
		c.must(c.attempt(), accepted)
		for i, kid := range []string{"KID1", "Kid1", "kid1 "} {
			a := c.attempt()
			a.token(func(t *testkit.JWS) { t.Head("kid", kid) })
			if i == 0 {
				c.expect(a, keyUnknown)
			} else {
				c.must(a, notRefreshed)
			}
		}
	}),
	"P22": elsewhere,
	"P24": at("jwks/twice", one(accepted, func(*attempt) {})),
})

// flood sends tokens with unknown keys, eight at a time.
func flood(c *run, n int) {
	c.Helper()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range n / 8 {
				unknownKid(c)
			}
		})
	}
	wg.Wait()
}
