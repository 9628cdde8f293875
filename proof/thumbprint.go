// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
)

// Thumbprint returns the RFC 7638 SHA-256 thumbprint of a public key in base64url:
// the value of cnf.jkt in an access token that is bound to the key (RFC 9449,
// section 6.1) and of dpop_jkt in an authorization request (section 10).
//
// The key is an *ecdsa.PublicKey on P-256, P-384 or P-521, an *rsa.PublicKey or an
// ed25519.PublicKey.
func Thumbprint(key crypto.PublicKey) (string, error) {
	members, err := publicMembers(key)
	if err != nil {
		return "", err
	}
	switch members.Kty {
	case "EC":
		return thumbprintEC(members.Crv, members.X, members.Y), nil
	case "OKP":
		return thumbprintOKP(members.Crv, members.X), nil
	default:
		return thumbprintRSA(members.E, members.N), nil
	}
}

// The required members of each kind of key in lexicographic order and without
// white space (RFC 7638, section 3.2; RFC 8037, section 2). All values are base64url
// or the name of a curve, so nothing needs escaping.

func thumbprintEC(crv, x, y string) string {
	return hashThumbprint(`{"crv":"`, crv, `","kty":"EC","x":"`, x, `","y":"`, y, `"}`)
}

func thumbprintOKP(crv, x string) string {
	return hashThumbprint(`{"crv":"`, crv, `","kty":"OKP","x":"`, x, `"}`)
}

func thumbprintRSA(e, n string) string {
	return hashThumbprint(`{"e":"`, e, `","kty":"RSA","n":"`, n, `"}`)
}

func hashThumbprint(parts ...string) string {
	input := make([]byte, 0, 1024) // that of any key that a proof may have, without a heap
	for _, part := range parts {
		input = append(input, part...)
	}
	sum := sha256.Sum256(input)
	var text [(sha256.Size*8 + 5) / 6]byte
	base64.RawURLEncoding.Encode(text[:], sum[:])
	return string(text[:])
}

// publicJWK is a public key as a JSON Web Key, with the required members only.
type publicJWK struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
}

// publicMembers takes a public key apart.
func publicMembers(key crypto.PublicKey) (*publicJWK, error) {
	encode := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		point, err := key.Bytes() // 0x04, x, y; refuses points off the curve
		if err != nil {
			return nil, fmt.Errorf("elliptic curve key: %w", err)
		}
		size := len(point) / 2
		crv := key.Params().Name
		if crv == "P-224" { // the one curve of crypto/elliptic without a JWK name
			return nil, errors.New("elliptic curve key on P-224, must be on P-256, P-384 or P-521")
		}
		return &publicJWK{Kty: "EC", Crv: crv, X: encode(point[1 : 1+size]), Y: encode(point[1+size:])}, nil
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return nil, errors.New("key for Ed25519 is not 32 bytes long")
		}
		return &publicJWK{Kty: "OKP", Crv: "Ed25519", X: encode(key)}, nil
	case *rsa.PublicKey:
		if key.N == nil || key.E <= 0 {
			return nil, errors.New("incomplete RSA key")
		}
		return &publicJWK{Kty: "RSA", N: encode(key.N.Bytes()), E: encode(big.NewInt(int64(key.E)).Bytes())}, nil
	default:
		return nil, fmt.Errorf("key of type %T, must be *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey", key)
	}
}
