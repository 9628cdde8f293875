// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token_test

import (
	"context"
	"log"
	"time"

	"github.com/caddy-dpop/caddy-dpop/token"
)

// A resource server without Caddy: the key set is fetched in the background, and
// each request's token is judged by the policy.
func Example() {
	keys, err := token.NewKeySet(token.KeySetConfig{Issuer: "https://auth.example.com"})
	if err != nil {
		log.Fatal(err)
	}
	keys.Start()
	defer keys.Close()

	policy := token.Policy{
		Issuer:    "https://auth.example.com",
		Audiences: []string{"https://api.example.com"},
		Scopes:    []string{"read"},
		ClockSkew: 30 * time.Second,
	}
	issuer, err := token.NewIssuer(token.IssuerConfig{Issuer: policy.Issuer, Keys: keys, ClockSkew: policy.ClockSkew})
	if err != nil {
		log.Fatal(err)
	}

	// thumbprint is that of the key that signed the request's proof.
	accept := func(ctx context.Context, raw, thumbprint string) (*token.Claims, error) {
		claims, err := issuer.Verify(ctx, raw)
		if err != nil {
			return nil, err
		}
		if err := policy.Check(claims, time.Now()); err != nil {
			return nil, err
		}
		if err := claims.CheckBinding(thumbprint); err != nil {
			return nil, err
		}
		return claims, policy.CheckScope(claims)
	}
	_ = accept
}
