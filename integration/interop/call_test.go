// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// call is one thing that a client is told to do. Clients read calls from standard
// input, one a line, the fields of line separated by tabs, and write a line for each
// answer: "answer", name, status, the header X-Reason, the header WWW-Authenticate.
type call struct {
	name   string
	method string // what the client means to call, and signs
	path   string // "/..."; or an absolute URL
	tweak  tweak
	body   string

	sendMethod, sendPath string // what is sent in fact; "" is the same

	want []string // the answers in order: "200" or status, error code and reason
}

// tweak is what a client does to an otherwise good request.
type tweak string

const (
	plain      tweak = ""            // nothing; a nonce that is asked for is used
	again      tweak = "again"       // send it twice
	foreign    tweak = "foreign"     // sign with another key
	bearer     tweak = "bearer"      // Authorization: Bearer, without a proof
	otherToken tweak = "other-token" // send another token for this key than was signed
	old        tweak = "old"         // sign with a clock that is ten minutes slow
	noATH      tweak = "no-ath"      // leave ath out; only where proofs are put together by hand
	pastToken  tweak = "past-token"  // use an expired token, which the server hands out for the scope "past"
)

// standardCalls are what every client does.
func standardCalls() []call {
	return []call{
		{name: "GET", method: "GET", path: "/api/get", want: []string{"200"}},
		{name: "POST", method: "POST", path: "/api/post", body: "hello", want: []string{"200"}},
		{name: "query", method: "GET", path: "/api/query?q=a%20b&x=/%2F", want: []string{"200"}},
		{name: "escaped path", method: "GET", path: "/api/caf%C3%A9/a%2Fb", want: []string{"200"}},
		{
			name: "nonce", method: "POST", path: "/nonce/first", body: "hello",
			want: []string{"401 use_dpop_nonce nonce_missing", "200"},
		},
		{name: "nonce kept", method: "GET", path: "/nonce/second", want: []string{"200"}},
		{name: "replay", method: "GET", path: "/api/replay", tweak: again, want: []string{"200", "401 invalid_dpop_proof jti_replayed"}},
		{
			name: "wrong method", method: "GET", path: "/api/method", sendMethod: "DELETE",
			want: []string{"401 invalid_dpop_proof htm_mismatch"},
		},
		{
			name: "wrong path", method: "GET", path: "/api/signed", sendPath: "/api/sent",
			want: []string{"401 invalid_dpop_proof htu_mismatch"},
		},
		{
			name: "wrong host", method: "GET", path: "http://other.example/api/host", sendPath: "/api/host",
			want: []string{"401 invalid_dpop_proof htu_mismatch"},
		},
		{name: "foreign key", method: "GET", path: "/api/foreign", tweak: foreign, want: []string{"401 invalid_token jkt_mismatch"}},
		{name: "other token", method: "GET", path: "/api/token", tweak: otherToken, want: []string{"401 invalid_dpop_proof ath_mismatch"}},
		{name: "no ath", method: "GET", path: "/api/ath", tweak: noATH, want: []string{"401 invalid_dpop_proof ath_missing"}},
		{name: "old proof", method: "GET", path: "/api/old", tweak: old, want: []string{"401 invalid_dpop_proof iat_too_old"}},
		{name: "Bearer", method: "GET", path: "/api/bearer", tweak: bearer, want: []string{"401 invalid_token bearer_refused"}},
		{
			name: "scope", method: "POST", path: "/admin/scope", body: "hello",
			want: []string{"403 insufficient_scope scope_missing"},
		},
		{name: "GET once more", method: "GET", path: "/api/again", want: []string{"200"}},
	}
}

// without leaves out the calls that a client cannot be brought to make.
func without(calls []call, names ...string) []call {
	return slices.DeleteFunc(calls, func(c call) bool { return slices.Contains(names, c.name) })
}

// sent is the method and URL that reach the server.
func (c call) sent(base string) (method, url string) {
	method, url = c.method, c.path
	if c.sendMethod != "" {
		method = c.sendMethod
	}
	if c.sendPath != "" {
		url = c.sendPath
	}
	return method, absolute(base, url)
}

func absolute(base, url string) string {
	if strings.HasPrefix(url, "/") {
		return base + url
	}
	return url
}

func (c call) line(base string) string {
	method, url := c.sent(base)
	return strings.Join([]string{c.name, c.method, absolute(base, c.path), method, url, string(c.tweak), c.body}, "\t")
}

// accepted is how many of the answers are good ones.
func (c call) accepted() int {
	n := 0
	for _, w := range c.want {
		if strings.HasPrefix(w, "2") {
			n++
		}
	}
	return n
}

// answers are what a client got, by the call's name.
type answers map[string][]string

// runClient gives the calls to a program and collects the answers.
func runClient(t *testing.T, cmd *exec.Cmd, env []string, base string, calls []call) answers {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	bounded := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	bounded.Dir = cmd.Dir
	bounded.Env = append(append(os.Environ(), cmd.Env...), env...)
	var in, out, errs bytes.Buffer
	for _, c := range calls {
		in.WriteString(c.line(base) + "\n")
	}
	bounded.Stdin, bounded.Stdout, bounded.Stderr = &in, &out, &errs
	if err := bounded.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out.String(), errs.String())
	}
	got := answers{}
	for scanner := bufio.NewScanner(&out); scanner.Scan(); {
		if f := strings.Split(scanner.Text(), "\t"); len(f) == 5 && f[0] == "answer" {
			got.add(t, f[1], f[2], f[3], f[4])
		}
	}
	t.Cleanup(func() {
		if t.Failed() && errs.Len() > 0 {
			t.Logf("the client said:\n%s", errs.String())
		}
	})
	return got
}

// add takes one answer down, and holds a challenge against the grammar.
func (a answers) add(t *testing.T, name, status, reason, challenge string) {
	t.Helper()
	text := status
	if challenge != "" {
		parsed, err := testkit.ParseChallenges([]string{challenge})
		if err != nil {
			t.Errorf("%s: the challenge %q: %v", name, challenge, err)
		}
		if status[0] == '2' {
			t.Errorf("%s: a challenge beside status %s", name, status)
		}
		c := testkit.FindChallenge(parsed, "DPoP")
		if c == nil {
			t.Errorf("%s: no DPoP challenge in %q", name, challenge)
		} else if code, ok := c.Params["error"]; ok {
			text += " " + code
		}
	}
	if reason != "" {
		text += " " + reason
	}
	a[name] = append(a[name], text)
}

// checkCalls compares the answers to what was wanted, and that the backend saw the
// accepted requests, as they were sent, and no other. It returns what held.
func checkCalls(t *testing.T, base string, calls []call, got answers, b *backend) map[string]bool {
	t.Helper()
	held := map[string]bool{}
	for _, c := range calls {
		held[c.name] = checkCall(t, base, c, got[c.name], b)
	}
	return held
}

func checkCall(t *testing.T, base string, c call, got []string, b *backend) bool {
	t.Helper()
	ok := true
	complain := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s", c.name, fmt.Sprintf(format, args...))
		ok = false
	}
	if !slices.Equal(got, c.want) {
		complain("answered %q, want %q", got, c.want)
	}
	method, url := c.sent(base)
	hits := b.of(method, strings.TrimPrefix(url, base))
	if len(hits) != c.accepted() {
		complain("%d requests reached the backend, want %d", len(hits), c.accepted())
	}
	for _, h := range hits {
		if h.body != c.body {
			complain("the backend got the body %q, want %q", h.body, c.body)
		}
	}
	return ok
}
