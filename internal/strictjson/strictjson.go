// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package strictjson reads JSON objects that carry security decisions: JOSE
// headers, claims, key sets, introspection answers.
//
// It accepts RFC 8259 text within the limits of I-JSON (RFC 7493, section 2):
// valid UTF-8, no byte order mark, no unpaired surrogates, and no member name
// twice in one object at any depth. encoding/json is unfit for this, because it
// keeps the last of two members of one name, matches names without regard to
// case, and mends bad text silently; two readers of one document could then
// see different claims (RFC 8725, section 2.4).
//
// Errors name what is wrong and never quote the document.
package strictjson

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// MaxDepth is the deepest nesting of objects and arrays that is accepted,
// the outermost object counted. Nothing in OAuth comes near it.
const MaxDepth = 32

// What Parse refuses.
var (
	ErrSyntax    = errors.New("not a JSON object")
	ErrUTF8      = errors.New("not valid UTF-8")
	ErrDepth     = errors.New("nested too deeply")
	ErrDuplicate = errors.New("a member name occurs twice")
)

// Object is a JSON object: its members in the order of the document.
type Object []Member

// Member is one name and value of an Object.
type Member struct {
	// Name is the member's name with escapes resolved.
	Name string
	// Value is the member's value.
	Value Value
}

// Get returns the value of the member with exactly this name.
func (o Object) Get(name string) (Value, bool) {
	for i := range o {
		if o[i].Name == name {
			return o[i].Value, true
		}
	}
	return nil, false
}

// Variant reports whether a member's name differs from one of names in nothing
// but case. Claim names are case-sensitive (RFC 7519, section 10.1.1), so such
// a member means nothing to us and may mean something to another reader.
func (o Object) Variant(names ...string) bool {
	for i := range o {
		if isVariant(o[i].Name, names) {
			return true
		}
	}
	return false
}

func isVariant(name string, names []string) bool {
	variant := false
	for _, known := range names {
		if name == known {
			return false
		}
		variant = variant || strings.EqualFold(name, known)
	}
	return variant
}

// Parse reads data as exactly one JSON object. The object refers to data, which
// must not change afterwards.
func Parse(data []byte) (Object, error) {
	if !utf8.Valid(data) {
		return nil, ErrUTF8
	}
	s := scanner{data: data}
	s.space()
	if s.peek() != '{' {
		return nil, ErrSyntax
	}
	members, err := s.object(MaxDepth, make(Object, 0, 16))
	if err != nil {
		return nil, err
	}
	s.space()
	if s.pos != len(data) {
		return nil, ErrSyntax
	}
	return members, nil
}
