// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

func compress(r io.Reader) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.Copy(z, r); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// ask returns the request that one verification makes.
func ask(t *testing.T, change func(*IntrospectionConfig)) (*http.Request, url.Values) {
	t.Helper()
	w := newWeb()
	var got *http.Request
	var form url.Values
	w.on(testEndpoint, func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = r
		if form, err = url.ParseQuery(string(body)); err != nil {
			t.Error(err)
		}
		answerJSON(activeAnswer())(rw, r)
	})
	_, err := newIntrospection(t, w, change).Verify(t.Context(), "a+b/c=d~e f&g%")
	wantReason(t, err, "")
	if got.Method != http.MethodPost || got.Header.Get("Content-Type") != "application/x-www-form-urlencoded" ||
		form.Get("token") != "a+b/c=d~e f&g%" || form.Get("token_type_hint") != "access_token" {
		t.Errorf("request %+v with %v", got, form)
	}
	return got, form
}

func TestClientSecretBasic(t *testing.T) {
	t.Parallel()
	r, form := ask(t, func(c *IntrospectionConfig) { c.ClientID, c.ClientSecret = "a:b c", "s:%+é" })
	// RFC 6749, section 2.3.1 and appendix B.
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("a%3Ab+c:s%3A%25%2B%C3%A9"))
	if got := r.Header.Get("Authorization"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(form) != 2 || r.Header.Get("Accept") != "application/json" {
		t.Errorf("form %v, Accept %s", form, r.Header.Get("Accept"))
	}
}

func TestClientSecretPost(t *testing.T) {
	t.Parallel()
	r, form := ask(t, func(c *IntrospectionConfig) { c.AuthMethod = ClientSecretPost })
	if r.Header.Get("Authorization") != "" || form.Get("client_id") != "rs" || form.Get("client_secret") != "secret" {
		t.Errorf("form %v", form)
	}
}

func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	p256, rsaKey, ed := testkit.P256("rs"), testkit.RSA(2048, "issuer"), testkit.Ed25519("rs")
	for _, tt := range []struct {
		name      string
		key       *testkit.Key
		file      []byte
		kid, alg  string
		issuer    string
		audiences string
	}{
		{"PKCS 8, P-256", p256, pkcs8(p256), "", "ES256", testIssuer, testIssuer},
		{"SEC 1", p256, sec1(p256), "", "ES256", testIssuer, testIssuer},
		{"SEC 1 after its parameters", p256, append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), sec1(p256)...), "", "ES256", testIssuer, testIssuer},
		{"P-384", testkit.P384("rs"), pkcs8(testkit.P384("rs")), "", "ES384", testIssuer, testIssuer},
		{"P-521", testkit.P521("rs"), pkcs8(testkit.P521("rs")), "", "ES512", testIssuer, testIssuer},
		{"PKCS 8, RSA", rsaKey, pkcs8(rsaKey), "", "RS256", testIssuer, testIssuer},
		{"PKCS 1", rsaKey, pkcs1(rsaKey), "", "RS256", testIssuer, testIssuer},
		{"Ed25519", ed, pkcs8(ed), "", "EdDSA", testIssuer, testIssuer},
		{"JWK", p256, p256.PrivateJWK().With("kid", "rs-1").JSON(), "rs-1", "ES256", testIssuer, testIssuer},
		{"JWK that names PS256", rsaKey, rsaKey.PrivateJWK().With("alg", "PS256").JSON(), "", "PS256", testIssuer, testIssuer},
		{"no issuer known", p256, pkcs8(p256), "", "ES256", "", testEndpoint},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key, err := ParseClientKey(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if key.Algorithm() != tt.alg {
				t.Errorf("algorithm %s", key.Algorithm())
			}
			now := time.Now()
			_, form := ask(t, func(c *IntrospectionConfig) { c.ClientSecret, c.PrivateKey, c.Issuer = "", key, tt.issuer })
			if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || form.Has("client_secret") {
				t.Errorf("form %v", form)
			}
			// Judged by our own reader of JWTs, with the public key in a key set.
			j, err := parseJWT(form.Get("client_assertion"), DefaultMaxSize, func(typ string) bool { return typ == "JWT" })
			if err != nil {
				t.Fatal(err)
			}
			if err := j.admit(); err != nil {
				t.Fatal(err)
			}
			keys, _, err := new(KeySet).parseKeySet(jwksBytes(tt.key.JWK("x").Without("alg")))
			if err != nil || !j.verify(keys[0]) || j.kid != tt.kid || j.alg != tt.alg {
				t.Errorf("assertion %+v, %v", j, err)
			}
			c, err := parseClaims(j.payload, j.claims)
			if err != nil {
				t.Fatal(err)
			}
			if c.Issuer != "rs" || c.Subject != "rs" || strings.Join(c.Audience, " ") != tt.audiences || len(c.id) < 22 ||
				c.IssuedAt.Before(now.Add(-time.Minute)) || c.Expiry.Sub(c.IssuedAt) != assertionLife {
				t.Errorf("claims %+v", c)
			}
		})
	}
}

func TestAssertionsAreNew(t *testing.T) {
	t.Parallel()
	key, err := ParseClientKey(pkcs8(testkit.P256("rs")))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for range 3 {
		_, form := ask(t, func(c *IntrospectionConfig) { c.ClientSecret, c.PrivateKey = "", key })
		seen[form.Get("client_assertion")] = true
	}
	if len(seen) != 3 {
		t.Error("an assertion was used twice")
	}
}

func TestParseClientKeyErrors(t *testing.T) {
	t.Parallel()
	for name, file := range map[string][]byte{
		"empty":         nil,
		"text":          []byte("secret"),
		"public JWK":    testkit.P256("rs").Public.JSON(),
		"symmetric JWK": []byte(`{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}`),
		"broken JWK":    []byte(`{"kty":"EC","d":"secret`),
		"wrong alg":     testkit.P256("rs").PrivateJWK().With("alg", "RS256").JSON(),
		"HMAC alg":      testkit.P256("rs").PrivateJWK().With("alg", "HS256").JSON(),
		"encrypted":     []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n"),
		"certificate":   []byte("-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n"),
		"broken PEM":    []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"),
	} {
		if k, err := ParseClientKey(file); err == nil {
			t.Errorf("%s: accepted for %s", name, k.Algorithm())
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: the error quotes the file: %v", name, err)
		}
	}
}

func TestNewIntrospection(t *testing.T) {
	t.Parallel()
	key, err := ParseClientKey(pkcs8(testkit.P256("rs")))
	if err != nil {
		t.Fatal(err)
	}
	negative := -time.Second
	for _, tt := range []struct {
		name   string
		change func(*IntrospectionConfig)
		ok     bool
	}{
		{"good", func(*IntrospectionConfig) {}, true},
		{"loopback", func(c *IntrospectionConfig) { c.Endpoint = "http://localhost:1/i" }, true},
		{"key chooses the method", func(c *IntrospectionConfig) { c.ClientSecret, c.PrivateKey = "", key }, true},
		{"O41 http", func(c *IntrospectionConfig) { c.Endpoint = "http://auth.example.com/i" }, false},
		{"no endpoint", func(c *IntrospectionConfig) { c.Endpoint = "" }, false},
		{"credentials in the endpoint", func(c *IntrospectionConfig) { c.Endpoint = "https://a:b@auth.example.com/i" }, false},
		{"no client id", func(c *IntrospectionConfig) { c.ClientID = "" }, false},
		{"empty secret", func(c *IntrospectionConfig) { c.ClientSecret = "" }, false},
		{"post without secret", func(c *IntrospectionConfig) { c.AuthMethod, c.ClientSecret = ClientSecretPost, "" }, false},
		{"secret and key", func(c *IntrospectionConfig) { c.PrivateKey = key }, false},
		{"basic and key", func(c *IntrospectionConfig) { c.AuthMethod, c.PrivateKey = ClientSecretBasic, key }, false},
		{"key missing", func(c *IntrospectionConfig) { c.AuthMethod, c.ClientSecret = PrivateKeyJWT, "" }, false},
		{"unknown method", func(c *IntrospectionConfig) { c.AuthMethod = "tls_client_auth" }, false},
		{"method in another case", func(c *IntrospectionConfig) { c.AuthMethod = "Client_Secret_Basic" }, false},
		{"negative cache", func(c *IntrospectionConfig) { c.CacheTTL = &negative }, false},
		{"negative limit", func(c *IntrospectionConfig) { c.MaxConcurrent = -1 }, false},
		{"signed by nobody in particular", func(c *IntrospectionConfig) {
			c.Issuer, c.Keys = "", newKeySet(t, KeySetConfig{URI: testJWKSURI})
		}, false},
	} {
		c := IntrospectionConfig{Endpoint: testEndpoint, Issuer: testIssuer, ClientID: "rs", ClientSecret: "secret"}
		tt.change(&c)
		if _, err := NewIntrospection(c); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func block(kind string, der []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(k *testkit.Key) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(k.Private)
	return block("PRIVATE KEY", der, err)
}

func pkcs1(k *testkit.Key) []byte {
	return block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.Private.(*rsa.PrivateKey)), nil)
}

func sec1(k *testkit.Key) []byte {
	der, err := x509.MarshalECPrivateKey(k.Private.(*ecdsa.PrivateKey))
	return block("EC PRIVATE KEY", der, err)
}
