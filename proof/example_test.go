// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// A client signs a proof for each request.
func ExampleSigner() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	signer, err := proof.NewSigner(key, "")
	if err != nil {
		panic(err)
	}

	request, err := http.NewRequest("GET", "https://api.example.com/items?page=2", nil)
	if err != nil {
		panic(err)
	}
	accessToken := "the access token, bound to the key by the authorization server"
	dpop, err := signer.Sign(proof.SignRequest{
		Method:      request.Method,
		URI:         request.URL.String(),
		AccessToken: accessToken,
	})
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "DPoP "+accessToken)
	request.Header.Set("DPoP", dpop)

	fmt.Println(signer.Algorithm(), strings.Count(dpop, "."))
	// Output: ES256 2
}

// A resource server written in Go verifies them. What the package leaves to it: the
// access token, and that no proof is used twice.
func ExampleVerifier() {
	verifier, err := proof.NewVerifier(proof.Config{})
	if err != nil {
		panic(err)
	}
	// Never taken from the request: who sends it can write anything into Host.
	origin, err := proof.ParseOrigin("https://api.example.com")
	if err != nil {
		panic(err)
	}

	// What your own code knows of a token: the jkt in its cnf, once it is verified.
	boundTo := func(accessToken string) string { return jktOf[accessToken] }
	// A set that forgets entries after iat + MaxAge + ClockSkew, not earlier.
	claim := func(thumbprint, jti string) bool { return true }

	handler := func(w http.ResponseWriter, r *http.Request) {
		refuse := func(code string) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf("DPoP error=%q, algs=%q",
				code, strings.Join(verifier.Algorithms(), " ")))
			w.WriteHeader(http.StatusUnauthorized)
		}
		accessToken, ok := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP ")
		if !ok || len(r.Header.Values("DPoP")) != 1 { // RFC 9449, section 4.3, check 1
			refuse("invalid_dpop_proof")
			return
		}
		hash := sha256.Sum256([]byte(accessToken))
		p, err := verifier.Verify(r.Header.Get("DPoP"), &proof.Request{
			Method:          r.Method,
			Target:          origin.Target(r.URL.EscapedPath()),
			AccessTokenHash: &hash,
			Now:             time.Now(),
		})
		if err != nil {
			fmt.Println("refused:", proof.ReasonOf(err))
			refuse("invalid_dpop_proof")
			return
		}
		if p.Header.Thumbprint() != boundTo(accessToken) { // the second half of check 12
			refuse("invalid_token")
			return
		}
		if !claim(p.Header.Thumbprint(), p.ID) { // RFC 9449, section 11.1
			refuse("invalid_dpop_proof")
			return
		}
		fmt.Fprintln(w, "hello")
	}

	request := httptest.NewRequest("GET", "https://api.example.com/items?page=2", nil)
	request.Header.Set("Authorization", "DPoP "+exampleToken)
	for _, uri := range []string{"https://api.example.com/items", "https://api.example.com/admin"} {
		request.Header.Set("DPoP", signExample("GET", uri))
		response := httptest.NewRecorder()
		handler(response, request)
		fmt.Println(response.Code)
	}
	// Output:
	// 200
	// refused: htu_mismatch
	// 401
}

const exampleToken = "an-access-token"

// jktOf and signExample stand for an authorization server and a client.
var jktOf, signExample = func() (map[string]string, func(method, uri string) string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	signer, err := proof.NewSigner(key, "ES256")
	if err != nil {
		panic(err)
	}
	return map[string]string{exampleToken: signer.Thumbprint()}, func(method, uri string) string {
		dpop, err := signer.Sign(proof.SignRequest{Method: method, URI: uri, AccessToken: exampleToken})
		if err != nil {
			panic(err)
		}
		return dpop
	}
}()

// Scheme, host and escapes compare in normal form; query and fragment are ignored.
func ExampleParseTarget() {
	for _, uri := range []string{
		"HTTPS://API.Example.com:443/a/./b/%7euser?x=1#top",
		"https://api.example.com",
		"/items",
	} {
		target, err := proof.ParseTarget(uri)
		fmt.Println(target, err)
	}
	// Output:
	// https://api.example.com/a/b/~user <nil>
	// https://api.example.com/ <nil>
	//  not an absolute http or https URI
}
