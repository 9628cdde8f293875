// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
)

// startProvider runs oidc-provider until the test ends and returns its issuer identifier
// and what it writes.
func startProvider(t *testing.T, env ...string) (issuer string, provider *process.Process) {
	t.Helper()
	cmd := exec.Command(needNode(t), filepath.Join("interop", "provider.mjs"))
	cmd.Dir = nodeDir
	cmd.Env = append(append(os.Environ(), "CLIENT_SECRET="+clientSecret), env...)
	const ready = "provider serves "
	provider = startProcess(t, cmd, ready)
	return strings.TrimPrefix(find(provider, ready), ready), provider
}

// withExpired adds what only an authorization server that issues expired tokens can show.
func withExpired(calls []call) []call {
	return append(calls, call{
		name: "expired token", method: "GET", path: "/api/expired", tweak: pastToken,
		want: []string{"401 invalid_token token_expired"},
	})
}

// providerClients are those that can get a token by themselves.
var providerClients = []client{clients[0], clients[1]}

// TestProvider: oidc-provider issues JWT access tokens to clients that call the API, with
// nonces at the authorization server or without.
func TestProvider(t *testing.T) {
	for _, nonces := range []string{"off", "required"} {
		t.Run("nonces "+nonces, func(t *testing.T) {
			issuer, _ := startProvider(t, "NONCE="+nonces)
			s := startStand(t, issuer, audience, fmt.Sprintf("issuer %s\naudience %s", issuer, audience))
			s.tryProviderClients(t, "JWT, nonces "+nonces, withExpired(without(standardCalls(), "no ath")), "ES256", "Ed25519", "PS256", "RS256")
			t.Run("bearer token", s.tryUnboundToken)
		})
	}
}

// tryProviderClients runs the clients with each algorithm and records a row for each.
func (s *stand) tryProviderClients(t *testing.T, kind string, calls []call, algorithms ...string) {
	t.Helper()
	for _, c := range providerClients {
		t.Run(c.name, func(t *testing.T) {
			cmd := c.command(t)
			passed := 0
			for _, alg := range algorithms {
				t.Run(alg, func(t *testing.T) {
					s.backend.reset()
					got := runClient(t, cmd, s.environment(alg), s.base, calls)
					checkCalls(t, s.base, calls, got, s.backend)
					passed++
				})
			}
			if passed == len(algorithms) {
				record("servers", []string{"server", "tokens", "client", "algorithms", "calls"}, []string{
					"oidc-provider " + npmVersions()["oidc-provider"], kind, c.name + " " + versionOf(c),
					strings.Join(algorithms, " "), fmt.Sprintf("%d of %d", len(calls), len(calls)),
				})
			}
		})
	}
}

// tryUnboundToken: a token that was issued without a proof does not become better by one.
func (s *stand) tryUnboundToken(t *testing.T) {
	signer := newSigner(t)
	res := s.get(t, signer, s.tokenFrom(t, nil), "/api/unbound")
	if reason := res.Header.Get("X-Reason"); res.StatusCode != http.StatusUnauthorized || reason != "token_unbound" {
		t.Errorf("an unbound token with a proof: %d %s, want 401 token_unbound", res.StatusCode, reason)
	}
	if n := len(s.backend.of(http.MethodGet, "/api/unbound")); n != 0 {
		t.Errorf("%d requests with an unbound token reached the backend", n)
	}
}
