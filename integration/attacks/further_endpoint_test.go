// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"strings"
	"time"
)

// atEndpoint runs a case on one of the token endpoints.
func atEndpoint(name string, f test) test { return at("as/"+name, f) }

// refusedAsJSON wants the answer of a token endpoint (RFC 6749, section 5.2), exactly.
func (c *run) refusedAsJSON(r *result, code, reason string) {
	c.Helper()
	if r.err != nil || r.Status != 400 || len(r.hits) != 0 || r.reason() != reason {
		c.Errorf("%d %q, %v, the upstream was reached %d times; want 400 %q", r.Status, r.reason(), r.err, len(r.hits), reason)
		return
	}
	if got := string(r.Body); !strings.HasPrefix(got, `{"error":"`+code+`","error_description":"`) || !strings.HasSuffix(got, `"}`) || strings.Count(got, `"`) != 8 {
		c.Errorf("body %s", got)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache", "Www-Authenticate": "", "X-Content-Type-Options": "nosniff"} {
		if got := r.Header.Get(name); got != value {
			c.Errorf("%s: %q", name, got)
		}
	}
	if got := r.Header.Get("Dpop-Nonce") != ""; got != (code == "use_dpop_nonce") {
		c.Errorf("header %v", r.Header)
	}
}

func (c *run) refusesAsJSON(code, reason string, change func(*attempt)) {
	c.Helper()
	c.answered(want{400, code, reason, ""})
	a := c.attempt()
	change(a)
	c.refusedAsJSON(a.send(), code, reason)
}

// Group T, further.
var _ = add(cases{
	"T80": atEndpoint("plain", func(c *run) {
		for reason, change := range map[string]func(*attempt){
			"jwk_missing": func(a *attempt) { a.proof.Header.Delete("jwk") }, "signature_invalid": signed(func(_, s []byte) []byte { s[5] ^= 1; return s }), "iat_too_old": func(a *attempt) { a.iat(-time.Hour) },
			"iat_in_future": func(a *attempt) { a.iat(time.Hour) }, "htu_mismatch": func(a *attempt) { a.htu(evil + "/token") }, "alg_unsupported": func(a *attempt) { a.head("alg", "none") },
			"proof_repeated": func(a *attempt) { a.dpop(a.write(), a.write()) }, "proof_malformed": func(a *attempt) { a.dpop("x") }, "proof_too_large": func(a *attempt) { a.dpop(strings.Repeat("x", 9000)) },
			"jti_missing": func(a *attempt) { a.proof.Claims.Delete("jti") }, "claims_invalid": func(a *attempt) { a.rawClaims(literal("[]")) }, "header_invalid": func(a *attempt) { a.rawHeader(literal("{")) },
		} {
			c.refusesAsJSON("invalid_dpop_proof", reason, change)
			a := c.attempt()
			change(a)
			c.refusedAsJSON(a.sendH2(nil), "invalid_dpop_proof", reason)
		}
		c.refusedAsJSON(c.use().again().sendH2(nil), "invalid_dpop_proof", "jti_replayed")
	}),
	"T81": atEndpoint("plain", func(c *run) {
		for _, values := range [][]string{{"Basic YTpi"}, {"Bearer x"}, {"DPoP x"}, {"Basic YTpi", "Bearer x"}, {"!!"}} {
			a := c.attempt()
			for _, v := range values {
				a.field("Authorization", v)
			}
			for _, h := range c.expect(a, accepted).hits {
				if got := h.Header.Values("Authorization"); strings.Join(got, "|") != strings.Join(values, "|") {
					c.Errorf("the upstream gets %q for %q", got, values)
				}
			}
		}
	}),
	"T82": atEndpoint("plain", each(accepted, variants{
		"query": func(a *attempt) { a.request("POST", "/token?x=1") }, "GET": func(a *attempt) { a.request("GET", "/token") }, "PUT": func(a *attempt) { a.request("PUT", "/par") }, "root": func(a *attempt) { a.request("POST", "/"); a.htu(a.site.origin) },
	})),
	"T83": atEndpoint("nonce", func(c *run) {
		c.refusesAsJSON("use_dpop_nonce", "nonce_missing", func(*attempt) {})
		c.refusesAsJSON("use_dpop_nonce", "nonce_unknown", func(a *attempt) { a.claim("nonce", "forged") })
		c.refusesAsJSON("use_dpop_nonce", "nonce_missing", func(a *attempt) { a.iat(-time.Hour) })
		a := c.attempt()
		c.refusedAsJSON(a.sendH2(nil), "use_dpop_nonce", "nonce_missing")
	}),
	"T84": atEndpoint("nonce", func(c *run) {
		first := c.attempt().send()
		a := c.attempt()
		a.claim("nonce", first.Header.Get("Dpop-Nonce"))
		c.expect(a, accepted)
		c.refusedAsJSON(a.again().send(), "invalid_dpop_proof", "jti_replayed")
	}),
	"T85": atEndpoint("cors", func(c *run) {
		a := c.attempt()
		asks(a, app, "POST", "dpop, content-type")
		a.target = "/token"
		c.expect(a, preflightAnswer)
		b := c.attempt()
		crossOrigin(b, app)
		b.noProof = true
		r := b.send()
		if r.Status != 400 || r.Header.Get("Access-Control-Allow-Origin") != app || !listed(r.Header, "Access-Control-Expose-Headers", "dpop-nonce") {
			c.Errorf("%d %v", r.Status, r.Header)
		}
	}),
	"T86": atEndpoint("plain", func(c *run) {
		for _, v := range []any{1, nil, []string{"x"}, obj()} {
			c.refusesAsJSON("invalid_dpop_proof", "claims_invalid", func(a *attempt) { a.claim("ath", v) })
		}
	}),
	"T87": atEndpoint("hosts", func(c *run) {
		c.must(c.attempt(), accepted)
		a := c.attempt()
		a.host = "evil.example"
		c.expect(a, wrongHost)
		b := c.attempt()
		b.host = "login.example.test"
		c.refusedAsJSON(b.send(), "invalid_dpop_proof", "htu_mismatch")
	}),
	"T88": atEndpoint("plain", func(c *run) {
		a := c.use()
		b := c.attempt()
		b.bind(client2)
		b.claim("jti", a.proof.Claims.Get("jti"))
		c.expect(b, accepted)
	}),
	"T89": atEndpoint("plain", func(c *run) {
		c.answered(badEndpointProof("proof_missing"))
		a := c.attempt()
		a.noProof = true
		r := a.send()
		c.refusedAsJSON(r, "invalid_dpop_proof", "proof_missing")
		if got := string(r.Body); got != `{"error":"invalid_dpop_proof","error_description":"No DPoP proof was sent"}` {
			c.Errorf("body %s", got)
		}
	}),
})
