// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// opaque is the resource for which oidc-provider issues tokens that only it can read.
const opaque = audience + "/opaque"

// TestIntrospection: opaque tokens of oidc-provider, in each way that a resource server
// can authenticate, and with signed answers.
func TestIntrospection(t *testing.T) {
	for _, c := range []struct {
		name, signed, client, options string
	}{
		{"client_secret_basic", "off", "rs-basic", "client_secret " + clientSecret},
		{"client_secret_post", "off", "rs-post", "client_secret " + clientSecret + "\nauth_method client_secret_post"},
		{"private_key_jwt", "off", "rs-jwt", "private_key {KEY}"},
		{"signed answers", "on", "rs-basic", "client_secret " + clientSecret + "\nissuer {ISSUER}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, keys := resourceServerKey(t)
			issuer, provider := startProvider(t, "NONCE=off", "SIGNED_INTROSPECTION="+c.signed, "RESOURCE_SERVER_KEYS="+keys)
			options := strings.NewReplacer("{KEY}", key, "{ISSUER}", issuer).Replace(c.options)
			s := startStand(t, issuer, opaque, fmt.Sprintf(
				"introspection %s/token/introspection {\nclient_id %s\n%s\n}\naudience %s", issuer, c.client, options, opaque))
			s.tryProviderClients(t, "opaque, "+c.name, without(standardCalls(), "no ath"), "ES256", "RS256")
			kind := map[string]string{"off": "application/json", "on": "application/token-introspection+jwt"}[c.signed]
			if find(provider, "answered 200 "+kind) == "" {
				t.Errorf("no answer of the kind %s: the end of its log:\n%s", kind, provider.Tail())
			}
			t.Run("JWT", s.tryForeignKind)
			t.Run("bearer token", s.tryUnboundToken)
		})
	}
}

// tryForeignKind: asked about a JWT, oidc-provider answers 400 rather than "inactive".
// That is the client's fault and no outage.
func (s *stand) tryForeignKind(t *testing.T) {
	signer := newSigner(t)
	jwt := &stand{issuer: s.issuer, resource: audience}
	s.want(t, s.get(t, signer, jwt.token(t, signer), "/api/jwt"), "401 token_inactive")
}

func (s *stand) want(t *testing.T, res *http.Response, want string) {
	t.Helper()
	if got := strings.TrimSpace(res.Status[:3] + " " + res.Header.Get("X-Reason")); got != want {
		t.Errorf("answered %s, want %s", got, want)
	}
}

// TestRevocation: without a cache, a revoked token is refused from the next request on.
func TestRevocation(t *testing.T) {
	issuer, _ := startProvider(t, "NONCE=off")
	s := startStand(t, issuer, opaque, introspects(issuer)+"\naudience "+opaque)
	signer := newSigner(t)
	token := s.token(t, signer)
	s.want(t, s.get(t, signer, token, "/api/before"), "200")
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer+"/token/revocation",
		strings.NewReader(url.Values{"token": {token}}.Encode()))
	req.SetBasicAuth(clientID, clientSecret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	s.want(t, s.get(t, signer, token, "/api/after"), "401 token_inactive")
}

// TestBothKinds: `issuer` and `introspection` side by side; the token's form decides.
func TestBothKinds(t *testing.T) {
	issuer, _ := startProvider(t, "NONCE=off")
	s := startStand(t, issuer, opaque, fmt.Sprintf("issuer %s\n%s\naudience %s %s", issuer, introspects(issuer), audience, opaque))
	signer := newSigner(t)
	jwt := &stand{issuer: issuer, resource: audience}
	s.want(t, s.get(t, signer, s.token(t, signer), "/api/opaque"), "200")
	s.want(t, s.get(t, signer, jwt.token(t, signer), "/api/jwt"), "200")
}

func introspects(issuer string) string {
	return fmt.Sprintf("introspection %s/token/introspection {\nclient_id rs-basic\nclient_secret %s\ncache_ttl 0s\n}", issuer, clientSecret)
}

// resourceServerKey makes the key of a resource server: the file with it, and the JWK set
// that its authorization server is told.
func resourceServerKey(t *testing.T) (file, keys string) {
	t.Helper()
	key := newKey(t, "ES256")
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return file, string(set)
}
