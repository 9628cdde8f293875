// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/proof"
)

// audience is what access tokens for the API are for.
const audience = "https://api.example.com"

// withReasons makes refusals tell their reason in a header, which no client looks at.
const withReasons = `
	handle_errors {
		header X-Reason {http.dpop.reason}
		header +Access-Control-Expose-Headers X-Reason
		respond "{err.status_code} {err.status_text}"
	}
`

// stand is a Caddy that protects an API, the server that issues the tokens for it, and
// the backend behind it.
type stand struct {
	issuer   string
	resource string // what tokens are asked for
	base     string
	backend  *backend
}

// startStand starts the API with `dpop` in its usual forms: /api, /nonce with nonces
// required, /admin with a scope that nobody has. options go into each directive.
func startStand(t *testing.T, issuer, resource, options string) *stand {
	t.Helper()
	return startStandWith(t, issuer, resource, options, "")
}

// startStandWith is startStand with more directives for the site.
func startStandWith(t *testing.T, issuer, resource, options, site string) *stand {
	t.Helper()
	s := &stand{issuer: issuer, resource: resource, base: "http://" + process.FreeAddress(), backend: startBackend(t)}
	startCaddy(t, strings.Replace(s.api(options), "{\n", "{\n"+site, 1))
	s.ready(t)
	return s
}

// startDevStand is startStand with Caddy's own development issuer.
func startDevStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{issuer: "http://" + process.FreeAddress(), resource: audience, base: "http://" + process.FreeAddress(), backend: startBackend(t)}
	options := fmt.Sprintf("issuer %s\naudience %s\nreplay memory", s.issuer, audience)
	startCaddy(t, s.api(options)+s.devIssuer())
	s.ready(t)
	return s
}

func (s *stand) devIssuer() string {
	return fmt.Sprintf("%s {\n\tdpop_dev_issuer %s {\n\t\taudience %s\n\t\tscope read write\n\t}\n}\n", s.issuer, s.issuer, audience)
}

func (s *stand) api(options string) string {
	return strings.NewReplacer(
		"{BASE}", s.base, "{OPTIONS}", options, "{BACKEND}", s.backend.address(), "{REASONS}", withReasons,
	).Replace(`
{BASE} {
	{REASONS}
	handle /nonce/* {
		dpop {
			{OPTIONS}
			nonce required
		}
		reverse_proxy {BACKEND}
	}
	handle /admin/* {
		dpop {
			{OPTIONS}
			scope admin
		}
		reverse_proxy {BACKEND}
	}
	handle {
		dpop {
			{OPTIONS}
		}
		reverse_proxy {BACKEND}
	}
}
`)
}

// ready waits until the server no longer refuses proofs as older than its memory, which
// it does during the second in which it started.
func (s *stand) ready(t *testing.T) {
	t.Helper()
	s.awaitWith(t, func(signer *proof.Signer) string { return s.token(t, signer) })
}

// awaitWith is ready with tokens from anywhere.
func (s *stand) awaitWith(t *testing.T, token func(*proof.Signer) string) {
	t.Helper()
	signer := newSigner(t)
	for deadline := time.Now().Add(20 * time.Second); ; {
		res := s.get(t, signer, token(signer), "/api/ready")
		if res.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the API does not get ready: %s %s", statusOf(res), res.Header.Get("WWW-Authenticate"))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func statusOf(res *http.Response) string {
	if res == nil {
		return "no answer"
	}
	return res.Status + " " + res.Header.Get("X-Reason")
}

func newSigner(t *testing.T) *proof.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signerFor(t, key, "")
}

func signerFor(t *testing.T, key crypto.Signer, algorithm string) *proof.Signer {
	t.Helper()
	signer, err := proof.NewSigner(key, algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// token asks the authorization server for an access token bound to the signer's key.
func (s *stand) token(t *testing.T, signer *proof.Signer) string {
	t.Helper()
	return s.tokenFrom(t, signer.Sign)
}

// tokenFrom is token with any maker of proofs; nil asks for a bearer token. It waits for
// a server that has only just started.
func (s *stand) tokenFrom(t *testing.T, prove prover) string {
	t.Helper()
	var nonce string
	for deadline := time.Now().Add(20 * time.Second); ; {
		endpoint := s.issuer + "/token"
		form := url.Values{"grant_type": {"client_credentials"}, "resource": {s.resource}, "scope": {"read"}}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(form.Encode()))
		req.SetBasicAuth(clientID, clientSecret)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if prove != nil {
			p, err := prove(proof.SignRequest{Method: http.MethodPost, URI: endpoint, Nonce: nonce, Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("DPoP", p)
		}
		answer, err := askForToken(req)
		if err == nil && answer.AccessToken != "" {
			return answer.AccessToken
		}
		nonce = answer.nonce
		if time.Now().After(deadline) {
			t.Fatalf("no access token: %v %+v", err, answer)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	Error       string `json:"error"`
	Description string `json:"error_description"`

	nonce string
}

func askForToken(req *http.Request) (answer tokenAnswer, err error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer, err
	}
	defer res.Body.Close()
	err = json.NewDecoder(res.Body).Decode(&answer)
	answer.nonce = res.Header.Get("DPoP-Nonce")
	return answer, err
}

// get calls the API with a good proof.
func (s *stand) get(t *testing.T, signer *proof.Signer, token, path string) *http.Response {
	t.Helper()
	res, err := signedGet(t, http.DefaultClient, signer, token, s.base+path, s.base+path)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// signedGet sends a GET to one URL with a proof for, usually, the same.
func signedGet(t *testing.T, client *http.Client, signer *proof.Signer, token, signed, sent string) (*http.Response, error) {
	t.Helper()
	p, err := signer.Sign(proof.SignRequest{Method: http.MethodGet, URI: signed, AccessToken: token})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, sent, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+token)
	req.Header.Set("DPoP", p)
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}

// What clients call themselves at the authorization server.
const (
	clientID     = "client"
	clientSecret = "a-secret-of-thirty-two-characters"
)

// environment is what a client is told.
func (s *stand) environment(alg string) []string {
	return []string{
		"ISSUER=" + s.issuer, "TOKEN_ENDPOINT=" + s.issuer + "/token",
		"CLIENT_ID=" + clientID, "CLIENT_SECRET=" + clientSecret,
		"RESOURCE=" + s.resource, "SCOPE=read", "ALG=" + alg,
	}
}
