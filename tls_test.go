// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// certificate makes a self-signed certificate that is good for everything.
func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secure turns the test's site into an https one; policy goes into its tls block.
func secure(t *testing.T, n *node, config, policy string) string {
	t.Helper()
	c := certificate(t, "api.test")
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	must(t, err)
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		must(t, os.WriteFile(filepath.Join(n.dir, name), pem.EncodeToMemory(block), 0o600))
	}
	return strings.Replace(config, "http://api.test:$PORT {\n",
		"https://api.test:$PORT {\n\ttls $DIR/cert.pem $DIR/key.pem {\n"+policy+"\n}\n", 1)
}

func (n *node) secureURL(path string) string { return "https://api.test:" + n.port + path }

// TestMTLS binds tokens to the client certificate (RFC 8705), to the key, or to
// both; a confirmation that a token names has to hold.
func TestMTLS(t *testing.T) {
	n := prepare(t)
	n.reload(secure(t, n, site(oneIssuer+"mtls\n"), "client_auth {\nmode request\n}"))

	own, other := certificate(t, "client"), certificate(t, "other")
	key := testkit.P256("client")
	thumbprint := func(c tls.Certificate) string {
		sum := sha256.Sum256(c.Certificate[0])
		return testkit.B64(sum[:])
	}
	token := func(members ...testkit.Member) *client {
		return &client{n, key, n.bound(key).Set("cnf", testkit.Object(members)).String()}
	}
	jkt := testkit.Member{Name: "jkt", Value: key.Thumbprint()}
	foreign := testkit.Member{Name: "jkt", Value: testkit.P256("other").Thumbprint()}
	x5t := testkit.Member{Name: "x5t#S256", Value: thumbprint(own)}

	const (
		dpopScheme   = "DPoP"
		bearerScheme = "Bearer"
	)
	for _, test := range []struct {
		name   string
		client *client
		scheme string
		shown  *tls.Certificate
		reason Reason // "" passes
	}{
		{"certificate, as Bearer", token(x5t), bearerScheme, &own, ""},
		{"certificate, as Bearer, other", token(x5t), bearerScheme, &other, "certificate_mismatch"},
		{"certificate, as Bearer, none", token(x5t), bearerScheme, nil, "certificate_missing"},
		{"certificate, as DPoP", token(x5t), dpopScheme, &own, ""},
		{"certificate, as DPoP, other", token(x5t), dpopScheme, &other, "certificate_mismatch"},
		{"certificate, as DPoP, none", token(x5t), dpopScheme, nil, "certificate_missing"},
		{"both, as DPoP", token(jkt, x5t), dpopScheme, &own, ""},
		{"both, as DPoP, other certificate", token(jkt, x5t), dpopScheme, &other, "certificate_mismatch"},
		{"both, as DPoP, no certificate", token(jkt, x5t), dpopScheme, nil, "certificate_missing"},
		{"both, as DPoP, other key", token(foreign, x5t), dpopScheme, &own, "jkt_mismatch"},
		{"both, as Bearer", token(jkt, x5t), bearerScheme, &own, "bearer_bound"},
		{"key, as DPoP", token(jkt), dpopScheme, nil, ""},
		{"key, as DPoP, with certificate", token(jkt), dpopScheme, &own, ""},
		{"key, as Bearer, with certificate", token(jkt), bearerScheme, &own, "bearer_bound"},
		{"unreadable, as Bearer", token(testkit.Member{Name: "x5t#S256", Value: "x"}), bearerScheme, &own, "bearer_bound"},
		{"unreadable, as DPoP", token(testkit.Member{Name: "x5t#S256", Value: "x"}), dpopScheme, &own, "token_cnf_invalid"},
		{"nothing, as Bearer", token(), bearerScheme, &own, "bearer_bound"},
	} {
		t.Run(test.name, func(t *testing.T) {
			transport := n.transport()
			if test.shown != nil {
				transport.TLSClientConfig.Certificates = []tls.Certificate{*test.shown}
			}
			fields := []string{"Authorization", test.scheme + " " + test.client.token}
			if test.scheme == dpopScheme {
				fields = append(fields, "DPoP", test.client.proof("GET", n.secureURL("/")).String())
			}
			a := n.sendVia(transport, "GET", n.secureURL("/"), fields...)
			a.t = t
			if test.reason == "" {
				a.passed()
				return
			}
			a.refusedFor(test.reason)
			if got := a.header["Www-Authenticate"]; len(got) != 2 || !strings.HasPrefix(got[0], "DPoP ") || !strings.HasPrefix(got[1], "Bearer") {
				t.Errorf("challenges %q", got)
			}
		})
	}

	// `mtls` alone lets no unbound token pass as Bearer.
	unbound := n.bound(key)
	unbound.Claims.Delete("cnf")
	n.send("GET", n.secureURL("/"), "Authorization", "Bearer "+unbound.String()).refused(401, "bearer_refused",
		"DPoP "+algs, `Bearer error="invalid_token", error_description="The access token must be used with a DPoP proof"`)
}

// TestCertificateWithoutMTLS: who bound a token to a certificate wants it shown,
// also where `mtls` is not on; but the certificate alone is not enough then.
func TestCertificateWithoutMTLS(t *testing.T) {
	n := prepare(t)
	n.reload(secure(t, n, site(oneIssuer), "client_auth {\nmode request\n}"))
	own := certificate(t, "client")
	sum := sha256.Sum256(own.Certificate[0])
	key := testkit.P256("client")
	x5t := testkit.Member{Name: "x5t#S256", Value: testkit.B64(sum[:])}
	send := func(shown bool, members ...testkit.Member) answer {
		transport := n.transport()
		if shown {
			transport.TLSClientConfig.Certificates = []tls.Certificate{own}
		}
		c := &client{n, key, n.bound(key).Set("cnf", testkit.Object(members)).String()}
		return n.sendVia(transport, "GET", n.secureURL("/"),
			"Authorization", "DPoP "+c.token, "DPoP", c.proof("GET", n.secureURL("/")).String())
	}
	jkt := testkit.Member{Name: "jkt", Value: key.Thumbprint()}
	send(true, jkt, x5t).passed()
	send(false, jkt, x5t).refusedFor("certificate_missing")
	send(true, x5t).refusedFor("token_unbound")
}
