// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"crypto"
	"strings"
)

// maxHeader is the largest protected header in bytes, decoded. One with an RSA key
// of 4096 bits has about 800.
const maxHeader = 4096

// Header is a protected header that was read once, with the key in it. It is
// immutable and may be shared, and kept as a [Header.Clone]; a client's next proof
// will most likely have the same one, and [Verifier.Parse] then takes everything
// from here.
type Header struct {
	segment    string // base64url as sent
	algorithm  int    // index into algorithms
	key        crypto.PublicKey
	thumbprint string
}

// Algorithm returns alg as the client wrote it.
func (h *Header) Algorithm() string { return algorithms[h.algorithm].name }

// Clone returns a header to keep. The one that [Verifier.Parse] has made holds on to
// the memory of its whole proof, and of the request that the proof is a part of.
func (h *Header) Clone() *Header {
	kept := *h
	kept.segment = strings.Clone(h.segment)
	return &kept
}

// Thumbprint returns the RFC 7638 SHA-256 thumbprint of the key, as cnf.jkt has it.
func (h *Header) Thumbprint() string { return h.thumbprint }

// PublicKey returns the client's key: an *ecdsa.PublicKey, an *rsa.PublicKey or an
// ed25519.PublicKey. It must not be modified.
func (h *Header) PublicKey() crypto.PublicKey { return h.key }

// parseHeader reads a protected header that was not seen before.
//
// RFC 9449, section 4.3, checks 4, 5 and 7. Parameters that say where another key
// could be found (jku, x5u, x5c, kid) are never followed: the key is the one in jwk.
func (v *Verifier) parseHeader(segment string) (*Header, error) {
	if base64url.DecodedLen(len(segment)) > maxHeader {
		return nil, refuse(ReasonTooLarge, "header")
	}
	text, err := base64url.AppendDecode(make([]byte, 0, 512), []byte(segment)) // most fit, and stay on the stack
	if err != nil {
		return nil, refuse(ReasonMalformed, "header is not base64url")
	}

	var typ, alg, jwk, crit, b64, cty value
	var s scanner
	s.start(string(text))
	for name, ok := s.object(); ok; name, ok = s.next() {
		p := s.value()
		switch name {
		case "typ":
			typ = p
		case "alg":
			alg = p
		case "jwk":
			jwk = p
		case "crit":
			crit = p
		case "b64":
			b64 = p
		case "cty":
			cty = p
		default:
			if foldsTo(name, "typ", "alg", "jwk", "crit", "b64", "cty", "kid", "jku", "x5u", "x5c", "x5t", "x5t#S256") {
				s.fail("parameter name in another case")
			}
		}
	}
	if err := s.end(); err != "" {
		return nil, refuse(ReasonHeaderInvalid, err)
	}

	// Check 4. Media types compare without case (RFC 7515, section 4.1.9). None of
	// these letters folds to one outside ASCII.
	if typ.kind != kindString || !strings.EqualFold(typ.text, "dpop+jwt") {
		return nil, refuse(ReasonTypInvalid, "")
	}
	// Check 5.
	index := -1
	if alg.kind == kindString {
		index = algorithmIndex(alg.text)
	}
	if index < 0 || !v.accepted[index] {
		return nil, refuse(ReasonAlgUnsupported, "")
	}
	// No extension is understood (RFC 7515, section 4.1.11), and none of the
	// parameters that the RFCs define may be listed.
	if crit.kind != kindNone {
		return nil, refuse(ReasonCritUnsupported, "")
	}
	if b64.kind != kindNone && (b64.kind != kindBool || b64.text != "true") {
		return nil, refuse(ReasonHeaderInvalid, "payload is announced as not encoded")
	}
	if cty.kind != kindNone && (cty.kind != kindString || namesJWT(cty.text)) {
		return nil, refuse(ReasonHeaderInvalid, "payload is announced as nested")
	}
	if jwk.kind == kindNone || jwk.kind == kindNull {
		return nil, refuse(ReasonJWKMissing, "")
	}
	key, thumbprint, err := parseJWK(jwk, &algorithms[index])
	if err != nil {
		return nil, err
	}
	return &Header{segment: segment, algorithm: index, key: key, thumbprint: thumbprint}, nil
}

// namesJWT reports whether a cty value says that the payload is itself a JWT (RFC
// 7519, section 5.2), which a proof's claims are not.
func namesJWT(cty string) bool {
	return strings.EqualFold(cty, "JWT") || strings.EqualFold(cty, "application/jwt")
}
