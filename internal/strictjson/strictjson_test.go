// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	t.Parallel()
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"n%d":%d,`, i, i)
		}
		return b.String()
	}
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"empty object", `{}`, nil},
		{"white space", " {\t\"a\" :\r\n1 , \"b\":[ 1 , {} , [ ] ] } ", nil},
		{"every type", `{"a":"b","c":-0.5e+3,"d":true,"e":false,"f":null,"g":[],"h":{}}`, nil},
		{"escapes", `{"\u0061":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}`, nil},
		{"same name in sibling objects", `{"a":{"x":1},"b":{"x":2}}`, nil},
		{"prototype names", `{"__proto__":{},"constructor":1}`, nil},
		{"deepest", strings.Repeat(`{"a":`, MaxDepth-1) + `{}` + strings.Repeat(`}`, MaxDepth-1), nil},
		{"many members", `{` + members(500) + `"z":0}`, nil},

		{"too deep objects", strings.Repeat(`{"a":`, MaxDepth) + `{}` + strings.Repeat(`}`, MaxDepth), ErrDepth},
		{"too deep arrays", `{"a":` + strings.Repeat(`[`, MaxDepth) + strings.Repeat(`]`, MaxDepth) + `}`, ErrDepth},
		{"nothing", ``, ErrSyntax},
		{"null", `null`, ErrSyntax},
		{"array", `[]`, ErrSyntax},
		{"string", `"a"`, ErrSyntax},
		{"truncated", `{"a":1`, ErrSyntax},
		{"truncated name", `{"a`, ErrSyntax},
		{"trailing object", `{}{}`, ErrSyntax},
		{"trailing comma", `{"a":1,}`, ErrSyntax},
		{"trailing comma in array", `{"a":[1,]}`, ErrSyntax},
		{"no comma", `{"a":1 "b":2}`, ErrSyntax},
		{"no colon", `{"a" 1}`, ErrSyntax},
		{"comment", `{"a":1/**/}`, ErrSyntax},
		{"single quotes", `{'a':1}`, ErrSyntax},
		{"bare name", `{a:1}`, ErrSyntax},
		{"NaN", `{"a":NaN}`, ErrSyntax},
		{"Infinity", `{"a":-Infinity}`, ErrSyntax},
		{"leading zero", `{"a":01}`, ErrSyntax},
		{"leading plus", `{"a":+1}`, ErrSyntax},
		{"no fraction", `{"a":1.}`, ErrSyntax},
		{"no exponent", `{"a":1e}`, ErrSyntax},
		{"word cut short", `{"a":tru}`, ErrSyntax},
		{"control character", "{\"a\":\"\n\"}", ErrSyntax},
		{"bad escape", `{"a":"\x41"}`, ErrSyntax},
		{"short unicode escape", `{"a":"\u00e"}`, ErrSyntax},
		{"signed unicode escape", `{"a":"\u+0e9"}`, ErrSyntax},
		{"byte order mark", "\ufeff{}", ErrSyntax},
		{"UTF-16", "{\x00}\x00", ErrSyntax},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", ErrUTF8},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", ErrUTF8},
		{"lone high surrogate", `{"a":"\ud83d"}`, ErrUTF8},
		{"lone low surrogate", `{"a":"\ude00"}`, ErrUTF8},
		{"two high surrogates", `{"a":"\ud83d\ud83d"}`, ErrUTF8},
		{"duplicate", `{"a":1,"a":1}`, ErrDuplicate},
		{"duplicate by escape", `{"a":1,"\u0061":2}`, ErrDuplicate},
		{"duplicate below", `{"x":[{"y":{"a":1,"a":1}}]}`, ErrDuplicate},
		{"duplicate among many", `{` + members(500) + `"n499":0}`, ErrDuplicate},
		{"duplicate of the first among many", `{` + members(500) + `"n0":0}`, ErrDuplicate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := Parse([]byte(tt.text)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	o, err := Parse([]byte(`{"s":"\ud83d\ude00\n","t":true,"n":null,"i":1700000000,"f":1700000000.5,"neg":-1,
		"exp":17e8,"huge":1e400,"big":253402300800,"l":["a","\u0062"],"m":["a",1],"empty":[ ],"o":{"k":"v"}}`))
	if err != nil {
		t.Fatal(err)
	}
	get := func(name string) Value { v, _ := o.Get(name); return v }

	if s, ok := get("s").Text(); s != "😀\n" || !ok {
		t.Errorf("string: %q %v", s, ok)
	}
	if _, ok := get("i").Text(); ok {
		t.Error("a number read as a string")
	}
	if b, ok := get("t").Bool(); !b || !ok {
		t.Errorf("bool: %v %v", b, ok)
	}
	if _, ok := get("n").Bool(); ok || !get("n").IsNull() {
		t.Error("null read as a boolean")
	}
	for name, want := range map[string]time.Time{
		"i": time.Unix(1700000000, 0), "f": time.Unix(1700000000, 5e8), "neg": time.Unix(-1, 0), "exp": time.Unix(1700000000, 0),
	} {
		if got, ok := get(name).Time(); !ok || !got.Equal(want) {
			t.Errorf("time %s: %v %v", name, got, ok)
		}
	}
	for _, name := range []string{"s", "t", "n", "huge", "big", "l", "o", "missing"} {
		if got, ok := get(name).Time(); ok {
			t.Errorf("time %s: %v", name, got)
		}
	}
	if l, ok := get("l").Strings(); !ok || strings.Join(l, ",") != "a,b" {
		t.Errorf("strings: %v %v", l, ok)
	}
	if l, ok := get("empty").Strings(); !ok || len(l) != 0 {
		t.Errorf("empty array: %v %v", l, ok)
	}
	for _, name := range []string{"m", "s", "o", "n", "missing"} {
		if l, ok := get(name).Strings(); ok {
			t.Errorf("strings %s: %v", name, l)
		}
	}
	inner, ok := get("o").Object()
	if v, found := inner.Get("k"); !ok || !found || string(v) != `"v"` {
		t.Errorf("object: %v %v", inner, ok)
	}
	if _, ok := get("l").Object(); ok {
		t.Error("an array read as an object")
	}
}

func TestVariant(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"cnf":1,"jkt":2}`: false,
		`{"CNF":1}`:         true,
		`{"j\u212at":1}`:    true, // the Kelvin sign folds to k
		`{"cnff":1}`:        false,
		`{"cnf":1,"Cnf":2}`: true,
	} {
		o, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Variant("cnf", "jkt"); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// FuzzParse holds that whatever Parse accepts means the same to encoding/json.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1e400}`, `{"a":"\ud83d\ude00","b":[1,{"c":null}]}`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}", `{"a":` + strings.Repeat("[", 40)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Parse(data)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		if len(want) != len(o) {
			t.Fatalf("%d members, encoding/json has %d", len(o), len(want))
		}
		for _, m := range o {
			raw, ok := want[m.Name]
			if !ok || !bytes.Equal(raw, m.Value) {
				t.Fatalf("member %q: %q, encoding/json has %q", m.Name, m.Value, raw)
			}
			if s, ok := m.Value.Text(); ok {
				var w string
				if err := json.Unmarshal(raw, &w); err != nil || w != s {
					t.Fatalf("string %q, encoding/json has %q, %v", s, w, err)
				}
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	claims := []byte(`{"iss":"https://auth.example.com","sub":"user-1","aud":"https://api.example.com","client_id":"app","exp":1700000300,` +
		`"iat":1700000000,"jti":"c7e4b6d0f3a84f0c","scope":"read write","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(claims); err != nil {
			b.Fatal(err)
		}
	}
}
