// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

func now() time.Time { return time.Now() }

var htmMismatch = badProof("htm_mismatch")

// Group E: the method.
var _ = add(cases{
	"E01": each(htmMismatch, variants{
		"PUT":   func(a *attempt) { a.claim("htm", "PUT") },
		"lower": func(a *attempt) { a.claim("htm", "get") },
		"blank": func(a *attempt) { a.claim("htm", "GET ") },
		"empty": func(a *attempt) { a.claim("htm", "") },
		"all":   func(a *attempt) { a.claim("htm", "*") },
	}),
	"E04": all(one(htmMismatch, func(a *attempt) { a.claim("htm", "HEAD") }),
		one(htmMismatch, func(a *attempt) { a.request("HEAD", basePath); a.claim("htm", "GET") })),
	"E06": func(c *run) {
		for name, v := range oddValues() {
			c.variant(name, badProof("claims_invalid"), func(a *attempt) { a.claim("htm", v) })
		}
		c.variant("list", badProof("claims_invalid"), func(a *attempt) { a.claim("htm", []string{"GET"}) })
		c.variant("missing", badProof("htm_missing"), func(a *attempt) { a.proof.Claims.Delete("htm") })
	},
	"E09": func(c *run) {
		for _, name := range []string{"X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override"} {
			a := c.attempt()
			a.request("POST", "/api/items")
			a.field(name, "DELETE")
			for _, h := range c.expect(a, accepted).hits {
				if h.Method != "POST" {
					c.Errorf("the upstream got %s", h.Method)
				}
				if h.Header.Get(name) != "" {
					c.Errorf("the upstream got %s, for which no proof was made", name)
				}
			}
			b := c.attempt()
			b.request("POST", "/api/items")
			b.field(name, "DELETE")
			b.claim("htm", "DELETE")
			c.must(b, htmMismatch)
		}
	},
	"E10": func(c *run) {
		a := c.attempt()
		a.request("POST", "/api/items?_method=DELETE")
		for _, h := range c.expect(a, accepted).hits {
			if h.Method != "POST" {
				c.Errorf("the upstream got %s", h.Method)
			}
		}
	},
	"E11": each(accepted, variants{
		"PURGE": func(a *attempt) { a.request("PURGE", "/api/items") },
		"QUERY": func(a *attempt) { a.request("QUERY", "/api/items") },
	}),
	"E12": one(htmMismatch, func(a *attempt) { a.method = "get" }),
	"E13": one(htuMismatch, func(a *attempt) {
		a.request("CONNECT", "/api/items")
		a.target = "api.example.test:443"
	}),
	"E14": func(c *run) {
		a := c.attempt()
		a.request("TRACE", "/api/items")
		r := c.expect(a, accepted) // the upstream's answer, here one that echoes nothing
		if strings.Contains(string(r.Body), "DPoP") {
			c.Error("the answer to TRACE repeats the request")
		}
	},
})

// Group F: the times in a proof. The window is from 60 seconds ago to 10 ahead.
var _ = add(cases{
	"F02": one(accepted, func(a *attempt) { a.iat(8 * time.Second) }),
	"F03": at("main/off", one(accepted, func(a *attempt) { a.iat(-58 * time.Second) })),
	"F04": each(badProof("iat_too_old"), variants{
		"just":      func(a *attempt) { a.iat(-62 * time.Second) },
		"zero":      func(a *attempt) { a.claim("iat", 0) },
		"negative":  func(a *attempt) { a.claim("iat", -1) },
		"with leap": func(a *attempt) { a.claim("iat", testkit.Raw(fmt.Sprint(now().Unix()-62)+".999")) },
	}),
	"F05": one(accepted, func(a *attempt) { a.iat(9 * time.Second) }),
	"F07": func(c *run) {
		c.variant("", badProof("iat_in_future"), func(a *attempt) { a.iat(61 * time.Second) })
		// A larger skew cannot be configured.
		text := strings.Replace(c.site("ref").server.Text, "clock_skew 10s", "clock_skew 61s", 1)
		if err := adapt(c.T, text); err == nil || !strings.Contains(err.Error(), "clock_skew") {
			c.Errorf("clock_skew 61s: %v", err)
		}
	},
	"F08": all(one(badProof("iat_too_old"), func(a *attempt) { a.iat(-time.Hour) }),
		one(badProof("iat_in_future"), func(a *attempt) { a.iat(time.Hour) })),
	"F09": all(one(badProof("iat_missing"), func(a *attempt) { a.proof.Claims.Delete("iat") }),
		at("nonce/required", func(c *run) {
			a := c.attempt()
			a.claim("nonce", fetchNonce(c))
			a.proof.Claims.Delete("iat")
			c.expect(a, badProof("iat_missing"))
		})),
	"F10": each(badProof("iat_invalid"), variants{
		"digits": func(a *attempt) { a.claim("iat", fmt.Sprint(now().Unix())) },
		"empty":  func(a *attempt) { a.claim("iat", "") },
		"date":   func(a *attempt) { a.claim("iat", now().Format(time.RFC3339)) },
		"null":   func(a *attempt) { a.claim("iat", nil) },
		"true":   func(a *attempt) { a.claim("iat", true) },
		"array":  func(a *attempt) { a.claim("iat", []int64{now().Unix()}) },
		"object": func(a *attempt) { a.claim("iat", testkit.Object{}) },
	}),
	"F12": each(accepted, variants{
		"exponent": func(a *attempt) { a.claim("iat", testkit.Raw(fmt.Sprintf("%.9fe9", float64(now().Unix())/1e9))) },
		"fraction": func(a *attempt) { a.claim("iat", testkit.Raw(fmt.Sprint(now().Unix())+".5")) },
	}),
	"F14": one(badProof("iat_in_future"), func(a *attempt) { a.claim("iat", now().UnixMilli()) }),
	"F15": func(c *run) {
		for _, n := range []string{"9007199254740993", "9223372036854775807", "18446744073709551616", "-9223372036854775808", "1e308", "1e400", "-1e400"} {
			c.variant(n, badProof("iat_invalid"), func(a *attempt) { a.claim("iat", testkit.Raw(n)) })
		}
	},
	"F19": func(c *run) {
		unix := fmt.Sprint(now().Unix())
		for _, n := range []string{"+" + unix, "0" + unix, "0x65", "1_700", unix + ".", "." + unix, unix + "e", "NaN", "Infinity", "-", "--1", "1 2"} {
			c.variant(n, badProof("claims_invalid"), func(a *attempt) { a.claim("iat", testkit.Raw(n)) })
		}
	},
	"F20": all(one(badProof("proof_too_large"), func(a *attempt) { a.claim("iat", testkit.Raw(strings.Repeat("1", 10000))) }),
		one(badProof("iat_invalid"), func(a *attempt) { a.claim("iat", testkit.Raw(strings.Repeat("1", 4000))) })),
	"F22": one(badProof("iat_too_old"), func(a *attempt) {
		a.iat(-120 * time.Second)
		a.claim("exp", now().Add(time.Hour).Unix())
	}),
	"F23": one(badProof("nbf_in_future"), func(a *attempt) { a.claim("nbf", now().Add(2*time.Minute).Unix()) }),
	"F24": one(accepted, func(a *attempt) {
		a.claim("nbf", now().Unix())
		a.claim("exp", now().Add(5*time.Minute).Unix())
	}),
	"F25": all(
		each(badProof("claims_invalid"), variants{
			"nbf": func(a *attempt) { a.claim("nbf", "99999999999") },
			"exp": func(a *attempt) { a.claim("exp", "x") },
			"nul": func(a *attempt) { a.claim("exp", nil) },
			"big": func(a *attempt) { a.claim("exp", testkit.Raw("1e400")) },
		}),
		one(badProof("exp_passed"), func(a *attempt) { a.claim("exp", now().Add(-time.Minute).Unix()) })),
})

// fresh gives the attempt a key of its own, so that any jti is new.
func fresh(a *attempt) { a.bind(testkit.P256("fresh " + a.name)) }

// jtis sends proofs with these jti, each by a new key, and each twice: the second is a
// replay.
func jtis(values ...string) test {
	return func(c *run) {
		for i, v := range values {
			a := c.attempt()
			fresh(a)
			a.claim("jti", v)
			if c.expect(a, accepted); c.Failed() {
				c.Logf("jti %d: %q", i, v)
			}
			c.must(a.again(), replayed)
		}
	}
}

var replayed = badProof("jti_replayed")

// Group G: what a jti may look like and what it can do to a store.
var _ = add(cases{
	"G02": each(badProof("jti_invalid"), variants{
		"empty": func(a *attempt) { a.claim("jti", "") },
		"blank": func(a *attempt) { a.claim("jti", "   ") },
		"white": func(a *attempt) { a.claim("jti", "\t\n\u00a0") },
	}),
	"G03": func(c *run) {
		for name, v := range oddValues() {
			c.variant(name, badProof("jti_invalid"), func(a *attempt) { a.claim("jti", v) })
		}
		c.variant("missing", badProof("jti_missing"), func(a *attempt) { a.proof.Claims.Delete("jti") })
	},
	"G05": func(c *run) {
		jtis(strings.Repeat("j", 256))(c)
		for _, v := range []string{strings.Repeat("j", 257), strings.Repeat("é", 129), strings.Repeat("j", 5000)} {
			a := c.attempt()
			a.claim("jti", v)
			c.must(a, badProof("jti_too_long"))
		}
	},
	"G06": jtis("1"),
	"G07": jtis("🔑", "مفتاح", "e\u0301\u0302", "\u202e", strings.Repeat("🔑", 64)),
	"G09": func(c *run) {
		a := c.attempt()
		fresh(a)
		a.claim("jti", "abc")
		c.must(a, accepted)
		b := *a
		b.name, b.compact = newAttempt(a.site).name, ""
		b.claim("jti", "ABC")
		c.expect(&b, accepted)
	},
	"G10": func(c *run) {
		a := c.attempt()
		fresh(a)
		a.claim("jti", "a\x00b")
		c.expect(a, badProof("jti_invalid"))
		b := *a
		b.name, b.compact = newAttempt(a.site).name, ""
		b.claim("jti", "a")
		c.must(&b, accepted)
	},
	"G12": jtis("x\r\nFLUSHALL\r\n", "%s%n%x", "* 1", "$6\r\nFLUSHALL", "../../../../tmp/x", `..\..\x`, "a/b/c", "\x7f\x01"),
	"G13": func(c *run) {
		first := c.attempt()
		fresh(first)
		for i, v := range []string{"A\n" + origin + "/x", "A", "A\n", "A\x1f" + first.client.Thumbprint(), first.client.Thumbprint() + "A", "A:", ":A", "A|", "A "} {
			a := c.attempt()
			a.client = first.client
			a.renew()
			a.claim("jti", v)
			if c.expect(a, accepted); c.Failed() {
				c.Fatalf("jti %d is taken for an earlier one", i)
			}
		}
	},
	"G14": func(c *run) {
		id := testkit.NewID()
		attacker := c.attempt()
		attacker.bind(client2)
		attacker.claim("jti", id)
		c.must(attacker, accepted)
		victim := c.attempt()
		victim.claim("jti", id)
		c.expect(victim, accepted)
	},
	"G15": jtis("*", "?", "[a-z]", "' OR 1=1--", "${x}", "{{7*7}}", "{http.request.header.Authorization}", "$(id)", "`id`"),
	"G18": func(c *run) {
		a := c.attempt()
		fresh(a)
		a.claim("jti", "abc")
		c.must(a, accepted)
		for _, spelling := range []string{`"\u0061bc"`, `"a\u0062\u0063"`, `"abc"`} {
			b := a.again()
			b.compact = ""
			b.proof = a.proof.Clone()
			b.claim("jti", testkit.Raw(spelling))
			c.expect(b, replayed)
		}
	},
	"G19": jtis("__proto__", "constructor", "toString", "hasOwnProperty"),
	"G20": func(c *run) {
		a := c.attempt()
		c.must(a, accepted)
		b := c.attempt()
		b.request("GET", "/api/other")
		b.claim("jti", a.proof.Claims.Get("jti"))
		c.expect(b, replayed)
	},
	"G22": jtiAfterTheWindow,
})
