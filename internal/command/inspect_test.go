// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const inspectURL = "https://api.example/items"

func testToken(jkt string) string {
	return testkit.NewToken(testkit.P256("issuer"), "1", testkit.TokenClaims{
		Issuer: "https://auth.example", Audience: "api", Subject: "me", ClientID: "me", Thumbprint: jkt,
	}, testNow).String()
}

func inspectJSON(t *testing.T, input string, args ...string) (inspection, result) {
	t.Helper()
	res := runCommand(t, input, append([]string{"inspect", "--json"}, args...)...)
	var i inspection
	if err := json.Unmarshal([]byte(res.out), &i); err != nil {
		t.Fatalf("%+v: %v", res, err)
	}
	return i, res
}

// ticks writes the results of the checks as one word: "1:open 2:pass ...".
func ticks(i inspection) string {
	var b strings.Builder
	for _, c := range i.Checks {
		b.WriteString(c.Check + ":" + c.Result)
		if c.Result == resultFail {
			b.WriteString("(" + c.Reason + ")")
		}
		b.WriteString(" ")
	}
	return strings.TrimSpace(b.String())
}

func TestInspectProof(t *testing.T) {
	key, other := testkit.P256("client"), testkit.P256("other")
	token := testToken(key.Thumbprint())
	const allGood = "1:open 2:pass 3:pass 4:pass 5:pass 6:pass 7:pass 8:pass 9:pass 10:open 11:pass 12a:pass 12b:pass"
	tests := []struct {
		name    string
		change  func(*testkit.JWS)
		args    []string
		ticks   string
		verdict string
	}{
		{"good", nil, nil, allGood, "accepted"},
		{"htm", func(j *testkit.JWS) { j.Set("htm", "POST") }, nil, strings.Replace(allGood, "8:pass", "8:fail(htm_mismatch)", 1), "htm_mismatch"},
		{"htu", func(j *testkit.JWS) { j.Set("htu", "https://other.example/items") }, nil, strings.Replace(allGood, "9:pass", "9:fail(htu_mismatch)", 1), "htu_mismatch"},
		{"htu in another spelling", func(j *testkit.JWS) { j.Set("htu", "HTTPS://API.example:443/items?x=1") }, nil, allGood, "accepted"},
		{"htu is no URL", func(j *testkit.JWS) { j.Set("htu", "/items") }, nil, strings.Replace(allGood, "9:pass", "9:fail(htu_invalid)", 1), "htu_invalid"},
		{"old", func(j *testkit.JWS) { j.Set("iat", testNow.Unix()-91) }, nil, strings.Replace(allGood, "11:pass", "11:fail(iat_too_old)", 1), "iat_too_old"},
		{"just young enough", func(j *testkit.JWS) { j.Set("iat", testNow.Unix()-90) }, nil, allGood, "accepted"},
		{"ahead", func(j *testkit.JWS) { j.Set("iat", testNow.Unix()+31) }, nil, strings.Replace(allGood, "11:pass", "11:fail(iat_in_future)", 1), "iat_in_future"},
		{"iat is text", func(j *testkit.JWS) { j.Set("iat", "now") }, nil, strings.NewReplacer("6:pass", "6:open", "11:pass", "11:fail(iat_invalid)", "12b:pass", "12b:open").Replace(allGood), "iat_invalid"},
		{"ath", func(j *testkit.JWS) { j.Set("ath", testkit.ATH("x")) }, nil, strings.Replace(allGood, "12a:pass", "12a:fail(ath_mismatch)", 1), "ath_mismatch"},
		{"no ath", func(j *testkit.JWS) { j.Claims.Delete("ath") }, nil, strings.Replace(allGood, "12a:pass", "12a:fail(ath_missing)", 1), "ath_missing"},
		{"signature", func(j *testkit.JWS) { j.Signature = flip }, nil, strings.Replace(allGood, "6:pass", "6:fail(signature_invalid)", 1), "signature_invalid"},
		{"foreign key", func(j *testkit.JWS) { j.Key = other; j.Head("jwk", other.Public) }, nil, strings.Replace(allGood, "12b:pass", "12b:fail(jkt_mismatch)", 1), "accepted"},
		{"private key", func(j *testkit.JWS) { j.Head("jwk", key.PrivateJWK()) }, nil, strings.NewReplacer("6:pass", "6:fail(jwk_private)", "7:pass", "7:fail(jwk_private)", "12b:pass", "12b:open").Replace(allGood), "jwk_private"},
		{"two faults", func(j *testkit.JWS) { j.Set("htm", "POST").Set("iat", 1) }, nil, strings.NewReplacer("8:pass", "8:fail(htm_mismatch)", "11:pass", "11:fail(iat_too_old)").Replace(allGood), "htm_mismatch"},
		{"at another time", nil, []string{"--at", "2m"}, strings.Replace(allGood, "11:pass", "11:fail(iat_too_old)", 1), "iat_too_old"},
		{"older allowed", nil, []string{"--at", "2m", "--max-age", "5m"}, allGood, "accepted"},
		{"wrong nonce", func(j *testkit.JWS) { j.Set("nonce", "a") }, []string{"--nonce", "b"}, strings.Replace(allGood, "10:open", "10:fail(nonce_unknown)", 1), "nonce_unknown"},
		{"right nonce", func(j *testkit.JWS) { j.Set("nonce", "b") }, []string{"--nonce", "b"}, strings.Replace(allGood, "10:open", "10:pass", 1), "accepted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := testkit.NewProof(key, "GET", inspectURL, token, testNow)
			if tt.change != nil {
				tt.change(j)
			}
			args := append([]string{j.String(), "--method", "GET", "--url", inspectURL, "--token", token}, tt.args...)
			i, res := inspectJSON(t, "", args...)
			if have := ticks(i); have != tt.ticks {
				t.Errorf("have %s\nwant %s", have, tt.ticks)
			}
			if i.Verdict != tt.verdict || i.Kind != "proof" {
				t.Errorf("%s, verdict %q, want %q", i.Kind, i.Verdict, tt.verdict)
			}
			want := 0
			if strings.Contains(tt.ticks, "fail") {
				want = exitRefused
			}
			if res.code != want {
				t.Errorf("exit code %d, want %d", res.code, want)
			}
		})
	}
}

// flip changes one bit of a signature.
func flip(_, signature []byte) []byte {
	signature[10] ^= 1
	return signature
}

// A proof with the wrong type is still recognised as a proof.
func TestInspectProofHeader(t *testing.T) {
	key := testkit.P256("client")
	for name, tt := range map[string]struct {
		change func(*testkit.JWS)
		want   string
	}{
		"typ":     {func(j *testkit.JWS) { j.Head("typ", "JWT") }, "4:fail(typ_invalid)"},
		"alg":     {func(j *testkit.JWS) { j.Head("alg", "HS256"); j.Algorithm = "ES256" }, "5:fail(alg_unsupported)"},
		"no jti":  {func(j *testkit.JWS) { j.Claims.Delete("jti") }, "3:fail(jti_missing)"},
		"no jwk":  {func(j *testkit.JWS) { j.Header.Delete("jwk") }, "6:fail(jwk_missing)"},
		"bad jwk": {func(j *testkit.JWS) { j.Head("jwk", key.Public.With("x", "AAAA")) }, "6:fail(jwk_invalid)"},
	} {
		t.Run(name, func(t *testing.T) {
			j := testkit.NewProof(key, "GET", inspectURL, "", testNow)
			tt.change(j)
			i, res := inspectJSON(t, j.String())
			if res.code != exitRefused || !strings.Contains(ticks(i), tt.want) {
				t.Errorf("exit code %d: %s, want %s", res.code, ticks(i), tt.want)
			}
		})
	}
}

func TestInspectOpenChecks(t *testing.T) {
	compact := testkit.NewProof(testkit.P256("client"), "GET", inspectURL, "", testNow).String()
	i, res := inspectJSON(t, "DPoP: "+compact+"\r\n")
	const want = "1:open 2:pass 3:pass 4:pass 5:pass 6:pass 7:pass 8:open 9:open 10:open 11:pass 12a:open 12b:open"
	if have := ticks(i); have != want || res.code != 0 || i.Verdict != "accepted" {
		t.Errorf("exit code %d, verdict %s, have %s", res.code, i.Verdict, have)
	}
	if i.Thumbprint != testkit.P256("client").Thumbprint() || i.Bytes != len(compact) {
		t.Errorf("jkt %s, %d bytes", i.Thumbprint, i.Bytes)
	}
}

func TestInspectText(t *testing.T) {
	compact := testkit.NewProof(testkit.P256("client"), "POST", inspectURL, "", testNow.Add(-5*time.Minute)).String()
	res := runCommand(t, compact, "inspect", "--method", "GET")
	for _, want := range []string{
		"DPoP proof, ",
		"  ✓   7  jwk holds no private key\n",
		"  ✗   8  htm is the method  [htm_mismatch]\n         expected: GET\n         seen: POST\n",
		"  ·   9  htu is the URL without query and fragment\n         seen: https://api.example/items\n         give --url\n",
		"  ✗  11  iat is recent  [iat_too_old]\n         expected: at most 1m30s old and 30s ahead\n         seen: 2027-01-15T07:55:00Z, 5m0s ago\n",
		"\nThis plugin would refuse it: htm_mismatch\n",
	} {
		if !strings.Contains(res.out, want) {
			t.Errorf("no %q in\n%s", want, res.out)
		}
	}
	if strings.Contains(res.out, "\x1b") {
		t.Error("colours where there is no terminal")
	}
}

// What somebody else wrote must not move the cursor of our terminal.
func TestInspectIsSafeToPrint(t *testing.T) {
	j := testkit.NewProof(testkit.P256("client"), "GET\u001b[2J\u0085", inspectURL, "", testNow)
	res := runCommand(t, j.String(), "inspect", "--method", "GET")
	if strings.ContainsAny(res.out, "\x1b\u0085") {
		t.Errorf("have %q", res.out)
	}
}

func TestInspectToken(t *testing.T) {
	base := testkit.TokenClaims{Issuer: "https://auth.example", Audience: "api", Subject: "me", ClientID: "me", Thumbprint: "abc"}
	tests := []struct {
		name   string
		change func(*testkit.JWS)
		failed string // reasons
	}{
		{"good", func(*testkit.JWS) {}, ""},
		{"expired", func(j *testkit.JWS) { j.Set("exp", testNow.Unix()-30) }, "token_expired"},
		{"not yet", func(j *testkit.JWS) { j.Set("nbf", testNow.Unix()+31) }, "token_not_yet_valid"},
		{"no exp", func(j *testkit.JWS) { j.Claims.Delete("exp") }, "token_claims_invalid"},
		{"no iss", func(j *testkit.JWS) { j.Claims.Delete("iss") }, "token_claims_invalid"},
		{"no aud", func(j *testkit.JWS) { j.Claims.Delete("aud") }, "token_audience_mismatch"},
		{"unbound", func(j *testkit.JWS) { j.Claims.Delete("cnf") }, "token_unbound"},
		{"null cnf", func(j *testkit.JWS) { j.Set("cnf", nil) }, "token_cnf_invalid"},
		{"typ", func(j *testkit.JWS) { j.Head("typ", "logout+jwt") }, "token_typ_invalid"},
		{"alg", func(j *testkit.JWS) { j.Head("alg", "HS256"); j.Algorithm = "ES256" }, "token_alg_unsupported"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := testkit.NewToken(testkit.P256("issuer"), "1", base, testNow)
			tt.change(j)
			i, res := inspectJSON(t, "", "Authorization: DPoP "+j.String())
			var failed []string
			for _, c := range i.Checks {
				if c.Result == resultFail {
					failed = append(failed, c.Reason)
				}
			}
			if have := strings.Join(failed, " "); have != tt.failed || i.Kind != "token" {
				t.Errorf("%s failed for %q, want %q", i.Kind, have, tt.failed)
			}
			if (res.code == exitRefused) != (tt.failed != "") {
				t.Errorf("exit code %d", res.code)
			}
			last := "\nGood, as far as it can be told without the issuer's keys.\n"
			if tt.failed != "" {
				last = "\nThis plugin would refuse it: " + tt.failed + "\n"
			}
			if text := runCommand(t, j.String(), "inspect"); !strings.HasSuffix(text.out, last) {
				t.Errorf("no %q at the end of\n%s", last, text.out)
			}
		})
	}
}

func TestInspectNothing(t *testing.T) {
	for input, want := range map[string]string{
		"":              "it is empty",
		"opaque":        "not three parts separated by dots",
		"a.b.c":         "header: not base64url without padding",
		"e30.e30.AA==":  "signature: not base64url without padding",
		"bnVsbA.e30.AA": "header: not a JSON object",
		"e30.W10.AA":    "claims: not a JSON object",
	} {
		if res := runCommand(t, input, "inspect"); res.code != exitFailed || !strings.Contains(res.err, want) {
			t.Errorf("%q: have %+v, want %q", input, res, want)
		}
	}
}
