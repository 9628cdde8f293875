// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// TestSignedAnswers changes one thing about a good answer of RFC 9701.
func TestSignedAnswers(t *testing.T) {
	t.Parallel()
	inner := activeAnswer()
	set := func(name string, value any) func(*testkit.JWS) { return func(j *testkit.JWS) { j.Set(name, value) } }
	typ := func(value any) func(*testkit.JWS) { return func(j *testkit.JWS) { j.Head("typ", value) } }
	now := time.Now()
	for _, tt := range []struct {
		name   string
		change func(*testkit.JWS)
		want   Reason
	}{
		{"good", func(*testkit.JWS) {}, ""},
		{"full type", typ("application/token-introspection+jwt"), ""},
		{"aud among others", set("aud", []string{"x", "rs"}), ""},
		{"inactive", set("token_introspection", testkit.Object{{Name: "active", Value: false}}), Inactive},
		{"active a string", set("token_introspection", inner.With("active", "true")), IntrospectionInvalid},
		{"Bearer and bound", set("token_introspection", inner.With("token_type", "Bearer")), BearerBound},
		{"O35 typ JWT", typ("JWT"), IntrospectionInvalid},
		{"O35 typ at+jwt", typ("at+jwt"), IntrospectionInvalid},
		{"O35 typ absent", func(j *testkit.JWS) { j.Header = j.Header.Without("typ") }, IntrospectionInvalid},
		{"O36 aud of another", set("aud", "other"), IntrospectionInvalid},
		{"O36 aud missing", func(j *testkit.JWS) { j.Claims = j.Claims.Without("aud") }, IntrospectionInvalid},
		{"O36 iss of another", set("iss", "https://other.example"), IntrospectionInvalid},
		{"O36 iss missing", func(j *testkit.JWS) { j.Claims = j.Claims.Without("iss") }, IntrospectionInvalid},
		{"O37 alg none", func(j *testkit.JWS) {
			j.Head("alg", "none").Algorithm = "ES256"
			j.Signature = func(_, _ []byte) []byte { return nil }
		}, IntrospectionInvalid},
		{"O37 other key", func(j *testkit.JWS) { j.Key = testkit.P256("thief") }, IntrospectionInvalid},
		{"O37 unknown key", func(j *testkit.JWS) {
			j.Key = testkit.P256("thief")
			j.Head("kid", "k2")
		}, IntrospectionInvalid},
		{"O40 old", set("iat", now.Add(-2*time.Minute).Unix()), IntrospectionInvalid},
		{"iat missing", func(j *testkit.JWS) { j.Claims = j.Claims.Without("iat") }, IntrospectionInvalid},
		{"iat in the future", set("iat", now.Add(2*time.Minute).Unix()), IntrospectionInvalid},
		{"exp passed", set("exp", now.Add(-2*time.Minute).Unix()), IntrospectionInvalid},
		{"token_introspection missing", func(j *testkit.JWS) { j.Claims = j.Claims.Without("token_introspection") }, IntrospectionInvalid},
		{"token_introspection null", set("token_introspection", nil), IntrospectionInvalid},
		{"token_introspection a string", set("token_introspection", `{"active":true}`), IntrospectionInvalid},
		{"claims of the token outside", func(j *testkit.JWS) {
			j.Claims = append(j.Claims.Without("token_introspection"), testkit.Member{Name: "active", Value: true})
		}, IntrospectionInvalid},
		{"duplicate", func(j *testkit.JWS) { j.Claims.Add("token_introspection", inner) }, IntrospectionInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, key := newWeb(), testkit.P256("issuer")
			w.on(testJWKSURI, jwks(key.JWK("k1")))
			answer := &testkit.JWS{
				Key:    key,
				Header: testkit.Object{{Name: "typ", Value: "token-introspection+jwt"}, {Name: "alg", Value: "ES256"}, {Name: "kid", Value: "k1"}},
				Claims: testkit.Object{
					{Name: "iss", Value: testIssuer},
					{Name: "aud", Value: "rs"},
					{Name: "iat", Value: now.Unix()},
					{Name: "token_introspection", Value: inner},
				},
			}
			tt.change(answer)
			w.on(testEndpoint, func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept") != "application/token-introspection+jwt, application/json;q=0.5" {
					t.Errorf("Accept is %q", r.Header.Get("Accept"))
				}
				testkit.Status(http.StatusOK, signedAnswer+"; charset=utf-8", answer.String())(rw, r)
			})
			i := newIntrospection(t, w, func(c *IntrospectionConfig) {
				c.Keys = newKeySet(t, KeySetConfig{URI: testJWKSURI, Client: w.client()})
				c.ClockSkew = 30 * time.Second
			})
			c, err := i.Verify(t.Context(), "opaque")
			wantReason(t, err, tt.want)
			if err == nil && (c.Subject != "alice" || c.Confirmation.JKT == "" || c.Algorithm != "") {
				t.Errorf("claims %+v", c)
			}
			if v, _ := valueOf(c, "sub"); err == nil && v != "alice" {
				t.Errorf("claims of the answer instead of the token: %v", v)
			}
		})
	}
}

func valueOf(c *Claims, path ...string) (any, bool) {
	if c == nil {
		return nil, false
	}
	return c.Value(path...)
}

// TestSignedAnswerWithoutKeys: the key set's outage is an outage.
func TestSignedAnswerWithoutKeys(t *testing.T) {
	t.Parallel()
	w := newWeb()
	answer := &testkit.JWS{
		Key:    testkit.P256("issuer"),
		Header: testkit.Object{{Name: "typ", Value: "token-introspection+jwt"}, {Name: "alg", Value: "ES256"}},
		Claims: testkit.Object{{Name: "iss", Value: testIssuer}, {Name: "aud", Value: "rs"}, {Name: "iat", Value: time.Now().Unix()}},
	}
	w.on(testEndpoint, testkit.Status(http.StatusOK, signedAnswer, answer.String()))
	i := newIntrospection(t, w, func(c *IntrospectionConfig) {
		c.Keys = newKeySet(t, KeySetConfig{URI: testJWKSURI, Client: w.client()})
	})
	_, err := i.Verify(t.Context(), "opaque")
	wantReason(t, err, KeysUnavailable)

	// An answer that is not signed is one too.
	w.on(testEndpoint, answerJSON(activeAnswer()))
	_, err = i.Verify(t.Context(), "opaque")
	wantReason(t, err, "")
}
