// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/sha256"
	"encoding/base64"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

func TestPolicy(t *testing.T) {
	t.Parallel()
	jwt := func(change func(*Claims)) *Claims {
		c := &Claims{
			Issuer: testIssuer, Subject: "alice", ClientID: "app", Audience: []string{"other", testAudience},
			Expiry: epoch.Add(time.Hour), IssuedAt: epoch, Type: "at+jwt", Algorithm: "ES256", id: "x",
		}
		change(c)
		return c
	}
	opaque := func(change func(*Claims)) *Claims {
		c := &Claims{Issuer: testIssuer, Audience: []string{testAudience}}
		change(c)
		return c
	}
	same := func(*Claims) {}
	strict := Policy{Issuer: testIssuer, Audiences: []string{testAudience}, RequireATJWT: true}

	for _, tt := range []struct {
		name   string
		policy Policy
		claims *Claims
		want   Reason
	}{
		{"good", policy(), jwt(same), ""},
		{"zero policy", Policy{}, jwt(same), IssuerUnknown},
		{"no issuer", Policy{AnyAudience: true}, jwt(same), IssuerUnknown},
		{"no audience", Policy{Issuer: testIssuer}, jwt(same), AudienceMismatch},
		{"no audience, token without either", Policy{Issuer: testIssuer}, jwt(func(c *Claims) { c.Audience = nil }), AudienceMismatch},
		{"second audience", Policy{Issuer: testIssuer, Audiences: []string{"x", testAudience}}, jwt(same), ""},
		{"any audience", Policy{Issuer: testIssuer, AnyAudience: true}, jwt(func(c *Claims) { c.Audience = nil }), ""},
		{"audience in another case", Policy{Issuer: testIssuer, Audiences: []string{"HTTPS://api.example.com"}}, jwt(same), AudienceMismatch},
		{"other issuer", policy(), jwt(func(c *Claims) { c.Issuer += "/" }), IssuerUnknown},
		{"algorithm listed", Policy{Issuer: testIssuer, AnyAudience: true, Algorithms: []string{"PS256", "ES256"}}, jwt(same), ""},
		{"algorithm not listed", Policy{Issuer: testIssuer, AnyAudience: true, Algorithms: []string{"PS256"}}, jwt(same), AlgUnsupported},
		{"no algorithm listed", Policy{Issuer: testIssuer, AnyAudience: true, Algorithms: []string{}}, jwt(same), AlgUnsupported},
		{"exp missing", policy(), jwt(func(c *Claims) { c.Expiry = time.Time{} }), ClaimsInvalid},
		{"exp now", Policy{Issuer: testIssuer, AnyAudience: true}, jwt(func(c *Claims) { c.Expiry = epoch }), Expired},
		{"exp in a second", Policy{Issuer: testIssuer, AnyAudience: true}, jwt(func(c *Claims) { c.Expiry = epoch.Add(time.Second) }), ""},
		{"exp within the skew", policy(), jwt(func(c *Claims) { c.Expiry = epoch.Add(-29 * time.Second) }), ""},
		{"exp at the skew", policy(), jwt(func(c *Claims) { c.Expiry = epoch.Add(-30 * time.Second) }), Expired},
		{"nbf ahead", Policy{Issuer: testIssuer, AnyAudience: true}, jwt(func(c *Claims) { c.NotBefore = epoch.Add(time.Second) }), NotYetValid},
		{"iat ahead", Policy{Issuer: testIssuer, AnyAudience: true}, jwt(func(c *Claims) { c.IssuedAt = epoch.Add(time.Second) }), NotYetValid},
		{"nbf at the skew", policy(), jwt(func(c *Claims) { c.NotBefore = epoch.Add(30 * time.Second) }), ""},
		{"any type", policy(), jwt(func(c *Claims) { c.Type = "" }), ""},
		{"strict", strict, jwt(same), ""},
		{"strict, full type", strict, jwt(func(c *Claims) { c.Type = "Application/AT+JWT" }), ""},
		{"N14 strict, JWT", strict, jwt(func(c *Claims) { c.Type = "JWT" }), TypInvalid},
		{"N14 strict, no type", strict, jwt(func(c *Claims) { c.Type = "" }), TypInvalid},
		{"N55 strict, no sub", strict, jwt(func(c *Claims) { c.Subject = "" }), ClaimsInvalid},
		{"N55 strict, no client_id", strict, jwt(func(c *Claims) { c.ClientID = "" }), ClaimsInvalid},
		{"N55 strict, no iat", strict, jwt(func(c *Claims) { c.IssuedAt = time.Time{} }), ClaimsInvalid},
		{"N55 strict, no jti", strict, jwt(func(c *Claims) { c.id = "" }), ClaimsInvalid},
		{"introspection without exp", policy(), opaque(same), ""},
		{"introspection, issuer not configured", Policy{AnyAudience: true}, opaque(same), ""},
		{"introspection, other issuer", policy(), opaque(func(c *Claims) { c.Issuer = "x" }), IssuerUnknown},
		{"introspection, algorithms do not matter", Policy{Issuer: testIssuer, AnyAudience: true, Algorithms: []string{}, RequireATJWT: true}, opaque(same), ""},
		{"introspection, expired", policy(), opaque(func(c *Claims) { c.Expiry = epoch.Add(-time.Minute) }), Expired},
		{"O11 introspection, nbf ahead", policy(), opaque(func(c *Claims) { c.NotBefore = epoch.Add(time.Minute) }), NotYetValid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantReason(t, tt.policy.Check(tt.claims, epoch), tt.want)
		})
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	p := policy()
	c := &Claims{
		Issuer: testIssuer, Audience: []string{testAudience}, Expiry: epoch.Add(time.Hour), Algorithm: "ES256",
		Confirmation: Confirmation{Present: true, JKT: "x"},
	}
	if n := testing.AllocsPerRun(100, func() {
		if p.Check(c, epoch) != nil || c.CheckBinding("x") != nil || p.CheckScope(c) != nil {
			t.Error("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	der := []byte("stands for a certificate")
	sum := sha256.Sum256(der)
	thumbprint := base64.RawURLEncoding.EncodeToString(sum[:])
	jkt := testkit.P256("client").Thumbprint()
	for _, tt := range []struct {
		name                 string
		cnf                  Confirmation
		leaf                 []byte
		certificate, binding Reason
	}{
		{"unbound", Confirmation{}, der, Unbound, Unbound},
		{"null", Confirmation{Present: true, Invalid: true}, der, CnfInvalid, CnfInvalid},
		{"no method that we know", Confirmation{Present: true}, der, CnfInvalid, CnfInvalid},
		{"certificate", Confirmation{Present: true, X5TS256: thumbprint}, der, "", Unbound},
		{"other certificate", Confirmation{Present: true, X5TS256: thumbprint}, []byte("another"), CertificateMismatch, Unbound},
		{"no certificate", Confirmation{Present: true, X5TS256: thumbprint}, nil, CertificateMissing, Unbound},
		{"key only", Confirmation{Present: true, JKT: jkt}, der, Unbound, ""},
		{"both", Confirmation{Present: true, JKT: jkt, X5TS256: thumbprint}, der, "", ""},
		{"N29 both, only the key proven", Confirmation{Present: true, JKT: jkt, X5TS256: thumbprint}, nil, CertificateMissing, ""},
		{"both, one unreadable", Confirmation{Present: true, Invalid: true, JKT: jkt, X5TS256: "x"}, der, CnfInvalid, CnfInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &Claims{Confirmation: tt.cnf}
			wantReason(t, CheckCertificate(c, tt.leaf), tt.certificate)
			wantReason(t, c.CheckBinding(jkt), tt.binding)
		})
	}
}
