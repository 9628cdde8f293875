// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// skipObject reads a nested object of which only the syntax matters.
func (s *scanner) skipObject() {
	if !s.nest() {
		return
	}
	open, named := s.open, s.named
	for _, ok := s.object(); ok; _, ok = s.next() {
		s.value()
	}
	s.open, s.named = open, named
	s.depth--
}

// skipArray reads a nested array of which only the syntax matters.
func (s *scanner) skipArray() {
	for _, ok := s.array(); ok; _, ok = s.element() {
	}
}

// array enters an array and returns its first element.
func (s *scanner) array() (value, bool) {
	if !s.nest() {
		return value{}, false
	}
	s.take('[')
	if s.take(']') {
		s.depth--
		return value{}, false
	}
	v := s.value()
	return v, s.err == ""
}

// element returns the following element of the array entered last.
func (s *scanner) element() (value, bool) {
	if s.take(',') {
		v := s.value()
		return v, s.err == ""
	}
	if !s.take(']') {
		s.fail("array not closed")
	}
	s.depth--
	return value{}, false
}

// nest goes one level down.
func (s *scanner) nest() bool {
	// The object that is being read is a level too.
	if s.depth+1 == maxDepth {
		s.fail("nested too deep")
		return false
	}
	s.depth++
	return true
}

// literal consumes word when it comes next.
func (s *scanner) literal(word string) bool {
	if !strings.HasPrefix(s.text[s.pos:], word) {
		return false
	}
	s.pos += len(word)
	return true
}

// string reads a string and returns its content.
func (s *scanner) string() string {
	s.pos++ // the quotation mark
	start := s.pos
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '"':
			content := s.text[start:s.pos]
			s.pos++
			return content
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			s.fail("control character in a string")
			return ""
		}
		s.pos++
	}
	s.fail("string not closed")
	return ""
}

// escaped goes on with a string that began at start and has its first escape here.
func (s *scanner) escaped(start int) string {
	var b strings.Builder
	b.WriteString(s.text[start:s.pos])
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		s.pos++
		switch {
		case c == '"':
			return b.String()
		case c < ' ':
			s.fail("control character in a string")
			return ""
		case c != '\\':
			b.WriteByte(c)
		default:
			r := s.escape()
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if s.literal(`\`) {
					low = s.escape()
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					s.fail("unpaired surrogate")
					return ""
				}
			}
			b.WriteRune(r)
		}
	}
	s.fail("string not closed")
	return ""
}

// escape reads what follows a backslash. It may be half of a surrogate pair.
func (s *scanner) escape() rune {
	if s.pos == len(s.text) {
		return 0 // and the string is not closed
	}
	c := s.text[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c)
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'u':
		if hex := s.text[s.pos:]; len(hex) >= 4 {
			// ParseUint takes no sign and, base 16 being explicit, neither prefix nor
			// underscore: four hexadecimal digits or an error.
			if r, err := strconv.ParseUint(hex[:4], 16, 16); err == nil {
				s.pos += 4
				return rune(r)
			}
		}
	}
	s.fail("unknown escape")
	return 0
}

// number reads a number: an optional minus, an integer without leading zeros, a
// fraction, an exponent.
func (s *scanner) number() {
	s.literal("-")
	if !s.literal("0") && !s.digits() {
		s.fail("malformed number")
	}
	if s.literal(".") && !s.digits() {
		s.fail("malformed number")
	}
	if s.literal("e") || s.literal("E") {
		if !s.literal("+") {
			s.literal("-")
		}
		if !s.digits() {
			s.fail("malformed number")
		}
	}
}

// digits consumes at least one digit.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.text) && '0' <= s.text[s.pos] && s.text[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

const (
	maxNumericDate = 1 << 53 // seconds; up to here every integer is exact (RFC 8259, section 6)
	maxNumber      = 32      // bytes of a literal
)

// numericDate returns the time that a NumericDate (RFC 7519, section 2) names. Any
// spelling of a JSON number will do, also one with a fraction or an exponent.
func (v value) numericDate() (time.Time, bool) {
	if v.kind != kindNumber || len(v.text) > maxNumber {
		return time.Time{}, false
	}
	if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
		return time.Unix(n, 0), -maxNumericDate <= n && n <= maxNumericDate
	}
	f, err := strconv.ParseFloat(v.text, 64)
	if err != nil || math.Abs(f) > maxNumericDate {
		return time.Time{}, false
	}
	seconds := math.Floor(f)
	return time.Unix(int64(seconds), int64((f-seconds)*float64(time.Second))), true
}
