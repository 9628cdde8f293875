// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"math"
	"strconv"
	"time"
)

// Value is the text of one JSON value, known to be well-formed. Its methods
// answer false when the value is of another type: a claim of the wrong type is
// an error to report, not something to convert.
type Value []byte

// Text returns the value of a JSON string.
func (v Value) Text() (string, bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	return unescape(v[1 : len(v)-1]), true
}

// Bool returns the value of true or false.
func (v Value) Bool() (value, ok bool) {
	switch string(v) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// IsNull reports whether the value is null.
func (v Value) IsNull() bool { return string(v) == "null" }

// maxDate is the last second of the year 9999. Dates beyond it, either way,
// are mistakes, and time.Time cannot compare or print all of them.
const maxDate = 253402300799

// Time returns the value of a NumericDate (RFC 7519, section 2): a number of
// seconds since 1970-01-01T00:00:00Z, with or without fraction.
func (v Value) Time() (time.Time, bool) {
	if len(v) == 0 || v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		return time.Time{}, false
	}
	if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
		return time.Unix(n, 0), n >= -maxDate && n <= maxDate
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || f < -maxDate || f > maxDate {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(f)
	return time.Unix(int64(whole), int64(fraction*float64(time.Second))), true
}

// Object returns the members of a JSON object.
func (v Value) Object() (Object, bool) {
	if len(v) == 0 || v[0] != '{' {
		return nil, false
	}
	s := scanner{data: v}
	members, err := s.object(MaxDepth, nil)
	return members, err == nil
}

// Array returns the elements of a JSON array.
func (v Value) Array() ([]Value, bool) {
	if len(v) == 0 || v[0] != '[' {
		return nil, false
	}
	s := scanner{data: v, pos: 1}
	s.space()
	var elements []Value
	if s.peek() == ']' {
		return elements, true
	}
	for {
		element, err := s.value(MaxDepth)
		if err != nil {
			return nil, false
		}
		elements = append(elements, element)
		more, err := s.next(']')
		if err != nil {
			return nil, false
		}
		if !more {
			return elements, true
		}
	}
}

// Strings returns the elements of a JSON array that holds nothing but strings.
func (v Value) Strings() ([]string, bool) {
	elements, ok := v.Array()
	if !ok {
		return nil, false
	}
	list := make([]string, len(elements))
	for i, element := range elements {
		if list[i], ok = element.Text(); !ok {
			return nil, false
		}
	}
	return list, true
}
