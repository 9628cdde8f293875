// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write our answers into testdata/vectors/attacks.json")

// vectorFile holds the catalogue, for us and for other implementations.
var vectorFile = filepath.Join("..", "..", "testdata", "vectors", "attacks.json")

// vectors is the file's shape; its own "about" says what the members mean.
type vectors struct {
	About json.RawMessage `json:"about"`
	Cases []*vector       `json:"cases"`
}

type vector struct {
	ID           string   `json:"id"`
	Group        string   `json:"group"`
	Title        string   `json:"title"`
	Manipulation string   `json:"manipulation"`
	Expect       answer   `json:"expect"`
	Alternatives []answer `json:"alternatives,omitempty"`
	Also         string   `json:"also,omitempty"`
	Needs        []string `json:"needs,omitempty"`
	References   []string `json:"references,omitempty"`
	// Ours are the answers of this implementation over all variants of the case.
	Ours []answer `json:"ours,omitempty"`
	// Decision says why Ours is not Expect; Elsewhere why the case is not run here.
	Decision  string `json:"decision,omitempty"`
	Elsewhere string `json:"elsewhere,omitempty"`
}

type answer struct {
	Status int    `json:"status"`
	Error  string `json:"error,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (a answer) same(w want) bool { return a.Status == w.status && a.Error == w.err }

// cases is the table of a group: what each case of the catalogue does.
type cases map[string]test

// test runs one case.
type test func(c *run)

var table = cases{}

// add puts a group's cases into the table.
func add(group cases) bool {
	for id, f := range group {
		if table[id] != nil {
			panic("case " + id + " is there twice")
		}
		table[id] = f
	}
	return true
}

// run is one case being run.
type run struct {
	*testing.T
	id string
	on string // the site that attempts go to

	mu      sync.Mutex
	answers []want
}

// answered records an answer that decides the case, for the comparison with the
// catalogue.
func (c *run) answered(w want) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.answers, w) {
		c.answers = append(c.answers, w)
	}
}

// attempt makes a good request to the case's site.
func (c *run) attempt() *attempt { return newAttempt(c.site(c.on)) }

// site returns a site by name, starting its process when it is the first to ask.
func (c *run) site(name string) *site {
	c.Helper()
	s, err := findSite(name)
	if err != nil {
		c.Fatal(err)
	}
	return s
}

// expect sends an attempt and holds the answer to w; the answer decides the case.
func (c *run) expect(a *attempt, w want) *result {
	c.Helper()
	c.answered(w)
	return c.must(a, w)
}

// must sends an attempt whose answer is only a step on the way.
func (c *run) must(a *attempt, w want) *result {
	c.Helper()
	r := a.send()
	r.check(c, w)
	if w.status != 503 && r.Took > 5*slowest {
		c.Errorf("the answer took %v", r.Took)
	}
	if w.status == 200 && len(r.hits) != 1 {
		c.Errorf("accepted, but the upstream was reached %d times", len(r.hits))
	}
	return r
}

// variants are several ways to do the one thing that a case is about.
type variants map[string]func(*attempt)

// each runs every variant and wants the same answer of all.
func each(w want, v variants) test {
	return func(c *run) {
		for _, name := range sortedKeys(v) {
			c.variant(name, w, v[name])
		}
	}
}

// one runs a single manipulation.
func one(w want, change func(*attempt)) test {
	return func(c *run) { c.variant("", w, change) }
}

func (c *run) variant(name string, w want, change func(*attempt)) {
	c.answered(w)
	do := func(c *run) {
		a := c.attempt()
		change(a)
		r := c.must(a, w)
		if r.err == nil && r.Took > slowest {
			// Once more, alone: a busy machine is not a slow server.
			b := c.attempt()
			change(b)
			if again := c.must(b, w); again.Took > slowest {
				c.Errorf("the answer took %v and %v", r.Took, again.Took)
			}
		}
	}
	if name == "" {
		do(c)
		return
	}
	c.Run(name, func(t *testing.T) { do(&run{T: t, id: c.id, on: c.on}) })
}

// all runs tests one after the other.
func all(tests ...test) test {
	return func(c *run) {
		for _, f := range tests {
			f(c)
		}
	}
}

// at runs a test against another site.
func at(site string, f test) test {
	return func(c *run) {
		before := c.on
		c.on = site
		defer func() { c.on = before }()
		f(c)
	}
}

// elsewhere is a case that is not run here; decisions_test.go says why.
func elsewhere(*run) {}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func readVectors(t testing.TB) *vectors {
	t.Helper()
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return &v
}

// tally counts outcomes by group for the summary.
type tally struct{ passed, decided, elsewhere, failed int }

// TestCatalogue runs every case of the catalogue and fails on one without an entry.
func TestCatalogue(t *testing.T) {
	stopAll() // with -count above 1 each run begins anew
	v := readVectors(t)
	known := map[string]bool{}
	groups := map[string]*tally{}
	var mu sync.Mutex
	t.Run("case", func(t *testing.T) {
		for _, vec := range v.Cases {
			known[vec.ID] = true
			g := groups[vec.Group]
			if g == nil {
				g = &tally{}
				groups[vec.Group] = g
			}
			t.Run(vec.ID, func(t *testing.T) {
				t.Parallel()
				c := &run{T: t, id: vec.ID, on: "ref"}
				f := table[vec.ID]
				if f == nil {
					t.Fatalf("%s (%s) has no entry", vec.ID, vec.Title)
				}
				t.Cleanup(func() {
					mu.Lock()
					defer mu.Unlock()
					g.add(c, vec)
				})
				if outside[vec.ID] == "" {
					f(c)
					c.compare(vec)
				}
			})
		}
	})
	for id := range table {
		if !known[id] {
			t.Errorf("%s has an entry but is not in the catalogue", id)
		}
	}
	summary = groups
	finish(t, v)
}

// compare holds the answers of a case to the catalogue: the first expectation, or one
// that we decided for and gave the reason.
func (c *run) compare(vec *vector) {
	c.Helper()
	if len(c.answers) == 0 {
		c.Error("the case asserts no answer")
	}
	for _, w := range c.answers {
		if !vec.Expect.same(w) && decisions[vec.ID] == "" {
			c.Errorf("answered %v, the catalogue says %d %q, and no decision explains it", w, vec.Expect.Status, vec.Expect.Error)
		}
	}
}

func (g *tally) add(c *run, vec *vector) {
	switch {
	case c.Failed():
		g.failed++
	case outside[vec.ID] != "":
		g.elsewhere++
	case slices.ContainsFunc(c.answers, func(w want) bool { return !vec.Expect.same(w) }):
		g.decided++
	default:
		g.passed++
	}
	vec.Decision, vec.Elsewhere, vec.Ours = decisions[vec.ID], outside[vec.ID], nil
	for _, w := range c.answers {
		vec.Ours = append(vec.Ours, answer{w.status, w.err, w.reason})
	}
	slices.SortFunc(vec.Ours, func(a, b answer) int {
		return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Error, b.Error), cmp.Compare(a.Reason, b.Reason))
	})
	vec.Ours = slices.Compact(vec.Ours)
}

// finish compares what ran with what the vector file says about us, or rewrites it.
func finish(t *testing.T, v *vectors) {
	t.Helper()
	if *update {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "\t")
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, b.Bytes(), 0o644); err != nil { // #nosec G306
			t.Fatal(err)
		}
		return
	}
	if t.Failed() || partial() {
		return
	}
	for i, stored := range readVectors(t).Cases {
		if got := v.Cases[i]; !slices.Equal(got.Ours, stored.Ours) || got.Decision != stored.Decision || got.Elsewhere != stored.Elsewhere {
			t.Errorf("%s: the vector file is behind the table; run this test with -update", stored.ID)
		}
	}
}

// partial says whether -run chose some cases only.
func partial() bool {
	f := flag.Lookup("test.run")
	return f != nil && strings.Contains(f.Value.String(), "/")
}

var summary map[string]*tally

// printSummary writes the counts by group.
func printSummary() {
	if summary == nil {
		return
	}
	var sum tally
	fmt.Printf("%-58s %7s %8s %10s %7s\n", "group", "passed", "decided", "elsewhere", "failed")
	for _, name := range sortedKeys(summary) {
		g := summary[name]
		fmt.Printf("%-58s %7d %8d %10d %7d\n", name, g.passed, g.decided, g.elsewhere, g.failed)
		sum.passed += g.passed
		sum.decided += g.decided
		sum.elsewhere += g.elsewhere
		sum.failed += g.failed
	}
	fmt.Printf("%-58s %7d %8d %10d %7d\n", "all", sum.passed, sum.decided, sum.elsewhere, sum.failed)
}
