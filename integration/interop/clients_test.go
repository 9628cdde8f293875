// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// client is a program that signs and sends.
type client struct {
	name       string
	language   string
	npm        string   // the package whose version is told
	algorithms []string // each is a run of its own
	cannot     []string // calls that it cannot be brought to make
	command    func(t *testing.T) *exec.Cmd
}

// node runs a script of integration/node/interop.
func node(script string) func(t *testing.T) *exec.Cmd {
	return func(t *testing.T) *exec.Cmd {
		t.Helper()
		cmd := exec.Command(needNode(t), filepath.Join("interop", script))
		cmd.Dir = nodeDir
		return cmd
	}
}

// python runs a script of clients/python.
func python(module, script string) func(t *testing.T) *exec.Cmd {
	return func(t *testing.T) *exec.Cmd {
		t.Helper()
		cmd := exec.Command(needPython(t, module, "python3-"+module), "-B", filepath.Join("clients", "python", script))
		cmd.Env = []string{"PYTHONWARNINGS=ignore"}
		return cmd
	}
}

var clients = []client{
	{
		name: "openid-client", language: "JavaScript", npm: "openid-client",
		algorithms: []string{"ES256", "Ed25519", "PS256", "RS256"}, cannot: []string{"no ath"},
		command: node("openid-client.mjs"),
	},
	{
		name: "oauth4webapi", language: "JavaScript", npm: "oauth4webapi",
		algorithms: []string{"ES256", "Ed25519", "PS256", "RS256"}, cannot: []string{"no ath"},
		command: node("oauth4webapi.mjs"),
	},
	{
		name: "dpop", language: "JavaScript", npm: "dpop",
		algorithms: []string{"ES256", "Ed25519", "PS256", "RS256"}, cannot: []string{"no ath"},
		command: node("dpop.mjs"),
	},
	{
		name: "jose by hand", language: "JavaScript", npm: "jose",
		algorithms: []string{"ES256", "EdDSA", "Ed25519", "PS256", "RS256"},
		command:    node("jose.mjs"),
	},
	{
		name: "the fetch of @atproto/oauth-client", language: "JavaScript", npm: "@atproto/oauth-client",
		algorithms: []string{"ES256"}, cannot: []string{"no ath"},
		command: node("atproto.mjs"),
	},
	{
		name: "oidc-client-ts", language: "JavaScript", npm: "oidc-client-ts",
		algorithms: []string{"ES256"}, cannot: []string{"no ath"},
		command: node("oidc-client-ts.mjs"),
	},
	{
		name: "@okta/okta-auth-js", language: "JavaScript", npm: "@okta/okta-auth-js",
		algorithms: []string{"RS256"}, cannot: []string{"no ath"},
		command: node("okta.mjs"),
	},
	{
		name: "the JDK alone", language: "Java",
		algorithms: []string{"ES256", "EdDSA", "PS256", "RS256"},
		command: func(t *testing.T) *exec.Cmd {
			t.Helper()
			return exec.Command(needProgram(t, "java", "default-jdk-headless"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", filepath.Join("clients", "java", "Main.java"))
		},
	},
	{
		name: "jwcrypto", language: "Python",
		algorithms: []string{"ES256", "EdDSA", "PS256", "RS256"},
		command:    python("jwcrypto", "with_jwcrypto.py"),
	},
	{
		name: "Authlib", language: "Python",
		algorithms: []string{"ES256", "EdDSA", "PS256", "RS256"},
		command:    python("authlib", "with_authlib.py"),
	},
	{
		name: "jose and curl", language: "C",
		algorithms: []string{"ES256", "PS256", "RS256"},
		command: func(t *testing.T) *exec.Cmd {
			t.Helper()
			for _, program := range []string{"bash", "curl", "openssl", "jose"} {
				needProgram(t, program, program)
			}
			return exec.Command("bash", filepath.Join("clients", "shell", "jose.sh"))
		},
	},
}

// TestClients runs each client against one Caddy: good calls pass, everything else is
// refused with the right status, error and reason, and does not reach the backend.
func TestClients(t *testing.T) {
	s := startDevStand(t)
	recordAnswers()
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			cmd := c.command(t)
			var runs []summary
			for _, alg := range c.algorithms {
				t.Run(alg, func(t *testing.T) { runs = append(runs, s.tryClient(t, c, cmd, alg)) })
			}
			recordClient(c, c.algorithms, runs)
		})
	}
}

func (s *stand) tryClient(t *testing.T, c client, cmd *exec.Cmd, alg string) summary {
	t.Helper()
	s.backend.reset()
	calls := without(standardCalls(), c.cannot...)
	got := runClient(t, cmd, s.environment(alg), s.base, calls)
	return summary{checkCalls(t, s.base, calls, got, s.backend), traitsOf(s.backend.all())}
}
