// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Signer makes proofs with one key. It is safe for concurrent use if the key is.
type Signer struct {
	key        crypto.Signer
	algorithm  *algorithm
	header     string // base64url
	thumbprint string
}

// SignRequest says what a proof is for.
type SignRequest struct {
	// Method is the request's method.
	Method string

	// URI is the request's absolute URI; query and fragment are left out of the proof
	// (RFC 9449, section 4.2), the rest is signed as it stands.
	URI string

	// AccessToken is the token that the request presents, if any.
	AccessToken string

	// Nonce is the newest DPoP-Nonce from the server that the request goes to, if any.
	Nonce string

	// ID is the jti; empty means 128 random bits. Each proof needs its own.
	ID string

	// Now is the iat; zero means the present.
	Now time.Time
}

// NewSigner returns a signer for a private key, which may live in hardware. The
// algorithm must fit the key; empty means ES256, ES384 or ES512 by the curve, EdDSA for
// Ed25519, PS256 for RSA.
func NewSigner(key crypto.Signer, algorithm string) (*Signer, error) {
	if key == nil {
		return nil, errors.New("no key")
	}
	public, err := publicMembers(key.Public())
	if err != nil {
		return nil, err
	}
	index, err := fittingAlgorithm(public, algorithm)
	if err != nil {
		return nil, err
	}
	thumbprint, err := Thumbprint(key.Public())
	if err != nil {
		return nil, err
	}
	header, err := json.Marshal(struct {
		Typ string     `json:"typ"`
		Alg string     `json:"alg"`
		JWK *publicJWK `json:"jwk"`
	}{"dpop+jwt", algorithms[index].name, public})
	if err != nil {
		return nil, err
	}
	return &Signer{
		key:        key,
		algorithm:  &algorithms[index],
		header:     base64.RawURLEncoding.EncodeToString(header),
		thumbprint: thumbprint,
	}, nil
}

// fittingAlgorithm returns the index of the algorithm called name, or of the first
// that fits the key when name is empty.
func fittingAlgorithm(key *publicJWK, name string) (int, error) {
	var fitting []string
	for i := range algorithms {
		if algorithms[i].curve != key.Crv {
			continue
		}
		if name == "" || name == algorithms[i].name {
			return i, nil
		}
		fitting = append(fitting, algorithms[i].name)
	}
	return 0, fmt.Errorf("algorithm %q does not fit the key, must be one of %s", name, strings.Join(fitting, ", "))
}

// Algorithm returns the alg of the proofs.
func (s *Signer) Algorithm() string { return s.algorithm.name }

// Thumbprint returns the thumbprint of the key: see [Thumbprint].
func (s *Signer) Thumbprint() string { return s.thumbprint }

// Sign makes a proof (RFC 9449, section 4.2).
func (s *Signer) Sign(r SignRequest) (string, error) {
	if r.Method == "" {
		return "", errors.New("no method")
	}
	if _, err := ParseTarget(r.URI); err != nil {
		return "", fmt.Errorf("URI %q: %w", r.URI, err)
	}
	if end := strings.IndexAny(r.URI, "?#"); end >= 0 {
		r.URI = r.URI[:end]
	}
	if r.ID == "" {
		r.ID = rand.Text()
	}
	if r.Now.IsZero() {
		r.Now = time.Now()
	}
	claims := struct {
		JTI   string `json:"jti"`
		HTM   string `json:"htm"`
		HTU   string `json:"htu"`
		IAT   int64  `json:"iat"`
		ATH   string `json:"ath,omitempty"`
		Nonce string `json:"nonce,omitempty"`
	}{JTI: r.ID, HTM: r.Method, HTU: r.URI, IAT: r.Now.Unix(), Nonce: r.Nonce}
	if r.AccessToken != "" {
		hash := sha256.Sum256([]byte(r.AccessToken))
		claims.ATH = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	var payload bytes.Buffer
	encoder := json.NewEncoder(&payload)
	encoder.SetEscapeHTML(false) // an ampersand in a path stays one byte
	if err := encoder.Encode(claims); err != nil {
		return "", err
	}
	signed := s.header + "." + base64.RawURLEncoding.EncodeToString(bytes.TrimSpace(payload.Bytes()))
	signature, err := s.sign(signed)
	if err != nil {
		return "", fmt.Errorf("signing the proof: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// sign makes the JWS signature of text (RFC 7518, section 3; RFC 8037, section 3.1).
func (s *Signer) sign(text string) ([]byte, error) {
	if s.algorithm.family == familyEd25519 {
		return s.key.Sign(rand.Reader, []byte(text), crypto.Hash(0))
	}
	hash := s.algorithm.hash
	digest := hash.New()
	digest.Write([]byte(text))
	var options crypto.SignerOpts = hash
	if s.algorithm.family == familyPSS {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	signature, err := s.key.Sign(rand.Reader, digest.Sum(nil), options)
	if err != nil || s.algorithm.family != familyECDSA {
		return signature, err
	}
	// crypto.Signer returns ASN.1; JWS wants two numbers of fixed length.
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &rs); err != nil || len(rest) > 0 {
		return nil, errors.New("the key's signature is not in ASN.1")
	}
	size := s.algorithm.size
	if rs.R.Sign() < 0 || rs.S.Sign() < 0 || rs.R.BitLen() > size*8 || rs.S.BitLen() > size*8 {
		return nil, errors.New("the key's signature is out of range")
	}
	fixed := make([]byte, 2*size)
	rs.R.FillBytes(fixed[:size])
	rs.S.FillBytes(fixed[size:])
	return fixed, nil
}

var (
	_ crypto.Signer = (*ecdsa.PrivateKey)(nil)
	_ crypto.Signer = (*rsa.PrivateKey)(nil)
	_ crypto.Signer = ed25519.PrivateKey(nil)
)
