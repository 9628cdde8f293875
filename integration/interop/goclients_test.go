// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// goClient makes the calls in this process.
type goClient struct {
	name       string
	algorithms []string
	prover     func(t *testing.T, key crypto.Signer, algorithm string) prover
}

// prover makes a proof; a request without AccessToken has no ath.
type prover func(r proof.SignRequest) (string, error)

var goClients = []goClient{
	{
		name: "proof.Signer of this module", algorithms: []string{"ES256", "EdDSA", "Ed25519", "PS256", "RS256"},
		prover: func(t *testing.T, key crypto.Signer, algorithm string) prover {
			t.Helper()
			return signerFor(t, key, algorithm).Sign
		},
	},
	{name: "go-jose by hand", algorithms: []string{"ES256", "EdDSA", "PS256", "RS256"}, prover: goJOSE},
}

// goJOSE makes proofs as its users do, with the key embedded by the library.
func goJOSE(t *testing.T, key crypto.Signer, algorithm string) prover {
	t.Helper()
	options := (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	return func(r proof.SignRequest) (string, error) {
		uri, _, _ := strings.Cut(r.URI, "?")
		claims := map[string]any{"jti": rand.Text(), "htm": r.Method, "htu": uri, "iat": r.Now.Unix()}
		if r.AccessToken != "" {
			hash := sha256.Sum256([]byte(r.AccessToken))
			claims["ath"] = base64.RawURLEncoding.EncodeToString(hash[:])
		}
		if r.Nonce != "" {
			claims["nonce"] = r.Nonce
		}
		payload, err := json.Marshal(claims)
		if err != nil {
			return "", err
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			return "", err
		}
		return signed.CompactSerialize()
	}
}

// TestGoClients does what TestClients does, with clients written in Go.
func TestGoClients(t *testing.T) {
	s := startDevStand(t)
	for _, c := range goClients {
		t.Run(c.name, func(t *testing.T) {
			var runs []summary
			for _, alg := range c.algorithms {
				t.Run(alg, func(t *testing.T) {
					s.backend.reset()
					calls := standardCalls()
					got := s.runGoClient(t, c, alg, calls)
					runs = append(runs, summary{checkCalls(t, s.base, calls, got, s.backend), traitsOf(s.backend.all())})
				})
			}
			recordClient(client{name: c.name, language: "Go"}, c.algorithms, runs)
		})
	}
}

func newKey(t *testing.T, algorithm string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "PS256", "RS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (s *stand) runGoClient(t *testing.T, c goClient, algorithm string, calls []call) answers {
	t.Helper()
	key := newKey(t, algorithm)
	own, stranger := c.prover(t, key, algorithm), c.prover(t, newKey(t, algorithm), algorithm)
	token, second := s.tokenFrom(t, own), s.tokenFrom(t, own)
	got := answers{}
	var nonce string
	for _, call := range calls {
		prove := own
		if call.tweak == foreign {
			prove = stranger
		}
		for range 2 {
			res := s.makeCall(t, call, prove, token, second, nonce, got)
			fresh := res.Header.Get("DPoP-Nonce")
			if fresh != "" {
				nonce = fresh
			}
			if res.StatusCode != http.StatusUnauthorized || fresh == "" {
				break
			}
		}
	}
	return got
}

// makeCall signs once and sends, twice if the call says so.
func (s *stand) makeCall(t *testing.T, c call, prove prover, token, second, nonce string, got answers) *http.Response {
	t.Helper()
	r := proof.SignRequest{Method: c.method, URI: absolute(s.base, c.path), AccessToken: token, Nonce: nonce, Now: time.Now()}
	if c.tweak == old {
		r.Now = r.Now.Add(-10 * time.Minute)
	}
	if c.tweak == noATH {
		r.AccessToken = ""
	}
	p, err := prove(r)
	if err != nil {
		t.Fatal(err)
	}
	if c.tweak == otherToken {
		token = second
	}
	times := 1
	if c.tweak == again {
		times = 2
	}
	var res *http.Response
	for range times {
		method, url := c.sent(s.base)
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "DPoP "+token)
		req.Header.Set("DPoP", p)
		if c.tweak == bearer {
			req.Header = http.Header{"Authorization": {"Bearer " + token}}
		}
		if res, err = http.DefaultClient.Do(req); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		got.add(t, c.name, strconv.Itoa(res.StatusCode), res.Header.Get("X-Reason"), res.Header.Get("WWW-Authenticate"))
	}
	return res
}
