// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/binary"
	"strings"
	"unicode/utf16"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// publishedKey is the key of RFC 7515, appendix A.3, which everybody knows. We keep no
// list of such keys: whoever uses one shares it with the world.
func publishedKey() *testkit.Key {
	d := testkit.UnB64("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")
	p, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		panic(err)
	}
	return &testkit.Key{Algorithm: "ES256", Private: p, Public: obj("kty", "EC", "crv", "P-256",
		"x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")}
}

// texts puts each of these in the DPoP field as they are.
func texts(w want, values map[string]func(compact string) string) test {
	return func(c *run) {
		for _, name := range sortedKeys(values) {
			c.variant(name, w, func(a *attempt) { a.rewrite(values[name]) })
		}
	}
}

func literal(s string) func(string) string { return func(string) string { return s } }

// parts rebuilds a proof of its three segments.
func parts(f func(h, p, s string) string) func(string) string {
	return func(compact string) string {
		x := strings.Split(compact, ".")
		return f(x[0], x[1], x[2])
	}
}

// jsonHeaders and jsonClaims sign proofs whose header or payload is this text.
func jsonHeaders(w want, edits map[string]func(string) string) test {
	return func(c *run) {
		for _, name := range sortedKeys(edits) {
			c.variant("header "+name, w, func(a *attempt) { a.rawHeader(edits[name]) })
		}
	}
}

func jsonClaims(w want, edits map[string]func(string) string) test {
	return func(c *run) {
		for _, name := range sortedKeys(edits) {
			c.variant("payload "+name, w, func(a *attempt) { a.rawClaims(edits[name]) })
		}
	}
}

// both applies the same edits to header and payload.
func both(edits map[string]func(string) string) test {
	return all(jsonHeaders(headerInvalid, edits), jsonClaims(claimsInvalid, edits))
}

// utf16Of encodes as UTF-16 in little endian order.
func utf16Of(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func utf32Of(s string) string {
	var b []byte
	for _, r := range s {
		b = binary.LittleEndian.AppendUint32(b, uint32(r))
	}
	return string(b)
}

// twice repeats a member, changed, in front or behind.
func twice(name, value string, front bool) func(string) string {
	return func(s string) string {
		extra := `"` + name + `":` + value
		if front {
			return "{" + extra + "," + s[1:]
		}
		return s[:len(s)-1] + "," + extra + "}"
	}
}

// Group K: the serialisation and the JSON inside.
var _ = add(cases{
	"K01": texts(malformed, map[string]func(string) string{
		"one":  parts(func(h, _, _ string) string { return h }),
		"two":  parts(func(h, p, _ string) string { return h + "." + p }),
		"four": parts(func(h, p, s string) string { return h + "." + p + "." + s + "." + s }),
		"end":  parts(func(h, p, s string) string { return h + "." + p + "." + s + "." }),
	}),
	"K02": texts(malformed, map[string]func(string) string{
		"header":  parts(func(_, p, s string) string { return "." + p + "." + s }),
		"payload": parts(func(h, _, s string) string { return h + ".." + s }),
		"all":     literal(".."), "one dot": literal("."),
		"signature": parts(func(h, p, _ string) string { return h + "." + p + "." }),
	}),
	"K04": all(texts(malformed, map[string]func(string) string{"words": literal("not-a-jwt"), "byte": literal("x"), "signs": literal("!.!.!")}),
		texts(typInvalid, map[string]func(string) string{"empty objects": literal("e30.e30.e30")})),
	"K05": texts(malformed, map[string]func(string) string{
		"around": func(s string) string {
			return testkit.B64([]byte(`{"alg":"dir","enc":"A128GCM","typ":"dpop+jwt"}`)) + ".." + "AAAAAAAAAAAAAAAA." + testkit.B64([]byte(s)) + ".AAAAAAAAAAAAAAAAAAAAAA"
		},
	}),
	"K07": texts(malformed, map[string]func(string) string{
		"general": parts(func(h, p, s string) string {
			return `{"payload":"` + p + `","signatures":[{"protected":"` + h + `","signature":"AAAA"},{"protected":"` + h + `","signature":"` + s + `"}]}`
		}),
		"flattened": parts(func(h, p, s string) string {
			return `{"payload":"` + p + `","protected":"` + h + `","signature":"` + s + `"}`
		}),
	}),
	"K08": one(malformed, func(a *attempt) {
		a.request("POST", "/api/items")
		a.rewrite(parts(func(h, p, s string) string {
			a.body = testkit.UnB64(p)
			return h + ".." + s
		}))
	}),
	"K09": texts(malformed, map[string]func(string) string{
		"header":    parts(func(h, p, s string) string { return h + "=." + p + "." + s }),
		"payload":   parts(func(h, p, s string) string { return h + "." + p + "=." + s }),
		"signature": parts(func(h, p, s string) string { return h + "." + p + "." + s + "==" }),
	}),
	"K11": texts(malformed, map[string]func(string) string{
		"between":  parts(func(h, p, s string) string { return h + " ." + p + "." + s }),
		"after":    parts(func(h, p, s string) string { return h + ". " + p + "." + s }),
		"in":       parts(func(h, p, s string) string { return h[:10] + " " + h[10:] + "." + p + "." + s }),
		"tab":      parts(func(h, p, s string) string { return h + "." + p[:8] + "\t" + p[8:] + "." + s }),
		"tab last": parts(func(h, p, s string) string { return h + "." + p + "." + s[:8] + "\t" + s[8:] }),
	}),
	"K12": texts(malformed, map[string]func(string) string{"dots": func(s string) string { return strings.ReplaceAll(s, ".", "%2E") }}),
	"K13": texts(malformed, map[string]func(string) string{"signature": func(s string) string { return segment(s, 2, testkit.LooseBits) }}),
	"K14": each(malformed, variants{
		"header":  func(a *attempt) { loosen(a.proof, true) },
		"payload": func(a *attempt) { loosen(a.proof, false) },
	}),
	"K15": all(
		jsonHeaders(headerInvalid, map[string]func(string) string{"array": literal("[]"), "string": literal(`"x"`), "number": literal("1"), "null": literal("null"), "nested": func(s string) string { return "[" + s + "]" }}),
		jsonClaims(claimsInvalid, map[string]func(string) string{"array": literal("[]"), "string": literal(`"x"`), "number": literal("1"), "null": literal("null")})),
	"K17": both(map[string]func(string) string{
		"brace": func(s string) string { return s[:len(s)-1] }, "quotes": func(s string) string { return strings.ReplaceAll(s, `"`, `'`) },
		"comment": func(s string) string { return "/* c */" + s }, "comma": func(s string) string { return s[:len(s)-1] + ",}" },
		"second": func(s string) string { return s + "{}" }, "rubbish": func(s string) string { return s + "x" }, "control": func(s string) string { return strings.Replace(s, ":", ":\x01", 1) },
		"bare name": func(s string) string { return strings.Replace(s, `{"`, `{x:1,"`, 1) }, "escape": func(s string) string { return twice("e", `"\x41"`, false)(s) },
		"half pair": twice("e", `"\ud800"`, false), "newline": twice("e", "\"a\nb\"", false),
	}),
	"K19": both(map[string]func(string) string{"mark": func(s string) string { return "\xef\xbb\xbf" + s }}),
	"K20": both(map[string]func(string) string{
		"overlong": twice("e", "\"\xc0\xaf\"", false), "surrogate": twice("e", "\"\xed\xa0\x80\"", false), "ff": twice("e", "\"\xff\"", false), "name": twice("e\xff", "1", false),
	}),
	"K21": all(jsonClaims(claimsInvalid, map[string]func(string) string{
		"utf16": utf16Of, "utf16 bom": func(s string) string { return "\xff\xfe" + utf16Of(s) }, "utf32": utf32Of,
	}), jsonHeaders(headerInvalid, map[string]func(string) string{"utf16": utf16Of})),
	"K23": all(jsonClaims(claimsInvalid, map[string]func(string) string{
		"jti": twice("jti", `"other"`, false), "jti first": twice("jti", `"other"`, true), "iat": twice("iat", "1", false), "iat first": twice("iat", "1", true),
		"ath": twice("ath", `"x"`, false), "htm": twice("htm", `"PUT"`, true), "htu": twice("htu", `"https://evil.example/"`, true), "nonce": twice("nonce", `"x","nonce":"y"`, false),
		"escaped": twice(`j\u0074i`, `"other"`, false), "nested": twice("deep", `{"a":1,"a":2}`, false), "extra": twice("extra", `1,"extra":2`, false),
	}), jsonHeaders(headerInvalid, map[string]func(string) string{
		"typ": twice("typ", `"JWT"`, true), "alg": twice("alg", `"none"`, true), "jwk": twice("jwk", `{}`, false), "escaped": twice(`\u0061lg`, `"none"`, false),
	})),
	"K26": jsonClaims(claimsInvalid, map[string]func(string) string{
		"right then wrong": twice("HTU", `"https://evil.example/"`, false),
		"wrong then right": func(s string) string {
			return twice("HTU", `"`+origin+`/api/items"`, false)(strings.Replace(s, origin+"/api/items", "https://evil.example/", 1))
		},
		"Kelvin": twice(`JTI`, `"x"`, true), "iss": twice("ISS", `"x"`, true),
	}),
	"K28": all(jsonClaims(badProof("htm_missing"), map[string]func(string) string{
		"proto": func(s string) string {
			return twice("__proto__", `{"htm":"GET"}`, false)(strings.Replace(s, `"htm":"GET",`, "", 1))
		},
		"constructor": func(s string) string {
			return twice("constructor", `{"prototype":{"htm":"GET"}}`, true)(strings.Replace(s, `"htm":"GET",`, "", 1))
		},
	})),
	"K31": texts(malformed, map[string]func(string) string{"one": func(s string) string { return s + "=" }, "two": func(s string) string { return s + "==" }}),
	"K32": texts(malformed, map[string]func(string) string{
		"CWT": literal(testkit.B64([]byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0, 0x58, 0x20, 0xa1, 0x01, 0x63, 'G', 'E', 'T'})),
	}),
	"K33": each(accepted, variants{
		"exponent": func(a *attempt) { a.claim("extra", testkit.Raw("1e999999999")) },
		"digits":   func(a *attempt) { a.claim("extra", testkit.Raw(strings.Repeat("9", 4000))) },
		"fraction": func(a *attempt) { a.claim("extra", testkit.Raw("-0.000000001E-99999")) },
	}),
	"K34": each(accepted, variants{
		"htm": func(a *attempt) { a.claim("htm", testkit.Raw(`"\u0047ET"`)) },
		"htu": func(a *attempt) { a.claim("htu", testkit.Raw(`"https:\/\/api.example.test\/api\/items"`)) },
		"names": func(a *attempt) {
			a.rawClaims(func(s string) string { return strings.Replace(s, `"htu"`, `"\u0068tu"`, 1) })
		},
		"blanks": func(a *attempt) {
			a.rawClaims(func(s string) string { return " \n" + strings.ReplaceAll(s, ",", " ,\t") + "\r\n" })
		},
		"header": func(a *attempt) {
			a.rawHeader(func(s string) string { return strings.Replace(s, `"typ"`, `"\u0074yp"`, 1) })
		},
		"upper":   func(a *attempt) { a.head("typ", "DPoP+JWT") },
		"pretty":  func(a *attempt) { a.rawHeader(func(s string) string { return strings.ReplaceAll(s, ",", ",\n  ") }) },
		"further": func(a *attempt) { a.claim("iss", "app"); a.claim("aud", origin); a.claim("sub", "x") },
	}),
})

// loosen makes one segment's length such that it has spare bits, and sets one.
func loosen(j *testkit.JWS, head bool) {
	pad := ""
	for {
		text := j.Claims.With("pad", pad)
		if head {
			text = j.Header.With("pad", pad)
		}
		if s := testkit.B64(text.JSON()); testkit.LooseBits(s) != s {
			break
		}
		pad += "x"
	}
	spoil := func(b []byte) string { return testkit.LooseBits(testkit.B64(b)) }
	if head {
		j.Header.Set("pad", pad)
		j.EncodeHeader = spoil
	} else {
		j.Claims.Set("pad", pad)
		j.EncodeClaims = spoil
	}
}
