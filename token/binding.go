// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/caddy-dpop/caddy-dpop/internal/strictjson"
)

// Confirmation is the cnf claim (RFC 7800, section 3.1): what the presenter of the
// token has to prove the possession of.
type Confirmation struct {
	// Present says that the token has a cnf member, whatever it holds. Such a token
	// is never a bearer token, even if we cannot tell what it is bound to.
	Present bool
	// Invalid says that cnf is not an object, or that jkt or x5t#S256 in it is not a
	// SHA-256 hash in the one spelling that it has in base64url.
	Invalid bool
	// JKT is the thumbprint of the key that must sign the proof (RFC 9449, section
	// 6.1); empty when absent.
	JKT string
	// X5TS256 is the thumbprint of the TLS client certificate (RFC 8705, section
	// 3.1); empty when absent.
	X5TS256 string
}

// parseConfirmation reads cnf. Members that we do not know are left alone
// (RFC 7800, section 3.1).
func parseConfirmation(v strictjson.Value) Confirmation {
	c := Confirmation{Present: true}
	members, ok := v.Object()
	c.Invalid = !ok || members.Variant("jkt", "x5t#S256")
	for _, m := range members {
		switch m.Name {
		case "jkt":
			c.JKT, ok = m.Value.Text()
		case "x5t#S256":
			c.X5TS256, ok = m.Value.Text()
		default:
			continue
		}
		if text, _ := m.Value.Text(); !ok || !isSHA256(text) {
			c.Invalid = true
		}
	}
	return c
}

// isSHA256 reports whether s spells 32 bytes in base64url without padding, with
// the two spare bits zero.
func isSHA256(s string) bool {
	if len(s) != base64.RawURLEncoding.EncodedLen(sha256.Size) || !isBase64URL(s) {
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil
}

// CheckBinding reports whether the token is bound to the key with this thumbprint,
// the proof's (RFC 9449, sections 6.1 and 7.1). A token that is bound to a client
// certificate as well must also pass [CheckCertificate]: each confirmation that a
// token names has to hold.
func (c *Claims) CheckBinding(thumbprint string) error {
	switch cnf := &c.Confirmation; {
	case !cnf.Present:
		return refuse(Unbound, "no cnf claim")
	case cnf.Invalid:
		return refuse(CnfInvalid, "cnf cannot be read")
	case cnf.JKT == "" && cnf.X5TS256 == "":
		return refuse(CnfInvalid, "cnf has no method that we know")
	case cnf.JKT == "":
		return refuse(Unbound, "cnf has no jkt")
	case !same(cnf.JKT, thumbprint):
		return refuse(JKTMismatch, "bound to another key than the proof's")
	}
	return nil
}

// CheckCertificate reports whether the token is bound to the TLS client certificate
// with this DER encoding (RFC 8705, section 3). leafDER is the leaf that the client
// sent on this connection; empty when it sent none.
func CheckCertificate(c *Claims, leafDER []byte) error {
	cnf := &c.Confirmation
	switch {
	case !cnf.Present:
		return refuse(Unbound, "no cnf claim")
	case cnf.Invalid:
		return refuse(CnfInvalid, "cnf cannot be read")
	case cnf.X5TS256 == "" && cnf.JKT == "":
		return refuse(CnfInvalid, "cnf has no method that we know")
	case cnf.X5TS256 == "":
		return refuse(Unbound, "cnf has no x5t#S256")
	case len(leafDER) == 0:
		return refuse(CertificateMissing, "no client certificate on this connection")
	}
	sum := sha256.Sum256(leafDER)
	if !same(cnf.X5TS256, base64.RawURLEncoding.EncodeToString(sum[:])) {
		return refuse(CertificateMismatch, "bound to another certificate")
	}
	return nil
}

// same compares in constant time: whoever found a token shall not learn step by step
// what it is bound to.
func same(want, got string) bool {
	return subtle.ConstantTimeCompare([]byte(want), []byte(got)) == 1
}
