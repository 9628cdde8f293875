// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const (
	oauthPath  = "/.well-known/oauth-authorization-server"
	openIDPath = "/.well-known/openid-configuration"
)

func metadata(issuer, jwksURI string) http.HandlerFunc {
	return answerJSON(testkit.Object{{Name: "issuer", Value: issuer}, {Name: "jwks_uri", Value: jwksURI}})
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	good := metadata(testIssuer, testJWKSURI)
	oauth, openID := testIssuer+oauthPath, testIssuer+openIDPath
	for _, tt := range []struct {
		name    string
		issuer  string
		answers map[string]http.HandlerFunc
		asked   []string
		ok      bool
	}{
		{"RFC 8414", testIssuer, map[string]http.HandlerFunc{oauth: good}, []string{oauth, testJWKSURI}, true},
		{"OpenID", testIssuer, map[string]http.HandlerFunc{oauth: http.NotFound, openID: good}, []string{oauth, openID, testJWKSURI}, true},
		{"OpenID after a page", testIssuer, map[string]http.HandlerFunc{
			oauth: testkit.Status(200, "text/html", "<html>"), openID: good,
		}, []string{oauth, openID, testJWKSURI}, true},
		{"path", testIssuer + "/tenant/a", map[string]http.HandlerFunc{
			testIssuer + oauthPath + "/tenant/a":  http.NotFound,
			testIssuer + "/tenant/a" + openIDPath: metadata(testIssuer+"/tenant/a", testJWKSURI),
		}, []string{testIssuer + oauthPath + "/tenant/a", testIssuer + "/tenant/a" + openIDPath, testJWKSURI}, true},
		{"trailing slash", testIssuer + "/", map[string]http.HandlerFunc{
			oauth: metadata(testIssuer+"/", testJWKSURI),
		}, []string{oauth, testJWKSURI}, true},
		{"issuer differs by a slash", testIssuer, map[string]http.HandlerFunc{
			oauth: metadata(testIssuer+"/", testJWKSURI),
		}, []string{oauth, openID}, false},
		{"issuer of somebody else", testIssuer, map[string]http.HandlerFunc{
			oauth: metadata("https://other.example.com", testJWKSURI), openID: metadata("https://other.example.com", testJWKSURI),
		}, []string{oauth, openID}, false},
		{"no issuer", testIssuer, map[string]http.HandlerFunc{
			oauth: answerJSON(testkit.Object{{Name: "jwks_uri", Value: testJWKSURI}}),
		}, []string{oauth, openID}, false},
		{"no jwks_uri", testIssuer, map[string]http.HandlerFunc{
			oauth: answerJSON(testkit.Object{{Name: "issuer", Value: testIssuer}}),
		}, []string{oauth, openID}, false},
		{"duplicate issuer", testIssuer, map[string]http.HandlerFunc{
			oauth: testkit.Status(200, "", `{"issuer":"x","issuer":"`+testIssuer+`","jwks_uri":"`+testJWKSURI+`"}`),
		}, []string{oauth, openID}, false},
		{"http jwks_uri", testIssuer, map[string]http.HandlerFunc{
			oauth: metadata(testIssuer, "http://auth.example.com/jwks"),
		}, []string{oauth, openID}, false},
		{"loopback jwks_uri of a remote issuer", testIssuer, map[string]http.HandlerFunc{
			oauth: metadata(testIssuer, "http://127.0.0.1:2019/config/"),
		}, []string{oauth, openID}, false},
		{"file jwks_uri", testIssuer, map[string]http.HandlerFunc{
			oauth: metadata(testIssuer, "file:///etc/passwd"),
		}, []string{oauth, openID}, false},
		{"P16 redirect", testIssuer, map[string]http.HandlerFunc{
			oauth: testkit.Redirect("https://canary.example/"), openID: testkit.Redirect("http://127.0.0.1/"),
		}, []string{oauth, openID}, false},
		{"too large", testIssuer, map[string]http.HandlerFunc{
			oauth: testkit.Status(200, "", `{"x":"`+strings.Repeat("x", maxMetadataSize)+`"}`),
		}, []string{oauth, openID}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWeb()
			for address, answer := range tt.answers {
				w.on(address, answer)
			}
			w.on(testJWKSURI, jwks(testkit.P256("issuer").JWK("k1")))
			clock := testkit.NewClock(epoch)
			s := newKeySet(t, KeySetConfig{Issuer: tt.issuer, Client: w.client(), Now: clock.Now})
			if err := s.Refresh(t.Context()); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
			if !slices.Equal(w.asked, tt.asked) {
				t.Errorf("asked for %q", w.asked)
			}
		})
	}
}

// TestDiscoveryAgain: metadata is kept for an hour, or until its key set fails.
func TestDiscoveryAgain(t *testing.T) {
	t.Parallel()
	w, clock := newWeb(), testkit.NewClock(epoch)
	moved := testIssuer + "/keys"
	w.on(testIssuer+oauthPath, metadata(testIssuer, testJWKSURI))
	w.on(testJWKSURI, jwks(testkit.P256("issuer").JWK("k1")))
	w.on(moved, jwks(testkit.P256("issuer").JWK("k1")))
	s := newKeySet(t, KeySetConfig{Issuer: testIssuer, Client: w.client(), Now: clock.Now})
	refresh := func(ok bool, documents int) {
		t.Helper()
		if err := s.Refresh(t.Context()); (err == nil) != ok {
			t.Errorf("got %v", err)
		}
		if n := w.count(testIssuer + oauthPath); n != documents {
			t.Errorf("metadata was asked for %d times, want %d", n, documents)
		}
	}
	refresh(true, 1)
	clock.Advance(metadataLife - time.Second)
	refresh(true, 1)
	clock.Advance(time.Second)
	refresh(true, 2)
	w.on(testIssuer+oauthPath, nil) // an outage of the metadata alone
	clock.Advance(metadataLife)
	refresh(true, 3)
	w.on(testIssuer+oauthPath, metadata(testIssuer, moved))
	refresh(true, 4)
	if st := s.Status(); st.URI != moved {
		t.Errorf("status %+v", st)
	}
	w.on(testIssuer+oauthPath, metadata(testIssuer, testJWKSURI))
	w.on(moved, http.NotFound)
	refresh(false, 4)
	refresh(true, 5)
}

// TestTransport goes through real connections: TLS faults, resets, compression.
func TestTransport(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		secure bool
		path   string
		fault  http.HandlerFunc
		want   Reason
	}{
		{"good", false, "", nil, ""},
		{"P20 certificate nobody trusts", true, "", nil, KeysUnavailable},
		{"reset", false, testkit.PathJWKS, testkit.Reset, KeysUnavailable},
		{"endless", false, testkit.PathJWKS, testkit.Flood, KeysUnavailable},
		{"endless metadata", false, testkit.PathMetadata, testkit.Flood, ""}, // OpenID has it too
		{"P16 redirect", false, testkit.PathJWKS, testkit.Redirect("/moved"), KeysUnavailable},
		{"P01 500", false, testkit.PathJWKS, testkit.Status(500, "text/plain", "no"), KeysUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			newServer := testkit.NewIssuer
			if tt.secure {
				newServer = testkit.NewTLSIssuer
			}
			server := newServer("transport")
			defer server.Close()
			if tt.fault != nil {
				server.Fault(tt.path, tt.fault)
			}
			keys := newKeySet(t, KeySetConfig{Issuer: server.URL})
			issuer, err := NewIssuer(IssuerConfig{Issuer: server.URL, Keys: keys})
			if err != nil {
				t.Fatal(err)
			}
			_, err = issuer.Verify(t.Context(), server.Token(testkit.TokenClaims{}, time.Now()).String())
			wantReason(t, err, tt.want)
			if server.Count("/moved") != 0 {
				t.Error("a redirect was followed")
			}
		})
	}
}

func TestClientKeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}
	base := &http.Client{Transport: transport}
	c := newClient(base)
	if c.Transport != http.RoundTripper(transport) || c == base || base.CheckRedirect != nil {
		t.Error("the client given was changed or left out")
	}
}
