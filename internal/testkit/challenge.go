// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"errors"
	"fmt"
	"strings"
)

// Challenge is one challenge of a WWW-Authenticate field.
type Challenge struct {
	Scheme string
	// Params holds the parameters under their lower-case names.
	Params map[string]string
	// Token68 is the other form a challenge may have.
	Token68 string
}

// ParseChallenges reads the lines of WWW-Authenticate by the grammar of RFC 9110,
// section 11.6.1, and by nothing laxer: a list of challenges, each a scheme with
// parameters or a token68, a parameter at most once per challenge. Beyond the grammar
// it wants error, error_description and algs quoted and made of what RFC 6750,
// section 3 allows, since clients match that text.
func ParseChallenges(lines []string) ([]Challenge, error) {
	var all []Challenge
	for _, line := range lines {
		p := challengeParser{s: line}
		list, err := p.list()
		if err != nil {
			return nil, fmt.Errorf("%w at byte %d of %q", err, p.i, line)
		}
		all = append(all, list...)
	}
	return all, nil
}

// FindChallenge returns the first challenge of that scheme, or nil.
func FindChallenge(all []Challenge, scheme string) *Challenge {
	for i := range all {
		if strings.EqualFold(all[i].Scheme, scheme) {
			return &all[i]
		}
	}
	return nil
}

type challengeParser struct {
	s string
	i int
}

func (p *challengeParser) list() ([]Challenge, error) {
	var out []Challenge
	for {
		p.space()
		scheme := p.token()
		if scheme == "" {
			return nil, errors.New("no scheme")
		}
		c := Challenge{Scheme: scheme, Params: map[string]string{}}
		next, err := p.challenge(&c)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
		if !next {
			return out, nil
		}
	}
}

// challenge reads what follows a scheme and reports whether another challenge comes.
func (p *challengeParser) challenge(c *Challenge) (next bool, err error) {
	if p.end() {
		return false, nil
	}
	if p.s[p.i] == ',' {
		p.i++
		return true, nil
	}
	if p.s[p.i] != ' ' {
		return false, errors.New("no space after the scheme")
	}
	p.space()
	if t := p.token68(); t != "" {
		c.Token68 = t
		return p.comma()
	}
	for {
		name := strings.ToLower(p.token())
		if name == "" {
			return false, errors.New("no parameter name")
		}
		if p.end() || p.s[p.i] != '=' {
			return false, errors.New("no equals sign")
		}
		p.i++
		value, quoted, err := p.value()
		if err != nil {
			return false, err
		}
		if _, twice := c.Params[name]; twice {
			return false, fmt.Errorf("parameter %s twice", name)
		}
		if err := plain(name, value, quoted); err != nil {
			return false, err
		}
		c.Params[name] = value
		more, err := p.comma()
		if err != nil || !more {
			return false, err
		}
		if p.startsChallenge() {
			return true, nil
		}
	}
}

// comma consumes a comma with its blanks and reports whether there was one.
func (p *challengeParser) comma() (bool, error) {
	p.space()
	if p.end() {
		return false, nil
	}
	if p.s[p.i] != ',' {
		return false, errors.New("no comma")
	}
	p.i++
	p.space()
	return true, nil
}

// startsChallenge looks ahead: a token followed by anything but an equals sign is a
// scheme, not a parameter.
func (p *challengeParser) startsChallenge() bool {
	save := p.i
	defer func() { p.i = save }()
	p.token()
	return p.end() || p.s[p.i] != '='
}

func (p *challengeParser) value() (string, bool, error) {
	if p.end() {
		return "", false, errors.New("no value")
	}
	if p.s[p.i] != '"' {
		if t := p.token(); t != "" {
			return t, false, nil
		}
		return "", false, errors.New("no value")
	}
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return b.String(), true, nil
		case c == '\\':
			p.i++
			if p.end() {
				return "", true, errors.New("string ends in a backslash")
			}
			b.WriteByte(p.s[p.i])
		case c < 0x20 && c != '\t' || c == 0x7f:
			return "", true, errors.New("control character in a string")
		default:
			b.WriteByte(c)
		}
	}
	return "", true, errors.New("string without end")
}

// token68 reads a token68 that stands alone in its challenge, else nothing.
func (p *challengeParser) token68() string {
	j := p.i
	for j < len(p.s) && (isAlnum(p.s[j]) || strings.IndexByte("-._~+/", p.s[j]) >= 0) {
		j++
	}
	for j < len(p.s) && p.s[j] == '=' {
		j++
	}
	rest := strings.TrimLeft(p.s[j:], " \t")
	if j == p.i || rest != "" && rest[0] != ',' || j < len(p.s) && p.s[j] == '"' {
		return ""
	}
	t := p.s[p.i:j]
	p.i = j
	return t
}

func (p *challengeParser) token() string {
	j := p.i
	for j < len(p.s) && (isAlnum(p.s[j]) || strings.IndexByte("!#$%&'*+-.^_`|~", p.s[j]) >= 0) {
		j++
	}
	t := p.s[p.i:j]
	p.i = j
	return t
}

func (p *challengeParser) space() {
	for !p.end() && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
}

func (p *challengeParser) end() bool { return p.i >= len(p.s) }

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// plain holds the parameters that clients match as text to the characters that every
// parser in the field can read.
func plain(name, value string, quoted bool) error {
	switch name {
	case "error", "error_description", "algs", "scope", "realm", "resource_metadata":
	default:
		return nil
	}
	if !quoted {
		return fmt.Errorf("%s is not quoted", name)
	}
	if name != "error_description" {
		return nil
	}
	for i := range len(value) {
		if c := value[i]; !isAlnum(c) && strings.IndexByte(" ,.-", c) < 0 {
			return fmt.Errorf("%q in error_description", c)
		}
	}
	return nil
}
