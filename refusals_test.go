// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// refusalTest is one way to be refused by the site of oneIssuer.
type refusalTest struct {
	reason      Reason
	status      int
	code        string
	description string
	send        func(c *client) answer
}

// bent sends a good request whose proof was changed.
func bent(change func(p *testkit.JWS)) func(c *client) answer {
	return func(c *client) answer {
		c.n.t.Helper()
		p := c.proof("GET", c.n.url("/r"))
		change(p)
		return c.present(p, "GET", c.n.url("/r"))
	}
}

// bentToken sends a good request whose token was changed.
func bentToken(change func(token *testkit.JWS)) func(c *client) answer {
	return func(c *client) answer {
		c.n.t.Helper()
		token := c.n.bound(c.key)
		change(token)
		return c.with(token).get("/r")
	}
}

// plain sends fields as they are.
func plain(fields ...string) func(c *client) answer {
	return func(c *client) answer {
		c.n.t.Helper()
		filled := slices.Clone(fields)
		for i := range filled {
			filled[i] = strings.ReplaceAll(filled[i], "$TOKEN", c.token)
		}
		return c.n.send("GET", c.n.url("/r"), filled...)
	}
}

func key(k *testkit.Key, algorithm string) func(p *testkit.JWS) {
	return func(p *testkit.JWS) {
		p.Key = k
		p.Head("jwk", k.Public).Head("alg", algorithm)
	}
}

// The wording below is meant to be read by clients: where a test fails since a
// description changed, the documentation has to change, too.
var credentialRefusals = []refusalTest{
	{"no_credentials", 401, "", "", plain()},
	{"scheme_unsupported", 401, "", "", plain("Authorization", "Basic YWxpY2U6c2VjcmV0")},
	{"authorization_repeated", 400, "invalid_request", "More than one Authorization field", plain("Authorization", "DPoP $TOKEN", "Authorization", "DPoP $TOKEN")},
	{"authorization_malformed", 400, "invalid_request", "The Authorization field cannot be parsed", plain("Authorization", "DPoP")},
	{"authorization_malformed", 400, "invalid_request", "The Authorization field cannot be parsed", plain("Authorization", "")},
	{"authorization_malformed", 400, "invalid_request", "The Authorization field cannot be parsed", plain("Authorization", "DPoP $TOKEN, DPoP $TOKEN")},
	{"authorization_malformed", 400, "invalid_request", "The Authorization field cannot be parsed", plain("Authorization", "DPoP token=\"$TOKEN\"")},
	{"authorization_malformed", 400, "invalid_request", "The Authorization field cannot be parsed", plain("Authorization", "D(P)oP $TOKEN")},
	{"bearer_refused", 401, "invalid_token", "The access token must be used with a DPoP proof", plain("Authorization", "Bearer $TOKEN")},
	{"bearer_refused", 401, "invalid_token", "The access token must be used with a DPoP proof", plain("Authorization", "bearer $TOKEN")},
	{"proof_missing", 401, "invalid_dpop_proof", "No DPoP proof was sent", plain("Authorization", "DPoP $TOKEN")},
	{"proof_missing", 401, "invalid_dpop_proof", "No DPoP proof was sent", plain("Authorization", "dpop $TOKEN", "DPoP", "")},
	{"proof_repeated", 401, "invalid_dpop_proof", "More than one DPoP field", plain("Authorization", "DPoP $TOKEN", "DPoP", "a.b.c", "DPoP", "a.b.c")},
	{"proof_too_large", 401, "invalid_dpop_proof", "The proof is too large", plain("Authorization", "DPoP $TOKEN", "DPoP", strings.Repeat("a", 8193))},
	{"proof_malformed", 401, "invalid_dpop_proof", "The proof is not a compact JWS", plain("Authorization", "DPoP $TOKEN", "DPoP", "a.b")},
	{"token_too_large", 401, "invalid_token", "The access token is too large", plain("Authorization", "DPoP "+strings.Repeat("a", 16385), "DPoP", "a.b.c")},
}

var proofRefusals = []refusalTest{
	{"header_invalid", 401, "invalid_dpop_proof", "The header of the proof is not valid", bent(func(p *testkit.JWS) { p.Header.Add("typ", "dpop+jwt") })},
	{"typ_invalid", 401, "invalid_dpop_proof", "The typ of the proof is not that of a DPoP proof", bent(func(p *testkit.JWS) { p.Head("typ", "JWT") })},
	{"alg_unsupported", 401, "invalid_dpop_proof", "The algorithm of the proof is not accepted here", bent(func(p *testkit.JWS) { p.Head("alg", "none") })},
	{"alg_unsupported", 401, "invalid_dpop_proof", "The algorithm of the proof is not accepted here", bent(key(testkit.P384("client"), "ES384"))},
	{"crit_unsupported", 401, "invalid_dpop_proof", "The proof has critical extensions that are not understood", bent(func(p *testkit.JWS) { p.Head("crit", []string{"exp"}) })},
	{"jwk_missing", 401, "invalid_dpop_proof", "The proof has no jwk", bent(func(p *testkit.JWS) { p.Header.Delete("jwk") })},
	{"jwk_invalid", 401, "invalid_dpop_proof", "The jwk of the proof is not valid", bent(func(p *testkit.JWS) { p.Head("jwk", testkit.Object{{Name: "kty", Value: "EC"}}) })},
	{"jwk_private", 401, "invalid_dpop_proof", "The jwk of the proof holds a private or symmetric key", bent(func(p *testkit.JWS) { p.Head("jwk", p.Key.PrivateJWK()) })},
	{"key_mismatch", 401, "invalid_dpop_proof", "The jwk of the proof does not fit its algorithm", bent(key(testkit.P384("client"), "ES256"))},
	{"key_unacceptable", 401, "invalid_dpop_proof", "The key of the proof is not acceptable", bent(key(testkit.RSA(1024, "small"), "PS256"))},
	{"claims_invalid", 401, "invalid_dpop_proof", "The claims of the proof are not valid", bent(func(p *testkit.JWS) { p.RawClaims = []byte("[]") })},
	{"htm_missing", 401, "invalid_dpop_proof", "The proof has no htm", bent(func(p *testkit.JWS) { p.Claims.Delete("htm") })},
	{"htm_mismatch", 401, "invalid_dpop_proof", "The htm of the proof is not the method of the request", bent(func(p *testkit.JWS) { p.Set("htm", "POST") })},
	{"htu_missing", 401, "invalid_dpop_proof", "The proof has no htu", bent(func(p *testkit.JWS) { p.Claims.Delete("htu") })},
	{"htu_invalid", 401, "invalid_dpop_proof", "The htu of the proof is not an absolute http or https URI", bent(func(p *testkit.JWS) { p.Set("htu", "/r") })},
	{"htu_mismatch", 401, "invalid_dpop_proof", "The htu of the proof is not the URI of the request", bent(func(p *testkit.JWS) { p.Set("htu", "http://other.test/r") })},
	{"iat_missing", 401, "invalid_dpop_proof", "The proof has no iat", bent(func(p *testkit.JWS) { p.Claims.Delete("iat") })},
	{"iat_invalid", 401, "invalid_dpop_proof", "The iat of the proof is not a number in range", bent(func(p *testkit.JWS) { p.Set("iat", "now") })},
	{"iat_too_old", 401, "invalid_dpop_proof", "The proof is too old, check the clock", bent(at("iat", -91*time.Second))},
	{"iat_in_future", 401, "invalid_dpop_proof", "The proof is from the future, check the clock", bent(at("iat", 31*time.Second))},
	{"exp_passed", 401, "invalid_dpop_proof", "The exp of the proof has passed", bent(at("exp", -time.Minute))},
	{"nbf_in_future", 401, "invalid_dpop_proof", "The nbf of the proof is in the future", bent(at("nbf", time.Minute))},
	{"jti_missing", 401, "invalid_dpop_proof", "The proof has no jti", bent(func(p *testkit.JWS) { p.Claims.Delete("jti") })},
	{"jti_invalid", 401, "invalid_dpop_proof", "The jti of the proof is not valid", bent(func(p *testkit.JWS) { p.Set("jti", 7) })},
	{"jti_too_long", 401, "invalid_dpop_proof", "The jti of the proof is too long", bent(func(p *testkit.JWS) { p.Set("jti", strings.Repeat("j", 257)) })},
	{"ath_missing", 401, "invalid_dpop_proof", "The proof has no ath", bent(func(p *testkit.JWS) { p.Claims.Delete("ath") })},
	{"ath_mismatch", 401, "invalid_dpop_proof", "The ath of the proof is not the hash of the access token", bent(func(p *testkit.JWS) { p.Set("ath", testkit.ATH("another")) })},
	{"nonce_invalid", 401, "invalid_dpop_proof", "The nonce of the proof is not valid", bent(func(p *testkit.JWS) { p.Set("nonce", 7) })},
	{"signature_invalid", 401, "invalid_dpop_proof", "The signature of the proof does not hold", bent(spoil)},
	{"jti_replayed", 401, "invalid_dpop_proof", "The proof was used before", func(c *client) answer {
		c.n.t.Helper()
		p := c.proof("GET", c.n.url("/r"))
		c.present(p, "GET", c.n.url("/r")).passed()
		return c.present(p, "GET", c.n.url("/r")) // another signature, the same jti
	}},
	// Issued before the table was made, which is some seconds by the machine's clock.
	{"issued_before_start", 401, "invalid_dpop_proof", "The proof is older than the memory of used proofs", bent(at("iat", -30*time.Second))},
}

var tokenRefusals = []refusalTest{
	{"token_malformed", 401, "invalid_token", "The access token cannot be read", func(c *client) answer {
		return (&client{c.n, c.key, "opaque"}).get("/r")
	}},
	{"token_typ_invalid", 401, "invalid_token", "The typ of the access token is not accepted", bentToken(func(t *testkit.JWS) { t.Head("typ", "dpop+jwt") })},
	{"token_alg_unsupported", 401, "invalid_token", "The algorithm of the access token is not accepted", bentToken(func(t *testkit.JWS) { t.Head("alg", "HS256") })},
	{"token_issuer_unknown", 401, "invalid_token", "The issuer of the access token is not trusted", bentToken(func(t *testkit.JWS) { t.Set("iss", "https://other.test") })},
	{"token_key_unknown", 401, "invalid_token", "The access token is signed by an unknown key", bentToken(func(t *testkit.JWS) { t.Head("kid", "other") })},
	{"token_signature_invalid", 401, "invalid_token", "The signature of the access token does not hold", bentToken(spoil)},
	{"token_claims_invalid", 401, "invalid_token", "The claims of the access token are not valid", bentToken(func(t *testkit.JWS) { t.Claims.Delete("exp") })},
	{"token_expired", 401, "invalid_token", "The access token has expired", bentToken(at("exp", -30*time.Second))},
	{"token_not_yet_valid", 401, "invalid_token", "The access token is not valid yet", bentToken(at("nbf", 31*time.Second))},
	{"token_audience_mismatch", 401, "invalid_token", "The access token is for another audience", bentToken(func(t *testkit.JWS) { t.Set("aud", "https://other.test") })},
	{"token_cnf_invalid", 401, "invalid_token", "The confirmation of the access token cannot be read", bentToken(func(t *testkit.JWS) { t.Set("cnf", nil) })},
	{"token_unbound", 401, "invalid_token", "The access token is not bound to a key", bentToken(func(t *testkit.JWS) { t.Claims.Delete("cnf") })},
	{"jkt_mismatch", 401, "invalid_token", "The access token is bound to another key", bentToken(func(t *testkit.JWS) {
		t.Set("cnf", testkit.Object{{Name: "jkt", Value: testkit.P256("thief").Thumbprint()}})
	})},
	{"certificate_missing", 401, "invalid_token", "The access token is bound to a client certificate and none was presented", bentToken(func(t *testkit.JWS) {
		t.Set("cnf", testkit.Object{{Name: "jkt", Value: testkit.P256("client").Thumbprint()}, {Name: "x5t#S256", Value: testkit.ATH("certificate")}})
	})},
}

// at sets a claim to a time relative to the node's clock.
func at(claim string, offset time.Duration) func(j *testkit.JWS) {
	return func(j *testkit.JWS) { j.Set(claim, underTest.clock.Now().Add(offset).Unix()) }
}

// spoil changes one bit of the signature.
func spoil(j *testkit.JWS) {
	j.Signature = func(_, signature []byte) []byte {
		signature[8] ^= 1
		return signature
	}
}

// TestRefusals makes each refusal that a client can cause at a plain site and
// looks at everything the client sees. The others are in TestRefusalsElsewhere.
func TestRefusals(t *testing.T) {
	n := start(t, site(oneIssuer))
	for _, list := range [][]refusalTest{credentialRefusals, proofRefusals, tokenRefusals} {
		for _, test := range list {
			t.Run(string(test.reason), func(t *testing.T) {
				a := test.send(n.client())
				a.t = t
				a.refused(test.status, test.reason, challenged(test.code, test.description))
				if nonce := a.header["Dpop-Nonce"]; nonce != nil {
					t.Errorf("DPoP-Nonce %q without nonces", nonce)
				}
			})
		}
	}
	n.client().get("/after").passed()
}

// TestRefusedAgain sends bad requests with a token and a key that have passed
// before, which is another way through the code.
func TestRefusedAgain(t *testing.T) {
	n := start(t, site(oneIssuer))
	c := n.client()
	c.get("/first").passed()
	for _, test := range proofRefusals {
		t.Run(string(test.reason), func(t *testing.T) {
			a := test.send(c)
			a.t = t
			a.refused(test.status, test.reason, challenged(test.code, test.description))
		})
	}
	thief := &client{n, testkit.P256("thief"), c.token}
	thief.get("/r").refusedFor("jkt_mismatch")
	n.clock.Advance(time.Hour + 29*time.Second)
	c.get("/within").passed()
	n.clock.Advance(time.Second)
	c.get("/r").refusedFor("token_expired")
}
