// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Command testsummary reads the output of `go test -json`, prints what failed
// and counts, and fails when a test was skipped: in CI every peer is there, so
// a skip means that something was not tested.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer file.Close()

	count := make(map[string]int)
	output := make(map[string]*strings.Builder)
	var bad []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text()) // a build failure, for instance
			continue
		}
		name := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			if output[name] == nil {
				output[name] = new(strings.Builder)
			}
			output[name].WriteString(e.Output)
		case "pass", "fail", "skip":
			if e.Test != "" {
				count[e.Action]++
			}
			if e.Action == "fail" || e.Action == "skip" && e.Test != "" {
				bad = append(bad, e.Action+" "+name)
			}
		case "build-output":
			fmt.Print(e.Output)
		}
	}
	for _, b := range bad {
		fmt.Println("---", b)
		if text := output[strings.SplitN(b, " ", 2)[1]]; text != nil {
			fmt.Print(text)
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", count["pass"], count["fail"], count["skip"])
	if len(bad) > 0 {
		os.Exit(1)
	}
}
