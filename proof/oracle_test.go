// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The limits of the package, written down again.
const (
	oracleDepth   = 16
	oracleMembers = 64
	oracleNumber  = 32
)

// strictObject reads a JSON object with encoding/json, slowly: no duplicate names at
// any depth, no unpaired surrogates, UTF-8 only, nothing after it, limited.
func strictObject(text []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(text) || !json.Valid(text) || hasLoneSurrogate(text) {
		return nil, errors.New("not valid JSON")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := strictValue(d, 0, 0); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("trailing data")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil || members == nil {
		return nil, errors.New("not an object")
	}
	return members, nil
}

// strictValue reads one value; open is how many names the objects around it have
// shown so far.
func strictValue(d *json.Decoder, depth, open int) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	delimiter, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth == oracleDepth {
		return errors.New("too deep")
	}
	names := make(map[string]bool)
	for d.More() {
		if delimiter == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if names[name.(string)] {
				return errors.New("duplicate")
			}
			names[name.(string)] = true
			if open+len(names) > oracleMembers {
				return errors.New("too many")
			}
		}
		if err := strictValue(d, depth+1, open+len(names)); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// hasLoneSurrogate looks for an escape of half a surrogate pair in valid JSON, which
// encoding/json replaces without a word.
func hasLoneSurrogate(text []byte) bool {
	s := string(text)
	unit := func(i int) (uint64, bool) {
		if i+6 > len(s) || s[i:i+2] != `\u` {
			return 0, false
		}
		u, err := strconv.ParseUint(s[i+2:i+6], 16, 16)
		return u, err == nil
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		u, ok := unit(i)
		switch {
		case !ok:
			i++ // the escaped character
		case u>>10 == 0xd800>>10:
			if low, ok := unit(i + 6); !ok || low>>10 != 0xdc00>>10 {
				return true
			}
			i += 11
		case u>>10 == 0xdc00>>10:
			return true
		default:
			i += 5
		}
	}
	return false
}

// hasCaseVariant reports whether a name is a registered one but for case.
func hasCaseVariant(members map[string]json.RawMessage, registered ...string) bool {
	for name := range members {
		for _, r := range registered {
			if name != r && strings.EqualFold(name, r) {
				return true
			}
		}
	}
	return false
}

// text returns a member that is a string.
func text(members map[string]json.RawMessage, name string) (content string, present, ok bool) {
	raw, present := members[name]
	if !present {
		return "", false, false
	}
	ok = raw[0] == '"' && json.Unmarshal(raw, &content) == nil
	return content, true, ok
}

// date returns a member that is a NumericDate: its whole seconds.
func date(members map[string]json.RawMessage, name string) (seconds int64, present, ok bool) {
	raw, present := members[name]
	if !present {
		return 0, false, false
	}
	var number json.Number
	if len(raw) > oracleNumber || raw[0] == '"' || string(raw) == "null" || json.Unmarshal(raw, &number) != nil {
		return 0, true, false
	}
	f, err := number.Float64()
	limit := float64(1 << 53)
	if err != nil || f < -limit || f > limit {
		return 0, true, false
	}
	exact, ok := new(big.Rat).SetString(number.String())
	if strings.ContainsAny(number.String(), ".eE") {
		exact = new(big.Rat).SetFloat64(f)
	}
	if !ok || exact.Cmp(new(big.Rat).SetInt64(1<<53)) > 0 || exact.Cmp(new(big.Rat).SetInt64(-1<<53)) < 0 {
		return 0, true, false
	}
	return new(big.Int).Div(exact.Num(), exact.Denom()).Int64(), true, true // Div rounds down
}
