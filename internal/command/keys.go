// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// maxKeyFile bounds a key file. 64 KiB.
const maxKeyFile = 1 << 16

// rsaBits is the size of an RSA key made here.
const rsaBits = 2048

// algorithms are what a key can be made for.
var algorithms = []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "PS256"}

// newKey makes a private key for an algorithm.
func newKey(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA", "Ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "RS256", "PS256":
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, fmt.Errorf("algorithm %q: not known; known are %s", algorithm, strings.Join(algorithms, ", "))
}

// encodeKey writes a private key as PKCS #8 PEM or as a JWK.
func encodeKey(key crypto.Signer, format string) ([]byte, error) {
	switch format {
	case "pem":
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("encoding the key: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	case "jwk":
		b, err := json.MarshalIndent(jose.JSONWebKey{Key: key}, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encoding the key: %w", err)
		}
		return append(b, '\n'), nil
	}
	return nil, fmt.Errorf("format %q: not known; known are pem and jwk", format)
}

// readKey reads a private key from a file, PEM or JWK.
func readKey(path string) (crypto.Signer, error) {
	f, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	key, err := decodeKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// decodeKey never puts any part of a key into its error.
func decodeKey(b []byte) (crypto.Signer, error) {
	var key any
	if block, _ := pem.Decode(b); block != nil {
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			return nil, fmt.Errorf("a PEM block of type %q is not a private key", block.Type)
		}
		if err != nil {
			return nil, errors.New("the PEM block holds no private key that can be read")
		}
	} else {
		var jwk jose.JSONWebKey
		if err := json.Unmarshal(b, &jwk); err != nil {
			return nil, errors.New("neither a private key in PEM nor a JWK")
		}
		key = jwk.Key
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("not a private key for signing")
	}
	return signer, nil
}

// openKey reads the key of a file, or makes one for this run.
func openKey(path, algorithm string) (*signingKey, error) {
	var key crypto.Signer
	var err error
	if path != "" {
		if key, err = readKey(path); err != nil {
			return nil, err
		}
	} else {
		if algorithm == "" {
			algorithm = "ES256"
		}
		if key, err = newKey(algorithm); err != nil {
			return nil, err
		}
	}
	signer, err := proof.NewSigner(key, algorithm)
	if err != nil {
		return nil, err
	}
	return &signingKey{Signer: signer, key: key}, nil
}

// signingKey is a signer of proofs that has not forgotten its key: check needs
// it to sign what a proper signer would not.
type signingKey struct {
	*proof.Signer
	key crypto.Signer
}
