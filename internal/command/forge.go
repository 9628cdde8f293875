// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// forge signs a proof that no proper signer would make: header and claims
// replace those given here, and a nil claim is left out. The signature is good.
func (k *signingKey) forge(header, claims map[string]any) (string, error) {
	algorithm := k.Algorithm()
	options := (&jose.SignerOptions{}).
		WithHeader("typ", "dpop+jwt").
		WithHeader("alg", algorithm).
		WithHeader("jwk", jose.JSONWebKey{Key: k.key.Public()})
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	if algorithm == "Ed25519" { // go-jose knows the algorithm by its older name
		algorithm = "EdDSA"
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: k.key}, options)
	if err != nil {
		return "", err
	}
	present := make(map[string]any, len(claims))
	for name, value := range claims {
		if value != nil {
			present[name] = value
		}
	}
	payload, err := json.Marshal(present)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// spoil changes one bit of the last segment of a token or proof, so that its
// signature is wrong while everything else about it is right.
func spoil(compact string) string {
	i := strings.LastIndexByte(compact, '.') + 1
	b, err := base64.RawURLEncoding.DecodeString(compact[i:])
	if err != nil || len(b) == 0 {
		return compact + "x" // an opaque token
	}
	b[len(b)/2] ^= 1
	return compact[:i] + base64.RawURLEncoding.EncodeToString(b)
}

// tokenHash is the ath of a token (RFC 9449, section 4.2).
func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func newID() string { return rand.Text() }

// jws is a decoded proof or token, not verified in any way.
type jws struct {
	compact        string
	header, claims map[string]any
	rawHeader      []byte
	rawClaims      []byte
}

// decodeJWS takes a compact JWS apart and says what is wrong with it if it is
// none. Numbers keep their spelling.
func decodeJWS(compact string) (*jws, error) {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return nil, errors.New("not three parts separated by dots")
	}
	j := &jws{compact: compact}
	for i, part := range []struct {
		name string
		raw  *[]byte
		into *map[string]any
	}{{"header", &j.rawHeader, &j.header}, {"claims", &j.rawClaims, &j.claims}} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(parts[i])
		if err != nil {
			return nil, errors.New(part.name + ": not base64url without padding")
		}
		*part.raw = b
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber()
		if err := d.Decode(part.into); err != nil || *part.into == nil {
			return nil, errors.New(part.name + ": not a JSON object")
		}
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(parts[2]); err != nil {
		return nil, errors.New("signature: not base64url without padding")
	}
	return j, nil
}
