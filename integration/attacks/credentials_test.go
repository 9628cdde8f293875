// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// Group A: how many credentials there are and where they stand in the message.
var _ = add(cases{
	"A02": one(badProof("proof_repeated"), func(a *attempt) { a.dpop(a.write(), a.write()) }),
	"A03": each(badProof("proof_repeated"), variants{
		"garbage second": func(a *attempt) { a.dpop(a.write(), "x") },
		"garbage first":  func(a *attempt) { a.dpop("x", a.write()) },
	}),
	"A04": each(badProof("proof_repeated"), variants{
		"empty first":  func(a *attempt) { a.dpop("", a.write()) },
		"empty second": func(a *attempt) { a.dpop(a.write(), "") },
	}),
	"A06": each(badProof("proof_malformed"), variants{
		"trailing": func(a *attempt) { a.dpop(a.write() + ",") },
		"leading":  func(a *attempt) { a.dpop("," + a.write()) },
		"two":      func(a *attempt) { a.dpop(a.write() + ", " + a.proof.String()) },
	}),
	"A07": one(badProof("proof_repeated"), func(a *attempt) {
		a.noProof = true
		a.field("DPoP", a.write())
		a.field("dpop", a.proof.Clone().Set("jti", testkit.NewID()).String())
	}),
	"A08": each(accepted, variants{
		"upper": func(a *attempt) { a.noProof = true; a.field("DPOP", a.write()) },
		"lower": func(a *attempt) { a.noProof = true; a.field("dpop", a.write()) },
	}),
	"A09": h2(badProof("proof_repeated"), func(a *attempt) { a.dpop(a.write(), a.write()) }),
	"A11": func(c *run) {
		a := c.attempt()
		a.method = "POST"
		a.reproof()
		second := a.proof.Clone().Set("jti", testkit.NewID()).String()
		secrets.add(second)
		a.field("Transfer-Encoding", "chunked")
		a.field("Trailer", "DPoP")
		a.body = []byte("2\r\nhi\r\n0\r\nDPoP: " + second + "\r\n\r\n")
		r := c.expect(a, accepted)
		for _, h := range r.hits {
			if got := h.Header.Values("Dpop"); len(got) != 1 || got[0] == second {
				c.Errorf("the upstream sees %d DPoP fields, or the one of the trailer", len(got))
			}
		}
	},
	"A12": each(caddyRefuses, variants{
		"proof": func(a *attempt) { a.noProof = true; a.field("DPoP ", a.write()) },
		"token": func(a *attempt) { a.noAuth = true; a.field("Authorization ", "DPoP "+a.accessToken) },
	}),
	"A15": each(accepted, variants{
		"blanks around the proof": func(a *attempt) { a.dpop(" \t " + a.write() + " \t ") },
		"no blank":                func(a *attempt) { a.bytes = bytes.Replace(a.wire(), []byte("DPoP: "), []byte("DPoP:"), 1) },
		"blanks around the token": func(a *attempt) { a.authorization("\t DPoP " + a.accessToken + "\t ") },
	}),
	"A17": each(badProof("proof_malformed"), variants{
		"double quotes": func(a *attempt) { a.dpop(`"` + a.write() + `"`) },
		"single quotes": func(a *attempt) { a.dpop(`'` + a.write() + `'`) },
	}),
	"A18": each(badProof("proof_malformed"), variants{
		"DPoP":   func(a *attempt) { a.dpop("DPoP " + a.write()) },
		"Bearer": func(a *attempt) { a.dpop("Bearer " + a.write()) },
	}),
	"A19": each(badProof("proof_missing"), variants{
		"empty": func(a *attempt) { a.dpop("") },
		"blank": func(a *attempt) { a.dpop("   ") },
	}),
	"A20": func(c *run) {
		a := c.attempt()
		a.field("Connection", "close, DPoP, Authorization")
		c.expect(a, accepted)
		// Listing them makes nobody anonymous where credentials are wanted.
		b := c.attempt()
		b.anonymous()
		b.field("Connection", "DPoP, Authorization")
		c.must(b, noCredentials)
	},
	"A23": each(badRequest("authorization_malformed"), variants{
		"Bearer second": func(a *attempt) { a.authorization("DPoP " + a.accessToken + ", Bearer " + a.accessToken) },
		"DPoP second":   func(a *attempt) { a.authorization("DPoP " + a.accessToken + ", DPoP " + a.newToken(nil)) },
		"trailing":      func(a *attempt) { a.authorization("DPoP " + a.accessToken + ",") },
	}),
	"A25": all(
		h2(badRequest("authorization_repeated"), func(a *attempt) { a.authorization("DPoP x", "DPoP "+a.accessToken) }),
		each(badRequest("authorization_repeated"), variants{
			"h1 same":        func(a *attempt) { a.authorization("DPoP "+a.accessToken, "DPoP "+a.accessToken) },
			"h1 empty first": func(a *attempt) { a.authorization("", "DPoP "+a.accessToken) },
		})),
	"A26": each(noCredentials, variants{
		"token": func(a *attempt) { trailer(a, "Authorization: DPoP "+a.accessToken); a.noAuth = true },
		"token and proof": func(a *attempt) {
			trailer(a, "Authorization: DPoP "+a.accessToken+"\r\nDPoP: "+a.write())
			a.anonymous()
		},
	}),
	"A28": smuggled,
	"A29": func(c *run) {
		a, b := c.attempt(), c.attempt()
		b.anonymous()
		b.field("Connection", "close")
		conn, err := testkit.Dial(a.site.address)
		if err != nil {
			c.Fatal(err)
		}
		defer conn.Close()
		for i, x := range []*attempt{a, b} {
			if err := conn.Write(x.wire()); err != nil {
				c.Fatal(err)
			}
			r := &result{attempt: x}
			r.Answer, r.err = conn.Read(x.method)
			if i == 0 {
				r.check(c, accepted)
				continue
			}
			c.answered(noCredentials)
			r.check(c, noCredentials)
		}
	},
	"A30": mixedStreams,
})

// trailer makes the request a chunked one with fields after the body.
func trailer(a *attempt, fields string) {
	a.method = "POST"
	a.reproof()
	a.field("Transfer-Encoding", "chunked")
	a.body = []byte("2\r\nhi\r\n0\r\n" + fields + "\r\n\r\n")
}

// smuggled sends a request whose chunk-size line ends with a bare LF behind an
// extension that holds another request. Whatever is answered, the inner one must not
// be served. The outer one passes the verifier, so the upstream may see its head.
func smuggled(c *run) {
	inner := c.attempt()
	inner.anonymous()
	for _, credentials := range []bool{true, false} {
		a := c.attempt()
		a.method = "POST"
		a.reproof()
		a.noAuth, a.noProof = !credentials, !credentials
		a.field("Transfer-Encoding", "chunked")
		a.body = []byte("2;a\nxx\r\n" + fmt.Sprintf("%x", 40) + "\r\n0\r\n\r\n" + string(inner.wire()))
		r := a.send()
		if !credentials {
			r.check(c, noCredentials)
			continue
		}
		w := want{status: 502} // the proxy could not read the body to its end
		c.answered(w)
		if r.err != nil || r.Status != w.status {
			c.Errorf("a bare LF in the chunk framing is answered %d (%v)", r.Status, r.err)
		}
	}
	if n := len(backend.of(inner.name)); n != 0 {
		c.Errorf("the smuggled request reached the upstream")
	}
}

// Group B: the Authorization field and other ways to bring a token.
var _ = add(cases{
	"B01": func(c *run) {
		a := c.attempt()
		a.anonymous()
		r := c.expect(a, noCredentials)
		all, err := testkit.ParseChallenges(r.Header.Values("Www-Authenticate"))
		if err != nil || len(all) != 1 {
			c.Fatalf("%d challenges, %v", len(all), err)
		}
		if _, has := all[0].Params["error_description"]; has || all[0].Params["algs"] != "ES256 PS256 EdDSA Ed25519" {
			c.Errorf("challenge %v", all[0].Params)
		}
	},
	"B03": each(accepted, variants{
		"DPOP":  func(a *attempt) { a.authorization("DPOP " + a.accessToken) },
		"dpOP":  func(a *attempt) { a.authorization("dpOP " + a.accessToken) },
		"dpop":  func(a *attempt) { a.authorization("dpop " + a.accessToken) },
		"field": func(a *attempt) { a.noAuth = true; a.field("aUTHORIZATION", "DPoP "+a.accessToken) },
	}),
	"B05": at("mixed/bearer", each(bearerError("invalid_token", "bearer_bound"), variants{
		"plain": func(a *attempt) { a.bearer() },
		"lower": func(a *attempt) { a.bearer(); a.authorization("bearer " + a.accessToken) },
	})),
	"B07": at("mixed/bearer", one(accepted, func(a *attempt) {
		a.token(func(t *testkit.JWS) { t.Claims.Delete("cnf") })
		a.bearer()
	})),
	"B09": each(badToken("bearer_refused"), variants{
		"plain":      func(a *attempt) { a.bearer() },
		"with proof": func(a *attempt) { a.authorization("Bearer " + a.accessToken) },
		"unbound":    func(a *attempt) { a.token(func(t *testkit.JWS) { t.Claims.Delete("cnf") }); a.bearer() },
	}),
	"B10": all(
		one(badToken("token_unbound"), func(a *attempt) { a.token(func(t *testkit.JWS) { t.Claims.Delete("cnf") }) }),
		at("mixed/bearer", one(badToken("token_unbound"), func(a *attempt) { a.token(func(t *testkit.JWS) { t.Claims.Delete("cnf") }) }))),
	"B11": at("mixed/bearer", one(badBearer("proof_with_bearer"), func(a *attempt) {
		a.token(func(t *testkit.JWS) { t.Claims.Delete("cnf") })
		a.authorization("Bearer " + a.accessToken)
	})),
	"B12": one(want{status: 401, reason: "scheme_unsupported"}, func(a *attempt) { a.authorization("DPoP" + a.accessToken) }),
	"B13": one(accepted, func(a *attempt) { a.authorization("DPoP   " + a.accessToken) }),
	"B14": each(badRequest("authorization_malformed"), variants{
		"tab":           func(a *attempt) { a.authorization("DPoP\t" + a.accessToken) },
		"tab and blank": func(a *attempt) { a.authorization("DPoP\t " + a.accessToken) },
		"blank and tab": func(a *attempt) { a.authorization("DPoP \t" + a.accessToken) },
	}),
	"B18": func(c *run) {
		for _, s := range []string{"%", `"`, ",", ";", "é", "=x", "\\", "(", "@"} {
			c.variant("with "+s, badRequest("authorization_malformed"), func(a *attempt) {
				a.authorization("DPoP " + a.accessToken + s)
			})
		}
		c.variant("no token", badRequest("authorization_malformed"), func(a *attempt) { a.authorization("DPoP") })
		c.variant("blank token", badRequest("authorization_malformed"), func(a *attempt) { a.authorization("DPoP  ") })
	},
	"B19": each(badRequest("authorization_malformed"), variants{
		"comma": func(a *attempt) { a.authorization("DPoP " + a.accessToken + "," + a.newToken(nil)) },
		"blank": func(a *attempt) { a.authorization("DPoP " + a.accessToken + " " + a.newToken(nil)) },
	}),
	"B20": one(noCredentials, func(a *attempt) { a.target += "&access_token=" + a.accessToken; a.noAuth = true }),
	"B21": one(accepted, func(a *attempt) { a.target += "&access_token=" + a.accessToken }),
	"B22": one(noCredentials, func(a *attempt) {
		a.request("POST", "/api/items")
		formBody(a, "access_token="+a.accessToken)
		a.noAuth = true
	}),
	"B23": one(accepted, func(a *attempt) {
		a.request("POST", "/api/items")
		formBody(a, "access_token="+a.accessToken)
	}),
	"B24": one(noCredentials, func(a *attempt) { a.noAuth = true; a.field("Cookie", "access_token="+a.accessToken) }),
	"B25": one(noCredentials, func(a *attempt) {
		a.noAuth = true
		a.field("Proxy-Authorization", "DPoP "+a.accessToken)
	}),
	"B27": one(badProof("typ_invalid"), func(a *attempt) {
		a.authorization("DPoP " + a.write())
		a.dpop(a.accessToken)
	}),
	"B29": one(badToken("jkt_mismatch"), func(a *attempt) { a.client = client2; a.reproof() }),
	"B30": at("mixed/bearer", one(bearerError("invalid_token", "bearer_bound"), func(a *attempt) { a.bearer() })),
})

// bearerError is an error in the Bearer challenge.
func bearerError(code, reason string) want { return want{401, code, reason, "Bearer"} }

func formBody(a *attempt, body string) {
	a.field("Content-Type", "application/x-www-form-urlencoded")
	a.body = []byte(body)
}

// Group C: whether there is a proof, and for which token.
var _ = add(cases{
	"C01": one(badProof("proof_missing"), func(a *attempt) { a.noProof = true }),
	"C02": one(noCredentials, func(a *attempt) { a.noAuth = true }),
	"C03": each(badProof("proof_missing"), variants{
		"query":  func(a *attempt) { a.target += "&dpop=" + a.write(); a.noProof = true },
		"cookie": func(a *attempt) { a.field("Cookie", "DPoP="+a.write()); a.noProof = true },
		"body": func(a *attempt) {
			a.request("POST", "/api/items")
			formBody(a, "dpop="+a.write())
			a.noProof = true
		},
	}),
	"C06": ath(func(a *attempt) []string {
		unsigned := a.accessToken[:strings.LastIndexByte(a.accessToken, '.')]
		return []string{testkit.ATH(unsigned), testkit.ATH(unsigned + "."), testkit.ATH(a.accessToken[:100]), testkit.ATH("")}
	}),
	"C07": ath(func(a *attempt) []string {
		return []string{testkit.ATH("DPoP " + a.accessToken), testkit.ATH(" " + a.accessToken), testkit.ATH("Bearer " + a.accessToken)}
	}),
	"C09": ath(func(a *attempt) []string { return []string{testkit.ATH(a.accessToken) + "="} }),
	"C10": func(c *run) {
		a := c.attempt()
		for !strings.ContainsAny(testkit.ATH(a.accessToken), "-_") {
			a.useToken(a.newToken(nil))
		}
		a.claim("ath", strings.NewReplacer("-", "+", "_", "/").Replace(testkit.ATH(a.accessToken)))
		c.expect(a, badProof("ath_mismatch"))
	},
	"C12": ath(func(a *attempt) []string {
		return []string{
			otherHash("sha1", a.accessToken), otherHash("sha384", a.accessToken), otherHash("sha512", a.accessToken),
			otherHash("hex", a.accessToken), otherHash("half", a.accessToken),
		}
	}),
	"C13": func(c *run) {
		for name, v := range oddValues() {
			c.variant(name, badProof("claims_invalid"), func(a *attempt) { a.claim("ath", v) })
		}
		c.variant("array of the right value", badProof("claims_invalid"), func(a *attempt) { a.claim("ath", []string{testkit.ATH(a.accessToken)}) })
	},
	"C14": all(ath(func(*attempt) []string { return []string{""} }),
		one(badProof("ath_missing"), func(a *attempt) { a.proof.Claims.Delete("ath") })),
	"C16": one(badProof("ath_mismatch"), func(a *attempt) {
		a.write()
		a.accessToken = a.newToken(nil)
	}),
	"C17": each(badProof("ath_mismatch"), variants{
		"sibling signature": func(a *attempt) {
			a.write()
			a.accessToken = testkit.WithSignature(a.accessToken, testkit.MalleateECDSA)
		},
		"unused bits": func(a *attempt) {
			a.write()
			a.accessToken = testkit.LooseBits(a.accessToken)
		},
	}),
	"C19": ath(func(a *attempt) []string {
		right := testkit.ATH(a.accessToken)
		return []string{" " + right, right + "\n", right + " ", "\t" + right, right + "\x00"}
	}),
})

// ath sends proofs that are right but for the value of ath.
func ath(values func(*attempt) []string) test {
	return func(c *run) {
		for i := range values(c.attempt()) {
			c.variant(fmt.Sprint("value ", i+1), badProof("ath_mismatch"), func(a *attempt) { a.claim("ath", values(a)[i]) })
		}
	}
}
