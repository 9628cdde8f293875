// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"bytes"
	"encoding/json"
	goflag "flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var update = goflag.Bool("update", false, "write what comes out into the fixtures; read the difference before you commit it")

const fixtureDivider = "\n----------\n"

// TestAdapt goes through testdata/adapt: a Caddyfile, ten dashes, and the JSON
// that it stands for or the error that it ends with. Mistakes in the syntax are
// found when it is adapted, and name file and line; mistakes in what it means
// when it is provisioned, so that JSON is held to the same.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	must(t, err)
	if len(files) < 50 {
		t.Fatalf("only %d fixtures", len(files))
	}
	t.Setenv("DPOP_EMPTY", "")
	t.Setenv("DPOP_SECRET", "a secret that no error shows")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			must(t, err)
			config, want, found := strings.Cut(string(content), fixtureDivider)
			if !found && !*update {
				t.Fatal("no line of ten dashes")
			}
			got := outcome(t, strings.TrimSuffix(config, "\n----------"))
			if strings.Contains(got, "a secret that") {
				t.Error("the secret is in the configuration or in the error")
			}
			if *update {
				must(t, os.WriteFile(file, []byte(config+fixtureDivider+got+"\n"), 0o600))
				return
			}
			if got != strings.TrimSuffix(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// outcome is the JSON of a Caddyfile that loads, or the first error.
func outcome(t *testing.T, config string) string {
	t.Helper()
	value, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error()
	}
	for _, w := range warnings {
		if w.Directive == "dpop" {
			t.Errorf("warning: %v", w)
		}
	}
	if err := provision(t, value); err != nil {
		return ownPart(err)
	}
	var b bytes.Buffer
	must(t, json.Indent(&b, value, "", "\t"))
	return b.String()
}

// provision does what `caddy validate` does, within the test.
func provision(t *testing.T, value []byte) error {
	t.Helper()
	var config caddy.Config
	must(t, caddy.StrictUnmarshalJSON(value, &config))
	config.Admin = &caddy.AdminConfig{Disabled: true}
	config.StorageRaw = caddyconfig.JSONModuleObject(&storageDouble{Root: t.TempDir()}, "module", "dpop_test", nil)
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"dpop_test"}`)}},
	}}
	underTest = &node{t: t, log: new(logBuffer)}
	return caddy.Validate(&config)
}

// ownPart cuts off where in the configuration Caddy was.
func ownPart(err error) string {
	text, from := err.Error(), 0
	for _, place := range []string{"provision http.handlers.dpop: ", "provision dpop: ", "loading module 'dpop': ", "loading dpop app module: "} {
		if i := strings.LastIndex(text, place); i >= 0 {
			from = max(from, i+len(place))
		}
	}
	return text[from:]
}
