// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// The tables of docs/interop.md stand between two comments each,
//
//	<!-- begin: clients -->
//	<!-- end: clients -->
//
// and are made of what the tests of this run recorded; the words around them are written
// by hand. Nothing that differs from machine to machine goes into a row.
type table struct {
	name    string
	columns []string
	rows    [][]string
}

var report struct {
	sync.Mutex
	tables  []*table
	partial atomic.Bool // a peer was missing
}

// record adds a row to a table, once.
func record(name string, columns, row []string) {
	report.Lock()
	defer report.Unlock()
	for _, t := range report.tables {
		if t.name == name {
			t.rows = append(t.rows, row)
			return
		}
	}
	report.tables = append(report.tables, &table{name: name, columns: columns, rows: [][]string{row}})
}

func line(cells []string) string { return "| " + strings.Join(cells, " | ") + " |" }

func (t *table) String() string {
	rule := make([]string, len(t.columns))
	for i := range rule {
		rule[i] = "---"
	}
	out := []string{line(t.columns), line(rule)}
	for _, row := range t.rows {
		out = append(out, line(row))
	}
	return strings.Join(out, "\n") + "\n"
}

// settleReport compares the recorded rows with the committed page, or writes them there.
// After a run in which something was left out it only asks that each row be there.
func settleReport(path string) error {
	complete := !report.partial.Load() && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == ""
	if *update && !complete {
		return fmt.Errorf("%s is written by a complete run only: something was skipped or not selected", path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	page := string(raw)
	for _, t := range report.tables {
		begin, end := "<!-- begin: "+t.name+" -->\n", "<!-- end: "+t.name+" -->"
		before, rest, ok1 := strings.Cut(page, begin)
		present, after, ok2 := strings.Cut(rest, end)
		if !ok1 || !ok2 {
			return fmt.Errorf("%s has no place for the table %q (%s)", path, t.name, strings.TrimSpace(begin))
		}
		if *update {
			page = before + begin + "\n" + t.String() + "\n" + end + after
			continue
		}
		if err := t.compare(present, complete); err != nil {
			return fmt.Errorf("%s is stale, run `go test ./integration/interop -update`: %w", path, err)
		}
	}
	if *update && page != string(raw) {
		return os.WriteFile(path, []byte(page), 0o644)
	}
	return nil
}

func (t *table) compare(present string, complete bool) error {
	for _, row := range t.rows {
		if !strings.Contains(present, line(row)+"\n") {
			return fmt.Errorf("table %s lacks the row %s", t.name, line(row))
		}
	}
	if complete && strings.TrimSpace(present) != strings.TrimSpace(t.String()) {
		return fmt.Errorf("table %s has rows that nothing produces any more, or in another order", t.name)
	}
	return nil
}
