// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if workDir, err = os.MkdirTemp("", "caddy-dpop-attacks-"); err != nil {
		return fail(err)
	}
	defer os.RemoveAll(workDir)
	defer process.RemoveBinary()
	if _, err := process.Binary(); err != nil {
		return fail(err)
	}
	if backend, err = newUpstream(); err != nil {
		return fail(err)
	}
	if err := writeCertificate(workDir); err != nil {
		return fail(err)
	}
	// Many cases wait for a clock; the others use the time.
	_ = flag.Set("test.parallel", "12")
	start := time.Now()
	code := m.Run()
	stopAll()
	failures := problems
	for _, h := range backend.strangers() {
		failures = append(failures, fmt.Sprintf("a request that nobody sent reached the upstream: %s %s", h.Method, h.URI))
	}
	for _, f := range failures {
		fmt.Println("FAIL:", f)
	}
	printSummary()
	fmt.Printf("attacks: %d requests sent, %d reached the upstream, %.0f s\n", attempts.Load(), backend.total, time.Since(start).Seconds())
	if code == 0 && len(failures) > 0 {
		code = 1
	}
	return code
}

func fail(err error) int {
	fmt.Println("FAIL:", err)
	return 1
}
