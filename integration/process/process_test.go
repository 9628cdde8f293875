// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// beProgram makes this binary a program that writes, waits and ends.
const beProgram = "PROCESS_TEST_BE_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(beProgram) {
	case "ends":
		fmt.Fprintln(os.Stderr, "cannot start")
		os.Exit(1)
	case "serves":
		fmt.Println("on stdout")
		fmt.Fprintln(os.Stderr, "left out")
		fmt.Fprintln(os.Stderr, "now serves")
		time.Sleep(time.Minute)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func program(t *testing.T, what string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = Environment(t.TempDir(), beProgram+"="+what)
	return cmd
}

func TestRun(t *testing.T) {
	var p Process
	if !p.Wait(0) {
		t.Error("runs before it was started")
	}
	p.Keep = func(line string) bool { return line != "left out" }
	for _, end := range []func(){p.Stop, p.Kill} {
		if err := p.Run(program(t, "serves"), "now serves"); err != nil {
			t.Fatal(err)
		}
		if p.Wait(0) {
			t.Error("ended by itself")
		}
		end()
		if !p.Wait(0) {
			t.Error("runs after its end")
		}
		lines := strings.Split(strings.TrimSpace(p.DropLog()), "\n")
		slices.Sort(lines)
		if want := []string{"now serves", "on stdout"}; !slices.Equal(lines, want) {
			t.Errorf("the log is %q, want %q", lines, want)
		}
	}
	p.Signal(syscall.SIGTERM) // nobody to hear it
	if err := p.Run(program(t, "ends"), "now serves"); err == nil || !strings.Contains(err.Error(), "cannot start") {
		t.Errorf("a program that ends at start: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", "/elsewhere")
	t.Setenv("CADDY_ADMIN", "localhost:1")
	t.Setenv("PROCESS_TEST_OTHER", "stays")
	env := Environment("/home/of/test", "MORE=1")
	for _, name := range []string{"XDG_DATA_HOME", "CADDY_ADMIN"} {
		if slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") }) {
			t.Errorf("%s is passed on", name)
		}
	}
	for _, v := range []string{"HOME=/home/of/test", "MORE=1", "PROCESS_TEST_OTHER=stays"} {
		if !slices.Contains(env, v) {
			t.Errorf("%s is missing", v)
		}
	}
}

func TestFreeAddress(t *testing.T) {
	seen := map[string]bool{}
	for range 2 * blockSize { // at least two blocks
		address := FreeAddress()
		if seen[address] {
			t.Fatalf("%s again", address)
		}
		seen[address] = true
	}
	for _, claim := range ports.claims {
		if seen[claim.Addr().String()] {
			t.Errorf("%s, which says whose the block is, was given away", claim.Addr())
		}
		if l, err := net.Listen("tcp", claim.Addr().String()); err == nil {
			_ = l.Close()
			t.Errorf("another process can have the block of %s", claim.Addr())
		}
	}
}
