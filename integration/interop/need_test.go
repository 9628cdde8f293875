// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// nodeDir is where the JavaScript peers are installed.
var nodeDir = filepath.Join("..", "node")

// needProgram returns the path of a program, or skips the test.
func needProgram(t *testing.T, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skip(t, "%s is not installed (apt-get install %s)", name, debianPackage)
	}
	return path
}

// needNode returns the path of node, or skips the test when it or the packages of
// integration/node are missing.
func needNode(t *testing.T) string {
	t.Helper()
	node := needProgram(t, "node", "nodejs")
	for _, name := range []string{"oidc-provider", "@okta/okta-auth-js", "fake-indexeddb", "playwright-core"} {
		if _, err := os.Stat(filepath.Join(nodeDir, "node_modules", name)); err != nil {
			skip(t, "the npm packages are not installed (npm ci --prefix integration/node)")
		}
	}
	return node
}

// needPython returns the Python that Debian's packages belong to, or skips the test when
// it or one of the modules is missing.
func needPython(t *testing.T, module, debianPackage string) string {
	t.Helper()
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		skip(t, "python3 is not installed (apt-get install python3)")
	}
	if err := exec.Command(python, "-c", "import "+module).Run(); err != nil {
		skip(t, "Python's %s is not installed (apt-get install %s)", module, debianPackage)
	}
	return python
}

// needChromium returns the path of a Chromium, or skips the test.
func needChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	skip(t, "Chromium is not installed (apt-get install chromium)")
	return ""
}

// npmVersions are the exact versions that integration/node asks for.
var npmVersions = sync.OnceValue(func() map[string]string {
	var manifest struct{ Dependencies map[string]string }
	if raw, err := os.ReadFile(filepath.Join(nodeDir, "package.json")); err == nil {
		_ = json.Unmarshal(raw, &manifest)
	}
	return manifest.Dependencies
})

// skip skips a test, and notes that this run does not show everything.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	report.partial.Store(true)
	t.Skipf(format, args...)
}
