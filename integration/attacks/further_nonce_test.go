// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"strings"
	"sync"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// optional runs a case on the site where nonces are optional.
func optional(f test) test { return at("nonce/optional", f) }

// living makes variants that have a live nonce to begin with.
func living(w want, v variants) test {
	return func(c *run) {
		for _, name := range sortedKeys(v) {
			live := nonceOf(c, c.site("nonce/required"))
			c.variant(name, w, func(a *attempt) {
				a.claim("nonce", live)
				v[name](a)
			})
		}
	}
}

// Group M, further.
var _ = add(cases{
	"M80": nonces(accepted, map[string]any{"empty": "", "short": "x", "odd": "\"\\ \r\n\x01é", "512": strings.Repeat("n", 512), "blank": " "}),
	"M81": nonces(badProof("nonce_invalid"), oddValues()),
	"M82": optional(one(accepted, func(*attempt) {})),
	"M83": optional(func(c *run) {
		nonces(needNonce("nonce_unknown"), map[string]any{"random": testkit.NewID(), "empty": "", "foreign": nonceOf(c, c.site("dying/nonce")), "32": strings.Repeat("A", 32)})(c)
	}),
	"M84": optional(living(accepted, variants{"behind": func(a *attempt) { a.iat(-time.Hour) }, "ahead": func(a *attempt) { a.iat(time.Hour) }, "zero": func(a *attempt) { a.claim("iat", 0) }})),
	"M85": all(required(living(badProof("iat_in_future"), variants{"": func(a *attempt) { a.iat(49 * time.Hour) }, "years": func(a *attempt) { a.iat(100000 * time.Hour) }})),
		optional(living(badProof("iat_in_future"), variants{"": func(a *attempt) { a.iat(49 * time.Hour) }}))),
	"M86": required(living(accepted, variants{"exp": func(a *attempt) { a.claim("exp", now().Add(-time.Hour).Unix()) }, "nbf": func(a *attempt) { a.claim("nbf", now().Add(time.Hour).Unix()) }})),
	"M87": required(func(c *run) {
		for reason, change := range map[string]func(*attempt){
			"htm_mismatch": func(a *attempt) { a.claim("htm", "PUT") }, "htu_mismatch": func(a *attempt) { a.htu(evil + "/") }, "ath_mismatch": func(a *attempt) { a.claim("ath", testkit.ATH("x")) },
			"typ_invalid": func(a *attempt) { a.head("typ", "JWT") }, "alg_unsupported": func(a *attempt) { a.head("alg", "none") }, "jwk_missing": func(a *attempt) { a.proof.Header.Delete("jwk") },
			"jti_missing": func(a *attempt) { a.proof.Claims.Delete("jti") }, "proof_repeated": func(a *attempt) { a.dpop(a.write(), a.write()) }, "proof_missing": func(a *attempt) { a.noProof = true },
		} {
			a := c.attempt()
			change(a)
			if r := c.expect(a, badProof(reason)); r.Header.Get("Dpop-Nonce") != "" {
				c.Errorf("%s: with a nonce", reason)
			}
		}
	}),
	"M88": required(func(c *run) {
		live := fetchNonce(c)
		for name, change := range map[string]func(*attempt){
			"header": func(a *attempt) { a.head("nonce", live) }, "field": func(a *attempt) { a.field("DPoP-Nonce", live) },
			"name": func(a *attempt) { a.claim("nonce2", live) }, "within": func(a *attempt) { a.claim("claims", obj("nonce", live)) }, "query": func(a *attempt) { a.target += "&nonce=" + live },
		} {
			c.variant(name, needNonce("nonce_missing"), change)
		}
	}),
	"M89": required(living(claimsInvalid, variants{
		"beside": func(a *attempt) { a.claim("Nonce", "x") }, "instead": func(a *attempt) { a.proof.Claims.Rename("nonce", "NONCE") }, "escaped": func(a *attempt) { a.claim(`"\u004eonce"`, "x") },
		"twice": func(a *attempt) { a.proof.Claims.Add(`"\u006eonce"`, "x") },
	})),
	"M90": required(func(c *run) {
		live := fetchNonce(c)
		for _, forged := range []string{
			live + "=", live[:9] + "\n" + live[9:], live[:9] + "\n" + live[10:], live[:31] + otherLast(live), live + live, live[:31], live[:12] + strings.Repeat("A", 20), strings.Repeat("A", 12) + live[12:],
		} {
			a := c.attempt()
			a.claim("nonce", forged)
			if r := c.expect(a, needNonce("nonce_unknown")); r.Header.Get("Dpop-Nonce") == forged {
				c.Error("the forged nonce is handed out")
			}
		}
	}),
	"M91": required(func(c *run) {
		for sent, description := range map[string]string{"": "The proof needs the nonce of this answer", "forged": "The nonce of the proof is not ours, use that of this answer"} {
			a := c.attempt()
			w := needNonce("nonce_missing")
			if sent != "" {
				a.claim("nonce", sent)
				w = needNonce("nonce_unknown")
			}
			r := c.expect(a, w)
			exact(c, r, `DPoP error="use_dpop_nonce", error_description="`+description+`", algs="ES256 PS256 EdDSA Ed25519"`)
			if got := r.Header.Values("Dpop-Nonce"); len(got) != 1 || got[0] == sent || r.Header.Get("Cache-Control") != "no-store" {
				c.Errorf("header %v", r.Header)
			}
		}
	}),
	"M92": required(func(c *run) {
		if r := c.expect(c.withNonce(), accepted); len(r.Header.Values("Dpop-Nonce")) != 0 || r.Header.Get("Cache-Control") != "" {
			c.Errorf("header %v", r.Header)
		}
	}),
	"M93": required(func(c *run) {
		live := fetchNonce(c)
		c.answered(accepted)
		var wg sync.WaitGroup
		for range 20 {
			a := c.attempt()
			a.claim("nonce", live)
			wg.Go(func() { a.send().check(c, accepted) })
		}
		wg.Wait()
	}),
	"M94": at("replays/required", func(c *run) {
		w := needNonce("nonce_missing")
		for _, method := range []string{"GET", "HEAD", "POST"} {
			a := c.attempt()
			a.request(method, "/api/items")
			if method == "POST" {
				a.body = []byte("hello")
			}
			r := c.expect(a, w)
			b := a.again()
			b.compact = ""
			b.sendH2(nil).check(c, w)
			d := c.attempt()
			d.request(method, "/api/items")
			d.claim("nonce", r.Header.Get("Dpop-Nonce"))
			d.sendH2(nil).check(c, accepted)
		}
	}),
	"M95": required(func(c *run) {
		live := fetchNonce(c)
		for reason, change := range map[string]func(*attempt){
			"token_expired": func(a *attempt) { a.token(func(t *testkit.JWS) { t.Set("exp", now().Add(-time.Hour).Unix()) }) }, "jkt_mismatch": func(a *attempt) { a.client = client2; a.reproof() },
			"token_unbound": func(a *attempt) { a.token(func(t *testkit.JWS) { t.Claims.Delete("cnf") }) },
		} {
			a := c.attempt()
			change(a)
			a.claim("nonce", live)
			if r := c.expect(a, badToken(reason)); r.Header.Get("Dpop-Nonce") != "" {
				c.Errorf("%s: with a nonce", reason)
			}
		}
	}),
	"M96": at("replays/required", func(c *run) {
		a := c.withNonce()
		a.iat(-30 * time.Minute)
		c.must(a, accepted)
		for _, site := range []string{"optional", "required"} {
			c.expect(c.elsewhereAgain(a, "replays/"+site), replayed)
		}
		c.must(c.elsewhereAgain(a, "replays/memory"), badProof("iat_too_old"))
	}),
})

// otherLast is another last character of the same kind.
func otherLast(s string) string {
	if s[len(s)-1] == 'A' {
		return "B"
	}
	return "A"
}

// exact wants these fields WWW-Authenticate, byte for byte.
func exact(c *run, r *result, lines ...string) {
	c.Helper()
	if got := r.Header.Values("Www-Authenticate"); strings.Join(got, "\n") != strings.Join(lines, "\n") {
		c.Errorf("WWW-Authenticate\n got %q\nwant %q", got, lines)
	}
}
