// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package differential

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestJWX builds the module in jwx, which has its own go.mod so that the plugin's stays
// free of that library, and gives the vectors to the program.
func TestJWX(t *testing.T) {
	if out, err := inJWX("mod", "download"); err != nil {
		if bytes.Contains(out, []byte("SECURITY ERROR")) {
			t.Fatalf("what was fetched is not what go.sum says:\n%s", out)
		}
		t.Skipf("github.com/lestrrat-go/jwx cannot be fetched from the module proxy: %v\n%s", err, out)
	}
	program := filepath.Join(t.TempDir(), "jwx")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if out, err := inJWX("build", "-mod=readonly", "-buildvcs=false", "-o", program, "."); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	vectors := load(t)
	input, err := json.Marshal(vectors)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Stdin = bytes.NewReader(input)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errors.Bytes())
	}
	var theirs []string
	if err := json.Unmarshal(output, &theirs); err != nil || len(theirs) != len(vectors) {
		t.Fatalf("%d answers, %v", len(theirs), err)
	}
	compare(t, "jwx", vectors, theirs)
}

// inJWX runs the go command in the nested module, whatever workspace or flags the test
// itself was started with.
func inJWX(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = "jwx"
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GOFLAGS=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GOWORK=off", "GOFLAGS=")
	return cmd.CombinedOutput()
}
