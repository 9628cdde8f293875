// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// tokenKeys are issuer keys of every kind, by kid.
func tokenKeys() map[string]*testkit.Key {
	return map[string]*testkit.Key{
		"ps": testkit.RSA(2048, "issuer"), "rs": testkit.RSA(2048, "issuer rs"), "es384": testkit.P384("issuer"), "es512": testkit.P521("issuer"), "ed": testkit.Ed25519("issuer"),
	}
}

// publishMany makes the issuer's key set one with keys of every kind.
func publishMany(i *testkit.Issuer) {
	set := []testkit.Object{i.Key.JWK(i.KeyID)}
	keys := tokenKeys()
	for _, kid := range sortedKeys(keys) {
		jwk := keys[kid].JWK(kid)
		switch kid {
		case "rs":
			jwk.Set("alg", "RS256")
		case "ps": // says nothing about its algorithm
			jwk.Delete("alg")
		}
		set = append(set, jwk)
	}
	i.Publish(set...)
}

// signedBy signs the token by that key under an algorithm, which may be another than
// the one really used.
func signedBy(kid, alg, really string) func(*testkit.JWS) {
	return func(t *testkit.JWS) {
		t.Key = tokenKeys()[kid]
		t.Head("kid", kid).Head("alg", alg)
		t.Algorithm = really
	}
}

func tokenHeader(edit func(string) string) func(*testkit.JWS) {
	return func(t *testkit.JWS) { t.RawHeader = []byte(edit(t.Header.String())) }
}

func tokenClaims(edit func(string) string) func(*testkit.JWS) {
	return func(t *testkit.JWS) { t.RawClaims = []byte(edit(t.Claims.String())) }
}

func inAnHour() int64 { return now().Add(time.Hour).Unix() }

// Group N, further.
var _ = add(cases{
	"N80": at("keysets/many", bend(accepted, map[string]func(*testkit.JWS){
		"RS256": signedBy("rs", "RS256", ""), "PS256": signedBy("ps", "PS256", ""), "PS512": signedBy("ps", "PS512", ""), "RS384": signedBy("ps", "RS384", ""), "ES384": signedBy("es384", "ES384", ""),
		"ES512": signedBy("es512", "ES512", ""), "EdDSA": signedBy("ed", "EdDSA", ""), "Ed25519": signedBy("ed", "Ed25519", ""),
	})),
	"N81": at("keysets/many", bend(tokenForged, map[string]func(*testkit.JWS){
		"PS256 by an RS256 key": signedBy("rs", "PS256", ""), "RS512 by an RS256 key": signedBy("rs", "RS512", ""), "ES256 for RSA": signedBy("ps", "ES256", ""), "EdDSA for EC": signedBy("es384", "EdDSA", "ES384"),
		"ES256 for P-384": signedBy("es384", "ES256", ""), "RS256 over PS256": signedBy("ps", "RS256", "PS256"), "ES384 over SHA-256": signedBy("es384", "ES384", "ES256"),
	})),
	"N82": bend(accepted, map[string]func(*testkit.JWS){
		"aud list": func(t *testkit.JWS) { t.Set("aud", []string{"a", audience, "b"}) }, "claims": func(t *testkit.JWS) { t.Set("x", nil).Set("y", []any{1, obj()}).Set("groups", []string{"a"}) },
		"iss": func(t *testkit.JWS) {
			t.Set("iss", testkit.Raw(strings.ReplaceAll(fmt.Sprintf("%q", t.Claims.Get("iss")), "/", `\/`)))
		},
		"deep": func(t *testkit.JWS) { t.Set("deep", deep(20)) }, "white space": tokenClaims(func(s string) string { return " \n" + strings.ReplaceAll(s, ",", " ,\t") + "\n" }),
		"header":     func(t *testkit.JWS) { t.Head("jwk", k1).Head("x5t", "x").Head("iat", 1) },
		"aud escape": func(t *testkit.JWS) { t.Set("aud", testkit.Raw(`["`+strings.ReplaceAll(audience, "/", `\/`)+`"]`)) },
	}),
	"N83": bend(tokenInvalid, map[string]func(*testkit.JWS){"40": func(t *testkit.JWS) { t.Set("deep", deep(40)) }, "5000": func(t *testkit.JWS) { t.Set("deep", deep(5000)) }}),
	"N84": claims(accepted, "exp", map[string]any{
		"fraction": testkit.Raw(fmt.Sprint(inAnHour()) + ".5"), "exponent": testkit.Raw(fmt.Sprint(inAnHour()) + "e0"), "9999": testkit.Raw("253402300799"), "exponent of tens": testkit.Raw(fmt.Sprint(inAnHour()) + "00E-2"),
	}),
	"N85": claims(badToken("token_expired"), "exp", map[string]any{"zero": 0, "minus": -1, "fraction": testkit.Raw("-0.5"), "one": 1, "minus zero": testkit.Raw("-0")}),
	"N86": func(c *run) {
		for _, name := range []string{"nbf", "iat"} {
			claims(tokenInvalid, name, map[string]any{name + " text": "1", name + " null": nil, name + " true": true, name + " list": []int{1}, name + " huge": testkit.Raw("1e400")})(c)
		}
	},
	"N87": claims(badToken("token_not_yet_valid"), "iat", map[string]any{"hour": inAnHour(), "beyond the skew": testkit.Raw(fmt.Sprint(now().Unix() + 600))}),
	"N88": bend(accepted, map[string]func(*testkit.JWS){"nbf": func(t *testkit.JWS) { t.Set("nbf", now().Unix()+7) }, "iat": func(t *testkit.JWS) { t.Set("iat", now().Unix()+7) }}),
	"N89": all(
		bend(tokenInvalid, map[string]func(*testkit.JWS){
			"aud": func(t *testkit.JWS) { t.Claims.Add("aud", audience) }, "exp": func(t *testkit.JWS) { t.Claims.Prepend("exp", inAnHour()) }, "iss": func(t *testkit.JWS) { t.Claims.Add(`"\u0069ss"`, "x") },
			"scope": func(t *testkit.JWS) { t.Claims.Add("scope", "a"); t.Claims.Add("scope", "b") }, "inside": func(t *testkit.JWS) { t.Set("cnf", testkit.Raw(`{"jkt":"`+jkt1()+`","jkt":"x"}`)) },
		}),
		bend(tokenMangled, map[string]func(*testkit.JWS){
			"alg": func(t *testkit.JWS) { t.Header.Add("alg", "none") }, "kid": func(t *testkit.JWS) { t.Header.Prepend("kid", "x") }, "typ": func(t *testkit.JWS) { t.Header.Add(`"\u0074yp"`, "JWT") },
		})),
	"N90": bend(tokenInvalid, map[string]func(*testkit.JWS){
		"ISS": func(t *testkit.JWS) { t.Set("ISS", "x") }, "Exp": func(t *testkit.JWS) { t.Set("Exp", inAnHour()) }, "Scope": func(t *testkit.JWS) { t.Set("Scope", "admin") },
		"AUD": func(t *testkit.JWS) { t.Set("AUD", audience) }, "Nbf": func(t *testkit.JWS) { t.Set("Nbf", 1) }, "long s": func(t *testkit.JWS) { t.Set("\u017fub", "x") },
	}),
	"N91": bend(tokenMangled, map[string]func(*testkit.JWS){
		"exp": func(t *testkit.JWS) { t.Head("crit", []string{"exp"}).Head("exp", inAnHour()) }, "empty": func(t *testkit.JWS) { t.Head("crit", []string{}) },
		"b64 false": func(t *testkit.JWS) { t.Head("b64", false).Head("crit", []string{"b64"}) }, "b64 true": func(t *testkit.JWS) { t.Head("b64", true) }, "b64 text": func(t *testkit.JWS) { t.Head("b64", "x") },
	}),
	"N92": bend(tokenMangled, map[string]func(*testkit.JWS){
		"kid 1": func(t *testkit.JWS) { t.Head("kid", 1) }, "kid null": func(t *testkit.JWS) { t.Head("kid", nil) }, "kid list": func(t *testkit.JWS) { t.Head("kid", []string{"k1"}) },
		"typ 1": func(t *testkit.JWS) { t.Head("typ", 1) }, "alg null": func(t *testkit.JWS) { t.Head("alg", nil) }, "alg list": func(t *testkit.JWS) { t.Head("alg", []string{"ES256"}) }, "typ null": func(t *testkit.JWS) { t.Head("typ", nil) },
	}),
	"N93": bend(tokenMangled, map[string]func(*testkit.JWS){
		"mark": tokenHeader(func(s string) string { return "\xef\xbb\xbf" + s }), "utf16": tokenHeader(utf16Of), "utf8": tokenHeader(func(s string) string { return strings.Replace(s, `"k1"`, "\"k\xff\"", 1) }),
		"comment": tokenHeader(func(s string) string { return s + "//" }), "comma": tokenHeader(func(s string) string { return s[:len(s)-1] + ",}" }), "list": tokenHeader(literal("[]")), "empty": tokenHeader(literal("")),
		"null": tokenHeader(literal("null")), "second": tokenHeader(func(s string) string { return s + "{}" }),
	}),
	"N94": func(c *run) {
		for _, typ := range []string{"at+jwt;x=1", "id+jwt", "DPOP+JWT", "at+jwt ", "xat+jwt", "application/jwt+at", "text/at+jwt", "at jwt", "jwt ", "JWS", "dpop+jwt"} {
			bend(badToken("token_typ_invalid"), map[string]func(*testkit.JWS){typ: func(t *testkit.JWS) { t.Head("typ", typ) }})(c)
		}
	},
	"N95": at("further/scoped", claims(accepted, "scope", map[string]any{"list": []string{"write", "read"}, "blanks": "  read   write ", "others": "a b read c", "alone": "read"})),
	"N96": at("further/scoped", claims(noScope, "scope", map[string]any{"longer": "reader", "shorter": "rea", "upper": "READ", "comma": "read,write", "empty": "", "absent": absent, "list": []string{"read write"}, "quoted": `"read"`})),
	"N97": func(c *run) {
		for name, edit := range map[string]func(string) string{
			"no signature": parts(func(h, p, _ string) string { return h + "." + p + "." }), "no payload": parts(func(h, _, s string) string { return h + ".." + s }), "no header": parts(func(_, p, s string) string { return "." + p + "." + s }),
			"nothing": literal(".."), "dot": parts(func(h, p, s string) string { return h + "." + p + "." + s + "." }), "four": parts(func(h, p, s string) string { return h + "." + p + "." + s + ".x" }),
		} {
			a := c.attempt()
			a.useToken(edit(a.accessToken))
			r := a.send()
			w := tokenMangled
			if name == "no signature" && r.reason() == tokenForged.reason {
				w = tokenForged
			}
			c.answered(w)
			if r.check(c, w); c.Failed() {
				c.Fatal(name)
			}
		}
	},
	"N98": cnf(badToken("certificate_missing"), map[string]any{"x5t": obj("x5t#S256", testkit.ATH("certificate"))}),
	"N99": at("further/ref", func(c *run) {
		a := c.use()
		for site, w := range map[string]want{"audience": badToken("token_audience_mismatch"), "scoped": noScope} {
			b := newAttempt(c.site("further/" + site))
			b.accessToken = a.accessToken
			b.reproof()
			if w == noScope {
				c.must(b, w)
			} else {
				c.expect(b, w)
			}
		}
		d := newAttempt(c.site("main/ref")) // another issuer
		d.accessToken = a.accessToken
		d.reproof()
		c.expect(d, issuerUnknown)
	}),
})
