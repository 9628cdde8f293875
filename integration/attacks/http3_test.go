// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// certificateFor makes a self-signed certificate of a key, in the form of x5c.
func certificateFor(k *testkit.Key, name string) (string, error) {
	der, err := selfSigned(k.Private, name)
	return base64.StdEncoding.EncodeToString(der), err
}

func selfSigned(k crypto.Signer, names ...string) ([]byte, error) {
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	return x509.CreateCertificate(rand.Reader, t, t, k.Public(), k)
}

// writeCertificate makes the certificate of the TLS sites.
func writeCertificate(dir string) error {
	k := testkit.P256("server certificate")
	der, err := selfSigned(k.Private, "api.example.test", "open.example.test")
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// h3client speaks HTTP/3 to a site.
func h3client(s *site, sessions tls.ClientSessionCache) *http3.Transport {
	return &http3.Transport{
		TLSClientConfig: &tls.Config{ServerName: strings.TrimPrefix(s.origin, "https://"), InsecureSkipVerify: true, ClientSessionCache: sessions}, // #nosec G402 -- the test's own certificate
		QUICConfig:      &quic.Config{MaxIdleTimeout: 10 * time.Second},
	}
}

// sendH3 sends the attempt over HTTP/3. The method may be http3.MethodGet0RTT, which
// is a GET in early data.
func (a *attempt) sendH3(client *http3.Transport, method string) *result {
	r := &result{attempt: a, Answer: &testkit.Answer{Header: http.Header{}}}
	req, err := http.NewRequest(method, "https://"+a.site.address+a.target, nil)
	if err != nil {
		r.err = err
		return r
	}
	for _, f := range a.fields() {
		if f.Name == "Host" {
			req.Host = f.Value
			continue
		}
		req.Header.Add(f.Name, f.Value)
	}
	start := time.Now()
	res, err := client.RoundTrip(req)
	if err != nil {
		r.err = err
		return r
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	r.err = err
	r.Answer = &testkit.Answer{Status: res.StatusCode, Header: res.Header, Body: body, Took: time.Since(start)}
	r.hits = backend.of(a.name)
	return r
}

// earlyReplay sends a request in the early data of a resumed connection, twice: what
// the network could do by itself. The first may be served if the handshake was
// complete when the handler saw it; no two may.
func earlyReplay(c *run) {
	s := c.site("tls/api")
	sessions := tls.NewLRUClientSessionCache(4)
	first := h3client(s, sessions)
	a := newAttempt(s)
	r := a.sendH3(first, http.MethodGet)
	r.check(c, accepted)
	_ = first.Close()

	early := want{status: 425, reason: "early_data"}
	b := newAttempt(s)
	b.write()
	served := 0
	c.answered(early)
	for range 2 {
		client := h3client(s, sessions)
		x := b.again()
		r := x.sendH3(client, http3.MethodGet0RTT)
		_ = client.Close()
		switch r.Status {
		case http.StatusTooEarly:
			r.check(c, early)
		case http.StatusOK:
			served++
		case http.StatusUnauthorized:
			r.check(c, replayed)
		default:
			c.Errorf("early data is answered %d, %v", r.Status, r.err)
		}
	}
	if served > 1 {
		c.Errorf("early data was served %d times", served)
	}
}
