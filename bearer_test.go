// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// TestBearerAllow goes through the table of `bearer allow`: bound or not, as
// Bearer or as DPoP. `error` stands in the challenge of the scheme that was
// tried, and the DPoP challenge is always the first field.
func TestBearerAllow(t *testing.T) {
	n := start(t, site(oneIssuer+"bearer allow\nscope read\nrealm api\n"))
	const (
		plainDPoP   = `DPoP ` + algs + `, realm="api"`
		plainBearer = `Bearer realm="api"`
	)
	key := testkit.P256("client")
	bound := &client{n, key, n.bound(key).String()}
	token := n.bound(key)
	token.Claims.Delete("cnf")
	unbound := bound.with(token)
	bearer := func(c *client) answer { return n.send("GET", n.url("/"), "Authorization", "Bearer "+c.token) }

	bound.get("/").passed()
	bearer(unbound).passed()
	bearer(unbound).passed() // a bearer token can be used again
	wantCredentials(t, n, []string{"Bearer " + unbound.token}, nil)
	bearer(bound).refused(401, "bearer_bound", plainDPoP,
		`Bearer error="invalid_token", error_description="The access token is bound to a key and cannot be used as a bearer token", realm="api"`)
	unbound.get("/").refused(401, "token_unbound",
		`DPoP error="invalid_token", error_description="The access token is not bound to a key", `+algs+`, realm="api"`, plainBearer)

	// Whatever cnf holds, the token was meant to be bound.
	for name, cnf := range map[string]any{
		"null": nil, "text": "x", "empty": testkit.Object{}, "number": 1, "list": []any{},
		"certificate": testkit.Object{{Name: "x5t#S256", Value: testkit.ATH("x")}},
		"key id":      testkit.Object{{Name: "kid", Value: "x"}},
	} {
		t.Run("cnf "+name, func(t *testing.T) {
			a := bearer(bound.with(n.bound(key).Set("cnf", cnf)))
			a.t = t
			a.refusedFor("bearer_bound")
		})
	}

	// Everything else is checked as ever.
	expired := token.Clone().Set("exp", n.clock.Now().Unix()-31)
	bearer(bound.with(expired)).refused(401, "token_expired", plainDPoP,
		`Bearer error="invalid_token", error_description="The access token has expired", realm="api"`)
	bearer(bound.with(token.Clone().Set("scope", "write"))).refused(403, "scope_missing", plainDPoP,
		`Bearer error="insufficient_scope", error_description="The access token lacks a scope", scope="read", realm="api"`)
	n.send("GET", n.url("/")).refused(401, "no_credentials", plainDPoP, plainBearer)
	n.send("GET", n.url("/"), "Authorization", "DPoP "+bound.token).refused(401, "proof_missing",
		`DPoP error="invalid_dpop_proof", error_description="No DPoP proof was sent", `+algs+`, realm="api"`, plainBearer)
	n.send("GET", n.url("/"), "Authorization", "Bearer "+unbound.token, "DPoP", bound.proof("GET", n.url("/")).String()).
		refused(400, "proof_with_bearer", plainDPoP,
			`Bearer error="invalid_request", error_description="A DPoP proof was sent with a token in the Bearer scheme", realm="api"`)
	n.send("GET", n.url("/"), "Authorization", "Bearer").refused(400, "authorization_malformed", plainDPoP,
		`Bearer error="invalid_request", error_description="The Authorization field cannot be parsed", realm="api"`)
}

// TestBearerReject: what a token says does not matter.
func TestBearerReject(t *testing.T) {
	n := start(t, site(oneIssuer+"bearer reject\n"))
	token := n.bound(testkit.P256("client"))
	token.Claims.Delete("cnf")
	n.send("GET", n.url("/"), "Authorization", "Bearer "+token.String()).refused(401, "bearer_refused",
		challenged("invalid_token", "The access token must be used with a DPoP proof"))
}
