// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// columns of the table of clients: a heading for the calls that it sums up.
var columns = []struct {
	heading string
	calls   []string
}{
	{"good calls", []string{"GET", "POST", "query", "escaped path", "GET once more"}},
	{"nonce", []string{"nonce", "nonce kept"}},
	{"replay", []string{"replay"}},
	{"wrong method", []string{"wrong method"}},
	{"wrong URL", []string{"wrong path", "wrong host"}},
	{"foreign key", []string{"foreign key"}},
	{"other token", []string{"other token"}},
	{"no ath", []string{"no ath"}},
	{"old proof", []string{"old proof"}},
	{"Bearer", []string{"Bearer"}},
	{"scope", []string{"scope"}},
}

// Marks of the tables.
const (
	done    = "✓" // answered as it must be
	cannot  = "–" // the client cannot be brought to do this
	nothing = ""
)

// summary is what is told of a client after its run with one algorithm.
type summary struct {
	calls map[string]bool
	proof traits
}

// traits are the peculiarities of a client's proofs that the backend saw.
type traits struct {
	algorithms, jwk, claims []string
	signsQuery              bool
}

// recordClient adds a client's rows when it has run with each of its algorithms.
func recordClient(c client, algorithms []string, runs []summary) {
	if len(runs) != len(algorithms) {
		return
	}
	row := []string{c.name, versionOf(c), c.language}
	var all traits
	for _, run := range runs {
		all.merge(run.proof)
	}
	row = append(row, strings.Join(all.algorithms, " "))
	headings := []string{"client", "version", "language", "alg"}
	for _, column := range columns {
		headings = append(headings, column.heading)
		mark := done
		for _, run := range runs {
			if !slices.ContainsFunc(column.calls, func(name string) bool { return run.calls[name] }) {
				mark = cannot
			}
		}
		row = append(row, mark)
	}
	record("clients", headings, row)

	if c.npm == "" && c.language != "Go" {
		return // whichever release the system has
	}
	query := "left out"
	if all.signsQuery {
		query = "signed"
	}
	record("proofs", []string{"client", "query", "more members of `jwk`", "more claims"},
		[]string{c.name, query, code(all.jwk), code(all.claims)})
}

func versionOf(c client) string {
	if c.npm == "" {
		return nothing
	}
	return npmVersions()[c.npm]
}

func code(words []string) string {
	if len(words) == 0 {
		return nothing
	}
	return "`" + strings.Join(words, "` `") + "`"
}

// needed are the members that a proof must have or that have their own place above.
var needed = map[string]bool{
	"kty": true, "crv": true, "x": true, "y": true, "n": true, "e": true,
	"jti": true, "htm": true, "htu": true, "iat": true, "ath": true, "nonce": true,
}

func traitsOf(hits []hit) traits {
	var t traits
	for _, h := range hits {
		jwk, _ := h.proof.header["jwk"].(map[string]any)
		htu, _ := h.proof.claims["htu"].(string)
		t.merge(traits{
			algorithms: []string{fmt.Sprint(h.proof.header["alg"])},
			jwk:        extra(jwk),
			claims:     extra(h.proof.claims),
			signsQuery: strings.Contains(htu, "?"),
		})
	}
	return t
}

func extra(members map[string]any) []string {
	return slices.DeleteFunc(slices.Collect(maps.Keys(members)), func(name string) bool { return needed[name] })
}

func (t *traits) merge(o traits) {
	t.algorithms = union(t.algorithms, o.algorithms)
	t.jwk = union(t.jwk, o.jwk)
	t.claims = union(t.claims, o.claims)
	t.signsQuery = t.signsQuery || o.signsQuery
}

func union(a, b []string) []string {
	both := slices.Concat(a, b)
	slices.Sort(both)
	return slices.Compact(both)
}

// recordAnswers tells what each column of the table of clients stands for.
func recordAnswers() {
	for _, column := range columns {
		for _, c := range standardCalls() {
			if column.calls[0] == c.name {
				record("answers", []string{"", "what is sent", "what comes back"},
					[]string{column.heading, meanings[column.heading], readable(c.want)})
			}
		}
	}
}

var meanings = map[string]string{
	"good calls":   "GET, POST with a body, a query with escapes, a path with escapes and an escaped slash",
	"nonce":        "a proof without the nonce that is required, then the same with the nonce of the answer; later calls use it at once",
	"replay":       "one request twice",
	"wrong method": "a proof for GET, sent as DELETE",
	"wrong URL":    "a proof for another path; a proof for another host",
	"foreign key":  "a proof by a key that the token is not bound to",
	"other token":  "a proof for another token of the same key",
	"no ath":       "a proof that names no token",
	"old proof":    "a proof of ten minutes ago",
	"Bearer":       "the token alone, as a bearer token",
	"scope":        "a token without the scope that the route asks for",
}

// readable writes answers with the reason, which only the log tells, in brackets.
func readable(want []string) string {
	out := make([]string, 0, len(want))
	for _, w := range want {
		f := strings.Fields(w)
		if len(f) == 3 {
			w = fmt.Sprintf("%s `%s` (%s)", f[0], f[1], f[2])
		}
		out = append(out, w)
	}
	return strings.Join(out, ", then ")
}
