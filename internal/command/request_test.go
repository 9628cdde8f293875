// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

func TestRequest(t *testing.T) {
	s := newServer(t)
	res := runCommand(t, "", "request", s.URL+"/api/items?x=1")
	if res.code != 0 || res.out != "{\"hello\":\"world\"}\n" || res.err != "200 OK\n" {
		t.Errorf("have %+v", res)
	}
	if s.passed != 1 || s.asked != 1 {
		t.Errorf("%d requests passed and %d tokens were asked for, want one each", s.passed, s.asked)
	}
	if have := s.lastForm.Encode(); have != "client_id=caddy-dpop&grant_type=client_credentials" {
		t.Errorf("the form was %s", have)
	}
}

func TestRequestFollowsMetadata(t *testing.T) {
	api, issuer := newServer(t), newServer(t)
	api.metadata = true
	api.Config.Handler = overrideMetadata(api, issuer.URL)
	// The issuer's tokens are good at the API.
	res := runCommand(t, "", "request", "-v", api.URL+"/api/items")
	if issuer.asked != 1 || api.asked != 0 {
		t.Errorf("asked the issuer %d times and the API %d times\n%s", issuer.asked, api.asked, res.err)
	}
	if res.code != exitRefused { // the two servers do not know each other's tokens
		t.Errorf("exit code %d", res.code)
	}
}

func TestRequestNonces(t *testing.T) {
	s := newServer(t)
	s.asNonce, s.nonce = "as-1", "rs-1"
	res := runCommand(t, "", "request", "-v", s.URL+"/api/items")
	if res.code != 0 || s.passed != 1 || s.asked != 2 {
		t.Errorf("exit code %d, %d passed, %d token requests\n%s", res.code, s.passed, s.asked, res.err)
	}
	for _, want := range []string{
		"* the authorization server wants a nonce in the proof: once more\n",
		"* the API wants a nonce in the proof: once more\n",
	} {
		if strings.Count(res.err, want) != 1 {
			t.Errorf("not once: %q in\n%s", want, res.err)
		}
	}
}

func TestRequestExitCodes(t *testing.T) {
	tests := []struct {
		name  string
		fault fault
		args  []string
		code  int
		err   string
	}{
		{"no token", "no token", nil, exitIssuer, "invalid_client: who are you (give --client-id and --client-secret)\n"},
		{"no token with a secret", "no token", []string{"--client-secret", "x"}, exitIssuer, "invalid_client: who are you\n"},
		{"unbound token", "unbound token", nil, exitIssuer, `the token is of type "Bearer"`},
		{"issuer mismatch", "issuer mismatch", nil, exitIssuer, `is about issuer "https://other.example"`},
		{"5xx", "broken API", nil, exitUnclear, "502 Bad Gateway\n"},
		{"token without key", "", []string{"--token", "x"}, exitFailed, "--token needs --key"},
		{"own header", "", []string{"-H", "authorization: x"}, exitFailed, "this command sets it itself"},
		{"no colon", "", []string{"-H", "nonsense"}, exitFailed, `want "Name: value"`},
		{"unknown flag", "", []string{"--nonsense"}, exitFailed, "unknown flag: --nonsense"},
		{"no such key", "", []string{"--key", "/does/not/exist"}, exitFailed, "no such file"},
		{"no such algorithm", "", []string{"-a", "HS256"}, exitFailed, `algorithm "HS256": not known; known are ES256`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, tt.fault)
			res := runCommand(t, "", append([]string{"request", s.URL + "/api/items"}, tt.args...)...)
			if res.code != tt.code || !strings.Contains(res.err, tt.err) {
				t.Errorf("exit code %d, want %d; want %q in %q", res.code, tt.code, tt.err, res.err)
			}
		})
	}
	for _, bad := range []string{"ftp://x", "nonsense", "http://user@host/"} {
		if res := runCommand(t, "", "request", bad); res.code != exitFailed {
			t.Errorf("%s: exit code %d", bad, res.code)
		}
	}
}

// An API without metadata of its own, and not its own authorization server either.
func TestRequestWithoutIssuer(t *testing.T) {
	s := newServer(t)
	s.Config.Handler = http.HandlerFunc(s.api)
	res := runCommand(t, "", "request", s.URL+"/api/items")
	want := "caddy dpop request: the challenge of " + s.URL + "/api/items does not say who issues tokens, " +
		"and its own origin does not: give --issuer, or --token and --key\nno metadata of the authorization server " + s.URL + ":\n"
	if res.code != exitIssuer || !strings.HasPrefix(res.err, want) {
		t.Errorf("exit code %d, %q, want %q", res.code, res.err, want)
	}
	res = runCommand(t, "", "request", "--issuer", s.URL, s.URL+"/api/items")
	if want := "caddy dpop request: no metadata of the authorization server " + s.URL + ":\n"; res.code != exitIssuer || !strings.HasPrefix(res.err, want) {
		t.Errorf("exit code %d, %q, want %q", res.code, res.err, want)
	}
}

// A misspelt command must not look like a success to a script.
func TestUnknownCommand(t *testing.T) {
	if res := runCommand(t, "", "requset", "https://api.example"); res.code != exitFailed || !strings.Contains(res.err, `unknown command "requset" for "caddy dpop"`) {
		t.Errorf("have %+v", res)
	}
	if res := runCommand(t, ""); res.code != 0 || !strings.Contains(res.out, "Available Commands:") {
		t.Errorf("have %+v", res)
	}
}

func TestRequestExplainsARefusal(t *testing.T) {
	s := newServer(t)
	s.nonce = "n"
	path := writeKey(t)
	// A token for another key: the server says so, and we pass it on.
	token := s.newToken(testkit.P256("somebody else").Thumbprint())
	res := runCommand(t, token+"\n", "request", "--key", path, "--token", "-", s.URL+"/api/items")
	if res.code != exitRefused || !strings.Contains(res.err, "401 Unauthorized\nDPoP: invalid_token (key)\nthe token's iss is \""+s.URL+"\"\nthe token's aud is \"api\"\n") {
		t.Errorf("have %+v", res)
	}
}

func TestRequestSendsMethodHeaderAndBody(t *testing.T) {
	s := newServer(t)
	res := runCommand(t, "", "request", "-X", "PUT", "-d", `{"a":1}`, "-H", "Content-Type: application/json", s.URL+"/api/items")
	if res.code != 0 || s.lastBody != `{"a":1}` || s.lastHeader.Get("Content-Type") != "application/json" {
		t.Errorf("have %+v, body %q, header %v", res, s.lastBody, s.lastHeader)
	}
}

func TestRequestClientSecret(t *testing.T) {
	s := newServer(t)
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	res := runCommand(t, "", "request", "-v", "--client-id", "app", "--client-secret", "@"+path, "--scope", "a b", "--resource", "https://r.example", s.URL+"/api/items")
	if res.code != 0 || s.lastUser != "app" || s.lastForm.Get("scope") != "a b" || s.lastForm.Get("resource") != "https://r.example" {
		t.Errorf("exit code %d, user %q, form %v", res.code, s.lastUser, s.lastForm)
	}
	if s.lastForm.Has("client_secret") || strings.Contains(res.err+res.out, "s3cret") {
		t.Error("the secret is where it should not be")
	}
}

// Nothing that can be used by whoever reads it may be written unasked.
func TestVerboseHidesSecrets(t *testing.T) {
	s := newServer(t)
	res := runCommand(t, "", "request", "-v", s.URL+"/api/items")
	if !strings.Contains(res.err, "> Authorization: DPoP eyJ… (") || !strings.Contains(res.err, "> DPoP: eyJ… (") {
		t.Errorf("have\n%s", res.err)
	}
	for token := range s.tokens {
		if strings.Contains(res.out+res.err, token) || strings.Contains(res.out+res.err, token[4:40]) {
			t.Error("the token is shown")
		}
	}
	res = runCommand(t, "", "request", "-v", "--show-secrets", s.URL+"/api/items")
	shown := false
	for token := range s.tokens {
		shown = shown || strings.Contains(res.err, "> Authorization: DPoP "+token+"\n")
	}
	if !shown {
		t.Error("--show-secrets does not show the token")
	}
}

func TestRequestJSON(t *testing.T) {
	s := newServer(t)
	res := runCommand(t, "", "request", "--json", s.URL+"/api/items")
	var have struct {
		Status int               `json:"status"`
		Body   map[string]string `json:"body"`
		JKT    string            `json:"jkt"`
	}
	if err := json.Unmarshal([]byte(res.out), &have); err != nil {
		t.Fatal(err)
	}
	if have.Status != 200 || have.Body["hello"] != "world" || len(have.JKT) != 43 || res.err != "" {
		t.Errorf("have %+v, %q", have, res.err)
	}
}

func TestParseChallenges(t *testing.T) {
	have := parseChallenges([]string{
		`Bearer realm="a, \"b\"", error=x, DPoP algs="ES256 RS256",error="use_dpop_nonce"`,
		`Basic`, ``, `DPoP`,
	})
	want := []struct{ scheme, name, value string }{
		{"Bearer", "realm", `a, "b"`}, {"DPoP", "error", "use_dpop_nonce"}, {"Basic", "", ""}, {"DPoP", "", ""},
	}
	if len(have) != len(want) {
		t.Fatalf("have %v", have)
	}
	for i, w := range want {
		if have[i].scheme != w.scheme || have[i].params[w.name] != w.value {
			t.Errorf("challenge %d is %v, want %v", i, have[i], w)
		}
	}
}
