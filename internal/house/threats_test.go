// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of decisions into docs/threat-model.md")

const threatModel = "docs/threat-model.md"

// vector is what concerns us of a case of the catalogue of attacks.
type vector struct {
	ID        string `json:"id"`
	Title     string `json:"title"`
	Decision  string `json:"decision"`
	Elsewhere string `json:"elsewhere"`
}

func catalogue(t *testing.T) []vector {
	t.Helper()
	var file struct {
		Cases []vector `json:"cases"`
	}
	if err := json.Unmarshal([]byte(read(t, "testdata/vectors/attacks.json")), &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases
}

var (
	quoted    = regexp.MustCompile("`([^`\n]+)`")
	caseName  = regexp.MustCompile(`^[A-V]\d\d$`)
	testName  = regexp.MustCompile(`^[a-z]+\.(Test|Fuzz|Example)\w*$`)
	codeName  = regexp.MustCompile(`^[a-z_/]+\.go#\w+$`)
	guarantee = regexp.MustCompile(`(?m)^\| (G\d+) \|.*\|(.*)\|$`)
)

// TestThreatModel looks up every test, case and function that the threat model names.
func TestThreatModel(t *testing.T) {
	text, _, _ := strings.Cut(read(t, threatModel), "## Decisions")
	known := functions(t)
	cases := make(map[string]vector)
	for _, v := range catalogue(t) {
		cases[v.ID] = v
	}
	tests, codes, ids := 0, 0, 0
	for _, match := range quoted.FindAllStringSubmatch(text, -1) {
		switch name := match[1]; {
		case caseName.MatchString(name):
			ids++
			if v, ok := cases[name]; !ok || v.Elsewhere != "" {
				t.Errorf("there is no case %s, or it is not run here", name)
			}
		case testName.MatchString(name):
			tests++
			if !known[name] && name != "package.Test" {
				t.Errorf("there is no test %s", name)
			}
		case codeName.MatchString(name):
			codes++
			if !known[name] {
				t.Errorf("there is no function %s", name)
			}
		}
	}
	if tests < 40 || codes < 40 || ids < 100 {
		t.Errorf("found only %d tests, %d functions and %d cases", tests, codes, ids)
	}
	for _, row := range guarantee.FindAllStringSubmatch(text, -1) {
		if !quoted.MatchString(row[2]) {
			t.Errorf("guarantee %s names no test", row[1])
		}
	}
}

// TestDecisions holds the tables of decisions and of what is tested elsewhere against the
// vector file.
func TestDecisions(t *testing.T) {
	decided, elsewhere := "| case | what | decision |\n|---|---|---|\n", "| case | what | why, and where |\n|---|---|---|\n"
	known := functions(t)
	for _, v := range catalogue(t) {
		if v.Decision != "" {
			decided += fmt.Sprintf("| `%s` | %s | %s |\n", v.ID, cell(v.Title), cell(v.Decision))
		}
		if v.Elsewhere != "" {
			elsewhere += fmt.Sprintf("| `%s` | %s | %s |\n", v.ID, cell(v.Title), cell(v.Elsewhere))
		}
		for _, name := range mentioned.FindAllString(v.Decision+" "+v.Elsewhere, -1) {
			if !known[name] {
				t.Errorf("%s names %s, and there is no such test", v.ID, name)
			}
		}
	}
	holdTable(t, "decisions", decided)
	holdTable(t, "elsewhere", elsewhere)
}

// mentioned is a test's name in running text.
var mentioned = regexp.MustCompile(`\b[a-z]+\.Test\w+`)

// holdTable compares a generated table with the document, or writes it.
func holdTable(t *testing.T, name, table string) {
	t.Helper()
	text := read(t, threatModel)
	begin, end := "<!-- begin: "+name+" -->\n", "<!-- end: "+name+" -->"
	before, rest, ok := strings.Cut(text, begin)
	present, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("the markers of %s are gone", name)
	}
	if present == table {
		return
	}
	if !*update {
		t.Fatalf("the table of %s is behind %s; run this test with -update", name, "testdata/vectors/attacks.json")
	}
	file := filepath.Join(root, filepath.FromSlash(threatModel))
	if err := os.WriteFile(file, []byte(before+begin+table+end+after), 0o644); err != nil { // #nosec G306
		t.Fatal(err)
	}
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
