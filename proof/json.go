// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"slices"
	"unicode/utf8"
)

const (
	maxDepth   = 16 // nested objects and arrays
	maxMembers = 64 // names in all objects that are open at one time
)

// A scanner reads JSON (RFC 8259) so that only one reading is possible: no
// duplicate member names at any depth (RFC 7519, section 4), UTF-8 only, no
// unpaired surrogates, nothing after the value. It is pulled through the text
// once and allocates only for strings with escapes.
//
//	var s scanner
//	s.start(text)
//	for name, ok := s.object(); ok; name, ok = s.next() {
//		v := s.value()
//		...
//	}
//	if err := s.end(); err != "" { ... }
//
// The first error ends every loop; end reports it in fixed words.
type scanner struct {
	text  string
	pos   int
	err   string // fixed words, "" while all is well
	depth int

	// The names seen in all open objects; those from open on belong to the innermost.
	names [maxMembers]string
	named int
	open  int
}

// A kind is the type of a JSON value.
type kind uint8

const (
	kindNone kind = iota // no value: an absent member
	kindNull
	kindBool
	kindNumber
	kindString
	kindObject
	kindArray
)

// A value is a JSON value of which the syntax has been checked. Its text is a
// string's content without escapes, or else the value as written.
type value struct {
	kind kind
	text string
}

// start begins to read text.
func (s *scanner) start(text string) {
	// Not the names, of which none counts yet.
	s.text, s.pos, s.err, s.depth, s.named, s.open = text, 0, "", 0, 0, 0
	if !utf8.ValidString(text) {
		s.fail("not UTF-8")
	}
}

func (s *scanner) fail(err string) {
	if s.err == "" {
		s.err = err
	}
	s.pos = len(s.text)
}

// peek skips white space and returns the byte that follows, 0 at the end. (A NUL
// in the text has no meaning either.)
func (s *scanner) peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// take consumes c when it comes next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.pos == len(s.text) {
		return false
	}
	s.pos++
	return true
}

// object enters an object and returns the name of its first member. Whether it
// has one or not, its end is consumed by next or here.
func (s *scanner) object() (name string, ok bool) {
	if !s.take('{') {
		s.fail("not an object")
		return "", false
	}
	s.open = s.named
	if s.take('}') {
		return "", false
	}
	return s.name()
}

// next goes to the following member of the object entered last.
func (s *scanner) next() (name string, ok bool) {
	switch {
	case s.err != "":
		return "", false
	case s.take(','):
		return s.name()
	case !s.take('}'):
		s.fail("object not closed")
	}
	return "", false
}

// name reads a member's name and the colon.
func (s *scanner) name() (string, bool) {
	if s.peek() != '"' {
		s.fail("member name is not a string")
		return "", false
	}
	name := s.string()
	if !s.take(':') {
		s.fail("no colon after member name")
		return "", false
	}
	if slices.Contains(s.names[s.open:s.named], name) {
		s.fail("duplicate member name")
		return "", false
	}
	if s.named == maxMembers {
		s.fail("too many members")
		return "", false
	}
	s.names[s.named] = name
	s.named++
	return name, true
}

// value reads the value that comes next.
func (s *scanner) value() value {
	c := s.peek()
	start := s.pos
	switch {
	case c == '"':
		return value{kindString, s.string()}
	case c == '{':
		s.skipObject()
		return value{kindObject, s.text[start:s.pos]}
	case c == '[':
		s.skipArray()
		return value{kindArray, s.text[start:s.pos]}
	case c == '-' || '0' <= c && c <= '9':
		s.number()
		return value{kindNumber, s.text[start:s.pos]}
	case s.literal("true"), s.literal("false"):
		return value{kindBool, s.text[start:s.pos]}
	case s.literal("null"):
		return value{kindNull, s.text[start:s.pos]}
	}
	s.fail("not a value")
	return value{}
}

// end demands that nothing follows, and reports what went wrong.
func (s *scanner) end() string {
	if s.peek(); s.pos < len(s.text) {
		s.fail("data after the value")
	}
	return s.err
}
