// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/proof"
)

// overrideMetadata lets a server name another authorization server.
func overrideMetadata(s *server, issuer string) http.Handler {
	inner := s.Config.Handler
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/oauth-protected-resource" {
			reply(w, 200, map[string]any{"resource": s.URL + "/api", "authorization_servers": []string{issuer}})
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// writeKey makes a key with the command and returns its file.
func writeKey(t *testing.T, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	res := runCommand(t, "", append([]string{"key", "--out", path}, args...)...)
	if res.code != 0 {
		t.Fatalf("key: %+v", res)
	}
	return path
}

func TestKey(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"pem", "jwk"} {
		for _, algorithm := range []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "PS256"} {
			t.Run(algorithm+" "+format, func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "key")
				made := runCommand(t, "", "key", "-a", algorithm, "-f", format, "-o", path)
				if made.code != 0 || made.err != "wrote "+path+"\n" || len(made.out) != 44 {
					t.Fatalf("have %+v", made)
				}
				info, err := os.Stat(path)
				if err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("mode %v, %v", info.Mode(), err)
				}
				shown := runCommand(t, "", "key", "--in", path)
				if shown.out != made.out {
					t.Errorf("read back as %q, made as %q", shown.out, made.out)
				}
				signed := runCommand(t, "", "proof", "GET", "https://api.example/", "--key", path, "-a", algorithm)
				verify(t, strings.TrimSpace(signed.out), "GET", "https://api.example/", strings.TrimSpace(made.out))
			})
		}
	}
}

// verify checks a proof with the plugin's verifier.
func verify(t *testing.T, compact, method, uri, jkt string) *proof.Proof {
	t.Helper()
	v, err := proof.NewVerifier(proof.Config{Algorithms: everyAlgorithm})
	if err != nil {
		t.Fatal(err)
	}
	target, err := proof.ParseTarget(uri)
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.Verify(compact, &proof.Request{Method: method, Target: target, Now: testNow})
	if err != nil {
		t.Fatalf("%q: %v", compact, err)
	}
	if p.Header.Thumbprint() != jkt {
		t.Errorf("thumbprint %s, want %s", p.Header.Thumbprint(), jkt)
	}
	return p
}

func TestKeyShowsNoSecret(t *testing.T) {
	path := writeKey(t, "-f", "jwk")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var jwk map[string]string
	if err := json.Unmarshal(b, &jwk); err != nil || jwk["d"] == "" {
		t.Fatalf("the file holds %v", err)
	}
	res := runCommand(t, "", "key", "--in", path, "--public")
	if strings.Contains(res.out, jwk["d"]) || strings.Contains(res.out, `"d"`) || !strings.Contains(res.out, jwk["x"]) {
		t.Errorf("have %s", res.out)
	}
}

func TestKeyToStandardOutput(t *testing.T) {
	res := runCommand(t, "", "key", "--out", "-")
	if res.code != 0 || !strings.HasPrefix(res.out, "-----BEGIN PRIVATE KEY-----\n") || len(res.err) != 44 {
		t.Errorf("exit code %d, err %q", res.code, res.err)
	}
}

func TestKeyDoesNotOverwrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	res := runCommand(t, "", "key", "--out", path)
	if b, _ := os.ReadFile(path); res.code != exitFailed || string(b) != "precious" || !strings.Contains(res.err, "exists") {
		t.Errorf("have %+v, file %q", res, b)
	}
	res = runCommand(t, "", "key", "--out", path, "--force")
	info, err := os.Stat(path)
	if res.code != 0 || err != nil || info.Mode().Perm() != fs.FileMode(0o600) {
		t.Errorf("with --force: %+v, %v", res, info.Mode())
	}
}

func TestKeyErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"format", []string{"-f", "der"}, `format "der": not known; known are pem and jwk`},
		{"in and out", []string{"--in", "a", "--out", "b"}, "give one of the two"},
		{"garbage", []string{"--in", write("garbage", "secret-garbage")}, "neither a private key in PEM nor a JWK"},
		{"public", []string{"--in", write("public", string(testkit.P256("x").Public.JSON()))}, "not a private key for signing"},
		{"certificate", []string{"--in", write("cert", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, `"CERTIFICATE" is not a private key`},
		{"broken", []string{"--in", write("broken", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")}, "holds no private key that can be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := runCommand(t, "", append([]string{"key"}, tt.args...)...)
			if res.code != exitFailed || !strings.Contains(res.err, tt.want) || strings.Contains(res.err, "secret-garbage") {
				t.Errorf("have %+v, want %q", res, tt.want)
			}
		})
	}
}

func TestProof(t *testing.T) {
	path := writeKey(t)
	res := runCommand(t, "the-token\n", "proof", "POST", "https://api.example/a?b=c#d", "--key", path, "--token", "-",
		"--nonce", "n-1", "--jti", "id-of-mine", "--header")
	compact, ok := strings.CutPrefix(strings.TrimSpace(res.out), "DPoP: ")
	if res.code != 0 || !ok || res.err != "" {
		t.Fatalf("have %+v", res)
	}
	j, err := decodeJWS(compact)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"htm": "POST", "htu": "https://api.example/a", "iat": json.Number("1800000000"), "jti": "id-of-mine",
		"nonce": "n-1", "ath": testkit.ATH("the-token"),
	} {
		if j.claims[name] != want {
			t.Errorf("%s is %v, want %v", name, j.claims[name], want)
		}
	}
	jkt := strings.TrimSpace(runCommand(t, "", "key", "--in", path).out)
	verify(t, compact, "POST", "https://api.example/a", jkt)
}

func TestProofWithoutKey(t *testing.T) {
	res := runCommand(t, "", "proof", "GET", "https://api.example/")
	jkt, ok := strings.CutPrefix(strings.TrimSpace(res.err), "signed with a key made for this proof, thumbprint ")
	if res.code != 0 || !ok {
		t.Fatalf("have %+v", res)
	}
	verify(t, strings.TrimSpace(res.out), "GET", "https://api.example/", jkt)
}

func TestProofTime(t *testing.T) {
	for at, want := range map[string]json.Number{
		"": "1800000000", "-2m": "1799999880", "90s": "1800000090", "1234": "1234", "2026-01-31T12:00:00Z": "1769860800",
	} {
		j, err := decodeJWS(strings.TrimSpace(runCommand(t, "", "proof", "GET", "https://api.example/", "--at="+at).out))
		if err != nil {
			t.Fatal(err)
		}
		if j.claims["iat"] != want {
			t.Errorf("--at %q: iat is %v, want %s", at, j.claims["iat"], want)
		}
	}
	if res := runCommand(t, "", "proof", "GET", "https://api.example/", "--at", "soon"); res.code != exitFailed || !strings.Contains(res.err, `--at "soon": neither`) {
		t.Errorf("have %+v", res)
	}
}

// The examples of the help have no flag that is not there.
func TestExamples(t *testing.T) {
	dpop := &cobra.Command{Use: "dpop"}
	addCommands(dpop, &env{})
	for _, cmd := range dpop.Commands() {
		lines := regexp.MustCompile(`caddy dpop (\w+)([^|)\n]*)`).FindAllStringSubmatch(cmd.Example, -1)
		if len(lines) < 2 {
			t.Errorf("%s has %d examples", cmd.Name(), len(lines))
		}
		for _, line := range lines {
			used, _, err := dpop.Find([]string{line[1]})
			if err == nil {
				err = used.ParseFlags(strings.Fields(line[2]))
			}
			if err != nil {
				t.Errorf("%s: %v", line[0], err)
			}
		}
	}
}
