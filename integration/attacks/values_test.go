// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"crypto/sha1" // #nosec G505 -- sent on purpose, to be refused
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"strings"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// oddValues are JSON values that are no strings.
func oddValues() map[string]any {
	return map[string]any{
		"number": 1, "null": nil, "true": true, "false": false, "empty array": []string{}, "array": []string{"a"},
		"empty object": testkit.Object{}, "object": testkit.Object{{Name: "a", Value: "b"}},
	}
}

// otherHash encodes a hash of s that is not the one of RFC 9449.
func otherHash(name, s string) string {
	switch name {
	case "sha1":
		sum := sha1.Sum([]byte(s)) // #nosec G401
		return testkit.B64(sum[:])
	case "sha384":
		sum := sha512.Sum384([]byte(s))
		return testkit.B64(sum[:])
	case "sha512":
		sum := sha512.Sum512([]byte(s))
		return testkit.B64(sum[:])
	}
	sum := sha256.Sum256([]byte(s))
	if name == "hex" {
		return hex.EncodeToString(sum[:])
	}
	return testkit.B64(sum[:16])
}

// segment edits one segment of a compact JWS.
func segment(compact string, index int, edit func(string) string) string {
	parts := strings.Split(compact, ".")
	parts[index] = edit(parts[index])
	return strings.Join(parts, ".")
}

// changedAt puts another character of base64url in one place.
func changedAt(s string, place int) string {
	other := byte('A')
	if s[place] == other {
		other = 'B'
	}
	return s[:place] + string(other) + s[place+1:]
}

// flipBit changes one bit of the bytes that a segment encodes.
func flipBit(s string) string {
	b := testkit.UnB64(s)
	b[len(b)/2] ^= 1
	return testkit.B64(b)
}

// fatal stops a case on an error that is not the server's.
func (c *run) ok(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}
