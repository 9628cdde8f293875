// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"slices"
	"strings"
)

// normalPath returns an escaped path in the normal form of RFC 3986, sections
// 6.2.2 and 6.2.3: unreserved characters are not escaped, the digits of escapes are
// upper-case, dot segments are resolved, the empty path is a slash. Whatever may
// name another resource stays: the case of letters, an escaped slash or backslash,
// doubled slashes, parameters after a semicolon.
//
// Browsers and others send some characters as they are that a URI must escape. They
// mean the same escaped, and that is their normal form. It allocates nothing when
// the path is in normal form already.
func normalPath(path string) (string, error) {
	if path == "" {
		return "/", nil
	}
	if path[0] != '/' {
		return "", errNotAbsolute
	}
	if isNormal(path) {
		return path, nil
	}
	path, err := normalEscapes(path)
	if err != nil {
		return "", err
	}
	return removeDots(path), nil
}

// isNormal reports whether a path that begins with a slash is in normal form. It
// may say no to one that is (with an escape, or a segment beginning with a dot):
// that only costs time.
func isNormal(path string) bool {
	previous := byte(0)
	for i := range len(path) {
		c := path[i]
		if !pathByte[c] || c == '.' && previous == '/' {
			return false
		}
		previous = c
	}
	return true
}

// pathByte has what stands in a path as it is: pchar without escapes, and the slash
// (RFC 3986, section 3.3).
var pathByte = byteSet(unreserved + "!$&'()*+,;=:@/")

// escapeByte has what is sent as it is although it must be escaped. Not among them
// is the backslash, which some take for a slash.
var escapeByte = byteSet("\"<>[]^`{|}")

var unreservedByte = byteSet(unreserved)

const unreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

func byteSet(members string) (set [256]bool) {
	for i := range len(members) {
		set[members[i]] = true
	}
	return set
}

// normalEscapes brings escapes into normal form and refuses what cannot stand in a
// path.
func normalEscapes(path string) (string, error) {
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(path)+16)
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case pathByte[c]:
			b = append(b, c)
			continue
		case escapeByte[c]:
		case c == '%':
			if i+2 >= len(path) {
				return "", errEscape
			}
			high, low := strings.IndexByte(digits, upper(path[i+1])), strings.IndexByte(digits, upper(path[i+2]))
			if high < 0 || low < 0 {
				return "", errEscape
			}
			i += 2
			c = byte(high<<4 | low)
			if unreservedByte[c] {
				b = append(b, c)
				continue
			}
		default:
			return "", errCharacter
		}
		b = append(b, '%', digits[c>>4], digits[c&15])
	}
	return string(b), nil
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'f' {
		c -= 'a' - 'A'
	}
	return c
}

// removeDots resolves dot segments: RFC 3986, section 5.2.4, for a path that begins
// with a slash. An empty segment is one that ".." removes like any other.
func removeDots(path string) string {
	b := make([]byte, 0, len(path))
	for path != "" {
		end := strings.IndexByte(path[1:], '/') + 1
		if end == 0 {
			end = len(path)
		}
		segment, rest := path[:end], path[end:]
		switch segment {
		case "/..":
			for i, c := range slices.Backward(b) {
				if c == '/' {
					b = b[:i]
					break
				}
			}
			fallthrough
		case "/.":
			if rest == "" {
				b = append(b, '/')
			}
		default:
			b = append(b, segment...)
		}
		path = rest
	}
	return string(b)
}
