// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const testEndpoint = testIssuer + "/introspect"

// activeAnswer is a good answer about a token bound to the client's key.
func activeAnswer() testkit.Object {
	return testkit.Object{
		{Name: "active", Value: true},
		{Name: "iss", Value: testIssuer},
		{Name: "aud", Value: testAudience},
		{Name: "sub", Value: "alice"},
		{Name: "client_id", Value: "app"},
		{Name: "scope", Value: "read write"},
		{Name: "exp", Value: time.Now().Add(time.Hour).Unix()},
		{Name: "token_type", Value: "DPoP"},
		{Name: "cnf", Value: testkit.Object{{Name: "jkt", Value: testkit.P256("client").Thumbprint()}}},
	}
}

// newIntrospection makes an Introspection of testEndpoint on w.
func newIntrospection(t testing.TB, w *web, change func(*IntrospectionConfig)) *Introspection {
	t.Helper()
	c := IntrospectionConfig{
		Endpoint: testEndpoint, Issuer: testIssuer, ClientID: "rs", ClientSecret: "secret", Client: w.client(),
	}
	if change != nil {
		change(&c)
	}
	i, err := NewIntrospection(c)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestIntrospectionAnswers(t *testing.T) {
	t.Parallel()
	answer := activeAnswer()
	with := func(name string, value any) http.HandlerFunc { return answerJSON(answer.With(name, value)) }
	raw := func(body string) http.HandlerFunc {
		return testkit.Status(http.StatusOK, "application/json", body)
	}
	status := func(code int, body string) http.HandlerFunc {
		return testkit.Status(code, "application/json", body)
	}
	jkt := testkit.P256("client").Thumbprint()
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   Reason
	}{
		{"good", answerJSON(answer), ""},
		{"least", answerJSON(testkit.Object{{Name: "active", Value: true}}), ""},
		{"any content type", testkit.Status(200, "text/plain", answer.String()), ""},
		{"O01 inactive", raw(`{"active":false}`), Inactive},
		{"inactive with details", with("active", false), Inactive},
		{"O02 active as a string", with("active", "true"), IntrospectionInvalid},
		{"O02 inactive as a string", with("active", "false"), IntrospectionInvalid},
		{"O02 active as a number", with("active", 1), IntrospectionInvalid},
		{"active null", with("active", nil), IntrospectionInvalid},
		{"O03 active missing", raw(`{}`), IntrospectionInvalid},
		{"O03 array", raw(`[]`), IntrospectionInvalid},
		{"O03 null", raw(`null`), IntrospectionInvalid},
		{"Active beside active", answerJSON(answer.With("Active", false)), IntrospectionInvalid},
		{"active twice", raw(`{"active":false,"active":true}`), IntrospectionInvalid},
		{"O08 Bearer with cnf", with("token_type", "Bearer"), BearerBound},
		{"O08 bearer in lower case", with("token_type", "bearer"), BearerBound},
		{"Bearer with a certificate", answerJSON(answer.With("token_type", "Bearer").With("cnf", testkit.Object{{Name: "x5t#S256", Value: jkt}})), ""},
		{"DPoP without cnf", answerJSON(answer.Without("cnf")), CnfInvalid},
		{"O09 dpop in lower case", with("token_type", "dpop"), ""},
		{"token_type missing", answerJSON(answer.Without("token_type")), ""},
		{"token_type number", with("token_type", 1), IntrospectionInvalid},
		{"exp string", with("exp", "1"), IntrospectionInvalid},
		{"aud with a number", with("aud", []any{1}), IntrospectionInvalid},
		{"CNF", answerJSON(answer.With("CNF", nil)), IntrospectionInvalid},
		{"O14 500", status(500, ""), IntrospectionUnavailable},
		{"503", status(503, `{"active":true}`), IntrospectionUnavailable},
		{"404", status(404, ""), IntrospectionUnavailable},
		{"204", status(204, ""), IntrospectionUnavailable},
		{"O18 401", status(401, `{"error":"invalid_client"}`), IntrospectionUnavailable},
		{"403", status(403, ""), IntrospectionUnavailable},
		{"429", status(429, ""), IntrospectionUnavailable},
		{"400 wrong kind of token", status(400, `{"error":"unsupported_token_type"}`), Inactive},
		{"400 about the request", status(400, `{"error":"invalid_request"}`), Inactive},
		{"400 without a word", status(400, ``), IntrospectionUnavailable},
		{"400 without a code", status(400, `{}`), IntrospectionUnavailable},
		{"400 with a number for a code", status(400, `{"error":7}`), IntrospectionUnavailable},
		{"400 of a proxy", status(400, `<html>The plain HTTP request was sent to HTTPS port`), IntrospectionUnavailable},
		{"400 about itself", status(400, `{"error":"temporarily_unavailable"}`), IntrospectionUnavailable},
		{"400 about us", status(400, `{"error":"invalid_client"}`), IntrospectionUnavailable},
		{"O20 truncated", raw(`{"active":true`), IntrospectionInvalid},
		{"O20 trailing", raw(`{"active":true}{"active":false}`), IntrospectionInvalid},
		{"HTML", raw(`<html>`), IntrospectionInvalid},
		{"empty", raw(``), IntrospectionInvalid},
		{"O22 redirect", testkit.Redirect("https://canary.example/"), IntrospectionUnavailable},
		{"O22 redirect to a file", testkit.Redirect("file:///etc/passwd"), IntrospectionUnavailable},
		{"O15 refused", nil, IntrospectionUnavailable},
		{"as large as can be", raw(`{"active":false,"x":"` + strings.Repeat("x", maxAnswerSize-23) + `"}`), Inactive},
		{"one byte larger", raw(`{"active":false,"x":"` + strings.Repeat("x", maxAnswerSize-22) + `"}`), IntrospectionUnavailable},
		{"signed although not asked for", testkit.Status(200, signedAnswer, "a.b.c"), IntrospectionInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWeb()
			w.on(testEndpoint, tt.answer)
			i := newIntrospection(t, w, nil)
			c, err := i.Verify(t.Context(), "opaque")
			wantReason(t, err, tt.want)
			if (c == nil) != (err != nil) {
				t.Errorf("claims %+v with %v", c, err)
			}
			if n := w.total(); n != 1 {
				t.Errorf("asked for %q", w.asked)
			}
			if e, ok := errors.AsType[*Error](err); ok && (e.RetryAfter > 0) != tt.want.Unavailable() {
				t.Errorf("Retry-After %v for %s", e.RetryAfter, tt.want)
			}
		})
	}
}

func TestIntrospectionClaims(t *testing.T) {
	t.Parallel()
	w := newWeb()
	w.on(testEndpoint, answerJSON(activeAnswer().With("act", testkit.Object{{Name: "sub", Value: "bob"}})))
	c, err := newIntrospection(t, w, nil).Verify(t.Context(), "opaque")
	wantReason(t, err, "")
	p := policy()
	p.Scopes = []string{"write"}
	wantReason(t, p.Check(c, time.Now()), "")
	wantReason(t, p.CheckScope(c), "")
	wantReason(t, c.CheckBinding(testkit.P256("client").Thumbprint()), "")
	wantReason(t, c.CheckBinding(testkit.P256("other").Thumbprint()), JKTMismatch)
	if c.Subject != "alice" || c.ClientID != "app" || c.Type != "" || c.Algorithm != "" || !c.Live() {
		t.Errorf("got %+v", c)
	}
	if v, ok := c.Value("act", "sub"); v != "bob" || !ok {
		t.Errorf("value %v", v)
	}

	w.on(testEndpoint, answerJSON(activeAnswer().Without("iss", "sub")))
	if c, err = newIntrospection(t, w, nil).Verify(t.Context(), "opaque"); err != nil || c.Issuer != testIssuer {
		t.Errorf("without iss: %+v, %v", c, err)
	}
	w.on(testEndpoint, answerJSON(activeAnswer().With("iss", "https://other.example")))
	c, err = newIntrospection(t, w, nil).Verify(t.Context(), "opaque")
	wantReason(t, err, "")
	wantReason(t, p.Check(c, time.Now()), IssuerUnknown)
	w.on(testEndpoint, answerJSON(activeAnswer().Without("aud")))
	c, err = newIntrospection(t, w, nil).Verify(t.Context(), "opaque")
	wantReason(t, err, "")
	wantReason(t, p.Check(c, time.Now()), AudienceMismatch)
}

func TestOneRequestPerToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.on(testEndpoint, answerJSON(activeAnswer()))
		w.slow(time.Second)
		i := newIntrospection(t, w, nil)
		gone, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := i.Verify(gone, "opaque")
		wantReason(t, err, IntrospectionUnavailable) // the caller went away, the request goes on
		parallel(200, func(int) error {
			_, err := i.Verify(t.Context(), "opaque")
			return err
		})(t, "")
		if n := w.total(); n != 1 {
			t.Errorf("%d requests", n)
		}
		// O31: equal in their first 1000 bytes, and yet two tokens.
		long := strings.Repeat("x", 1000)
		for _, end := range []string{"a", "b"} {
			_, err = i.Verify(t.Context(), long+end)
			wantReason(t, err, "")
		}
		if n := w.total(); n != 3 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.on(testEndpoint, answerJSON(activeAnswer()))
		i := newIntrospection(t, w, nil)
		hash := sha256.Sum256([]byte("opaque"))
		if _, ok := i.Cached(hash); ok {
			t.Error("cached before it was asked about")
		}
		c, err := i.Verify(t.Context(), "opaque")
		wantReason(t, err, "")
		w.on(testEndpoint, answerJSON(testkit.Object{{Name: "active", Value: false}}))

		time.Sleep(DefaultCacheTTL - time.Nanosecond)
		if cached, ok := i.Cached(hash); !ok || cached != c || !c.Live() {
			t.Error("forgotten too early")
		}
		_, err = i.Verify(t.Context(), "opaque")
		wantReason(t, err, "")
		time.Sleep(time.Nanosecond)
		if _, ok := i.Cached(hash); ok || c.Live() {
			t.Error("remembered too long")
		}
		for range 3 { // the refusal is remembered for a short time
			_, err = i.Verify(t.Context(), "opaque")
			wantReason(t, err, Inactive)
		}
		if n := w.total(); n != 2 {
			t.Errorf("%d requests", n)
		}
		w.on(testEndpoint, answerJSON(activeAnswer()))
		time.Sleep(DefaultRefusalTTL)
		_, err = i.Verify(t.Context(), "opaque")
		wantReason(t, err, "")
	})
}

func TestCachedPastExp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // O25
		w := newWeb()
		w.on(testEndpoint, answerJSON(activeAnswer().With("exp", time.Now().Add(10*time.Second).Unix())))
		i := newIntrospection(t, w, nil)
		c, err := i.Verify(t.Context(), "opaque")
		wantReason(t, err, "")
		time.Sleep(10 * time.Second)
		if c.Live() {
			t.Error("remembered past exp")
		}
	})
}

func TestNoCache(t *testing.T) {
	t.Parallel()
	w := newWeb()
	w.on(testEndpoint, answerJSON(activeAnswer()))
	i := newIntrospection(t, w, func(c *IntrospectionConfig) { c.CacheTTL = new(time.Duration) })
	for range 3 {
		c, err := i.Verify(t.Context(), "opaque")
		wantReason(t, err, "")
		if c.Live() {
			t.Error("claims outlive the request")
		}
	}
	w.on(testEndpoint, answerJSON(testkit.Object{{Name: "active", Value: false}}))
	for range 2 {
		_, err := i.Verify(t.Context(), "opaque")
		wantReason(t, err, Inactive)
	}
	if n := w.total(); n != 5 {
		t.Errorf("%d requests", n)
	}
}

func TestSlowEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.on(testEndpoint, answerJSON(activeAnswer()))
		i := newIntrospection(t, w, func(c *IntrospectionConfig) {
			c.MaxConcurrent = 2
			ttl := time.Hour
			c.CacheTTL = &ttl
		})
		_, err := i.Verify(t.Context(), "known")
		wantReason(t, err, "")
		w.slow(time.Minute)

		start := time.Now()
		waited := make([]time.Duration, 10)
		parallel(len(waited), func(n int) error {
			_, err := i.Verify(t.Context(), fmt.Sprint("new", n))
			waited[n] = time.Since(start)
			return err
		})(t, IntrospectionUnavailable)
		queued := 0
		for _, d := range waited {
			switch d {
			case DefaultMaxQueue:
				queued++
			case DefaultIntrospectionTimeout:
			default:
				t.Errorf("waited %v", d)
			}
		}
		if n := w.total(); queued != 8 || n != 3 {
			t.Errorf("%d gave up in the queue, %d requests", queued, n)
		}

		// Whoever has a token that is known notices nothing.
		go func() { _, _ = i.Verify(context.Background(), "another") }()
		synctest.Wait()
		start = time.Now()
		_, err = i.Verify(t.Context(), "known")
		wantReason(t, err, "")
		if d := time.Since(start); d != 0 {
			t.Errorf("a known token waited %v", d)
		}
		// O42: it is asked again as soon as it works; an outage is not remembered.
		time.Sleep(DefaultIntrospectionTimeout)
		synctest.Wait()
		w.slow(0)
		_, err = i.Verify(t.Context(), "new0")
		wantReason(t, err, "")
		if st := i.Status(); st.UnderWay != 0 || st.LastError != "" || st.Active != 2 || st.Calls != 5 || st.Failures != 3 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestRandomTokenFlood(t *testing.T) {
	t.Parallel()
	w := newWeb() // O32
	w.on(testEndpoint, answerJSON(activeAnswer()))
	clock := testkit.NewClock(time.Now())
	i := newIntrospection(t, w, func(c *IntrospectionConfig) { c.CacheSize, c.Now = 1000, clock.Now })
	_, err := i.Verify(t.Context(), "good")
	wantReason(t, err, "")
	w.on(testEndpoint, answerJSON(testkit.Object{{Name: "active", Value: false}}))
	for n := range 10_000 {
		_, err := i.Verify(t.Context(), fmt.Sprint("random", n))
		wantReason(t, err, Inactive)
	}
	if st := i.Status(); st.Refused != 1000 || st.Active != 1 {
		t.Errorf("status %+v", st)
	}
	asked := w.total()
	_, err = i.Verify(t.Context(), "good")
	wantReason(t, err, "")
	_, err = i.Verify(t.Context(), "random9999")
	wantReason(t, err, Inactive)
	if w.total() != asked {
		t.Error("the flood pushed out what it must not")
	}
	_, err = i.Verify(t.Context(), strings.Repeat("x", DefaultMaxSize+1))
	wantReason(t, err, TooLarge)
	_, err = i.Verify(t.Context(), "")
	wantReason(t, err, Malformed)
	if w.total() != asked {
		t.Error("asked about what no token can be")
	}
}

// TestSecrets: whatever goes wrong, neither token nor secret is in an error or a log.
func TestSecrets(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.DebugLevel)
	w := newWeb()
	i := newIntrospection(t, w, func(c *IntrospectionConfig) {
		c.ClientSecret, c.Logger, c.CacheTTL = "s3cr3t", zap.New(core), new(time.Duration)
	})
	for _, answer := range []http.HandlerFunc{
		nil, testkit.Status(500, "", "t0k3n"), testkit.Status(200, "", "t0k3n s3cr3t"), answerJSON(activeAnswer()), testkit.Status(400, "", "t0k3n"), nil,
	} {
		w.on(testEndpoint, answer)
		_, err := i.Verify(t.Context(), "t0k3n")
		if text := fmt.Sprint(err); strings.Contains(text, "t0k3n") || strings.Contains(text, "s3cr3t") {
			t.Errorf("error %q", text)
		}
	}
	var lines []string
	for _, entry := range logs.All() {
		line := fmt.Sprint(entry.Message, entry.ContextMap())
		if strings.Contains(line, "t0k3n") || strings.Contains(line, "s3cr3t") {
			t.Errorf("log %q", line)
		}
		lines = append(lines, entry.Message)
	}
	want := "introspection fails,introspection works again,introspection fails"
	if got := strings.Join(lines, ","); got != want {
		t.Errorf("logged %s", got)
	}
}

// TestIntrospectionTransport goes through real connections.
func TestIntrospectionTransport(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		secure bool
		fault  http.HandlerFunc
		want   Reason
	}{
		{"good", false, nil, ""},
		{"O15 reset", false, testkit.Reset, IntrospectionUnavailable},
		{"O16 hang", false, testkit.Hang(time.Minute), IntrospectionUnavailable},
		{"O21 endless", false, testkit.Flood, IntrospectionUnavailable},
		{"O21 compressed", false, gzipBomb, IntrospectionUnavailable},
		{"O41 certificate nobody trusts", true, nil, IntrospectionUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			newServer := testkit.NewIssuer
			if tt.secure {
				newServer = testkit.NewTLSIssuer
			}
			server := newServer("introspection")
			defer server.Close()
			const raw = "a+b/c=d~e f&g%" // O29
			server.Introspects(raw, activeAnswer())
			if tt.fault != nil {
				server.Fault(testkit.PathIntrospect, tt.fault)
			}
			i, err := NewIntrospection(IntrospectionConfig{
				Endpoint: server.URL + testkit.PathIntrospect, ClientID: "rs", ClientSecret: "secret", Timeout: 200 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = i.Verify(t.Context(), raw)
			wantReason(t, err, tt.want)
			i.Close()
		})
	}
}

var bomb = sync.OnceValue(func() []byte { return compress(strings.NewReader(strings.Repeat(" ", 100*maxAnswerSize))) })

func gzipBomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(bomb())
}
