// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/proof"
	dpoptoken "github.com/caddy-dpop/caddy-dpop/token"
)

// allReasons are those of the three packages; ours are read from the source, so
// that a new one cannot be forgotten.
func allReasons(t *testing.T) []Reason {
	t.Helper()
	var all []Reason
	for _, r := range proof.Reasons() {
		all = append(all, Reason(r))
	}
	for _, r := range dpoptoken.Reasons() {
		all = append(all, Reason(r))
	}
	file, err := parser.ParseFile(token.NewFileSet(), "challenge.go", nil, 0)
	must(t, err)
	own := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Reason" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			must(t, err)
			all = append(all, Reason(value))
			own++
		}
		return true
	})
	if own < 15 {
		t.Fatalf("found only %d reasons in challenge.go", own)
	}
	return all
}

// TestRefusalTable holds the table against what DESIGN section 5 and RFC 9449
// want of every refusal.
func TestRefusalTable(t *testing.T) {
	words := regexp.MustCompile(`^[A-Z][A-Za-z0-9 ,.-]*$`)
	snake := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	statuses := map[string][]int{
		"":                   {401, 421, 425, 429, 503},
		"invalid_request":    {400},
		"invalid_token":      {401},
		"invalid_dpop_proof": {401},
		"use_dpop_nonce":     {401},
		"insufficient_scope": {403},
	}
	seen := make(map[Reason]bool)
	described := make(map[string]Reason)
	for _, reason := range allReasons(t) {
		t.Run(string(reason), func(t *testing.T) {
			if seen[reason] {
				t.Fatal("two packages give the same reason")
			}
			seen[reason] = true
			if !snake.MatchString(string(reason)) {
				t.Error("not in snake_case")
			}
			answer, ok := refusals[reason]
			if !ok {
				t.Fatal("not in the table")
			}
			fits := false
			for _, status := range statuses[answer.code] {
				fits = fits || status == answer.status
			}
			if !fits {
				t.Errorf("status %d with error %q", answer.status, answer.code)
			}
			if (answer.code == "") != (answer.description == "") {
				t.Errorf("error %q with description %q", answer.code, answer.description)
			}
			if answer.code != "" && !words.MatchString(answer.description) {
				t.Errorf("description %q has other characters than clients can read", answer.description)
			}
			if other, again := described[answer.description]; again && answer.description != "" {
				t.Errorf("same description as %s", other)
			}
			described[answer.description] = reason
		})
	}
	for reason := range refusals {
		if !seen[reason] {
			t.Errorf("%s is in the table, but nobody gives it", reason)
		}
	}
	for reason, answer := range nonceRefusals {
		if refusals[reason].status != 401 || answer.status != 401 || answer.code != errUseNonce || !words.MatchString(answer.description) {
			t.Errorf("%s with nonces: %v", reason, answer)
		}
	}
	for _, reason := range proof.Reasons() {
		if got := refusals[Reason(reason)].code == errUseNonce; got != reason.Challenge() {
			t.Errorf("%s: asks for a nonce: %v", reason, got)
		}
	}
	for _, reason := range dpoptoken.Reasons() {
		if got := refusals[Reason(reason)].status == 503; got != reason.Unavailable() {
			t.Errorf("%s: answered 503: %v", reason, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "1", 0: "1", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60",
	} {
		if got := retryAfter(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
