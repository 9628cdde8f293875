// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// judge is what a handler does with a token that is bound to the client's key.
func judge(t testing.TB, f *fixture, p Policy, raw string) error {
	t.Helper()
	c, err := f.issuer.Verify(t.Context(), raw)
	if err != nil {
		return err
	}
	if err := p.Check(c, f.clock.Now()); err != nil {
		return err
	}
	if err := c.CheckBinding(testkit.P256("client").Thumbprint()); err != nil {
		return err
	}
	return p.CheckScope(c)
}

// TestToken changes one thing about a good token, as group N of the catalogue of
// attacks does; the names carry the catalogue's numbers.
func TestToken(t *testing.T) {
	t.Parallel()
	set := func(name string, value any) func(*testkit.JWS) { return func(j *testkit.JWS) { j.Set(name, value) } }
	head := func(name string, value any) func(*testkit.JWS) { return func(j *testkit.JWS) { j.Head(name, value) } }
	without := func(names ...string) func(*testkit.JWS) {
		return func(j *testkit.JWS) { j.Claims = j.Claims.Without(names...) }
	}
	cnf := func(value any) func(*testkit.JWS) { return set("cnf", value) }
	jkt := testkit.P256("client").Thumbprint()
	now := epoch.Unix()

	for _, tt := range []struct {
		name   string
		change func(*testkit.JWS)
		want   Reason
	}{
		{"good", func(*testkit.JWS) {}, ""},
		{"N04 other issuer", set("iss", "https://auth.example.org"), IssuerUnknown},
		{"N04 trailing slash", set("iss", testIssuer+"/"), IssuerUnknown},
		{"N04 case", set("iss", "https://AUTH.example.com"), IssuerUnknown},
		{"iss missing", without("iss"), IssuerUnknown},
		{"iss array", set("iss", []string{testIssuer}), ClaimsInvalid},
		{"iss null", set("iss", nil), ClaimsInvalid},
		{"N07 no aud", without("aud"), AudienceMismatch},
		{"N07 aud null", set("aud", nil), ClaimsInvalid},
		{"N07 aud array of null", set("aud", []any{nil}), ClaimsInvalid},
		{"N07 aud array with a number", set("aud", []any{testAudience, 1}), ClaimsInvalid},
		{"N07 aud object", set("aud", testkit.Object{{Name: "0", Value: testAudience}}), ClaimsInvalid},
		{"aud empty array", set("aud", []string{}), AudienceMismatch},
		{"aud among others", set("aud", []string{"https://a.example", testAudience}), ""},
		{"aud of another", set("aud", "https://a.example"), AudienceMismatch},
		{"aud prefix", set("aud", testAudience+"/"), AudienceMismatch},
		{"N08 alg none", func(j *testkit.JWS) {
			j.Head("alg", "none").Algorithm = "ES256"
			j.Signature = func(_, _ []byte) []byte { return nil }
		}, AlgUnsupported},
		{"N08 alg None", func(j *testkit.JWS) { j.Head("alg", "None").Algorithm = "ES256" }, AlgUnsupported},
		{"N09 HS256 by the public key", func(j *testkit.JWS) {
			j.Head("alg", "HS256").Algorithm = "ES256"
			j.Signature = func(input, _ []byte) []byte { return testkit.SignHMAC(j.Key.Public.JSON(), input) }
		}, AlgUnsupported},
		{"alg missing", func(j *testkit.JWS) { j.Header, j.Algorithm = j.Header.Without("alg"), "ES256" }, AlgUnsupported},
		{"alg number", func(j *testkit.JWS) { j.Head("alg", 256).Algorithm = "ES256" }, Malformed},
		{"alg of another curve", func(j *testkit.JWS) { j.Head("alg", "ES384").Algorithm = "ES256" }, SignatureInvalid},
		{"alg of another kind", func(j *testkit.JWS) { j.Head("alg", "RS256").Algorithm = "ES256" }, SignatureInvalid},
		{"alg ES256K", func(j *testkit.JWS) { j.Head("alg", "ES256K").Algorithm = "ES256" }, AlgUnsupported},
		{"N11 kid missing", func(j *testkit.JWS) { j.Header = j.Header.Without("kid") }, ""},
		{"kid number", head("kid", 1), Malformed},
		{"kid empty", head("kid", ""), ""},
		{"N16 jku beside the right key", head("jku", "https://canary.example/jwks"), ""},
		{"N16 x5u beside the right key", head("x5u", "https://canary.example/cert"), ""},
		{"N16 foreign jwk beside the right key", head("jwk", testkit.P256("thief").Public), ""},
		{"N16 signed by its own jwk", func(j *testkit.JWS) {
			j.Key = testkit.P256("thief")
			j.Head("jwk", j.Key.Public)
		}, SignatureInvalid},
		{"N16 own jwk without kid", func(j *testkit.JWS) {
			j.Key = testkit.P256("thief")
			j.Header = j.Header.Without("kid").With("jwk", j.Key.Public)
		}, SignatureInvalid},
		{"private jwk in the header", head("jwk", testkit.P256("thief").PrivateJWK()), Malformed},
		{"N14 typ JWT", head("typ", "JWT"), ""},
		{"N14 typ jwt", head("typ", "jwt"), ""},
		{"N14 typ absent", func(j *testkit.JWS) { j.Header = j.Header.Without("typ") }, ""},
		{"N15 full media type", head("typ", "application/at+jwt"), ""},
		{"N16 case of typ", head("typ", "AT+JWT"), ""},
		{"N18 typ dpop+jwt", head("typ", "dpop+jwt"), TypInvalid},
		{"O39 typ token-introspection+jwt", head("typ", "token-introspection+jwt"), TypInvalid},
		{"typ logout+jwt", head("typ", "logout+jwt"), TypInvalid},
		{"typ number", head("typ", 1), Malformed},
		{"typ null", head("typ", nil), Malformed},
		{"N22 exp missing", without("exp"), ClaimsInvalid},
		{"N22 exp string", set("exp", "1900000000"), ClaimsInvalid},
		{"N22 exp null", set("exp", nil), ClaimsInvalid},
		{"N22 exp 1e400", set("exp", testkit.Raw("1e400")), ClaimsInvalid},
		{"N22 exp NaN", set("exp", testkit.Raw("NaN")), ClaimsInvalid},
		{"exp beyond dates", set("exp", testkit.Raw("1e18")), ClaimsInvalid},
		{"exp with a fraction", set("exp", float64(now)+0.5), ""},
		{"exp long ago", set("exp", now-3600), Expired},
		{"exp zero", set("exp", 0), Expired},
		{"N52 exp within the skew", set("exp", now-29), ""},
		{"exp at the skew", set("exp", now-30), Expired},
		{"nbf within the skew", set("nbf", now+30), ""},
		{"nbf past the skew", set("nbf", now+31), NotYetValid},
		{"nbf string", set("nbf", "0"), ClaimsInvalid},
		{"iat within the skew", set("iat", now+30), ""},
		{"iat past the skew", set("iat", now+31), NotYetValid},
		{"iat boolean", set("iat", true), ClaimsInvalid},
		{"sub number", set("sub", 7), ClaimsInvalid},
		{"scope number", set("scope", 7), ClaimsInvalid},
		{"cnf missing", without("cnf"), Unbound},
		{"cnf null", cnf(nil), CnfInvalid},
		{"cnf string", cnf(jkt), CnfInvalid},
		{"cnf array", cnf([]string{jkt}), CnfInvalid},
		{"cnf empty", cnf(testkit.Object{}), CnfInvalid},
		{"N25 jkt null", cnf(testkit.Object{{Name: "jkt", Value: nil}}), CnfInvalid},
		{"N25 jkt number", cnf(testkit.Object{{Name: "jkt", Value: 5}}), CnfInvalid},
		{"N25 jkt empty", cnf(testkit.Object{{Name: "jkt", Value: ""}}), CnfInvalid},
		{"N25 jkt array", cnf(testkit.Object{{Name: "jkt", Value: []string{jkt}}}), CnfInvalid},
		{"N26 jkt upper case", cnf(testkit.Object{{Name: "jkt", Value: "A" + strings.ToUpper(jkt)[1:42] + "A"}}), JKTMismatch},
		{"N27 jkt padded", cnf(testkit.Object{{Name: "jkt", Value: jkt + "="}}), CnfInvalid},
		{"N27 jkt stray bits", cnf(testkit.Object{{Name: "jkt", Value: testkit.LooseBits(jkt)}}), CnfInvalid},
		{"N27 jkt standard alphabet", cnf(testkit.Object{{Name: "jkt", Value: "+" + jkt[1:]}}), CnfInvalid},
		{"N27 jkt hex", cnf(testkit.Object{{Name: "jkt", Value: strings.Repeat("ab", 32)}}), CnfInvalid},
		{"N28 jkt leading blank", cnf(testkit.Object{{Name: "jkt", Value: " " + jkt}}), CnfInvalid},
		{"N28 jkt trailing blank", cnf(testkit.Object{{Name: "jkt", Value: jkt[:42] + " "}}), CnfInvalid},
		{"N28 jkt with a line break", cnf(testkit.Object{{Name: "jkt", Value: jkt[:42] + "\n"}}), CnfInvalid},
		{"N32 unknown member", cnf(testkit.Object{{Name: "jkt", Value: jkt}, {Name: "kid", Value: "a"}}), ""},
		{"N33 top-level jkt", func(j *testkit.JWS) { j.Claims = j.Claims.Without("cnf").With("jkt", jkt) }, Unbound},
		{"N34 cnf.jwk only", cnf(testkit.Object{{Name: "jwk", Value: testkit.P256("client").Public}}), CnfInvalid},
		{"cnf.kid only", cnf(testkit.Object{{Name: "kid", Value: "a"}}), CnfInvalid},
		{"N35 CNF", func(j *testkit.JWS) { j.Claims.Rename("cnf", "CNF") }, ClaimsInvalid},
		{"N35 CNF beside cnf", func(j *testkit.JWS) { j.Claims.Add("CNF", nil) }, ClaimsInvalid},
		{"N35 JKT", cnf(testkit.Object{{Name: "JKT", Value: jkt}}), CnfInvalid},
		{"N35 JKT beside jkt", cnf(testkit.Object{{Name: "jkt", Value: jkt}, {Name: "Jkt", Value: jkt}}), CnfInvalid},
		{"N49 bound to another key", cnf(testkit.Object{{Name: "jkt", Value: testkit.P256("other").Thumbprint()}}), JKTMismatch},
		{"certificate only", cnf(testkit.Object{{Name: "x5t#S256", Value: jkt}}), Unbound},
		{"N54 token_type Bearer", set("token_type", "Bearer"), ""},
		{"N55 sub missing", without("sub"), ""},
		{"N55 jti missing", without("jti"), ""},
		{"signature by another key", func(j *testkit.JWS) { j.Key = testkit.P256("thief") }, SignatureInvalid},
		{"N50 zero signature", func(j *testkit.JWS) {
			j.Signature = func(_, _ []byte) []byte { return make([]byte, 64) }
		}, SignatureInvalid},
		{"N19 signature cut", func(j *testkit.JWS) {
			j.Signature = func(_, sig []byte) []byte { return sig[:63] }
		}, SignatureInvalid},
		{"signature empty", func(j *testkit.JWS) {
			j.Signature = func(_, _ []byte) []byte { return nil }
		}, SignatureInvalid},
		{"stray bits in the signature", func(j *testkit.JWS) {
			j.EncodeSignature = func(b []byte) string { return testkit.LooseBits(testkit.B64(b)) }
		}, Malformed},
		{"padded payload", func(j *testkit.JWS) {
			j.EncodeClaims = func(b []byte) string { return testkit.B64(b) + "=" }
		}, Malformed},
		{"line break in the header", func(j *testkit.JWS) {
			j.EncodeHeader = func(b []byte) string { return testkit.B64(b) + "\r\n" }
		}, Malformed},
		{"crit", head("crit", []string{"exp"}), Malformed},
		{"b64 false", head("b64", false), Malformed},
		{"ALG beside alg", head("ALG", "none"), Malformed},
		{"duplicate header parameter", func(j *testkit.JWS) { j.Header.Add("alg", "none"); j.Algorithm = "ES256" }, Malformed},
		{"header array", func(j *testkit.JWS) { j.RawHeader = []byte(`[]`) }, Malformed},
		{"header broken", func(j *testkit.JWS) { j.RawHeader = []byte(`{"alg":"ES256"`) }, Malformed},
		{"header byte order mark", func(j *testkit.JWS) { j.RawHeader = append([]byte("\ufeff"), j.Header.JSON()...) }, Malformed},
		{"duplicate claim", func(j *testkit.JWS) { j.Claims.Add("iss", testIssuer) }, ClaimsInvalid},
		{"duplicate member in cnf", cnf(testkit.Object{{Name: "jkt", Value: jkt}, {Name: "jkt", Value: jkt}}), ClaimsInvalid},
		{"claims array", func(j *testkit.JWS) { j.RawClaims = []byte(`[]`) }, ClaimsInvalid},
		{"claims not UTF-8", func(j *testkit.JWS) { j.RawClaims = []byte("{\"iss\":\"\xff\"}") }, ClaimsInvalid},
		{"trailing claims", func(j *testkit.JWS) { j.RawClaims = append(j.Claims.JSON(), "{}"...) }, ClaimsInvalid},
		{"nested too deeply", set("x", testkit.Raw(strings.Repeat("[", 40)+strings.Repeat("]", 40))), ClaimsInvalid},
		{"10000 digits in an unrelated claim", set("x", testkit.Raw(strings.Repeat("9", 10000))), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			j := f.token(f.key, "k1")
			tt.change(j)
			wantReason(t, judge(t, f, policy(), j.String()), tt.want)
			for _, address := range f.web.asked {
				if address != testJWKSURI {
					t.Errorf("asked for %s", address)
				}
			}
		})
	}
}

// TestForms has what is no token of ours at first sight, and makes no request.
func TestForms(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.token(f.key, "k1").String()
	h, p, s := f.token(f.key, "k1").Segments()
	for _, tt := range []struct {
		name, raw string
		want      Reason
	}{
		{"N45 opaque", "mF_9.B5f-4.1JqM", Malformed},
		{"one segment", "mF_9B5f-41JqM", Malformed},
		{"empty", "", Malformed},
		{"dots", "..", Malformed},
		{"no header", "." + p + "." + s, Malformed},
		{"detached payload", h + ".." + s, Malformed},
		{"four segments", good + ".x", Malformed},
		{"N39 JWE", h + "." + p + "." + s + "." + p + "." + s, Malformed},
		{"JSON serialisation", `{"payload":"` + p + `","protected":"` + h + `","signature":"` + s + `"}`, Malformed},
		{"leading blank", " " + good, Malformed},
		{"percent-encoded dots", strings.ReplaceAll(good, ".", "%2E"), Malformed},
		{"too large", good + strings.Repeat("A", DefaultMaxSize), TooLarge},
		{"many dots", strings.Repeat(".", DefaultMaxSize), Malformed},
		{"expired", f.token(testkit.P256("thief"), "x").Set("exp", epoch.Unix()-60).String(), Expired},
		{"N42 issuer elsewhere", f.token(testkit.P256("thief"), "x").Set("iss", "https://canary.example").String(), IssuerUnknown},
	} {
		_, err := f.issuer.Verify(t.Context(), tt.raw)
		if got := ReasonOf(err); got != tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	if n := f.web.total(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestSizeLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw := f.token(f.key, "k1").Set("pad", strings.Repeat("x", 100)).String()
	for _, tt := range []struct {
		limit int
		want  Reason
	}{{len(raw), ""}, {len(raw) - 1, TooLarge}} {
		i, err := NewIssuer(IssuerConfig{Issuer: testIssuer, Keys: f.keys, MaxSize: tt.limit, Now: f.clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		_, err = i.Verify(t.Context(), raw)
		wantReason(t, err, tt.want)
	}
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	keys := map[string]*testkit.Key{
		"ES256": testkit.P256("a"), "ES384": testkit.P384("a"), "ES512": testkit.P521("a"),
		"EdDSA": testkit.Ed25519("a"), "Ed25519": testkit.Ed25519("a"),
	}
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		keys[alg] = testkit.RSA(2048, "issuer")
	}
	for _, alg := range Algorithms() {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			key := keys[alg]
			f := newFixture(t, key.JWK("k1").Without("alg"))
			good := f.token(key, "k1").Head("alg", alg)
			wantReason(t, judge(t, f, policy(), good.String()), "")
			bad := f.token(key, "k1").Head("alg", alg)
			bad.Signature = func(_, sig []byte) []byte { sig[10] ^= 1; return sig }
			wantReason(t, judge(t, f, policy(), bad.String()), SignatureInvalid)
		})
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw := f.token(f.key, "k1").Set("nbf", epoch.Unix()-5).Set("aud", []string{"a", testAudience}).
		Set("realm", testkit.Object{{Name: "roles", Value: []string{"x", "y"}}, {Name: "n", Value: testkit.Raw("12345678901234567890")}}).String()
	c, err := f.issuer.Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case c.Issuer != testIssuer, c.Subject != "alice", c.ClientID != "app",
		strings.Join(c.Audience, " ") != "a "+testAudience, strings.Join(c.Scopes, " ") != "read write",
		!c.Expiry.Equal(epoch.Add(time.Hour)), !c.NotBefore.Equal(epoch.Add(-5 * time.Second)), !c.IssuedAt.Equal(epoch),
		c.Type != "at+jwt", c.Algorithm != "ES256",
		c.Confirmation != Confirmation{Present: true, JKT: testkit.P256("client").Thumbprint()}, !c.Live():
		t.Errorf("got %+v", c)
	}
	for _, tt := range []struct {
		path string
		want any
	}{{"sub", "alice"}, {"cnf/jkt", testkit.P256("client").Thumbprint()}, {"sub/x", nil}, {"nothing", nil}, {"realm/nothing", nil}} {
		got, ok := c.Value(strings.Split(tt.path, "/")...)
		if got != tt.want || ok != (tt.want != nil) {
			t.Errorf("%s: got %v, %v", tt.path, got, ok)
		}
	}
	if n, _ := c.Value("realm", "n"); n == nil || n.(interface{ String() string }).String() != "12345678901234567890" {
		t.Errorf("a number lost digits: %v", n)
	}
	if _, ok := c.Value(); ok {
		t.Error("the empty path has a value")
	}
}

func TestScopeForms(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, tt := range []struct {
		scope any
		want  Reason
	}{
		{"read write", ""},
		{" write  read ", ""},
		{[]string{"read", "write"}, ""},
		{"read", ScopeMissing},
		{"READ write", ScopeMissing},
		{"read\u00a0write", ScopeMissing},
		{"readwrite", ScopeMissing},
		{"", ScopeMissing},
		{[]string{}, ScopeMissing},
		{[]any{"read", "write", 1}, ClaimsInvalid},
		{nil, ClaimsInvalid},
	} {
		p := policy()
		p.Scopes = []string{"read", "write"}
		err := judge(t, f, p, f.token(f.key, "k1").Set("scope", tt.scope).String())
		if got := ReasonOf(err); got != tt.want {
			t.Errorf("%v: got %v, want %q", tt.scope, err, tt.want)
		}
	}
}

func TestPeekIssuer(t *testing.T) {
	t.Parallel()
	j := newToken(testkit.P256("issuer"), "k1", epoch)
	if iss, err := PeekIssuer(j.String()); iss != testIssuer || err != nil {
		t.Errorf("got %q, %v", iss, err)
	}
	for _, tt := range []struct {
		raw  string
		want Reason
	}{
		{"opaque", Malformed},
		{j.Clone().Set("iss", 1).String(), ClaimsInvalid},
		{(&testkit.JWS{Key: j.Key, Header: j.Header, Claims: j.Claims.Without("iss")}).String(), ClaimsInvalid},
		{(&testkit.JWS{Key: j.Key, Header: j.Header, RawClaims: []byte(`{"iss":"a","iss":"b"}`)}).String(), ClaimsInvalid},
	} {
		if _, err := PeekIssuer(tt.raw); ReasonOf(err) != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestLooksLikeJWT(t *testing.T) {
	t.Parallel()
	jwt := newToken(testkit.P256("issuer"), "k1", epoch)
	h, p, _ := jwt.Segments()
	for raw, want := range map[string]bool{
		jwt.String():                true,
		h + "." + p + ".":           true, // alg none: an Issuer refuses it
		h + "." + p:                 false,
		h + "." + p + ".a.b.c":      false,
		"ory_at_abcdef.ghijkl":      false,
		"aaaa.bbbb.cccc":            false,
		"2YotnFZFEjr1zCsicMWpAA":    false,
		"":                          false,
		"A":                         false,
		strings.Repeat(".", 100_00): false,
	} {
		if got := LooksLikeJWT(raw); got != want {
			t.Errorf("%.60s: got %v", raw, got)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"": true, "A": false, "AA": true, "AAA": true, "AAAA": true, "AAAAA": false,
		"AB": false, "AQ": true, "AAB": false, "AAE": true, // stray bits and none
		"A-_9": true, "AA==": false, "A+": false, "A/AA": false, "AA A": false, "AA\n": false, "AA\xc3": false,
	} {
		if got := isCanonical(s); got != want {
			t.Errorf("%q: got %v", s, got)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw := f.token(testkit.P256("thief"), "k1").String()
	_, err := f.issuer.Verify(t.Context(), raw)
	e, ok := errors.AsType[*Error](err)
	if !ok || errors.Unwrap(e) == nil || e.RetryAfter != 0 {
		t.Fatalf("got %#v", err)
	}
	for _, segment := range strings.Split(raw, ".") {
		if strings.Contains(err.Error(), segment) {
			t.Error("the error quotes the token")
		}
	}
	if ReasonOf(errors.New("x")) != "" || ReasonOf(nil) != "" {
		t.Error("a reason from nowhere")
	}
	seen := make(map[Reason]bool)
	for _, r := range Reasons() {
		if seen[r] {
			t.Errorf("%s is listed twice", r)
		}
		seen[r] = true
	}
}
