// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// ClientKey is the private key by which we authenticate with [PrivateKeyJWT].
type ClientKey struct {
	jwk jose.JSONWebKey
}

// ParseClientKey reads a private key: a JWK, or PEM with PKCS #8, PKCS #1 or SEC 1
// in it, not encrypted. The algorithm is that of the JWK, else the key's own: ES256,
// ES384 or ES512 by curve, EdDSA, RS256.
func ParseClientKey(data []byte) (*ClientKey, error) {
	k := new(ClientKey)
	data = bytes.TrimSpace(data)
	if bytes.HasPrefix(data, []byte("{")) {
		if err := k.jwk.UnmarshalJSON(data); err != nil {
			return nil, errors.New("not a JWK that we can read") // its error may quote the key
		}
	} else {
		key, err := parsePEM(data)
		if err != nil {
			return nil, err
		}
		k.jwk.Key = key
	}
	own, fitting, err := clientAlgorithms(k.jwk.Key)
	if err != nil {
		return nil, err
	}
	if k.jwk.Algorithm == "" {
		k.jwk.Algorithm = own
	}
	if !fitting(k.jwk.Algorithm) {
		return nil, fmt.Errorf("algorithm %q does not fit the private key", k.jwk.Algorithm)
	}
	return k, nil
}

// Algorithm returns what the key signs with.
func (k *ClientKey) Algorithm() string { return k.jwk.Algorithm }

func (k *ClientKey) signingKey() jose.SigningKey {
	return jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.jwk.Algorithm), Key: k.jwk}
}

func parsePEM(data []byte) (any, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("no private key: neither a JWK nor PEM with a PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY block")
		}
		switch block.Type {
		case "PRIVATE KEY":
			return x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			return x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			return x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key is encrypted; it has to be readable without a passphrase")
		}
	}
}

// clientAlgorithms returns the algorithm that a private key signs with by default,
// and which ones it can sign with.
func clientAlgorithms(private any) (own string, fitting func(string) bool, err error) {
	switch k := private.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < minRSABits {
			return "", nil, fmt.Errorf("the private key has %d bits; RSA needs %d", k.N.BitLen(), minRSABits)
		}
		return "RS256", func(alg string) bool { return fits(alg, &k.PublicKey) }, nil
	case *ecdsa.PrivateKey:
		own = map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}[k.Curve]
		return own, func(alg string) bool { return fits(alg, &k.PublicKey) }, nil
	case ed25519.PrivateKey:
		return "EdDSA", func(alg string) bool { return alg == "EdDSA" }, nil // go-jose has no Ed25519
	}
	return "", nil, fmt.Errorf("a key of type %T cannot sign", private)
}
