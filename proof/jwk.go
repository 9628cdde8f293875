// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const (
	minModulus = 2048 // bits
	maxModulus = 4096 // bits; a check costs about six times an ES256 one

	// The base64url of 65537, the one exponent accepted: a larger one multiplies the
	// cost of a check, a small one invites forgery where padding is read carelessly.
	exponent      = "AQAB"
	exponentValue = 65537
)

// A jwk holds the members of a JSON Web Key that we look at (RFC 7517, RFC 7518,
// section 6, RFC 8037).
type jwk struct {
	kty, crv, x, y, n, e, use, keyOps, alg, kid value

	// other: there is a member that we do not read, but go-jose does.
	other bool

	point []byte // of an elliptic curve key, once checked
}

// parseJWK reads the client's public key from the jwk header parameter and computes
// its thumbprint. We demand one spelling of each value, so that a key has one
// thumbprint, and a bounded cost.
//
// A stranger's key is judged before anything else about it is known, so the common
// key, with the members of its kind and at most kid, use, alg and key_ops, is made by
// the standard library, which finds a point off its curve. Any other goes to go-jose.
// FuzzJWK holds both against go-jose.
//
// RFC 9449, section 4.3, check 7, and section 4.2.
func parseJWK(raw value, alg *algorithm) (crypto.PublicKey, string, error) {
	if raw.kind != kindObject {
		return nil, "", refuse(ReasonJWKInvalid, "not an object")
	}
	var k jwk
	if err := k.read(raw.text); err != nil {
		return nil, "", err
	}
	if err := k.checkUse(alg); err != nil {
		return nil, "", err
	}
	var thumbprint string
	var err error
	switch k.kty.text {
	case "EC":
		thumbprint, err = k.checkEC(alg)
	case "OKP":
		thumbprint, err = k.checkOKP(alg)
	case "RSA":
		thumbprint, err = k.checkRSA(alg)
	default:
		err = refuse(ReasonJWKInvalid, "kty is none of EC, OKP, RSA")
	}
	if err != nil {
		return nil, "", err
	}

	key, err := k.publicKey(raw.text, alg)
	if err != nil {
		return nil, "", err
	}
	return key, thumbprint, nil
}

// publicKey makes the key of members that have been checked.
func (k *jwk) publicKey(text string, alg *algorithm) (crypto.PublicKey, error) {
	none := value{}
	plain := !k.other && (k.kid.kind == kindNone || k.kid.kind == kindString)
	switch {
	case plain && k.kty.text == "EC" && k.n == none && k.e == none:
		return k.pointOn(alg)
	case plain && k.kty.text == "OKP" && k.y == none && k.n == none && k.e == none:
		x, _ := k.x.bytes()
		return ed25519.PublicKey(x), nil
	case plain && k.kty.text == "RSA" && k.crv == none && k.x == none && k.y == none:
		n, _ := k.n.bytes()
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: exponentValue}, nil
	}

	// go-jose also finds certificates (x5c) of another key than this. Its errors can
	// quote the input, so none is passed on.
	var parsed jose.JSONWebKey
	if parsed.UnmarshalJSON([]byte(text)) != nil {
		return nil, refuse(ReasonJWKInvalid, "not a valid public key")
	}
	switch parsed.Key.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey:
		return parsed.Key, nil
	default:
		return nil, refuse(ReasonJWKInvalid, "not a public key")
	}
}

// pointOn makes the key of a point, which has to be on the algorithm's curve.
func (k *jwk) pointOn(alg *algorithm) (crypto.PublicKey, error) {
	var curve elliptic.Curve
	switch alg.curve {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	default:
		curve = elliptic.P521()
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, k.point)
	if err != nil {
		return nil, refuse(ReasonJWKInvalid, "not a point of the curve")
	}
	return key, nil
}

// read reads the members. Any member of a private or symmetric key is refused,
// whatever its value and the key's kind.
func (k *jwk) read(text string) error {
	var private bool
	var s scanner
	s.start(text)
	for name, ok := s.object(); ok; name, ok = s.next() {
		v := s.value()
		switch name {
		case "kty":
			k.kty = v
		case "crv":
			k.crv = v
		case "x":
			k.x = v
		case "y":
			k.y = v
		case "n":
			k.n = v
		case "e":
			k.e = v
		case "use":
			k.use = v
		case "key_ops":
			k.keyOps = v
		case "alg":
			k.alg = v
		case "kid":
			k.kid = v
		case "x5u", "x5c", "x5t", "x5t#S256", "pub":
			k.other = true
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv":
			private = true
		default:
			if foldsTo(name, "kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg", "kid",
				"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv", "pub", "x5u", "x5c", "x5t", "x5t#S256") {
				s.fail("member name in another case")
			}
		}
	}
	if err := s.end(); err != "" {
		return refuse(ReasonJWKInvalid, err)
	}
	if private {
		return refuse(ReasonJWKPrivate, "")
	}
	return nil
}

// checkUse refuses a key that says of itself that it is for something else (RFC
// 7517, sections 4.2 to 4.4). Most keys say nothing.
func (k *jwk) checkUse(alg *algorithm) error {
	if k.use.kind != kindNone && (k.use.kind != kindString || k.use.text != "sig") {
		return refuse(ReasonJWKInvalid, "use is not sig")
	}
	if k.keyOps.kind != kindNone && !k.keyOps.contains("verify") {
		return refuse(ReasonJWKInvalid, "key_ops lacks verify")
	}
	if k.alg.kind != kindNone && (k.alg.kind != kindString || !sameAlgorithm(k.alg.text, alg.name)) {
		return refuse(ReasonKeyMismatch, "alg of the key is another")
	}
	return nil
}

// contains reports whether v is an array of strings with want among them.
func (v value) contains(want string) bool {
	if v.kind != kindArray {
		return false
	}
	found := false
	var s scanner
	s.start(v.text)
	for e, ok := s.array(); ok; e, ok = s.element() {
		if e.kind != kindString {
			return false
		}
		found = found || e.text == want
	}
	return found
}

// checkEC checks an elliptic curve key (RFC 7518, section 6.2.1) and returns its
// thumbprint. Whether the point is on the curve turns out when the key is made.
func (k *jwk) checkEC(alg *algorithm) (string, error) {
	switch k.crv.text {
	case "P-256", "P-384", "P-521":
	default:
		return "", refuse(ReasonJWKInvalid, "crv is none of P-256, P-384, P-521")
	}
	if alg.family != familyECDSA || alg.curve != k.crv.text {
		return "", refuse(ReasonKeyMismatch, "")
	}
	var ok bool
	if k.point, ok = uncompressed(k.x, k.y, alg.size); !ok {
		return "", refuse(ReasonJWKInvalid, "coordinate is not the base64url of its full length")
	}
	return thumbprintEC(k.crv.text, k.x.text, k.y.text), nil
}

// checkOKP checks an Ed25519 key (RFC 8037, section 2) and returns its thumbprint.
func (k *jwk) checkOKP(alg *algorithm) (string, error) {
	if k.crv.text != "Ed25519" {
		return "", refuse(ReasonJWKInvalid, "crv is not Ed25519")
	}
	if alg.family != familyEd25519 {
		return "", refuse(ReasonKeyMismatch, "")
	}
	x, ok := k.x.bytes()
	if !ok || len(x) != ed25519.PublicKeySize {
		return "", refuse(ReasonJWKInvalid, "x is not the base64url of 32 bytes")
	}
	if err := checkEd25519(x); err != nil {
		return "", err
	}
	return thumbprintOKP(k.crv.text, k.x.text), nil
}

// checkRSA checks an RSA key (RFC 7518, section 6.3.1) and returns its thumbprint.
func (k *jwk) checkRSA(alg *algorithm) (string, error) {
	if alg.family != familyPSS && alg.family != familyPKCS1 {
		return "", refuse(ReasonKeyMismatch, "")
	}
	n, ok := k.n.bytes()
	if !ok {
		return "", refuse(ReasonJWKInvalid, "n is not base64url")
	}
	if _, ok := k.e.bytes(); !ok {
		return "", refuse(ReasonJWKInvalid, "e is not base64url")
	}
	if len(n) > 1 && n[0] == 0 {
		return "", refuse(ReasonJWKInvalid, "n has a leading zero")
	}
	if k.e.text != exponent {
		return "", refuse(ReasonKeyUnacceptable, "exponent is not 65537")
	}
	if err := checkModulus(n); err != nil {
		return "", err
	}
	return thumbprintRSA(k.e.text, k.n.text), nil
}

// bytes returns what a member decodes to, if it is canonical base64url.
func (v value) bytes() ([]byte, bool) {
	if v.kind != kindString || strings.ContainsAny(v.text, "\r\n") {
		return nil, false
	}
	b, err := base64url.DecodeString(v.text)
	return b, err == nil && len(b) > 0
}

// uncompressed returns a point as SEC 1, section 2.3.3, writes it, if both coordinates
// are the canonical base64url of their full length in bytes.
func uncompressed(x, y value, size int) ([]byte, bool) {
	point := append(make([]byte, 0, 1+2*size), 4)
	for _, coordinate := range []value{x, y} {
		if coordinate.kind != kindString || len(coordinate.text) != base64url.EncodedLen(size) {
			return nil, false
		}
		before := len(point)
		var err error
		point, err = base64url.AppendDecode(point, []byte(coordinate.text))
		// A line break, which the decoder skips, leaves fewer bytes.
		if err != nil || len(point)-before != size {
			return nil, false
		}
	}
	return point, true
}
