// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// headerVectors are about typ and the parameters that a proof must not have.
func headerVectors() *set {
	s := &set{Description: "The protected header: RFC 9449, section 4.3, checks 4 and 7, RFC 7515, section 4.1."}
	for name, typ := range map[string]string{
		"JWT": `"JWT"`, "application prefix": `"application/dpop+jwt"`, "access token": `"at+jwt"`,
		"number": "1", "null": "null", "boolean": "true", "array": "[]", "object": "{}", "empty": `""`,
		"leading blank": `" dpop+jwt"`, "trailing NUL": `"dpop+jwt\u0000"`, "key proof": `"openid4vci-proof+jwt"`,
		"full-width letters": `"ｄpop+jwt"`,
	} {
		s.add("typ: "+name, "typ_invalid", "", plain().set("typ", typ), "H04", "H05", "H06", "H07")
	}
	d := plain()
	d.header = d.header.without("typ")
	s.add("typ missing", "typ_invalid", "", d)
	s.add("typ in upper case", "accept", "Media types compare without case.", plain().set("typ", `"DPoP+JWT"`))

	for name, crit := range map[string]string{
		"empty": "[]", "string": `"b64"`, "null": "null", "number": "[1]", "duplicates": `["b64","b64"]`,
		"absent name": `["exp"]`, "alg": `["alg"]`, "jwk": `["jwk"]`, "b64": `["b64"]`,
	} {
		s.add("crit: "+name, "crit_unsupported", "", plain().set("crit", crit), "H09", "H10")
	}
	s.add("crit and b64 true", "crit_unsupported", "", plain().set("crit", `["b64"]`).set("b64", "true"), "H13")
	d = plain().set("crit", `["b64"]`).set("b64", "false")
	d.claimSegment = strings.ReplaceAll(d.claims.text(), ".", " ")
	s.add("crit and b64 false, payload as it is", "crit_unsupported", "", d, "H11")
	for name, b64 := range map[string]string{"false": "false", "null": "null", "text": `"true"`, "string": `"true "`, "number": "1"} {
		s.add("b64: "+name, "header_invalid", "", plain().set("b64", b64), "H11")
	}
	s.add("b64: true", "accept", "Says what is so anyway.", plain().set("b64", "true"))
	for name, cty := range map[string]string{"JWT": `"JWT"`, "lower case": `"jwt"`, "prefix": `"application/JWT"`, "number": "1"} {
		s.add("cty: "+name, "header_invalid", "The claims are not a JWT again.", plain().set("cty", cty), "H15")
	}
	s.add("cty: json", "accept", "", plain().set("cty", `"json"`))

	for name, value := range map[string]string{
		"kid": `"` + p256.thumbprint() + `"`, "jku": `"https://canary.example/jwks"`, "x5u": `"https://canary.example/cert"`,
		"x5c": `["` + encode(stream("certificate", 300)) + `"]`, "x5t": `"AAAA"`, "x5t#S256": `"AAAA"`, "unknown": `{"a":[1]}`,
	} {
		s.add(name+" besides jwk", "accept", "Ignored: the key is the one in jwk.", plain().set(name, value), "H16", "H17", "H18")
		d := plain().set(name, value)
		d.header = d.header.without("jwk")
		s.add(name+" instead of jwk", "jwk_missing", "", d, "H19", "J01")
	}
	s.add("jwk null", "jwk_missing", "", plain().set("jwk", "null"), "J01")
	s.add("header of more than 4096 bytes", "proof_too_large", "", plain().set("a", quote(strings.Repeat("a", 4096))), "J53")
	s.add("jwk with 4 kB of extra members", "proof_too_large", "",
		plain().jwk(p256.jwk().with("a", quote(strings.Repeat("a", 4096)))), "J53")
	return s
}
