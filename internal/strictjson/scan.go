// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks over UTF-8 text once, from left to right.
type scanner struct {
	data []byte
	pos  int
}

// peek returns the next byte, or 0 at the end; no JSON token starts with 0.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// object reads an object whose brace is next and appends its members to into.
// depth is how many levels are left, this one included.
func (s *scanner) object(depth int, into Object) (Object, error) {
	if depth == 0 {
		return nil, ErrDepth
	}
	s.pos++
	s.space()
	if s.peek() == '}' {
		s.pos++
		return into, nil
	}
	var names nameSet
	for {
		name, err := s.string()
		if err != nil {
			return nil, err
		}
		m := Member{Name: unescape(name)}
		if !names.add(m.Name, into) {
			return nil, ErrDuplicate
		}
		s.space()
		if s.peek() != ':' {
			return nil, ErrSyntax
		}
		s.pos++
		s.space()
		if m.Value, err = s.value(depth - 1); err != nil {
			return nil, err
		}
		into = append(into, m)
		more, err := s.next('}')
		if err != nil || !more {
			return into, err
		}
	}
}

func (s *scanner) array(depth int) error {
	if depth == 0 {
		return ErrDepth
	}
	s.pos++
	s.space()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		if _, err := s.value(depth - 1); err != nil {
			return err
		}
		more, err := s.next(']')
		if err != nil || !more {
			return err
		}
	}
}

// next reads what follows an element: a comma, and the answer is true, or the
// closing bracket.
func (s *scanner) next(closing byte) (bool, error) {
	s.space()
	switch s.peek() {
	case ',':
		s.pos++
		s.space()
		return true, nil
	case closing:
		s.pos++
		return false, nil
	}
	return false, ErrSyntax
}

func (s *scanner) value(depth int) (Value, error) {
	start := s.pos
	var err error
	switch c := s.peek(); {
	case c == '"':
		_, err = s.string()
	case c == '{':
		_, err = s.object(depth, nil)
	case c == '[':
		err = s.array(depth)
	case c == 't':
		err = s.word("true")
	case c == 'f':
		err = s.word("false")
	case c == 'n':
		err = s.word("null")
	default:
		err = s.number()
	}
	return Value(s.data[start:s.pos]), err
}

func (s *scanner) word(w string) error {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return ErrSyntax
	}
	s.pos += len(w)
	return nil
}

// number reads the grammar of RFC 8259, section 6.
func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return ErrSyntax
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return ErrSyntax
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return ErrSyntax
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > start
}

// string reads a string and returns what stands between its quotes, escapes
// checked and unresolved.
func (s *scanner) string() ([]byte, error) {
	if s.peek() != '"' {
		return nil, ErrSyntax
	}
	s.pos++
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start : s.pos-1], nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		case c < 0x20:
			return nil, ErrSyntax
		default:
			s.pos++
		}
	}
	return nil, ErrSyntax
}

// escape reads one escape, or a surrogate pair of two.
func (s *scanner) escape() error {
	if s.pos+1 >= len(s.data) {
		return ErrSyntax
	}
	switch s.data[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return nil
	case 'u':
	default:
		return ErrSyntax
	}
	r, ok := hex4(s.data[s.pos:])
	if !ok {
		return ErrSyntax
	}
	s.pos += 6
	if !utf16.IsSurrogate(r) {
		return nil
	}
	low, ok := hex4(s.data[s.pos:])
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return ErrUTF8
	}
	s.pos += 6
	return nil
}

// hex4 reads the escape \uXXXX at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}

// unescape resolves the escapes of a string that was read by scanner.string.
func unescape(raw []byte) string {
	plain := 0
	for plain < len(raw) && raw[plain] != '\\' {
		plain++
	}
	if plain == len(raw) {
		return string(raw)
	}
	out := append(make([]byte, 0, len(raw)), raw[:plain]...)
	for i := plain; i < len(raw); {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			i++
			continue
		}
		switch c := raw[i+1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(raw[i:])
			if low, ok := hex4(raw[i+6:]); ok && utf16.IsSurrogate(r) {
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			out = utf8.AppendRune(out, r)
			i += 4
		default:
			out = append(out, c)
		}
		i += 2
	}
	return string(out)
}

// manyNames is where a nameSet turns from comparing names to hashing them: a
// token of a few kilobytes can hold a thousand members.
const manyNames = 24

// nameSet finds a repeated name in an object.
type nameSet map[string]struct{}

// add reports whether name is new beside the members read so far.
func (n *nameSet) add(name string, members Object) bool {
	if len(members) < manyNames {
		_, seen := members.Get(name)
		return !seen
	}
	if *n == nil {
		*n = make(nameSet, 4*manyNames)
		for i := range members {
			(*n)[members[i].Name] = struct{}{}
		}
	}
	_, seen := (*n)[name]
	(*n)[name] = struct{}{}
	return !seen
}
