// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"encoding/json"
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
		for range 60 {
			c.must(c.attempt(), accepted)
			time.Sleep(100 * time.Millisecond)
		}
	}),
	"S16": func(c *run) {
		a := c.attempt()
		a.htu(origin + "/other")
		c.expect(a, htuMismatch)
		log := c.site("ref").server.log
		c.eventually(5*time.Second, func() bool {
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
	"S18": elsewhere,
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
		rsaKeys(badProof("proof_too_large"), map[string]any{"8 kB": obj("kty", "RSA", "n", testkit.B64(bytes.Repeat([]byte{0xff}, 6000)), "e", "AQAB"),
			"x5c": rsaKey().Public.With("x5c", []string{strings.Repeat("A", 9000)})})),
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
// breaks. Only what would decode to the same bytes is left out.
func randomBytes(c *run) {
	seed := uint64(time.Now().UnixNano())
	c.Logf("seed %d", seed)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1)) // #nosec G404 -- reproducible on purpose
	c.answered(malformed)
	parallel(3000, func(i int) {
		a := c.attempt()
		proof := []byte(a.write())
		mu.Lock()
		for range 1 + random.IntN(3) {
			at := random.IntN(len(proof))
			for b := proof[at]; proof[at] == b; {
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
			c.Errorf("seed %d, proof %d: %d %q, %v", seed, i, r.Status, r.code(), r.err)
		}
	})
}

// adminGet asks the admin API.
func adminGet(c *run, s *server, path string) []byte {
	c.Helper()
	m := testkit.Message{Method: "GET", Target: path, Fields: []testkit.Field{{Name: "Host", Value: s.admin}}}
	a, err := testkit.Exchange(s.admin, "GET", m.Bytes())
	c.ok(err)
	return a.Body
}

// misconfigured: a configuration that would weaken the check is refused at load, and
// what ran before goes on.
func misconfigured(c *run) {
	c.site("reload/ref")
	reloading.Lock()
	defer reloading.Unlock()
	s := c.site("reload/ref")
	c.on = "reload/ref"
	for name, edit := range map[string][2]string{
		"no audience":      {"audience " + audience, ""},
		"empty issuer":     {"issuer " + s.issuer.URL, `issuer ""`},
		"no issuer":        {"issuer " + s.issuer.URL, ""},
		"unknown option":   {"replay memory", "replays memory"},
		"unknown store":    {"replay memory", "replay nowhere"},
		"unknown alg":      {"algorithms ES256", "algorithms ES257"},
		"no algs":          {"algorithms ES256 PS256 EdDSA Ed25519", "algorithms"},
		"symmetric alg":    {"algorithms ES256", "algorithms HS256"},
		"none":             {"algorithms ES256", "algorithms none"},
		"negative age":     {"max_age 50s", "max_age -1s"},
		"negative skew":    {"clock_skew 10s", "clock_skew -1s"},
		"large skew":       {"clock_skew 10s", "clock_skew 2m"},
		"repeated":         {"max_age 50s", "max_age 50s\n\t\tmax_age 60s"},
		"surplus":          {"replay memory", "replay memory please"},
		"bearer":           {"replay memory", "replay memory\n\t\tbearer maybe"},
		"nonce":            {"replay memory", "replay memory\n\t\tnonce on"},
		"mode":             {"replay memory", "replay memory\n\t\tmode off"},
		"proof_only":       {"replay memory", "replay memory\n\t\tproof_only"},
		"catch-all":        {"public_url " + origin, ""},
		"relative url":     {"public_url " + origin, "public_url api.example.test"},
		"url with a query": {"public_url " + origin, "public_url " + origin + "/?x=1"},
		"empty scope":      {"replay memory", "replay memory\n\t\tscope"},
	} {
		text := strings.Replace(s.server.text, edit[0], edit[1], 1)
		if err := s.server.load(text); err == nil {
			c.Errorf("%s: the configuration was loaded", name)
			c.ok(s.server.load(s.server.text))
		} else if strings.Contains(err.Error(), "connection refused") {
			c.Fatalf("%s: %v", name, err)
		}
	}
	w := want{status: 401, reason: "no_credentials"}
	a := c.attempt()
	a.anonymous()
	c.answered(w)
	a.send().check(c, w)
	c.ok(warm(s))
}

// Group U: policy, metadata, operation.
var _ = add(cases{
	"U01": at("meta/ref", func(c *run) {
		m := metadata(c, "/.well-known/oauth-protected-resource")
		if m["resource"] != origin && m["resource"] != origin+"/" {
			c.Errorf("resource %v", m["resource"])
		}
	}),
	"U02": at("meta/ref", func(c *run) {
		m := metadata(c, "/.well-known/oauth-protected-resource")
		if m["dpop_bound_access_tokens_required"] != true || fmt.Sprint(m["dpop_signing_alg_values_supported"]) != "[ES256 PS256 EdDSA Ed25519]" {
			c.Errorf("metadata %v", m)
		}
		if fmt.Sprint(m["authorization_servers"]) != fmt.Sprint([]string{c.site(c.on).issuer.URL}) {
			c.Errorf("metadata %v", m)
		}
		a := c.attempt()
		a.anonymous()
		all := challengesOf(c, c.must(a, noCredentials))
		if got := all[0].Params["resource_metadata"]; got != origin+"/.well-known/oauth-protected-resource" {
			c.Errorf("resource_metadata %q", got)
		}
	}),
	"U04": at("meta/path", func(c *run) {
		m := metadata(c, "/.well-known/oauth-protected-resource/api")
		if m["resource"] != "https://p.example.test/api" {
			c.Errorf("resource %v", m["resource"])
		}
	}),
	"U05": misconfigured,
	"U06": onReload(func(c *run, s *site) {
		c.answered(noCredentials)
		done := make(chan struct{})
		go func() {
			defer close(done)
			parallel(2000, func(int) {
				a := newAttempt(s)
				a.anonymous()
				// Caddy closes its listeners with what waits in their queues.
				if r := a.send(); r.err == nil {
					r.check(c, noCredentials)
				} else if len(backend.of(a.name)) != 0 {
					c.Error("the upstream was reached")
				}
			})
		}()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				if err := s.server.load(changed(s, fmt.Sprint("policy ", i))); err != nil {
					c.Error(err)
					<-done
					return
				}
			}
		}
	}),
	"U07": each(noCredentials, variants{
		"HEAD":    func(a *attempt) { a.request("HEAD", "/api/items"); a.anonymous() },
		"OPTIONS": func(a *attempt) { a.request("OPTIONS", "/api/items"); a.anonymous() },
		"PUT":     func(a *attempt) { a.request("PUT", "/api/items"); a.anonymous() },
		"PRI":     func(a *attempt) { a.request("BREW", "/api/items"); a.anonymous() },
	}),
	"U08": at("main/nested", func(c *run) {
		for path, w := range map[string]want{"/api/admin/x": noScope, "/api/items": accepted, "/api/%61dmin/x": noScope, "/api//admin/x": noScope, "/api/ADMIN/x": noScope} {
			a := c.attempt()
			a.request("GET", path)
			c.must(a, w)
			b := c.attempt()
			b.request("GET", path)
			b.anonymous()
			c.expect(b, noCredentials)
		}
	}),
	"U09": at("main/nested", func(c *run) {
		a := c.attempt()
		c.must(a, accepted)
		b := c.attempt()
		b.accessToken = a.accessToken
		b.request("GET", "/api/admin/x")
		c.expect(b, noScope)
	}),
	"U10": func(c *run) {
		a := newAttempt(c.site("main/tenantb"))
		a.accessToken = newAttempt(c.site("ref")).accessToken
		a.reproof()
		c.expect(a, issuerUnknown)
	},
	"U11": func(c *run) {
		a := c.use()
		b := newAttempt(c.site("main/tenantb"))
		b.claim("jti", a.proof.Claims.Get("jti"))
		c.expect(b, replayed)
	},
	"U13": func(c *run) {
		for _, path := range []string{"/dpop/status", "/metrics", "/config/", "/debug/pprof/"} {
			a := c.attempt() // on the public site these are the upstream's paths, and guarded
			a.request("GET", path)
			a.anonymous()
			c.expect(a, noCredentials)
		}
		if strings.Contains(c.site("ref").server.text, "admin off") {
			return
		}
		c.Error("the reference profile has an admin API")
	},
})

// metadata fetches a protected-resource metadata document without credentials.
func metadata(c *run, path string) map[string]any {
	c.Helper()
	a := c.attempt()
	a.request("GET", path)
	a.anonymous()
	a.field("Origin", app)
	r := a.send()
	c.answered(accepted)
	r.check(c, accepted)
	if len(r.hits) != 0 {
		c.Error("the metadata came from the upstream")
	}
	if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		c.Errorf("header %v", r.Header)
	}
	var m map[string]any
	if err := json.Unmarshal(r.Body, &m); err != nil {
		c.Fatalf("%v in %s", err, r.Body)
	}
	return m
}
