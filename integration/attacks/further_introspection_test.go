// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// said sends new tokens about which the endpoint says what each function returns: an
// object, the text of a body, or a handler.
func said(w want, values map[string]func(a *attempt) any) test {
	return at("introspect/opaque", func(c *run) {
		for _, name := range sortedKeys(values) {
			c.variant(name, w, func(a *attempt) { saying(a, values[name](a)) })
		}
	})
}

// saying makes the attempt's token one about which the endpoint says this.
func saying(a *attempt, answer any) {
	token := "opaque-" + testkit.NewID() + testkit.NewID()
	a.site.issuer.Introspects(token, answer)
	a.useToken(token)
}

// with is a good answer with something changed.
func with(change func(*testkit.Object)) func(*attempt) any {
	return func(a *attempt) any { return goodAnswer(a, change) }
}

func withMember(name string, v any) func(*attempt) any {
	return with(func(o *testkit.Object) { o.Set(name, v) })
}

// rawMember is for values that are no JSON.
func rawMember(name, v string) func(*attempt) any {
	return func(a *attempt) any { return goodAnswer(a, nil).With(name, testkit.Raw(v)).String() }
}

func without(name string) func(*attempt) any {
	return with(func(o *testkit.Object) { o.Delete(name) })
}

// text is the good answer edited as text.
func text(edit func(string) string) func(*attempt) any {
	return func(a *attempt) any { return edit(goodAnswer(a, nil).String()) }
}

// status answers with a status and a good body.
func status(code int, contentType string) func(*attempt) any {
	return func(a *attempt) any {
		return handler(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			if contentType != "" {
				w.Header().Set("Content-Type", contentType)
			}
			w.WriteHeader(code)
			_, _ = w.Write(goodAnswer(a, nil).JSON())
		})
	}
}

// badly answers with a status and any body.
func badly(code int, contentType, body string) func(*attempt) any {
	return func(*attempt) any { return testkit.Status(code, contentType, body) }
}

// sized pads a good answer to that many bytes.
func sized(size int) func(*attempt) any {
	return func(a *attempt) any {
		o := goodAnswer(a, func(o *testkit.Object) { o.Set("filler", "") })
		return o.With("filler", strings.Repeat("x", size-len(o.JSON()))).String()
	}
}

// Group O, further.
var _ = add(cases{
	"O80": said(accepted, map[string]func(*attempt) any{
		"all": with(func(o *testkit.Object) {
			o.Set("username", "alice")
			o.Set("iat", now().Unix())
			o.Set("nbf", now().Unix()-60)
			o.Set("jti", "x")
			o.Set("extension_field", obj("a", []any{1, nil, obj()}))
			o.Set("authorization_details", []any{obj("type", "x")})
			o.Set("empty", nil)
			o.Set("amr", []string{"pwd"})
		}),
		"white space": text(func(s string) string { return "\n " + strings.ReplaceAll(s, ",", " ,\n") + "\r\n" }), "escapes": text(func(s string) string { return strings.Replace(s, `"active"`, `"\u0061ctive"`, 1) }),
		"order":       with(func(o *testkit.Object) { o.Delete("active"); o.Add("active", true) }),
		"scope list":  withMember("scope", []string{"read", "write"}),
		"cnf members": with(func(o *testkit.Object) { o.Set("cnf", obj("jkt", jkt1(), "kid", "x", "y", 1)) }),
	}),
	"O81": said(lying, map[string]func(*attempt) any{
		"exp": withMember("exp", "x"), "aud": withMember("aud", 5), "scope": withMember("scope", 7), "iss": withMember("iss", 1), "sub": withMember("sub", obj()), "nbf": withMember("nbf", nil),
		"token_type": withMember("token_type", 1), "client_id": withMember("client_id", []string{"x"}), "iat": withMember("iat", "1"), "active list": withMember("active", []any{true}), "aud mixed": withMember("aud", []any{audience, 1}),
		"exp null": withMember("exp", nil), "sub control": withMember("sub", "a\r\nb"),
	}),
	"O82": said(lying, map[string]func(*attempt) any{
		"NaN": rawMember("exp", "NaN"), "Infinity": rawMember("exp", "Infinity"), "comment": text(func(s string) string { return s + "//" }),
		"quotes": text(func(s string) string { return strings.ReplaceAll(s, `"`, `'`) }), "twice": with(func(o *testkit.Object) { o.Add("cnf", obj("jkt", client2.Thumbprint())) }),
		"escaped twice": with(func(o *testkit.Object) { o.Add(`"\u0061ctive"`, true) }), "utf8": text(func(s string) string { return strings.Replace(s, "alice", "al\xffce", 1) }),
		"comma": text(func(s string) string { return s[:len(s)-1] + ",}" }), "two": text(func(s string) string { return s + s }), "utf16": text(utf16Of), "mark": text(func(s string) string { return "\xef\xbb\xbf" + s }),
		"case": with(func(o *testkit.Object) { o.Add("Active", true) }), "CNF": with(func(o *testkit.Object) { o.Add("CNF", obj()) }), "Token_Type": with(func(o *testkit.Object) { o.Add("Token_Type", "DPoP") }),
		"nul": text(func(s string) string { return s + "\x00" }), "hex": rawMember("exp", "0xffffffff"), "padded number": rawMember("exp", "09999999999"),
		"form": func(*attempt) any { return "active=true" }, "jsonp": text(func(s string) string { return "cb(" + s + ")" }),
	}),
	"O83": said(lying, map[string]func(*attempt) any{"40": rawMember("deep", string(deep(40))), "10000": rawMember("deep", string(deep(10000)))}),
	"O84": said(accepted, map[string]func(*attempt) any{
		"charset": status(200, "application/json; charset=utf-8"), "text": status(200, "text/plain"), "none": status(200, ""), "other": status(200, "application/problem+json"), "odd": status(200, "x; ;;"),
	}),
	"O85": said(noAnswer, map[string]func(*attempt) any{
		"201": status(201, "application/json"), "202": status(202, "application/json"), "204": badly(204, "application/json", ""), "206": status(206, "application/json"), "302": status(302, "application/json"),
		"304": badly(304, "application/json", ""), "404": status(404, "application/json"), "503": status(503, "application/json"), "401": status(401, "application/json"), "500 inactive": badly(500, "application/json", `{"active":false}`),
	}),
	"O86": said(inactive, map[string]func(*attempt) any{
		"type": badly(400, "application/json", `{"error":"unsupported_token_type"}`), "token": badly(400, "application/json", `{"error":"invalid_token","error_description":"x"}`), "request": badly(400, "application/json", `{"error":"invalid_request"}`),
	}),
	"O87": said(noAnswer, map[string]func(*attempt) any{"client": badly(400, "application/json", `{"error":"invalid_client"}`), "unauthorized": badly(400, "application/json", `{"error":"unauthorized_client"}`)}),
	"O88": said(noAnswer, map[string]func(*attempt) any{
		"html": badly(400, "text/html", "<html>The plain HTTP request was sent to HTTPS port"), "empty": badly(400, "", ""), "text": badly(400, "text/plain", "Request Header Or Cookie Too Large"), "no error": badly(400, "application/json", `{}`),
		"broken": badly(400, "application/json", `{"error":`), "number": badly(400, "application/json", `{"error":7}`),
	}),
	"O89": at("introspect/opaque", func(c *run) {
		for name, v := range map[string]struct {
			reason string
			answer func(*attempt) any
		}{
			"none": {"token_cnf_invalid", without("cnf")}, "empty": {"token_cnf_invalid", withMember("cnf", obj())}, "null": {"token_cnf_invalid", withMember("cnf", nil)}, "text": {"token_cnf_invalid", withMember("cnf", jkt1())},
			"other key": {"jkt_mismatch", withMember("cnf", obj("jkt", client2.Thumbprint()))}, "other case": {"jkt_mismatch", withMember("cnf", obj("jkt", otherCase(jkt1())))}, "null jkt": {"token_cnf_invalid", withMember("cnf", obj("jkt", nil))},
			"of no type": {"token_unbound", with(func(o *testkit.Object) { o.Delete("cnf"); o.Delete("token_type") })}, "Bearer": {"token_unbound", with(func(o *testkit.Object) { o.Delete("cnf"); o.Set("token_type", "Bearer") })},
			"top level": {"token_unbound", with(func(o *testkit.Object) { o.Delete("cnf"); o.Delete("token_type"); o.Set("jkt", jkt1()) })},
		} {
			c.variant(name, badToken(v.reason), func(a *attempt) { saying(a, v.answer(a)) })
		}
	}),
	"O90": said(badToken("token_audience_mismatch"), map[string]func(*attempt) any{
		"other": withMember("aud", "https://other.example.test"), "missing": without("aud"), "list": withMember("aud", []string{"a", "b"}), "upper": withMember("aud", strings.ToUpper(audience)), "empty": withMember("aud", []string{}), "slash": withMember("aud", audience+"/"),
	}),
	"O91": said(accepted, map[string]func(*attempt) any{
		"list": withMember("aud", []string{"x", audience}), "no iss": without("iss"), "no exp": without("exp"), "no scope": without("scope"), "no sub": without("sub"), "no client": without("client_id"), "no type": without("token_type"),
	}),
	"O92": said(issuerUnknown, map[string]func(*attempt) any{
		"other": withMember("iss", "https://other.example.test"), "slash": func(a *attempt) any { return withMember("iss", a.site.issuer.URL+"/")(a) }, "upper": func(a *attempt) any { return withMember("iss", strings.ToUpper(a.site.issuer.URL))(a) },
		"empty": withMember("iss", ""),
	}),
	"O93": at("introspect/opaque", func(c *run) {
		for name, v := range map[string]struct {
			reason string
			answer func(*attempt) any
		}{
			"exp 0": {"token_expired", withMember("exp", 0)}, "exp": {"token_expired", withMember("exp", now().Add(-time.Hour).Unix())}, "nbf": {"token_not_yet_valid", withMember("nbf", inAnHour())}, "iat": {"token_not_yet_valid", withMember("iat", inAnHour())},
		} {
			c.variant(name, badToken(v.reason), func(a *attempt) { saying(a, v.answer(a)) })
		}
	}),
	"O94": said(accepted, map[string]func(*attempt) any{"N_A": withMember("token_type", "N_A"), "access_token": withMember("token_type", "access_token"), "PoP": withMember("token_type", "PoP"), "empty": withMember("token_type", ""), "lower": withMember("token_type", "dpop")}),
	"O95": at("introspect/mixed", func(c *run) {
		for reason, answer := range map[string]func(*attempt) any{"token_cnf_invalid": without("cnf"), "bearer_bound": withMember("cnf", nil)} {
			c.variant(reason, bearerError("invalid_token", reason), func(a *attempt) { saying(a, answer(a)); a.bearer() })
		}
		a := c.attempt() // what is neither bound nor of that type is a bearer token
		saying(a, with(func(o *testkit.Object) { o.Delete("cnf"); o.Set("token_type", "Bearer") })(a))
		a.bearer()
		c.must(a, accepted)
	}),
	"O96": said(accepted, map[string]func(*attempt) any{
		"gzip": func(a *attempt) any {
			return handler(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				_, _ = z.Write(goodAnswer(a, nil).JSON())
				_ = z.Close()
			})
		},
		"chunks": func(a *attempt) any {
			return handler(func(w http.ResponseWriter, _ *http.Request) {
				for _, b := range goodAnswer(a, nil).JSON() {
					_, _ = w.Write([]byte{b})
					_ = http.NewResponseController(w).Flush()
				}
			})
		},
	}),
	"O97": said(accepted, map[string]func(*attempt) any{"65536": sized(65536)}),
	"O98": said(noAnswer, map[string]func(*attempt) any{"65537": sized(65537), "100000": sized(100000)}),
	"O99": at("introspect/opaque", func(c *run) {
		a := c.attempt()
		saying(a, handler(func(w http.ResponseWriter, r *http.Request) {
			for i := 0; r.Context().Err() == nil && i < 60; i++ {
				_, _ = fmt.Fprint(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Second)
			}
		}))
		done := make(chan *result)
		go func() { done <- a.send() }()
		if r := c.must(c.attempt(), accepted); r.Took > 2*time.Second {
			c.Errorf("another token waited %v", r.Took)
		}
		r := <-done
		c.answered(noAnswer)
		if r.check(c, noAnswer); r.Took > 10*time.Second {
			c.Errorf("the answer took %v", r.Took)
		}
	}),
})
