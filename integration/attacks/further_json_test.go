// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"strings"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// extras sends proofs with another claim that is each of these JSON texts, and with
// another header parameter that is.
func extras(claimed, headed want, texts ...string) test {
	return func(c *run) {
		for _, text := range texts {
			label := fmt.Sprintf("%.20q", text)
			c.variant("payload "+label, claimed, func(a *attempt) { a.claim("extra", testkit.Raw(text)) })
			c.variant("header "+label, headed, func(a *attempt) { a.head("extra", testkit.Raw(text)) })
		}
	}
}

func goodExtras(texts ...string) test { return extras(accepted, accepted, texts...) }
func badExtras(texts ...string) test  { return extras(claimsInvalid, headerInvalid, texts...) }

// more adds that many claims.
func more(n int) func(*attempt) {
	return func(a *attempt) {
		for i := range n {
			a.claim(fmt.Sprint("a", i), i%10)
		}
	}
}

// Group K, further.
var _ = add(cases{
	"K80": each(accepted, variants{
		"payload": func(a *attempt) {
			a.rawClaims(func(s string) string {
				return "\r\n\t " + strings.NewReplacer("{", "{ ", "}", "\n}", `":`, "\"\t:\r\n ", ",", " , ").Replace(s) + " \n\n"
			})
		},
		"header": func(a *attempt) {
			a.rawHeader(func(s string) string {
				return "\t" + strings.NewReplacer("{", "{\n\n", "}", " }", `":`, `" : `, ",", "\r\n,").Replace(s) + "\r\n"
			})
		},
	}),
	"K81": each(accepted, variants{
		"arrays": func(a *attempt) { a.claim("extra", deep(16)) },
		"objects": func(a *attempt) {
			a.claim("extra", testkit.Raw(strings.Repeat(`{"a":`, 15)+"1"+strings.Repeat("}", 15)))
		},
		"mixed": func(a *attempt) {
			a.claim("extra", testkit.Raw(strings.Repeat(`[{"a":`, 7)+`"x"`+strings.Repeat("}]", 7)))
		},
		"wide": func(a *attempt) { a.claim("extra", testkit.Raw("["+strings.Repeat("[[]],", 300)+"[]]")) },
	}),
	"K82": each(claimsInvalid, variants{
		"17":       func(a *attempt) { a.claim("extra", deep(17)) },
		"2000":     func(a *attempt) { a.claim("extra", deep(2000)) },
		"no end":   func(a *attempt) { a.rawClaims(func(string) string { return strings.Repeat("[", 5000) }) },
		"no end 2": func(a *attempt) { a.rawClaims(func(string) string { return strings.Repeat(`{"a":`, 1000) }) },
	}),
	"K83": badExtras(`{"a":[{"b":1,"b":1}]}`, `{"a":[{"b":1,"\u0062":2}]}`, `[[{"":1,"":2}]]`),
	"K84": goodExtras(`"\u0000\u0001\u001f\b\f\n\r\t\/\\\""`, "\"\x7f\"", `"\u007F\u0080\u2028"`, `{"\n":"\u0000"}`),
	"K85": badExtras("True", "nUll", "undefined", "Infinity", "-Infinity", "nan", "NaN", "tru", "truee", "null0", "'x'", "x"),
	"K86": badExtras("0x10", "1.", ".5", "01", "-", "+1", "1e", "1e+", "\u0661", "1_0", "1,5", "00", "-01", "1.e1", "0.", "--1", "1-"),
	"K87": goodExtras("-0", "1E+2", "0.0e-0", "0e99999", "123456789012345678901234567890", "-1.5E-10", "1e400"),
	"K88": func(c *run) {
		for _, name := range []string{"", "a b", "ключ", `"htm\u0000"`, "htm ", "$ref", "__proto__", "ht", "htm.", "exp[]", "jt\u0131", "hťm"} {
			c.variant(fmt.Sprintf("%q", name), accepted, func(a *attempt) { a.claim(name, "PUT") })
		}
	},
	"K89": one(accepted, more(59)),
	"K90": each(claimsInvalid, variants{"65": more(60), "500": more(500)}),
	"K91": texts(malformed, map[string]func(string) string{
		"header plus": parts(func(h, p, s string) string { return h[:9] + "+" + h[10:] + "." + p + "." + s }), "payload slash": parts(func(h, p, s string) string { return h + "." + p[:9] + "/" + p[10:] + "." + s }),
		"signature plus": parts(func(h, p, s string) string { return h + "." + p + "." + s[:9] + "+" + s[10:] }), "signature slash": parts(func(h, p, s string) string { return h + "." + p + "." + "/" + s[1:] }),
	}),
	"K92": func(c *run) {
		for name, edit := range map[string]func(string) string{
			"header more": parts(func(h, p, s string) string { return h + "A." + p + "." + s }), "header less": parts(func(h, p, s string) string { return h[1:] + "." + p + "." + s }),
			"payload more": parts(func(h, p, s string) string { return h + "." + p + "A." + s }), "payload less": parts(func(h, p, s string) string { return h + "." + p[:len(p)-1] + "." + s }),
			"signature more": parts(func(h, p, s string) string { return h + "." + p + "." + s + "A" }), "signature less": parts(func(h, p, s string) string { return h + "." + p + "." + s[1:] }),
		} {
			a := c.attempt()
			a.rewrite(edit)
			r := a.send()
			w := badProof(r.reason()) // whichever part is noticed first
			c.answered(w)
			if r.check(c, w); c.Failed() || w.reason == "" {
				c.Fatalf("%s: %d %q", name, r.Status, r.reason())
			}
		}
	},
	"K93": texts(malformed, map[string]func(string) string{
		"one": func(s string) string { return s + "~" }, "two": func(s string) string { return s + "~~" }, "disclosure": func(s string) string { return s + "~WyJhIl0~" },
	}),
	"K94": goodExtras(`"\ud83d\ude00"`, "\"\uffff\U0001ffff\ufdd0\"", `"\uD83D\uDE00\uffff"`, "\"\U0010ffff\ufeff\""),
	"K95": one(accepted, func(a *attempt) { a.claim("extra", strings.Repeat("x", 5000)) }),
	"K96": badExtras(`"\x41"`, `"\u12"`, `"\u{41}"`, `"\'"`, `"\ "`, `"\`, `"\u00g0"`, `"\U0041"`, `{"\x41":1}`, `"\0"`, `"\a"`),
	"K97": both(map[string]func(string) string{
		"no colon": func(s string) string { return strings.Replace(s, ":", " ", 1) }, "two colons": func(s string) string { return strings.Replace(s, ":", "::", 1) },
		"two commas": func(s string) string { return strings.Replace(s, ",", ",,", 1) }, "crossed": func(s string) string { return s[:len(s)-1] + `,"a":[}]` },
		"second value": func(s string) string { return s + " 1" }, "nul": func(s string) string { return s + "\x00" }, "comma first": func(s string) string { return "{," + s[1:] },
		"name is a number": func(s string) string { return "{1:2," + s[1:] }, "no name": func(s string) string { return "{:1," + s[1:] }, "semicolon": func(s string) string { return strings.Replace(s, ",", ";", 1) },
		"form feed": func(s string) string { return "\f" + s }, "vertical tab": func(s string) string { return strings.Replace(s, ",", ",\v", 1) }, "nbsp": func(s string) string { return strings.Replace(s, ",", ",\u00a0", 1) },
		"array around": func(s string) string { return "[" + s + "]" }, "text around": func(s string) string { return fmt.Sprintf("%q", s) },
	}),
})
