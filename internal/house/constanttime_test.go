// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// How long a comparison takes must not tell how much of a value was guessed right. No
// clock can show that on a machine that others use, too; how the comparison is written
// does: the functions below compare in constant time, and nothing else compares these
// values but with nothing.
var (
	// secretNames are what fields and variables of such values are called.
	secretNames = []string{"ath", "JKT", "X5TS256", "verifier", "Secret", "secret", "Password", "password", "mac"}

	constantTime = []string{
		"proof/match.go#matchToken",       // ath, the hash of the access token
		"token/binding.go#same",           // cnf.jkt and cnf.x5t#S256, which a thief of the token would have to meet
		"noncekeys.go#find",               // the half of a nonce that says it is ours
		"devissuer/state.go#CheckNonce",   // the same, of the development issuer
		"devissuer/token.go#authenticate", // its clients' secrets
	}

	// leaky are functions that stop at the first difference.
	leaky = []string{
		"bytes.Equal", "bytes.Compare", "bytes.HasPrefix", "bytes.Contains", "strings.Compare", "strings.EqualFold", "strings.HasPrefix",
		"strings.Contains", "slices.Equal", "slices.Compare", "slices.Contains", "slices.Index", "reflect.DeepEqual", "cmp.Compare",
	}
)

// TestConstantTime is case S18 of the catalogue of attacks.
func TestConstantTime(t *testing.T) {
	found := make(map[string]bool)
	for _, s := range allSources(t) {
		if s.isTest() || strings.HasPrefix(s.path, "integration/") || strings.HasPrefix(s.path, "internal/") || strings.HasPrefix(s.path, "testdata/") {
			continue
		}
		for _, declaration := range s.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			name := s.path + "#" + f.Name.Name
			for _, what := range leaks(f.Body) {
				t.Errorf("%s: %s", name, what)
			}
			found[name] = found[name] || comparesInConstantTime(f.Body)
		}
	}
	for _, name := range constantTime {
		if !found[name] {
			t.Errorf("%s is not there, or does not compare in constant time", name)
		}
	}
}

// leaks returns the comparisons that take longer the more is right.
func leaks(body ast.Node) (found []string) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if slices.Contains([]token.Token{token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ}, n.Op) {
				for _, pair := range [][2]ast.Expr{{n.X, n.Y}, {n.Y, n.X}} {
					if name := secretOf(pair[0]); name != "" && !isNothing(pair[1]) {
						found = append(found, name+" is compared with "+n.Op.String())
					}
				}
			}
		case *ast.SwitchStmt:
			if name := secretOf(n.Tag); name != "" {
				found = append(found, name+" is compared by a switch")
			}
		case *ast.CallExpr:
			if called := calledOf(n); slices.Contains(leaky, called) {
				for _, argument := range n.Args {
					if name := secretOf(argument); name != "" {
						found = append(found, name+" is compared by "+called)
					}
				}
			}
		}
		return true
	})
	return found
}

// secretOf returns the name of a secret value that an expression is, converted or cut
// or not.
func secretOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		if slices.Contains(secretNames, e.Name) {
			return e.Name
		}
	case *ast.SelectorExpr:
		return secretOf(e.Sel)
	case *ast.ParenExpr:
		return secretOf(e.X)
	case *ast.StarExpr:
		return secretOf(e.X)
	case *ast.SliceExpr:
		return secretOf(e.X)
	case *ast.IndexExpr:
		return secretOf(e.X)
	case *ast.CallExpr:
		// A conversion, or a call of what gives a secret away.
		if name := secretOf(e.Fun); name != "" {
			return name
		}
		switch f := e.Fun.(type) {
		case *ast.ArrayType:
			return secretOf(e.Args[0])
		case *ast.Ident:
			if f.Name == "string" {
				return secretOf(e.Args[0])
			}
		}
	}
	return ""
}

// isNothing reports whether a value is nil or the empty string: whether a secret is
// there is no secret.
func isNothing(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "nil"
	case *ast.BasicLit:
		return e.Value == `""`
	}
	return false
}

func calledOf(call *ast.CallExpr) string {
	if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
		if pkg, ok := selector.X.(*ast.Ident); ok {
			return pkg.Name + "." + selector.Sel.Name
		}
	}
	return ""
}

func comparesInConstantTime(body ast.Node) (yes bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && slices.Contains([]string{"subtle.ConstantTimeCompare", "hmac.Equal"}, calledOf(call)) {
			yes = true
		}
		return !yes
	})
	return yes
}

// TestLeaks: each of these would be noticed.
func TestLeaks(t *testing.T) {
	for code, want := range map[string]int{
		`p.ath == want`:                                1,
		`want != string(p.ath[:])`:                     1,
		`bytes.Equal([]byte(cnf.JKT), thumbprint)`:     1,
		`strings.HasPrefix(cnf.JKT, thumbprint)`:       1,
		`c.Secret[i] == secret[i]`:                     2,
		`recent.verifier == sum`:                       1,
		`n.mac(text) < other`:                          1,
		`cnf.JKT == ""`:                                0,
		`nil != verifier`:                              0,
		`subtle.ConstantTimeCompare(p.ath, want) == 1`: 0,
		`len(p.ath) == 43`:                             0,
	} {
		expression, err := parser.ParseExpr(code)
		if err != nil {
			t.Fatal(err)
		}
		if got := leaks(expression); len(got) != want {
			t.Errorf("%s: %s, want %d", code, fmt.Sprintf("%q", got), want)
		}
	}
}
