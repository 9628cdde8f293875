// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// parallel runs f n times on eight connections.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// Group S: what a request may cost.
var _ = add(cases{
	"S02": all(
		each(malformed, variants{"proof": func(a *attempt) {
			a.dpop(jwe(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483648,"p2s":"AAAAAAAAAAA"}`))
		}}),
		each(tokenMangled, variants{"token": func(a *attempt) {
			a.useToken(jwe(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483648,"p2s":"AAAAAAAAAAA"}`))
		}})),
	"S03": all(
		each(badProof("proof_too_large"), variants{"proof": func(a *attempt) {
			a.dpop(jwe(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`) + strings.Repeat("A", 12000))
		}}),
		each(badToken("token_too_large"), variants{"token": func(a *attempt) {
			a.useToken(jwe(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`) + strings.Repeat("A", 16500))
		}}),
		each(malformed, variants{"small": func(a *attempt) { a.dpop(jwe(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`)) }})),
	"S04": all(
		each(malformed, variants{"proof": func(a *attempt) { a.dpop(testkit.B64([]byte(`{"alg":"A128KW","enc":"A128GCM"}`)) + "..AAAA.AAAA.AAAA") }}),
		each(tokenMangled, variants{"token": func(a *attempt) {
			a.useToken(testkit.B64([]byte(`{"alg":"A128KW","enc":"A128GCM"}`)) + "..AAAA.AAAA.AAAA")
		}})),
	"S05": all(
		each(want{status: 431}, variants{ // beyond the header section that Caddy reads
			"100000 as proof": func(a *attempt) { a.dpop(strings.Repeat(".", 100000)) },
			"100000 as token": func(a *attempt) { a.useToken(strings.Repeat(".", 100000)) },
		}),
		each(badProof("proof_too_large"), variants{"proof": func(a *attempt) { a.dpop(strings.Repeat(".", 12000)) }}),
		each(badToken("token_too_large"), variants{"token": func(a *attempt) { a.useToken(strings.Repeat(".", 16500)) }}),
		each(malformed, variants{"fewer": func(a *attempt) { a.dpop(strings.Repeat(".", 8000)) }}),
		each(tokenMangled, variants{"fewer": func(a *attempt) { a.useToken(strings.Repeat(".", 15000)) }})),
	"S08": all(
		one(want{status: 431}, func(a *attempt) { a.head("crit", manyNames(100000)) }),
		header(badProof("proof_too_large"), "crit", manyNames(1200)),
		header(critRefused, "crit", manyNames(300))),
	"S10": func(c *run) {
		a := c.attempt()
		c.answered(badSignature)
		parallel(2000, func(int) {
			b := newAttempt(a.site)
			b.accessToken = a.accessToken
			b.reproof()
			b.proof.Signature = func(_, s []byte) []byte { s[9] ^= 1; return s }
			b.send().check(c, badSignature)
		})
		if r := c.must(c.attempt(), accepted); r.Took > slowest {
			c.Errorf("a good request took %v behind a flood", r.Took)
		}
	},
	"S11": func(c *run) {
		c.variant("bound to it", badSignature, withKey(func() *testkit.Key { return testkit.RSA(4096, "client") }, signed(func(_, s []byte) []byte { s[9] ^= 1; return s })))
		large := testkit.RSA(4096, "client")
		curve := testkit.P521("client")
		c.answered(badToken("jkt_mismatch"))
		c.answered(algorithmOut)
		parallel(200, func(i int) {
			a := c.attempt()
			a.client = large
			w := badToken("jkt_mismatch") // the thumbprint is compared before the signature is checked
			if i%2 == 1 {
				a.client, w = curve, algorithmOut
			}
			a.reproof()
			a.proof.Signature = func(_, s []byte) []byte { return s }
			a.proof.Key = &testkit.Key{Algorithm: a.client.Algorithm, Public: a.client.Public, SignWith: func(string, []byte) []byte { return make([]byte, 512) }}
			a.send().check(c, w)
		})
	},
	"S12": one(badToken("jkt_mismatch"), func(a *attempt) {
		a.client = client2
		a.reproof()
		a.proof.Signature = func(_, s []byte) []byte { s[9] ^= 1; return s }
	}),
	"S13": func(c *run) {
		s := c.site("ref")
		c.answered(accepted)
		parallel(400, func(int) {
			a := newAttempt(s)
			a.bind(testkit.P256("busy"))
			a.send().check(c, accepted)
		})
		c.must(c.attempt(), accepted)
	},
	"S14": at("short/ref", func(c *run) {
		// As many in ten windows as would fill a store that forgot nothing is not for a
		// test of minutes; that entries expire, G22 shows, and the store's own tests how.
		c.answered(accepted)
		for passed := 0; passed < 60 && !c.Failed(); {
			r := c.attempt().send()
			if r.reason() == "iat_too_old" {
				continue // on a busy machine it was two seconds under way
			}
			r.check(c, accepted)
			passed++
			time.Sleep(100 * time.Millisecond)
		}
	}),
	"S16": func(c *run) {
		log := c.site("ref").server.log
		c.eventually(15*time.Second, func() bool {
			// Each time anew: beside a flood the log keeps one line of a hundred.
			a := c.attempt()
			a.htu(origin + "/other")
			c.expect(a, htuMismatch)
			m := log.find(`"request refused"`, `"htu_mismatch"`, origin+"/other")
			return m != nil && m["htu_expected"] == origin+"/api/items" && m["jkt"] != nil
		})
		log.mu.Lock()
		defer log.mu.Unlock()
		for _, l := range log.leaks {
			c.Error(l)
		}
	},
	"S17": func(c *run) {
		a := newAttempt(c.site("reload/ref"))
		reloading.Lock()
		defer reloading.Unlock()
		for range 30 {
			b := newAttempt(a.site)
			b.request("GET", "/"+testkit.NewID())
			b.token(func(t *testkit.JWS) { t.Set("iss", "https://"+testkit.NewID()).Head("kid", testkit.NewID()) })
			b.claim("htm", testkit.NewID())
			c.expect(b, htmMismatch)
		}
		body := adminGet(c, a.site.server, "/metrics")
		n := 0
		for line := range bytes.Lines(body) {
			if bytes.HasPrefix(line, []byte("caddy_dpop")) {
				n++
			}
		}
		if n == 0 || n > 400 {
			c.Errorf("%d time series", n)
		}
		if leak := secrets.find(body); leak != "" {
			c.Errorf("the metrics hold %s", leak)
		}
	},
	"S18": func(c *run) { // the time is house.TestConstantTime's; here, that the answer tells nothing
		var answers []string
		same := func(a *attempt, w want) {
			r := c.expect(a, w)
			answers = append(answers, fmt.Sprint(r.Status, r.Header.Values("Www-Authenticate"), r.Header.Values("Content-Length"), string(r.Body)))
			if answers[len(answers)-1] != answers[0] {
				c.Errorf("answered %s and %s", answers[len(answers)-1], answers[0])
			}
		}
		for _, place := range []int{0, 1, 21, 41} {
			a := c.attempt()
			a.claim("ath", changedAt(testkit.ATH(a.accessToken), place))
			same(a, badProof("ath_mismatch"))
		}
		answers = nil
		for _, place := range []int{0, 1, 21, 41} {
			a := c.attempt()
			a.token(func(t *testkit.JWS) {
				t.Claims.Set("cnf", testkit.Object{{Name: "jkt", Value: changedAt(client1.Thumbprint(), place)}})
			})
			same(a, badToken("jkt_mismatch"))
		}
	},
	"S20": func(c *run) {
		c.answered(accepted)
		parallel(1000, func(i int) {
			a := newAttempt(c.site("ref"))
			a.bind(testkit.P256(fmt.Sprint("one of a thousand ", i)))
			a.send().check(c, accepted)
		})
	},
	"S22": randomBytes,
	"S23": all(
		rsaKeys(keyRefused, map[string]any{"4 kbit": obj("kty", "RSA", "n", testkit.B64(bytes.Repeat([]byte{0xff}, 600)), "e", "AQAB")}),
		rsaKeys(badProof("proof_too_large"), map[string]any{
			"8 kB": obj("kty", "RSA", "n", testkit.B64(bytes.Repeat([]byte{0xff}, 6000)), "e", "AQAB"),
			"x5c":  rsaKey().Public.With("x5c", []string{strings.Repeat("A", 9000)}),
		})),
	"S24": func(c *run) {
		conn, err := testkit.Dial(c.site("ref").address)
		c.ok(err)
		defer conn.Close()
		send := func(w want, change func(*attempt)) {
			a := c.attempt()
			change(a)
			c.ok(conn.Write(a.wire()))
			r := &result{attempt: a}
			r.Answer, r.err = conn.Read("GET")
			if r.Answer == nil {
				c.Fatalf("the connection is gone: %v", r.err)
			}
			r.check(c, w)
		}
		c.answered(jwkInvalid)
		for range 3 {
			send(typInvalid, func(a *attempt) { a.head("typ", []int{1}) })
			send(jwkInvalid, func(a *attempt) { a.head("jwk", k1.With("y", testkit.B64(make([]byte, 32)))) })
			send(jwkInvalid, func(a *attempt) {
				a.head("alg", "EdDSA")
				a.head("jwk", obj("kty", "OKP", "crv", "Ed25519", "x", ""))
			})
			send(badSignature, func(a *attempt) { a.proof.Signature = func(_, s []byte) []byte { return s[:1] } })
			send(accepted, func(*attempt) {})
		}
	},
})

func manyNames(n int) any {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("a", i)
	}
	return names
}

// randomBytes sends proofs with bytes changed at random: nothing passes, nothing
// breaks.
func randomBytes(c *run) {
	seed := uint64(time.Now().UnixNano())
	c.Logf("seed %d", seed)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1)) // #nosec G404 -- reproducible on purpose
	c.answered(malformed)
	parallel(3000, func(i int) {
		a := c.attempt()
		valid := a.write()
		proof := []byte(valid)
		mu.Lock()
		for string(proof) == valid { // a second change may take back the first
			for range 1 + random.IntN(3) {
				at := random.IntN(len(proof))
				proof[at] = byte(0x21 + random.IntN(0x5e))
				if i%5 == 0 {
					proof[at] = byte(0x80 + random.IntN(0x80))
				}
			}
		}
		mu.Unlock()
		a.dpop(string(proof))
		r := a.send()
		if r.err != nil || r.Status != 401 || r.code() == "" {
			c.Errorf("seed %d, proof %d: %d %q, %v\nvalid %s\nsent  %q", seed, i, r.Status, r.code(), r.err, valid, proof)
		}
	})
}

// adminGet asks the admin API.
func adminGet(c *run, s *server, path string) []byte {
	c.Helper()
	m := testkit.Message{Method: "GET", Target: path, Fields: []testkit.Field{{Name: "Host", Value: s.Admin}}}
	a, err := testkit.Exchange(s.Admin, "GET", m.Bytes())
	c.ok(err)
	return a.Body
}
