// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"unicode/utf16"
)

// jsonVectors are about JSON of which two readers could make two things.
func jsonVectors() *set {
	s := &set{Description: "Strict JSON in header, jwk and payload: RFC 8259, RFC 7515, section 4, RFC 7519, section 4."}
	header := func(text string) draft { d := plain(); d.headerText = text; return d }
	claims := func(text string) draft { d := plain(); d.claimsText = text; return d }
	h, c := plain().header.text(), plain().claims.text()

	for name, broken := range map[string]func(string) string{
		"array":              func(t string) string { return "[" + t + "]" },
		"string":             func(string) string { return `"x"` },
		"number":             func(string) string { return "1" },
		"null":               func(string) string { return "null" },
		"brace missing":      func(t string) string { return strings.TrimSuffix(t, "}") },
		"single quotes":      func(t string) string { return strings.ReplaceAll(t, `"`, "'") },
		"comment":            func(t string) string { return strings.Replace(t, "{", "{/* */", 1) },
		"trailing comma":     func(t string) string { return strings.TrimSuffix(t, "}") + ",}" },
		"leading comma":      func(t string) string { return strings.Replace(t, "{", "{,", 1) },
		"trailing data":      func(t string) string { return t + "x" },
		"second object":      func(t string) string { return t + t },
		"trailing NUL":       func(t string) string { return t + "\x00" },
		"byte order mark":    func(t string) string { return "\ufeff" + t },
		"overlong UTF-8":     func(t string) string { return strings.Replace(t, "{", "{\"a\":\"\xc0\xaf\",", 1) },
		"surrogate in UTF-8": func(t string) string { return strings.Replace(t, "{", "{\"a\":\"\xed\xa0\x80\",", 1) },
		"byte 0xff":          func(t string) string { return strings.Replace(t, "{", "{\"a\":\"\xff\",", 1) },
		"unpaired surrogate": func(t string) string { return strings.Replace(t, "{", `{"a":"\ud800",`, 1) },
		"reversed surrogate": func(t string) string { return strings.Replace(t, "{", `{"a":"\udc00\ud800",`, 1) },
		"unknown escape":     func(t string) string { return strings.Replace(t, "{", `{"a":"\x41",`, 1) },
		"raw line feed":      func(t string) string { return strings.Replace(t, "{", "{\"a\":\"\n\",", 1) },
		"name without quotes": func(t string) string {
			return strings.Replace(t, "{", "{a:1,", 1)
		},
		"NaN":                func(t string) string { return strings.Replace(t, "{", `{"a":NaN,`, 1) },
		"plus sign":          func(t string) string { return strings.Replace(t, "{", `{"a":+1,`, 1) },
		"leading zero":       func(t string) string { return strings.Replace(t, "{", `{"a":01,`, 1) },
		"no digit after dot": func(t string) string { return strings.Replace(t, "{", `{"a":1.,`, 1) },
		"hexadecimal":        func(t string) string { return strings.Replace(t, "{", `{"a":0x65,`, 1) },
		"underscore":         func(t string) string { return strings.Replace(t, "{", `{"a":1_7,`, 1) },
		"UTF-16":             utf16LE,
		"UTF-16 with mark":   func(t string) string { return "\xff\xfe" + utf16LE(t) },
		"nested too deep": func(t string) string {
			return strings.Replace(t, "{", `{"a":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)+",", 1)
		},
		"duplicate in a nested object": func(t string) string {
			return strings.Replace(t, "{", `{"a":[{"b":1,"c":2,"b":1}],`, 1)
		},
		"too many members": func(t string) string {
			var b strings.Builder
			for i := range 64 {
				b.WriteString(`"` + strings.Repeat("a", i+1) + `":0,`)
			}
			return strings.Replace(t, "{", "{"+b.String(), 1)
		},
	} {
		catalogue := []string{"K15", "K17", "K19", "K20", "K21", "F19", "K33"}
		s.add("header: "+name, "header_invalid", "", header(broken(h)), catalogue...)
		s.add("payload: "+name, "claims_invalid", "", claims(broken(c)), catalogue...)
	}
	for _, m := range plain().header {
		s.add("header: duplicate "+m.name, "header_invalid", "Both values are right.",
			header(plain().header.also(m.name, m.value).text()), "K23")
	}
	for _, m := range plain().claims {
		s.add("payload: duplicate "+m.name, "claims_invalid", "Both values are right.",
			claims(plain().claims.also(m.name, m.value).text()), "K23")
		escaped := `\u00` + string("0123456789abcdef"[m.name[0]>>4]) + string("0123456789abcdef"[m.name[0]&15]) + m.name[1:]
		s.add("payload: duplicate "+m.name+", one escaped", "claims_invalid", "",
			claims(plain().claims.also(escaped, m.value).text()), "K23")
		s.add("payload: name "+m.name+" escaped", "accept", "An escape in a name changes nothing.",
			claims(plain().claims.renamed(m.name, escaped).text()))
		s.add("payload: "+strings.ToUpper(m.name)+" besides", "claims_invalid", "A reader that ignores case takes the last.",
			claims(plain().claims.also(strings.ToUpper(m.name), `"x"`).text()), "K26")
		s.add("payload: "+strings.ToUpper(m.name)+" first", "claims_invalid", "",
			claims(plain().claims.first(strings.ToUpper(m.name), `"x"`).text()), "K26")
	}
	s.add("payload: prototype", "htm_missing", "No such thing as inherited members.",
		claims(`{"__proto__":`+c+`,"constructor":{"htm":"GET"}}`), "K28")
	s.add("header: JWK besides", "header_invalid", "", plain().set("JWK", "{}"), "K26")
	s.add("header: long s", "header_invalid", "U+017F folds to s.", plain().set(`x5t#\u017f256`, `""`))
	s.add("escapes in values", "accept", "", plain().claim("htm", `"\u0047ET"`).
		claim("htu", `"https:\/\/api.example.test\/api\/items"`), "K34")
	s.add("numbers nobody reads", "accept", "", plain().claim("a", "1e999999999").claim("b", strings.Repeat("9", 1000)), "K33")
	members := func(n int) draft { // in the payload, nested in one member
		var inner object
		for i := range n - len(plain().claims) - 1 {
			inner = append(inner, member{strings.Repeat("a", i+1), "0"})
		}
		return claims(plain().claims.also("a", inner.text()).text())
	}
	s.add("as many members as allowed", "accept", "64 names in objects that are open at one time.", members(64))
	s.add("one member too many", "claims_invalid", "", members(65))
	s.add("white space", "accept", "", claims(strings.ReplaceAll(strings.ReplaceAll(c, ",", " ,\t\r\n"), `":`, `" : `)))
	s.add("nested as deep as allowed", "accept", "", plain().claim("a", strings.Repeat("[", 15)+strings.Repeat("]", 15)))
	s.add("same name in different objects", "accept", "", plain().claim("a", `{"htm":1,"b":{"htm":2,"HTM":3}}`))
	s.add("same names in an object before", "accept", "", claims(plain().claims.first("a", plain().claims.text()).text()))
	s.add("surrogate pair", "accept", "", plain().claim("jti", `"\ud83d\ude00"`))
	return s
}

func utf16LE(text string) string {
	var b bytes.Buffer
	for _, u := range utf16.Encode([]rune(text)) {
		b.Write([]byte{byte(u), byte(u >> 8)})
	}
	return b.String()
}
