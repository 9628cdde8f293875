// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// keySet is the issuer's key set as text, with more keys in front.
func keySet(i *testkit.Issuer, more ...any) string {
	return obj("keys", append(more, i.Key.JWK(i.KeyID))).String()
}

// serves makes the key set answer with this.
func serves(contentType, body string) func(*testkit.Issuer) {
	return func(i *testkit.Issuer) {
		i.Fault(testkit.PathJWKS, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			if contentType != "" {
				w.Header().Set("Content-Type", contentType)
			}
			text := body
			if text == "" {
				text = keySet(i)
			}
			_, _ = w.Write([]byte(text))
		})
	}
}

// servesEdited makes it answer with the good text, edited.
func servesEdited(edit func(string) string) func(*testkit.Issuer) {
	return func(i *testkit.Issuer) { serves("application/json", edit(keySet(i)))(i) }
}

// answersWith makes it answer with a status and the good text.
func answersWith(code int) func(*testkit.Issuer) {
	return func(i *testkit.Issuer) {
		i.Fault(testkit.PathJWKS, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			if code != 204 && code != 304 {
				_, _ = w.Write([]byte(keySet(i)))
			}
		})
	}
}

func announces(name string, value any) func(*testkit.Issuer) {
	return func(i *testkit.Issuer) { i.SetMetadata(name, value) }
}

func manyKeys(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = testkit.P256(fmt.Sprint("one of many ", i%8)).JWK(fmt.Sprint("many ", i))
	}
	return list
}

// beside publishes our key in another form, beside one that is good.
func beside(change func(testkit.Object) testkit.Object) func(*testkit.Issuer) {
	return func(i *testkit.Issuer) { i.Publish(testkit.P256("good").JWK("good"), change(i.Key.JWK(i.KeyID))) }
}

// oddKeySets are issuers with something odd, by the case they belong to and a name.
func oddKeySets() map[string]map[string]func(*testkit.Issuer) {
	unset := func(names ...string) func(testkit.Object) testkit.Object {
		return func(o testkit.Object) testkit.Object { return o.Without(names...) }
	}
	set := func(name string, v any) func(testkit.Object) testkit.Object {
		return func(o testkit.Object) testkit.Object { return o.With(name, v) }
	}
	return map[string]map[string]func(*testkit.Issuer){
		"P80": {
			"company": func(i *testkit.Issuer) {
				serves("application/json", keySet(i, obj("kty", "XYZ", "kid", "k1"), obj("kty", "oct", "k", "AAAA", "kid", "k1"), obj("kty", "AKP", "alg", "ML-DSA-44", "pub", "AAAA"),
					k1.With("y", member("x")), testkit.RSA(512, "issuer").JWK("small"), testkit.P256("enc").JWK("k1").With("use", "enc"), 7, nil, "x", []any{}, obj(), obj("kty", "EC"),
					testkit.Ed25519("issuer").JWK("k1"), testkit.P384("issuer").JWK("k1")))(i)
			},
			"members": func(i *testkit.Issuer) {
				serves("application/json", obj("a", 1, "keys", []any{i.Key.JWK(i.KeyID).With("x", i.Key.Public.Get("x")).With("nbf", 1).With("x-y", obj())}, "z", []any{nil}).String())(i)
			},
		},
		"P82": {
			"mark": servesEdited(func(s string) string { return "\xef\xbb\xbf" + s }), "twice": servesEdited(func(s string) string { return s[:len(s)-1] + `,"keys":[]}` }), "comma": servesEdited(func(s string) string { return s[:len(s)-1] + ",}" }),
			"nan": servesEdited(func(s string) string { return s[:len(s)-1] + `,"x":NaN}` }), "utf16": servesEdited(utf16Of), "second": servesEdited(func(s string) string { return s + "{}" }), "cut": servesEdited(func(s string) string { return s[:len(s)-2] }),
			"utf8": servesEdited(func(s string) string { return s[:len(s)-1] + ",\"x\":\"\xff\"}" }),
		},
		"P83": {"nameless": func(i *testkit.Issuer) { i.Publish(i.Key.JWK(i.KeyID).Without("kid", "alg", "use")) }},
		"P84": {
			"list": serves("application/json", `[]`), "object": serves("application/json", `{}`), "null": serves("application/json", `{"keys":null}`), "keys object": serves("application/json", `{"keys":{}}`), "text": serves("application/json", `{"keys":"x"}`),
			"case": servesEdited(func(s string) string { return strings.Replace(s, `"keys"`, `"Keys"`, 1) }),
		},
		"P85": {"hundred": func(i *testkit.Issuer) { serves("application/json", keySet(i, manyKeys(99)...))(i) }},
		"P86": {
			"101":   func(i *testkit.Issuer) { serves("application/json", keySet(i, manyKeys(100)...))(i) },
			"1 MiB": servesEdited(func(s string) string { return s[:len(s)-1] + `,"x":"` + strings.Repeat("x", 1<<20) + `"}` }),
		},
		"P87": {
			"slash": func(i *testkit.Issuer) { i.SetMetadata("issuer", i.URL+"/") }, "other": announces("issuer", "https://other.example.test"), "none": announces("issuer", nil), "number": announces("jwks_uri", 7), "no keys": announces("jwks_uri", nil),
			"upper": func(i *testkit.Issuer) { i.SetMetadata("issuer", strings.ToUpper(i.URL)) },
		},
		"P88": {"openid": func(i *testkit.Issuer) { i.Fault(testkit.PathMetadata, testkit.Status(404, "text/html", "no")) }, "broken first": func(i *testkit.Issuer) {
			i.Fault(testkit.PathMetadata, testkit.Status(200, "text/html", "<html>"))
		}},
		"P89": {
			"elsewhere": announces("jwks_uri", "http://canary.example.test/jwks"), "file": announces("jwks_uri", "file:///etc/passwd"), "ftp": announces("jwks_uri", "ftp://127.0.0.1/jwks"), "relative": announces("jwks_uri", "/jwks"), "empty": announces("jwks_uri", ""),
			"user": announces("jwks_uri", strings.Replace(canary.URL, "://", "://u:p@", 1)+"/jwks"), "fragment": announces("jwks_uri", canary.URL+"/jwks#x"), "private": announces("jwks_uri", "http://10.0.0.1/jwks"), "script": announces("jwks_uri", "javascript:alert(1)"),
		},
		"P90": {"201": answersWith(201), "204": answersWith(204), "206": answersWith(206), "304": answersWith(304), "404": answersWith(404), "203": answersWith(203)},
		"P91": {
			"alg": beside(set("alg", "ES384")), "use": beside(set("use", "tls")), "ops": beside(set("key_ops", []string{"sign"})), "alg none": beside(set("alg", "none")), "alg HS256": beside(set("alg", "HS256")), "kid": beside(unset("kid")),
			"null use": beside(set("use", nil)), "crv": beside(set("crv", "P-384")),
		},
		"P92": {
			"jwk-set": serves("application/jwk-set+json", ""), "text": serves("text/plain", ""), "none": serves("", ""), "gzip": func(i *testkit.Issuer) {
				i.Fault(testkit.PathJWKS, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Encoding", "gzip")
					z := gzip.NewWriter(w)
					_, _ = z.Write([]byte(keySet(i)))
					_ = z.Close()
				})
			},
		},
		"P81": {"private": beside(func(o testkit.Object) testkit.Object { return o.With("d", "AAAA") })},
		"P95": {"outage": func(*testkit.Issuer) {}},
		"P96": {"two": func(i *testkit.Issuer) {
			i.Publish(testkit.P256("the other of that name").JWK(i.KeyID), i.Key.JWK(i.KeyID))
		}},
	}
}

// keySetsProfile has one issuer for each of them, and two with a file.
func keySetsProfile(b *builder) {
	i := testkit.NewIssuer("many")
	publishMany(i)
	b.site(site{name: "many", issuer: i, tokens: true}, dpop("", reference(i)), toUpstream())
	sets := oddKeySets()
	for _, id := range sortedKeys(sets) {
		for _, name := range sortedKeys(sets[id]) {
			i := testkit.NewIssuer(id + " " + name)
			sets[id][name](i)
			b.site(site{name: id + " " + name, issuer: i, tokens: true}, dpop("", reference(i)), toUpstream())
		}
	}
	for _, name := range []string{"file", "shrinking"} {
		i := testkit.NewIssuer(name)
		if err := os.WriteFile(keyFile(name), []byte(keySet(i)), 0o600); err != nil {
			panic(err)
		}
		b.site(site{name: name, issuer: i, tokens: true},
			dpop("", strings.Replace(reference(i), "issuer "+i.URL, "issuer "+i.URL+" {\n\t\t\tjwks_file "+keyFile(name)+"\n\t\t}", 1)), toUpstream())
	}
}

func keyFile(name string) string { return filepath.Join(workDir, name+".json") }

// oddly sends a good request to each odd issuer of a case.
func oddly(id string, w want) test {
	return quiet(func(c *run) {
		c.answered(w)
		for _, name := range sortedKeys(oddKeySets()[id]) {
			r := newAttempt(c.site("keysets/" + id + " " + name)).send()
			if r.check(c, w); c.Failed() {
				c.Fatal(name)
			}
		}
	})
}

// Group P, further.
var _ = add(cases{
	"P80": oddly("P80", accepted),
	"P81": oddly("P81", keyUnknown),
	"P82": oddly("P82", noKeys),
	"P83": all(at("keysets/P83 nameless", bend(accepted, map[string]func(*testkit.JWS){"no kid": func(t *testkit.JWS) { t.Header.Delete("kid") }})),
		at("keysets/P83 nameless", func(c *run) { c.must(c.attempt(), keyUnknown) })), // a key without a name is not the one that the token names
	"P84": oddly("P84", noKeys),
	"P85": oddly("P85", accepted),
	"P86": oddly("P86", noKeys),
	"P87": oddly("P87", noKeys),
	"P88": oddly("P88", accepted),
	"P89": oddly("P89", noKeys),
	"P90": oddly("P90", noKeys),
	"P91": oddly("P91", keyUnknown),
	"P92": oddly("P92", accepted),
	"P93": at("keysets/file", func(c *run) {
		i := c.site(c.on).issuer
		write := func(text string) { c.Helper(); c.ok(os.WriteFile(keyFile("file"), []byte(text), 0o600)) }
		c.expect(c.attempt(), accepted)
		next := testkit.P256("next")
		newer := func() *attempt {
			a := c.attempt()
			a.token(func(t *testkit.JWS) { t.Key = next; t.Head("kid", "next") })
			return a
		}
		c.must(newer(), keyUnknown)
		write(keySet(i, next.JWK("next")))
		c.must(newer(), accepted) // an unknown key has the file looked at
		write("{")
		time.Sleep(1100 * time.Millisecond) // the file is looked at once a second
		c.must(c.attempt(), accepted)
		c.must(newer(), accepted)
		write(keySet(i, next.JWK("next")))
		c.must(newer(), accepted)
		if n := i.Total(); n != 0 {
			c.Errorf("%d requests to the issuer", n)
		}
	}),
	"P94": at("keysets/shrinking", func(c *run) {
		a := c.use()
		c.ok(os.WriteFile(keyFile("shrinking"), []byte(obj("keys", []any{testkit.P256("next").JWK("next")}).String()), 0o600))
		c.answered(keyUnknown)
		c.eventually(10*time.Second, func() bool {
			b := c.attempt()
			b.accessToken = a.accessToken
			b.reproof()
			r := b.send()
			if r.Status != 200 {
				r.check(c, keyUnknown)
			}
			return r.Status != 200
		})
	}),
	"P95": at("keysets/P95 outage", func(c *run) {
		i := c.site(c.on).issuer
		c.expect(c.attempt(), accepted)
		i.Fault(testkit.PathJWKS, testkit.Status(500, "text/plain", "no"))
		for range 20 {
			a := c.attempt()
			a.token(func(t *testkit.JWS) { t.Head("kid", testkit.NewID()) })
			c.must(a, notRefreshed)
			c.must(c.attempt(), accepted)
		}
		i.Fault(testkit.PathJWKS, nil)
	}),
})
