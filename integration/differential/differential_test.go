// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package differential

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	accept   = "accept"
	document = "../../docs/differential.md"
	nodeDir  = "../node"
)

var update = flag.Bool("update", false, "write the numbers into docs/differential.md; new rows come without an explanation, which fails the next run")

// A disagreement is one row: what we say of vectors of one file, and one of the peers
// does not.
type disagreement struct {
	Peer, File, Ours string
}

// row is a line of the table in the document. A number can be one or the other where
// versions of Node.js differ.
var row = regexp.MustCompile("(?m)^\\| (oauth4webapi|jose|go-jose|jwx) \\| `(\\w+)` \\| `(\\w+)` \\| (\\d+(?: or \\d+)?) \\| (.*) \\|$")

func TestGoJose(t *testing.T) {
	t.Parallel()
	vectors := load(t)
	theirs := make([]string, len(vectors))
	for i, v := range vectors {
		theirs[i] = accept
		if err := withGoJose(v); err != nil {
			theirs[i] = err.Error()
		}
	}
	compare(t, "go-jose", vectors, theirs)
}

func TestNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed (apt-get install nodejs)")
	}
	for _, name := range []string{"jose", "oauth4webapi"} {
		if _, err := os.Stat(filepath.Join(nodeDir, "node_modules", name)); err != nil {
			t.Skip("the npm packages are not installed (npm ci --prefix integration/node)")
		}
	}
	vectors := load(t)
	input, err := json.Marshal(vectors)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, filepath.Join("differential", "verify.mjs"))
	cmd.Dir = nodeDir
	cmd.Stdin = bytes.NewReader(input)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errors.Bytes())
	}
	var answers []map[string]string
	if err := json.Unmarshal(output, &answers); err != nil || len(answers) != len(vectors) {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	for _, peer := range []string{"oauth4webapi", "jose"} {
		theirs := make([]string, len(vectors))
		for i, a := range answers {
			theirs[i] = a[peer]
		}
		t.Run(peer, func(t *testing.T) { compare(t, peer, vectors, theirs) })
	}
}

// compare holds the verdicts of a peer against ours and the document.
func compare(t *testing.T, peer string, vectors []*vector, theirs []string) {
	t.Helper()
	found := make(map[disagreement][]string)
	agreed := 0
	for i, v := range vectors {
		if theirs[i] == "n/a" {
			continue
		}
		us := ours(t, v)
		if (us == accept) == (theirs[i] == accept) {
			agreed++
			continue
		}
		d := disagreement{peer, v.file, us}
		found[d] = append(found[d], fmt.Sprintf("%s (they: %s)", v.Name, theirs[i]))
	}
	t.Logf("%s: agrees on %d of %d", peer, agreed, len(vectors))
	if agreed < 500 {
		t.Errorf("%s agrees on %d vectors only: it does not run as it should", peer, agreed)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		write(t, string(text), peer, found)
		return
	}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		d := disagreement{m[1], m[2], m[3]}
		if d.Peer != peer {
			continue
		}
		if !slices.Contains(strings.Split(m[4], " or "), fmt.Sprint(len(found[d]))) {
			t.Errorf("%v: %d disagreements, the document explains %s:\n\t%s", d, len(found[d]), m[4], strings.Join(found[d], "\n\t"))
		}
		if len(m[5]) < 10 {
			t.Errorf("%v is not explained:\n\t%s", d, strings.Join(found[d], "\n\t"))
		}
		delete(found, d)
	}
	for d, names := range found {
		t.Errorf("%v is not in the document:\n\t%s", d, strings.Join(names, "\n\t"))
	}
}

// write puts the numbers of one peer into the document and keeps the explanations.
func write(t *testing.T, text, peer string, found map[disagreement][]string) {
	t.Helper()
	why, numbers := make(map[disagreement]string), make(map[disagreement]string)
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		d := disagreement{m[1], m[2], m[3]}
		why[d] = m[5]
		if number := fmt.Sprint(len(found[d])); slices.Contains(strings.Split(m[4], " or "), number) {
			numbers[d] = m[4]
		}
	}
	var lines []string
	for d, names := range found {
		number := cmp.Or(numbers[d], fmt.Sprint(len(names)))
		lines = append(lines, fmt.Sprintf("| %s | `%s` | `%s` | %s | %s |\n", d.Peer, d.File, d.Ours, number, why[d]))
	}
	slices.Sort(lines)
	begin, end := "<!-- begin: "+peer+" -->\n", "<!-- end: "+peer+" -->"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("the markers of %s are gone", peer)
	}
	const head = "| peer | vectors | we | number | why |\n|---|---|---|---|---|\n"
	if err := os.WriteFile(document, []byte(before+begin+head+strings.Join(lines, "")+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
