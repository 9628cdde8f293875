// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// claimVectors are about jti and ath.
func claimVectors() *set {
	s := &set{Description: "jti and ath: RFC 9449, section 4.2 and section 4.3, checks 3 and 12."}
	for name, jti := range map[string]string{
		"one character": `"1"`, "256 characters": quote(strings.Repeat("a", 256)), "emoji": `"😀"`, "Arabic": `"مرحبا"`,
		"combining marks": `"e\u0301"`, "upper case": `"ABC"`, "lower case": `"abc"`, "line breaks": `"x\r\nFLUSHALL\r\n"`,
		"format": `"%s%n"`, "blank inside": `"* 1"`, "line feed": `"A\nhttps://api.example.test/x"`, "glob": `"*"`, "SQL": `"' OR 1=1--"`,
		"template": `"${x}{{7*7}}"`, "escaped": `"\u0061bc"`, "prototype": `"__proto__"`, "constructor": `"constructor"`,
	} {
		s.add("jti: "+name, "accept", "", plain().claim("jti", jti), "G05", "G06", "G07", "G09", "G12", "G13", "G15", "G18", "G19")
	}
	s.add("jti: 257 characters", "jti_too_long", "", plain().claim("jti", quote(strings.Repeat("a", 257))), "G05")
	s.add("jti: 256 bytes of emoji", "accept", "", plain().claim("jti", quote(strings.Repeat("😀", 64))), "G07")
	s.add("jti: 260 bytes of emoji", "jti_too_long", "The limit counts bytes.", plain().claim("jti", quote(strings.Repeat("😀", 65))))
	for name, jti := range map[string]string{
		"empty": `""`, "blanks": `"   "`, "tab and line feed": `"\t\n"`, "no-break space": `"\u00a0"`, "number": "1", "null": "null",
		"true": "true", "array": `["a"]`, "object": "{}", "NUL": `"a\u0000b"`,
	} {
		s.add("jti: "+name, "jti_invalid", "", plain().claim("jti", jti), "G02", "G03", "G10")
	}
	s.add("jti missing", "jti_missing", "", plain().drop("jti"))

	digest := sha256.Sum256([]byte(accessToken))
	half, short, long := sha1.Sum([]byte(accessToken)), sha512.Sum384([]byte(accessToken)), sha512.Sum512([]byte(accessToken))
	right := hash(accessToken)
	for name, ath := range map[string]string{
		"token without its signature": hash(accessToken[:strings.LastIndexByte(accessToken, '.')]), "start of the token": hash(accessToken[:40]),
		"with the scheme": hash("DPoP " + accessToken), "another token": hash("another token"), "padded": right + "=", "empty": "",
		"SHA-1": encode(half[:]), "SHA-384": encode(short[:]), "SHA-512": encode(long[:]), "hexadecimal": hex.EncodeToString(digest[:]),
		"base64 of hexadecimal": encode([]byte(hex.EncodeToString(digest[:]))), "the token": accessToken, "leading blank": " " + right,
		"line feed": right + `\n`, "stray bits": respell(right), "truncated": right[:42], "other case": strings.ToUpper(right),
	} {
		s.add("ath: "+name, "ath_mismatch", "", plain().claim("ath", quote(ath)), "C06", "C07", "C09", "C12", "C14", "C16", "C19")
	}
	for name, ath := range map[string]string{"array": `["` + right + `"]`, "object": "{}", "number": "1", "null": "null", "true": "true"} {
		s.add("ath: "+name, "claims_invalid", "", plain().claim("ath", ath), "C13")
	}
	s.add("ath missing", "ath_missing", "", plain().drop("ath"))
	dashed := "token" // one whose hash has a character that differs between the alphabets
	for i := 0; !strings.ContainsAny(hash(dashed), "-_"); i++ {
		dashed += "."
	}
	sum := sha256.Sum256([]byte(dashed))
	s.add("ath: standard alphabet", "ath_mismatch", "", plain().claim("ath", quote(base64.RawStdEncoding.EncodeToString(sum[:]))), "C10").Request.AccessToken = &dashed
	s.add("ath: URL alphabet", "accept", "", plain().claim("ath", quote(hash(dashed))), "C10").Request.AccessToken = &dashed

	s.add("no token, no ath", "accept", "As at a token endpoint.", plain().drop("ath")).Request.AccessToken = nil
	s.add("no token, ath all the same", "accept", "Not looked at.", plain().claim("ath", `"x"`)).Request.AccessToken = nil
	s.add("no token, ath of a wrong type", "claims_invalid", "Its type is.", plain().claim("ath", "1")).Request.AccessToken = nil
	s.add("issuer and audience", "accept", "Some clients add them.", plain().claim("iss", `"client"`).claim("aud", `["a"]`).claim("sub", "1"))
	return s
}
