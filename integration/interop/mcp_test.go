// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

// TestMCP: a client of the Model Context Protocol finds everything out from the URL of a
// server that stands behind `dpop`.
func TestMCP(t *testing.T) {
	node := needNode(t)
	issuer, _ := startProvider(t, "NONCE=off")
	for _, nonce := range []string{"off", "required"} {
		t.Run("nonce "+nonce, func(t *testing.T) { tryMCP(t, node, issuer, nonce) })
	}
	if !t.Failed() {
		record("mcp", []string{"server and client", "token from", "steps"}, []string{
			"@modelcontextprotocol/sdk " + npmVersions()["@modelcontextprotocol/sdk"] + " and openid-client " + npmVersions()["openid-client"],
			"oidc-provider " + npmVersions()["oidc-provider"],
			"challenge, metadata, token, `tools/list`, `tools/call`, end of the session; refused: replay, Bearer, no proof; nonces off and required",
		})
	}
}

func tryMCP(t *testing.T, node, issuer, nonce string) {
	server := exec.Command(node, filepath.Join("interop", "mcp-server.mjs"))
	server.Dir = nodeDir
	address := process.FreeAddress()
	_, port, _ := strings.Cut(address, ":")
	server.Env = append(os.Environ(), "PORT="+port)
	startProcess(t, server, "mcp server serves")

	s := &stand{issuer: issuer, base: "http://" + process.FreeAddress(), backend: startBackend(t)}
	s.resource = s.base + "/mcp"
	options := strings.NewReplacer("{BASE}", s.base, "{ISSUER}", issuer, "{NONCE}", nonce, "{MCP}", address, "{BACKEND}", s.backend.address()).Replace(`
{BASE} {
	dpop_metadata
	handle /mcp {
		dpop {
			issuer {ISSUER}
			audience {BASE}/mcp
			public_url {BASE}
			scope read
			nonce {NONCE}
			metadata /mcp
		}
		reverse_proxy {MCP} {
			header_up X-Client {http.dpop.client_id}
			header_up X-Jkt {http.dpop.jkt}
		}
	}
	handle {
		dpop {
			issuer {ISSUER}
			audience {BASE}/mcp
			public_url {BASE}
		}
		reverse_proxy {BACKEND}
	}
}
`)
	startCaddy(t, options)
	s.ready(t)

	cmd := exec.Command(node, filepath.Join("interop", "mcp-client.mjs"))
	cmd.Dir = nodeDir
	cmd.Env = append(os.Environ(), "MCP_URL="+s.resource, "CLIENT_ID="+clientID, "CLIENT_SECRET="+clientSecret)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the client: %v\n%s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); f[0] == "step" {
			got = append(got, strings.Join(f[1:], " "))
		}
	}
	want := []string{
		fmt.Sprintf("challenge 401 %s/.well-known/oauth-protected-resource/mcp", s.base),
		fmt.Sprintf("metadata same %s true 1", s.resource),
		"server true ES256",
		"token issued",
		"tools whoami",
		"call " + clientID,
		"again 401 invalid_dpop_proof",
		"bearer 401 invalid_token",
		"no proof 401 invalid_dpop_proof",
		"end session closed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("steps:\n%s\nwant:\n%s\noutput:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), out)
	}
}
