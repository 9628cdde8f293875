// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"strings"
)

// challenge is one challenge of a WWW-Authenticate field (RFC 9110, section 11.6.1).
type challenge struct {
	scheme string
	params map[string]string // names in lower case
}

// parseChallenges reads all challenges of all fields, in order. What it cannot
// read it skips: it serves diagnosis, not decisions.
func parseChallenges(fields []string) []challenge {
	var all []challenge
	for _, field := range fields {
		for rest := field; ; {
			var c challenge
			var ok bool
			if c, rest, ok = nextChallenge(rest); !ok {
				break
			}
			all = append(all, c)
		}
	}
	return all
}

// findChallenge returns the parameters of a scheme's first challenge.
func findChallenge(fields []string, scheme string) (map[string]string, bool) {
	for _, c := range parseChallenges(fields) {
		if strings.EqualFold(c.scheme, scheme) {
			return c.params, true
		}
	}
	return nil, false
}

func nextChallenge(s string) (challenge, string, bool) {
	s = strings.TrimLeft(s, " \t,")
	scheme, s := cutToken(s)
	if scheme == "" {
		return challenge{}, "", false
	}
	c := challenge{scheme: scheme, params: make(map[string]string)}
	for {
		rest := strings.TrimLeft(s, " \t,")
		name, after := cutToken(rest)
		after = strings.TrimLeft(after, " \t")
		if name == "" || !strings.HasPrefix(after, "=") {
			return c, rest, true // the next challenge, or the end
		}
		value, remaining := cutValue(strings.TrimLeft(after[1:], " \t"))
		if _, ok := c.params[strings.ToLower(name)]; !ok {
			c.params[strings.ToLower(name)] = value
		}
		s = remaining
	}
}

// cutToken cuts a token (RFC 9110, section 5.6.2) from the front.
func cutToken(s string) (string, string) {
	i := 0
	for i < len(s) && (isAlnum(s[i]) || strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) >= 0) {
		i++
	}
	return s[:i], s[i:]
}

// cutValue cuts a token or a quoted string from the front.
func cutValue(s string) (string, string) {
	if !strings.HasPrefix(s, `"`) {
		return cutToken(s)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case '"':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), "" // the closing quote is missing
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
