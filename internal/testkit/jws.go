// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"time"
)

// JWS is a compact JWS in the making: a proof or an access token. String writes it;
// before that, anything about it may be changed.
type JWS struct {
	Key    *Key
	Header Object
	Claims Object

	// RawHeader and RawClaims stand in for the JSON of Header and Claims.
	RawHeader, RawClaims []byte
	// EncodeHeader and EncodeClaims stand in for base64url.
	EncodeHeader, EncodeClaims func([]byte) string
	// Algorithm is the one really signed with. Empty means what the header says.
	Algorithm string
	// Signature changes the signature before it is encoded.
	Signature func(input, signature []byte) []byte
	// EncodeSignature stands in for base64url.
	EncodeSignature func([]byte) string
	// Assemble stands in for joining the three segments with dots.
	Assemble func(header, claims, signature string) string
}

// NewProof makes a good proof: exactly these claims and nothing else (RFC 9449,
// section 4.2). An empty token leaves ath out.
func NewProof(k *Key, method, uri, token string, now time.Time) *JWS {
	p := &JWS{
		Key:    k,
		Header: Object{{"typ", "dpop+jwt"}, {"alg", k.Algorithm}, {"jwk", k.Public}},
		Claims: Object{{"jti", NewID()}, {"htm", method}, {"htu", uri}, {"iat", now.Unix()}},
	}
	if token != "" {
		p.Claims.Add("ath", ATH(token))
	}
	return p
}

// TokenClaims are what tests commonly choose about an access token.
type TokenClaims struct {
	Issuer, Audience, Subject, ClientID, Scope string
	// Thumbprint goes into cnf.jkt; empty leaves cnf out.
	Thumbprint string
	// Expiry is the whole life of the token; zero means an hour.
	Expiry time.Duration
}

// NewToken makes a good JWT access token (RFC 9068, section 2).
func NewToken(k *Key, kid string, c TokenClaims, now time.Time) *JWS {
	if c.Expiry == 0 {
		c.Expiry = time.Hour
	}
	t := &JWS{
		Key:    k,
		Header: Object{{"typ", "at+jwt"}, {"alg", k.Algorithm}},
		Claims: Object{
			{"iss", c.Issuer},
			{"aud", c.Audience},
			{"sub", c.Subject},
			{"client_id", c.ClientID},
			{"iat", now.Unix()},
			{"exp", now.Add(c.Expiry).Unix()},
			{"jti", NewID()},
		},
	}
	if kid != "" {
		t.Header.Add("kid", kid)
	}
	if c.Scope != "" {
		t.Claims.Add("scope", c.Scope)
	}
	if c.Thumbprint != "" {
		t.Claims.Add("cnf", Object{{"jkt", c.Thumbprint}})
	}
	return t
}

// ATH is the ath claim that belongs to a token (RFC 9449, section 4.2).
func ATH(token string) string {
	sum := sha256.Sum256([]byte(token))
	return B64(sum[:])
}

// NewID returns 128 random bits as a jti, or as any other name that a log may show: it
// does not look like encoded JSON by chance.
func NewID() string {
	b := make([]byte, 16)
	for {
		_, _ = rand.Read(b)
		if id := B64(b); !strings.Contains(id, "eyJ") {
			return id
		}
	}
}

// Clone copies the JWS so that the copy can be bent alone.
func (j *JWS) Clone() *JWS {
	c := *j
	c.Header, c.Claims = j.Header.Clone(), j.Claims.Clone()
	return &c
}

// Set changes a claim and returns the JWS.
func (j *JWS) Set(name string, value any) *JWS {
	j.Claims.Set(name, value)
	return j
}

// Head changes a header parameter and returns the JWS.
func (j *JWS) Head(name string, value any) *JWS {
	j.Header.Set(name, value)
	return j
}

// Segments returns the three encoded segments of a freshly signed JWS.
func (j *JWS) Segments() (header, claims, signature string) {
	header = encode(j.EncodeHeader, pick(j.RawHeader, j.Header))
	claims = encode(j.EncodeClaims, pick(j.RawClaims, j.Claims))
	input := []byte(header + "." + claims)
	algorithm := j.Algorithm
	if algorithm == "" {
		algorithm, _ = j.Header.Get("alg").(string)
	}
	sig := j.Key.Sign(algorithm, input)
	if j.Signature != nil {
		sig = j.Signature(input, sig)
	}
	return header, claims, encode(j.EncodeSignature, sig)
}

// String signs and writes the compact serialisation. Each call makes a new signature;
// keep the string to send the same proof twice.
func (j *JWS) String() string {
	h, c, s := j.Segments()
	if j.Assemble != nil {
		return j.Assemble(h, c, s)
	}
	return h + "." + c + "." + s
}

func pick(raw []byte, o Object) []byte {
	if raw != nil {
		return raw
	}
	return o.JSON()
}

func encode(f func([]byte) string, b []byte) string {
	if f != nil {
		return f(b)
	}
	return B64(b)
}

// WithSignature returns compact with its signature changed.
func WithSignature(compact string, change func([]byte) []byte) string {
	i := strings.LastIndexByte(compact, '.')
	return compact[:i+1] + B64(change(UnB64(compact[i+1:])))
}
