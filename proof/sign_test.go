// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	now := time.Unix(1764000000, 0)
	hash := sha256.Sum256([]byte("token"))
	v := mustVerifier(t, proof.Config{Algorithms: proof.SupportedAlgorithms()})
	for _, algorithm := range proof.SupportedAlgorithms() {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			s, err := proof.NewSigner(keyFor(t, algorithm), algorithm)
			if err != nil {
				t.Fatal(err)
			}
			compact, err := s.Sign(proof.SignRequest{
				Method: "POST", URI: "https://a.example/a&b<c?q#f", AccessToken: "token", Nonce: "n", ID: "id", Now: now,
			})
			if err != nil {
				t.Fatal(err)
			}
			p, err := v.Verify(compact, &proof.Request{
				Method: "POST", Target: mustOrigin(t, "https://a.example").Target("/a&b%3Cc"), AccessTokenHash: &hash, Now: now,
				Nonces: &vectorNonces{Live: map[string]int64{"n": now.Unix()}}, RequireNonce: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			if p.ID != "id" || p.URI != "https://a.example/a&b<c" || p.Nonce != "n" || !p.IssuedAt.Equal(now) {
				t.Errorf("read %+v", p)
			}
			if p.Header.Thumbprint() != s.Thumbprint() || p.Header.Algorithm() != algorithm || s.Algorithm() != algorithm {
				t.Errorf("header is %s %s, signer %s", p.Header.Algorithm(), p.Header.Thumbprint(), s.Thumbprint())
			}
			if algorithm == "Ed25519" {
				return
			}
			jws, err := jose.ParseSignedCompact(compact, joseAlgorithms)
			if err != nil {
				t.Fatalf("go-jose: %v", err)
			}
			if _, err := jws.Verify(jws.Signatures[0].Protected.JSONWebKey); err != nil {
				t.Errorf("go-jose: %v", err)
			}
		})
	}
}

func TestSignDefaults(t *testing.T) {
	t.Parallel()
	s, err := proof.NewSigner(keyFor(t, "ES256"), "")
	if err != nil {
		t.Fatal(err)
	}
	v := mustVerifier(t, proof.Config{})
	var ids []string
	for range 3 {
		compact, err := s.Sign(proof.SignRequest{Method: "GET", URI: "https://a.example"})
		if err != nil {
			t.Fatal(err)
		}
		p, err := v.Parse(compact, nil)
		if err != nil {
			t.Fatal(err)
		}
		if offset := p.Offset(time.Now()); offset > time.Second || offset < -time.Minute {
			t.Errorf("dated %v from now", offset)
		}
		if slices.Contains(ids, p.ID) || len(p.ID) < 22 {
			t.Errorf("jti %q after %q", p.ID, ids)
		}
		ids = append(ids, p.ID)
	}
	for want, key := range map[string]crypto.Signer{
		"ES256": keyFor(t, "ES256"), "ES384": keyFor(t, "ES384"), "ES512": keyFor(t, "ES512"), "EdDSA": keyFor(t, "EdDSA"), "PS256": keyFor(t, "RS256"),
	} {
		if s, err := proof.NewSigner(key, ""); err != nil || s.Algorithm() != want {
			t.Errorf("by the key: %v, %v, want %s", s, err, want)
		}
	}
}

func TestSignErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		r    proof.SignRequest
		want string
	}{
		{"no method", proof.SignRequest{URI: "https://a.example"}, "no method"},
		{"no URI", proof.SignRequest{Method: "GET"}, `URI "": not an absolute http or https URI`},
		{"relative URI", proof.SignRequest{Method: "GET", URI: "/items"}, `URI "/items": not an absolute http or https URI`},
		{"userinfo", proof.SignRequest{Method: "GET", URI: "https://u@a.example"}, `URI "https://u@a.example": user information in a URI`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := proof.NewSigner(keyFor(t, "ES256"), "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Sign(c.r); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestNewSignerErrors(t *testing.T) {
	t.Parallel()
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	for _, c := range []struct {
		name, algorithm, want string
		key                   crypto.Signer
	}{
		{"no key", "", "no key", nil},
		{"other curve", "ES384", `algorithm "ES384" does not fit the key, must be one of ES256`, keyFor(t, "ES256")},
		{"other kind", "ES256", `algorithm "ES256" does not fit the key, must be one of PS256, PS384, PS512, RS256, RS384, RS512`, keyFor(t, "RS256")},
		{"unknown", "none", `algorithm "none" does not fit the key, must be one of EdDSA, Ed25519`, keyFor(t, "EdDSA")},
		{"P-224", "", "elliptic curve key on P-224, must be on P-256, P-384 or P-521", p224},
		{"foreign key", "", "key of type struct {}, must be *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey", fakeSigner{public: struct{}{}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := proof.NewSigner(c.key, c.algorithm); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// fakeSigner is a key somewhere else, which may answer anything.
type fakeSigner struct {
	public    crypto.PublicKey
	signature []byte
	err       error
}

func (f fakeSigner) Public() crypto.PublicKey { return f.public }

func (f fakeSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return f.signature, f.err
}

func TestSignWithForeignKey(t *testing.T) {
	t.Parallel()
	lost := errors.New("token removed")
	for _, c := range []struct {
		name string
		key  fakeSigner
		want string
	}{
		{"error", fakeSigner{err: lost}, "signing the proof: token removed"},
		{"not ASN.1", fakeSigner{signature: make([]byte, 64)}, "signing the proof: the key's signature is not in ASN.1"},
		{"negative", fakeSigner{signature: []byte{0x30, 6, 2, 1, 0x80, 2, 1, 1}}, "signing the proof: the key's signature is out of range"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.key.public = keyFor(t, "ES256").Public()
			s, err := proof.NewSigner(c.key, "")
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Sign(proof.SignRequest{Method: "GET", URI: "https://a.example"})
			if err == nil || err.Error() != c.want || c.key.err != nil && !errors.Is(err, lost) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// The examples of RFC 7638, section 3.1, and RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	decode := func(s string) []byte { return must(base64.RawURLEncoding.DecodeString(s)) }
	for _, c := range []struct {
		name, want string
		key        crypto.PublicKey
	}{
		{"RSA", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", &rsa.PublicKey{E: 65537, N: new(big.Int).SetBytes(decode(
			"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W" +
				"-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt" +
				"-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"))}},
		{"Ed25519", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", ed25519.PublicKey(decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := proof.Thumbprint(c.key); err != nil || got != c.want {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
		})
	}
	for name, key := range map[string]crypto.PublicKey{
		"nil": nil, "symmetric": []byte("secret"), "private": keyFor(t, "ES256"), "incomplete": &rsa.PublicKey{}, "short": ed25519.PublicKey("x"),
		"off the curve": &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}, //nolint:staticcheck // nothing else makes a key that is off the curve
	} {
		if got, err := proof.Thumbprint(key); err == nil {
			t.Errorf("%s key has the thumbprint %s", name, got)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}
