// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-dpop/caddy-dpop/internal/strictjson"
)

// jwt is a signed JWT, read as far as that goes without a key. Nothing in it can be
// relied on before verify.
type jwt struct {
	compact       string
	typ, alg, kid string
	payload       []byte
	claims        strictjson.Object

	jws *jose.JSONWebSignature // set by admit
}

// headerNames are the JOSE header parameters that mean something in a JWS (RFC
// 7515, section 4.1; RFC 7797). Of them we read typ, alg and kid, and refuse crit
// and b64. The others offer keys, or places to get keys from: the keys come from
// the issuer's key set alone, whatever a token offers.
var headerNames = []string{"typ", "alg", "kid", "crit", "b64", "cty", "jwk", "jku", "x5c", "x5u", "x5t", "x5t#S256"}

// parseJWT takes a compact JWS apart: size before all work, header before payload,
// and acceptTyp judges typ before anything is made of either. A token that is refused
// for its claims costs little this way; one that is not goes through admit, and then
// through verify.
func parseJWT(compact string, maxSize int, acceptTyp func(string) bool) (*jwt, error) {
	if len(compact) > maxSize {
		return nil, refuse(TooLarge, "over the size limit")
	}
	header, payload, ok := splitCompact(compact)
	if !ok {
		return nil, refuse(Malformed, "not a JWS in compact form")
	}
	t := &jwt{compact: compact}
	if err := t.readHeader(header); err != nil {
		return nil, err
	}
	if !acceptTyp(t.typ) {
		return nil, refuse(TypInvalid, "typ is that of something else")
	}
	if !isAlgorithm(t.alg) {
		return nil, refuse(AlgUnsupported, "alg is not an asymmetric signature algorithm that we know")
	}
	var err error
	if t.payload, err = base64.RawURLEncoding.DecodeString(payload); err != nil {
		return nil, refuse(Malformed, "the payload is not base64url")
	}
	if t.claims, err = strictjson.Parse(t.payload); err != nil {
		return nil, &Error{Reason: ClaimsInvalid, cause: err}
	}
	return t, nil
}

// admit has go-jose judge the form too, with the one algorithm that the header names.
func (t *jwt) admit() error {
	var err error
	if t.jws, err = jose.ParseSignedCompact(t.compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(t.alg)}); err != nil {
		return refuse(Malformed, "not a JWS that go-jose accepts")
	}
	return nil
}

func (t *jwt) readHeader(segment string) error {
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return refuse(Malformed, "the header is not base64url")
	}
	members, err := strictjson.Parse(raw)
	if err != nil {
		return &Error{Reason: Malformed, cause: err}
	}
	if members.Variant(headerNames...) {
		return refuse(Malformed, "a header parameter in another case")
	}
	for _, m := range members {
		ok := true
		switch m.Name {
		case "typ":
			t.typ, ok = m.Value.Text()
		case "alg":
			t.alg, ok = m.Value.Text()
		case "kid":
			t.kid, ok = m.Value.Text()
		case "crit", "b64":
			// RFC 7515, section 4.1.11: what is critical has to be understood, and we
			// understand no extension. RFC 7797, section 6: b64 stands with crit only.
			ok = false
		}
		if !ok {
			return refuse(Malformed, "a header parameter that is of the wrong type or not supported")
		}
	}
	return nil
}

// verify reports whether the signature is one by k. The JWT must have been admitted.
func (t *jwt) verify(k *key) bool {
	if t.alg == "Ed25519" { // go-jose knows EdDSA only
		public, ok := k.public.(ed25519.PublicKey)
		input := t.compact[:strings.LastIndexByte(t.compact, '.')]
		return ok && ed25519.Verify(public, []byte(input), t.jws.Signatures[0].Signature)
	}
	signed, err := t.jws.Verify(k.public)
	return err == nil && bytes.Equal(signed, t.payload)
}

// splitCompact returns the header and payload segments of three that are all in
// the one canonical spelling of base64url: no padding, no white space, no stray
// bits at the end (RFC 7515, sections 2 and 7.1). go-jose skips line breaks and
// drops stray bits, and one token would have many spellings.
func splitCompact(compact string) (header, payload string, ok bool) {
	header, rest, _ := strings.Cut(compact, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	return header, payload, ok && header != "" && payload != "" &&
		isCanonical(header) && isCanonical(payload) && isCanonical(signature)
}

// sextets maps a base64url character to its value, everything else to -1.
var sextets = func() (table [256]int8) {
	for i := range table {
		table[i] = -1
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		table[c] = int8(i)
	}
	return table
}()

func isCanonical(s string) bool {
	if !isBase64URL(s) {
		return false
	}
	switch len(s) % 4 {
	case 1:
		return false
	case 2:
		return sextets[s[len(s)-1]]&0b1111 == 0
	case 3:
		return sextets[s[len(s)-1]]&0b11 == 0
	}
	return true
}

func isBase64URL(s string) bool {
	for i := range len(s) {
		if sextets[s[i]] < 0 {
			return false
		}
	}
	return true
}

// LooksLikeJWT reports whether raw has the form of a signed JWT, so that it goes to
// an [Issuer] and not to introspection. It decides nothing else.
func LooksLikeJWT(raw string) bool {
	header, _, ok := splitCompact(raw)
	if !ok {
		return false
	}
	first, err := base64.RawURLEncoding.DecodeString(header[:min(len(header), 4)])
	return err == nil && len(first) > 0 && first[0] == '{'
}

// PeekIssuer returns the iss claim of a JWT that nobody has verified yet. It is good
// for choosing among configured issuers by exact comparison and for nothing else;
// in particular never for finding keys.
func PeekIssuer(raw string) (string, error) {
	_, payload, ok := splitCompact(raw)
	if !ok {
		return "", refuse(Malformed, "not a JWS in compact form")
	}
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return "", refuse(Malformed, "the payload is not base64url")
	}
	members, err := strictjson.Parse(claims)
	if err != nil {
		return "", &Error{Reason: ClaimsInvalid, cause: err}
	}
	value, _ := members.Get("iss")
	iss, ok := value.Text()
	if !ok {
		return "", &Error{Reason: ClaimsInvalid, cause: errors.New("iss is missing or of the wrong type")}
	}
	return iss, nil
}
