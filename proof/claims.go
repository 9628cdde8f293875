// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"strings"
	"unicode"
)

const (
	maxID    = 256 // bytes of jti; proofs in the field have up to 62
	maxNonce = 512 // bytes of nonce; ours have far fewer
)

// readClaims reads the payload: which claims there are, and that those we use have
// the right type. What they must say depends on the request; see [Verifier.Match].
//
// RFC 9449, section 4.3, checks 2 and 3.
func (p *Proof) readClaims(text string) error {
	var jti, htm, htu, iat, ath, nonce, exp, nbf value
	var s scanner
	s.start(text)
	for name, ok := s.object(); ok; name, ok = s.next() {
		v := s.value()
		switch name {
		case "jti":
			jti = v
		case "htm":
			htm = v
		case "htu":
			htu = v
		case "iat":
			iat = v
		case "ath":
			ath = v
		case "nonce":
			nonce = v
		case "exp":
			exp = v
		case "nbf":
			nbf = v
		default:
			// A reader that ignores case would take it for the claim (RFC 7519, section 4).
			if foldsTo(name, "jti", "htm", "htu", "iat", "ath", "nonce", "exp", "nbf", "iss", "sub", "aud", "cnf") {
				s.fail("claim name in another case")
			}
		}
	}
	if err := s.end(); err != "" {
		return refuse(ReasonClaimsInvalid, err)
	}

	switch htm.kind {
	case kindString:
		p.Method = htm.text
	case kindNone:
		return refuse(ReasonHTMMissing, "")
	default:
		return refuse(ReasonClaimsInvalid, "htm is not a string")
	}
	switch htu.kind {
	case kindString:
		p.URI = htu.text
	case kindNone:
		return refuse(ReasonHTUMissing, "")
	default:
		return refuse(ReasonHTUInvalid, "not a string")
	}
	if err := p.readTimes(iat, exp, nbf); err != nil {
		return err
	}
	if err := p.readID(jti); err != nil {
		return err
	}
	switch ath.kind {
	case kindString:
		p.ath, p.hasATH = ath.text, true
	case kindNone:
	default:
		return refuse(ReasonClaimsInvalid, "ath is not a string")
	}
	switch {
	case nonce.kind == kindNone:
	case nonce.kind != kindString:
		return refuse(ReasonNonceInvalid, "not a string")
	case len(nonce.text) > maxNonce:
		return refuse(ReasonNonceInvalid, "too long")
	default:
		p.Nonce, p.hasNonce = nonce.text, true
	}
	return nil
}

// readTimes reads iat, which must be there, and exp and nbf, which some clients add.
func (p *Proof) readTimes(iat, exp, nbf value) error {
	var ok bool
	if iat.kind == kindNone {
		return refuse(ReasonIATMissing, "")
	}
	if p.IssuedAt, ok = iat.numericDate(); !ok {
		return refuse(ReasonIATInvalid, "not a number, or out of range")
	}
	if exp.kind != kindNone {
		if p.expiry, ok = exp.numericDate(); !ok {
			return refuse(ReasonClaimsInvalid, "exp is not a number, or out of range")
		}
	}
	if nbf.kind != kindNone {
		if p.notBefore, ok = nbf.numericDate(); !ok {
			return refuse(ReasonClaimsInvalid, "nbf is not a number, or out of range")
		}
	}
	return nil
}

// readID reads jti. Any text will do that is not blank: clients in the field send 8
// to 62 characters of every style. NUL is refused because logs and stores in other
// languages end their strings there.
func (p *Proof) readID(jti value) error {
	switch {
	case jti.kind == kindNone:
		return refuse(ReasonJTIMissing, "")
	case jti.kind != kindString:
		return refuse(ReasonJTIInvalid, "not a string")
	case len(jti.text) > maxID:
		return refuse(ReasonJTITooLong, "")
	case strings.IndexByte(jti.text, 0) >= 0:
		return refuse(ReasonJTIInvalid, "contains NUL")
	case strings.IndexFunc(jti.text, func(r rune) bool { return !unicode.IsSpace(r) }) < 0:
		return refuse(ReasonJTIInvalid, "blank")
	}
	p.ID = jti.text
	return nil
}

// foldsTo reports whether name differs from one of the registered names in nothing
// but case, by Unicode simple folding: the Kelvin sign folds to k.
func foldsTo(name string, registered ...string) bool {
	for _, r := range registered {
		if name != r && strings.EqualFold(name, r) {
			return true
		}
	}
	return false
}
