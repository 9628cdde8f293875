// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/strictjson"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// FuzzVerify holds that nothing but the token that was signed is ever accepted, that
// every refusal has a reason, and that none quotes the token.
func FuzzVerify(f *testing.F) {
	x := newFixture(f)
	good := x.token(x.key, "k1").Set("jti", "the same in each process of the fuzzer")
	raw := good.String()
	h, p, s := good.Segments()
	for _, seed := range []string{
		raw, "", "..", h + "." + p + ".", h + ".." + s, raw + ".x", raw + "\n", h + "." + p + "." + testkit.LooseBits(s),
		good.Clone().Head("alg", "Ed25519").Head("typ", "JWT").String(),
		good.Clone().Head("crit", []string{"b64"}).Head("b64", false).String(),
		good.Clone().Set("aud", []any{1, nil}).Set("cnf", nil).String(),
		good.Clone().Set("exp", testkit.Raw("1e400")).String(),
		good.Clone().Head("x5c", []string{"AA"}).Head("jwk", testkit.P256("x").PrivateJWK()).String(),
		(&testkit.JWS{Key: x.key, Header: good.Header, RawClaims: []byte(`{"iss":"a","iss":"b"}`)}).String(),
	} {
		f.Add(seed)
	}
	signed := h + "." + p + "."
	f.Fuzz(func(t *testing.T, token string) {
		if iss, err := PeekIssuer(token); err == nil && !LooksLikeJWT(token) && strings.Count(token, ".") != 2 {
			t.Fatalf("an issuer %q of something else", iss)
		}
		c, err := x.issuer.Verify(context.Background(), token)
		if err != nil {
			if ReasonOf(err) == "" || len(token) > 20 && strings.Contains(err.Error(), token) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if token != raw && !strings.HasPrefix(token, signed) {
			t.Fatalf("accepted %s", token)
		}
		if c.Issuer != testIssuer || c.Expiry.IsZero() || c.Algorithm != "ES256" {
			t.Fatalf("claims %+v", c)
		}
	})
}

// FuzzKeySet holds that a key set yields only keys that fit an algorithm, within the
// limits, and never a private or weak one.
func FuzzKeySet(f *testing.F) {
	ec := testkit.P256("issuer").JWK("k1")
	f.Add(jwksBytes(ec, testkit.RSA(2048, "issuer").JWK("k2"), testkit.Ed25519("a").JWK("k3")))
	f.Add(jwksBytes(testkit.P256("x").PrivateJWK(), testkit.RSA(1024, "weak").JWK("w")))
	f.Add(jwksBytes(ec.With("use", "enc"), ec.With("key_ops", []string{"sign"}), ec.With("alg", "none")))
	f.Add(jwksBytes(ec.With("x5c", []string{"MIIB"}), ec.With("crv", "P-521"), ec.With("kty", "AKP")))
	f.Add([]byte(`{"keys":[1,null,{"kty":"oct","k":"AA"}],"x":{}}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		keys, _, err := new(KeySet).parseKeySet(document)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			usable := false
			for _, alg := range Algorithms() {
				usable = usable || k.fits(alg)
			}
			if !usable || !k.jwk.IsPublic() || k.thumbprint == "" {
				t.Fatalf("key %+v", k.jwk)
			}
		}
	})
}

// FuzzIntrospectionAnswer holds that a token is good only if the endpoint says
// active: true, once and as a boolean.
func FuzzIntrospectionAnswer(f *testing.F) {
	i := newIntrospection(f, newWeb(), nil)
	for _, seed := range []string{
		activeAnswer().String(), `{"active":true}`, `{"active":false}`, `{"active":"true"}`, `{}`, `[]`, `null`,
		`{"active":true}{"active":false}`, `{"active":true,"active":false}`, `{"Active":true,"active":true}`,
		`{"active":true,"cnf":null}`, `{"active":true,"token_type":"Bearer","cnf":{"jkt":"x"}}`, `{"active":true,"exp":1e400}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		members, err := strictjson.Parse(body)
		if err != nil {
			return
		}
		c, err := i.read(body, members)
		if err != nil {
			if ReasonOf(err) == "" || c != nil {
				t.Fatalf("got %+v, %v", c, err)
			}
			return
		}
		var want struct {
			Active bool           `json:"active"`
			Cnf    map[string]any `json:"cnf"`
		}
		if err := json.Unmarshal(body, &want); err != nil && !c.Confirmation.Invalid || !want.Active {
			t.Fatalf("accepted %s: %v", body, err)
		}
		if jkt, ok := want.Cnf["jkt"].(string); ok && !c.Confirmation.Invalid && c.Confirmation.JKT != jkt {
			t.Fatalf("jkt %q read as %q", jkt, c.Confirmation.JKT)
		}
	})
}
