// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"regexp"
	"strings"
	"testing"
)

// named is a function or a constant of a file.
var named = regexp.MustCompile(`^([a-z_/]+\.go)#(\w+)$`)

// TestTables: the tests, functions, constants and cases that docs/limits.md and
// docs/mutations.md name are there.
func TestTables(t *testing.T) {
	known := functions(t)
	cases := make(map[string]vector)
	for _, v := range catalogue(t) {
		cases[v.ID] = v
	}
	for page, least := range map[string]int{"docs/limits.md": 60, "docs/mutations.md": 30} {
		found := 0
		for _, match := range quoted.FindAllStringSubmatch(read(t, page), -1) {
			name := match[1]
			switch code := named.FindStringSubmatch(name); {
			case code != nil:
				found++
				if !regexp.MustCompile(`\b` + code[2] + `\b`).MatchString(read(t, code[1])) {
					t.Errorf("%s: there is no %s", page, name)
				}
			case testName.MatchString(name):
				found++
				if !known[name] {
					t.Errorf("%s: there is no test %s", page, name)
				}
			case caseName.MatchString(name):
				found++
				if v, ok := cases[name]; !ok || v.Elsewhere != "" {
					t.Errorf("%s: there is no case %s, or it is not run", page, name)
				}
			}
		}
		if found < least {
			t.Errorf("%s: found only %d names", page, found)
		}
		for line := range strings.Lines(read(t, page)) {
			if strings.HasPrefix(line, "| G") && !quoted.MatchString(line) {
				t.Errorf("%s: %s names nothing", page, line)
			}
		}
	}
}
