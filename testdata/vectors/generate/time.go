// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strconv"
	"strings"
)

// timeVectors are about iat, exp and nbf with max_age 60 and clock_skew 30.
func timeVectors() *set {
	s := &set{Description: "iat, exp and nbf: RFC 9449, section 4.3, check 11. By default a proof passes from 30 seconds before iat to 90 after it."}
	at := func(offset int) draft { return plain().claim("iat", strconv.Itoa(now+offset)) }
	for _, c := range []struct {
		offset int
		expect string
		id     string
	}{
		{8, "accept", "F02"}, {-88, "accept", "F03"}, {-90, "accept", "F03"}, {-91, "iat_too_old", "F04"}, {-92, "iat_too_old", "F04"},
		{29, "accept", "F05"}, {30, "accept", "F05"}, {31, "iat_in_future", "F05"}, {61, "iat_in_future", "F07"},
		{-3600, "iat_too_old", "F08"}, {3600, "iat_in_future", "F08"}, {-now, "iat_too_old", ""}, {-now - 5, "iat_too_old", ""},
	} {
		s.add("iat at "+strconv.Itoa(c.offset), c.expect, "", at(c.offset), c.id)
	}
	none, most, age := 0, 60, 10
	s.add("no skew, now", "accept", "", at(0)).Config = &config{ClockSkew: &none}
	s.add("no skew, one second ahead", "iat_in_future", "", at(1)).Config = &config{ClockSkew: &none}
	s.add("no skew, oldest", "accept", "", at(-60)).Config = &config{ClockSkew: &none}
	s.add("no skew, too old", "iat_too_old", "", at(-61)).Config = &config{ClockSkew: &none}
	s.add("largest skew, a minute ahead", "accept", "", at(60), "F07").Config = &config{ClockSkew: &most}
	s.add("largest skew, more than a minute ahead", "iat_in_future", "", at(61), "F07").Config = &config{ClockSkew: &most}
	s.add("short age, oldest", "accept", "", at(-40)).Config = &config{MaxAge: &age}
	s.add("short age, too old", "iat_too_old", "", at(-41)).Config = &config{MaxAge: &age}

	digits := strconv.Itoa(now)
	iat := func(value string) draft { return plain().claim("iat", value) }
	for name, value := range map[string]string{
		"exponent": digits[:1] + "." + strings.TrimRight(digits[1:], "0") + "e9", "capital exponent": digits[:4] + "E+6",
		"negative exponent": digits + "0e-1", "fraction": digits + ".5", "zero fraction": digits + ".0",
		"32 digits": digits + "." + strings.Repeat("0", 21), "fraction at the end of the window": strconv.Itoa(now-90) + ".9",
	} {
		s.add("iat: "+name, "accept", "", iat(value), "F12")
	}
	s.add("iat: a fraction beyond the window", "iat_in_future", "", iat(strconv.Itoa(now+30)+".5"))
	s.add("iat: a fraction before the window", "iat_too_old", "Replay stores count whole seconds.", iat(strconv.Itoa(now-91)+".5"))
	s.add("iat: milliseconds", "iat_in_future", "", iat(digits+"000"), "F14")
	s.add("iat: negative zero", "iat_too_old", "", iat("-0"))
	s.add("iat: 2^53", "iat_in_future", "", iat("9007199254740992"))
	for name, value := range map[string]string{
		"2^53+1": "9007199254740993", "2^63-1": "9223372036854775807", "2^64": "18446744073709551616", "-2^63": "-9223372036854775808",
		"infinite": "1e999", "large": "1e20", "33 digits": digits + "." + strings.Repeat("0", 22), "string": quote(digits), "null": "null",
		"true": "true", "array": "[" + digits + "]", "object": "{}", "1000 digits": strings.Repeat("1", 1000),
	} {
		s.add("iat: "+name, "iat_invalid", "", iat(value), "F10", "F15", "F20")
	}
	for name, value := range map[string]string{
		"plus": "+" + digits, "leading zero": "0" + digits, "hexadecimal": "0x65", "underscore": "1_700", "NaN": "NaN", "Infinity": "Infinity",
		"bare dot": digits + ".", "no integer": ".5", "bare exponent": "1e", "minus": "-", "two minus": "--1",
	} {
		s.add("iat: "+name, "claims_invalid", "Not JSON.", iat(value), "F19")
	}
	s.add("iat missing", "iat_missing", "", plain().drop("iat"), "F09")

	with := func(name string, offset int) draft { return plain().claim(name, strconv.Itoa(now+offset)) }
	s.add("exp and nbf in order", "accept", "", with("exp", 300).claim("nbf", digits), "F24")
	s.add("exp does not extend iat", "iat_too_old", "", at(-120).claim("exp", strconv.Itoa(now+3600)), "F22")
	s.add("exp just passed", "accept", "Within the skew.", with("exp", -29))
	s.add("exp passed", "exp_passed", "", with("exp", -30))
	s.add("exp zero", "exp_passed", "", plain().claim("exp", "0"))
	s.add("exp with a fraction", "accept", "", plain().claim("exp", digits+".25"))
	s.add("nbf within the skew", "accept", "", with("nbf", 30))
	s.add("nbf in the future", "nbf_in_future", "", with("nbf", 31), "F23")
	s.add("nbf far in the future", "nbf_in_future", "", with("nbf", 120), "F23")
	for _, name := range []string{"exp", "nbf"} {
		for kind, value := range map[string]string{"string": `"99999999999"`, "word": `"x"`, "null": "null", "array": "[]", "infinite": "1e999", "beyond 2^53": "9007199254740993"} {
			s.add(name+": "+kind, "claims_invalid", "", plain().claim(name, value), "F25")
		}
	}
	return s
}

// nonceVectors are about the nonce claim.
func nonceVectors() *set {
	s := &set{Description: "nonce: RFC 9449, sections 8 and 9 and section 4.3, check 10. A live nonce stands in for iat, exp and nbf."}
	live := map[string]int64{"fresh": now - 10}
	optional := &nonces{Live: live, Stale: []string{"old"}}
	required := &nonces{Required: true, Live: live, Stale: []string{"old"}}
	old := func() draft { return plain().claim("iat", strconv.Itoa(now-3600)) }
	early := func() draft { return plain().claim("iat", strconv.Itoa(now+3600)) }
	for _, c := range []struct {
		name            string
		d               draft
		off, opt, needs string
		catalogue       []string
	}{
		{"no nonce", plain(), "accept", "accept", "nonce_missing", nil},
		{"live nonce", plain().claim("nonce", `"fresh"`), "accept", "accept", "accept", nil},
		{"stale nonce", plain().claim("nonce", `"old"`), "accept", "nonce_stale", "nonce_stale", nil},
		{"unknown nonce", plain().claim("nonce", `"forged"`), "accept", "nonce_unknown", "nonce_unknown", nil},
		{"empty nonce", plain().claim("nonce", `""`), "accept", "nonce_unknown", "nonce_unknown", nil},
		{"nonce of 512 bytes", plain().claim("nonce", quote(strings.Repeat("n", 512))), "accept", "nonce_unknown", "nonce_unknown", nil},
		{"nonce of 513 bytes", plain().claim("nonce", quote(strings.Repeat("n", 513))), "nonce_invalid", "nonce_invalid", "nonce_invalid", nil},
		{"nonce a number", plain().claim("nonce", "1"), "nonce_invalid", "nonce_invalid", "nonce_invalid", nil},
		{"nonce null", plain().claim("nonce", "null"), "nonce_invalid", "nonce_invalid", "nonce_invalid", nil},
		{"nonce an array", plain().claim("nonce", `["fresh"]`), "nonce_invalid", "nonce_invalid", "nonce_invalid", nil},
		{"old, no nonce", old(), "iat_too_old", "iat_challenged", "nonce_missing", []string{"F08"}},
		{"ahead, no nonce", early(), "iat_in_future", "iat_challenged", "nonce_missing", []string{"F08"}},
		{"old, live nonce", old().claim("nonce", `"fresh"`), "iat_too_old", "accept", "accept", nil},
		{"ahead, live nonce", early().claim("nonce", `"fresh"`), "iat_in_future", "accept", "accept", nil},
		{"old, stale nonce", old().claim("nonce", `"old"`), "iat_too_old", "nonce_stale", "nonce_stale", nil},
		{"expired, live nonce", plain().claim("exp", "1").claim("nonce", `"fresh"`), "exp_passed", "accept", "accept", nil},
		{"expired, no nonce", plain().claim("exp", "1"), "exp_passed", "exp_passed", "nonce_missing", nil},
		{"not yet, live nonce", plain().claim("nbf", strconv.Itoa(now+999)).claim("nonce", `"fresh"`), "nbf_in_future", "accept", "accept", nil},
		{"exp a string, live nonce", plain().claim("exp", `"1"`).claim("nonce", `"fresh"`), "claims_invalid", "claims_invalid", "claims_invalid", nil},
		{"no iat, live nonce", plain().drop("iat").claim("nonce", `"fresh"`), "iat_missing", "iat_missing", "iat_missing", []string{"F09"}},
		{"other method, no nonce", plain().claim("htm", `"PUT"`), "htm_mismatch", "htm_mismatch", "htm_mismatch", nil},
		{"other token, no nonce", plain().claim("ath", `"x"`), "ath_mismatch", "ath_mismatch", "ath_mismatch", nil},
	} {
		s.add(c.name+", nonces off", c.off, "", c.d, c.catalogue...)
		s.add(c.name+", nonces optional", c.opt, "", c.d, c.catalogue...).Nonces = optional
		s.add(c.name+", nonces required", c.needs, "", c.d, c.catalogue...).Nonces = required
	}
	return s
}
