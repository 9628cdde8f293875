// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"encoding/base64"
	"strings"
)

// base64url decodes as RFC 7515, section 2 asks: URL alphabet, no padding. Strict
// refuses stray bits at the end, so that one value has one spelling. It skips line
// breaks in the input nevertheless; see split.
var base64url = base64.RawURLEncoding.Strict()

// split cuts a compact JWS (RFC 7515, section 3.1) into its segments, still
// encoded. Size and form come before any decoding. A list of proofs, a JSON
// serialisation, a detached payload and an encrypted token all fail here.
//
// RFC 9449, section 4.3, check 2.
func (v *Verifier) split(compact string) (header, claims, signature string, err error) {
	if len(compact) > v.maxSize {
		return "", "", "", refuse(ReasonTooLarge, "")
	}
	header, rest, _ := strings.Cut(compact, ".")
	claims, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.IndexByte(signature, '.') >= 0 {
		return "", "", "", refuse(ReasonMalformed, "not three segments")
	}
	if header == "" || claims == "" || signature == "" {
		return "", "", "", refuse(ReasonMalformed, "empty segment")
	}
	// The standard decoder skips these two wherever they stand.
	if strings.IndexByte(compact, '\n') >= 0 || strings.IndexByte(compact, '\r') >= 0 {
		return "", "", "", refuse(ReasonMalformed, "line break")
	}
	return header, claims, signature, nil
}

// decode decodes the claims, which it returns, and the signature, which it keeps.
// Both share one allocation, and the claims' strings will be parts of it.
func (p *Proof) decode(claims, signature string) (string, error) {
	var scratch [1024]byte
	buf := scratch[:]
	c, s := base64url.DecodedLen(len(claims)), base64url.DecodedLen(len(signature))
	if c+s > len(buf) {
		buf = make([]byte, c+s)
	}
	if _, err := base64url.Decode(buf[:c], []byte(claims)); err != nil {
		return "", refuse(ReasonMalformed, "payload is not base64url")
	}
	if _, err := base64url.Decode(buf[c:c+s], []byte(signature)); err != nil {
		return "", refuse(ReasonMalformed, "signature is not base64url")
	}
	text := string(buf[:c+s])
	p.signature = text[c:]
	return text[:c], nil
}
