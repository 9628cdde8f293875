// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
)

// algorithmVectors are about alg, and alg against the key.
func algorithmVectors() *set {
	s := &set{Description: "RFC 9449, section 4.3, check 5: registered, asymmetric, supported, accepted; and fitting the key."}
	all := &config{Algorithms: []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}}
	keys := []key{
		p256, p384, p521, edKey, edKeyName, newRSA(2048, 65537, "PS256"), newRSA(2048, 65537, "PS384"), newRSA(2048, 65537, "PS512"),
		newRSA(2048, 65537, "RS256"), newRSA(2048, 65537, "RS384"), newRSA(2048, 65537, "RS512"),
	}
	for _, k := range keys {
		s.add(k.alg(), "accept", "", valid(k), "I13", "I22").Config = all
		switch k.alg() {
		case "ES256", "EdDSA", "Ed25519", "PS256", "RS256":
			s.add(k.alg()+" by default", "accept", "", valid(k))
		default:
			s.add(k.alg()+" by default", "alg_unsupported", "A right proof, but nobody asked for the algorithm.", valid(k), "I18")
		}
	}
	s.add("RS256 not in the list", "alg_unsupported", "", valid(newRSA(2048, 65537, "RS256")), "I12").
		Config = &config{Algorithms: []string{"ES256"}}
	for _, alg := range []string{
		"none", "None", "HS256", "HS512", "ES257", "X", "HS0", "RSA-OAEP", "es256", " ES256", `ES256\n`, "ES256 ", "RS1", "PS1",
		"ES256K", "ML-DSA-44", "ECDH-ES", "dir", "",
	} {
		s.add("alg "+alg, "alg_unsupported", "The signature is a right one for ES256.", plain().set("alg", quote(alg)),
			"I03", "I06", "I07", "I17", "I37").Config = all
	}
	for name, alg := range map[string]string{"null": "null", "number": "1", "array": `["ES256"]`, "object": "{}", "true": "true"} {
		s.add("alg: "+name, "alg_unsupported", "", plain().set("alg", alg))
	}
	d := plain()
	d.header = d.header.without("alg")
	s.add("alg missing", "alg_unsupported", "", d)

	mac := func(secret []byte) func(string) []byte {
		return func(input string) []byte {
			m := hmac.New(sha256.New, secret)
			m.Write([]byte(input))
			return m.Sum(nil)
		}
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&p256.private.PublicKey))})
	for name, secret := range map[string][]byte{
		"the key as JSON": []byte(p256.jwk().text()), "the key as PEM": public, "x and y": append(append([]byte{}, p256.x...), p256.y...), "nothing": nil,
	} {
		d := plain().set("alg", `"HS256"`)
		d.sign = mac(secret)
		s.add("HS256 keyed with "+name, "alg_unsupported", "", d, "I08", "I10").Config = all
	}
	d = plain().set("alg", `"HS256"`).set("jwk", `{"kty":"oct","k":"c2VjcmV0"}`)
	d.sign = mac([]byte("secret"))
	s.add("HS256 with a symmetric key", "alg_unsupported", "", d, "I09").Config = all
	rs1 := valid(newRSA(2048, 65537, "RS256")).set("alg", `"RS1"`)
	rs1.sign = func(input string) []byte { return newRSA(2048, 65537, "RS256").pkcs1(crypto.SHA1, input) }
	s.add("RS1", "alg_unsupported", "", rs1, "I11").Config = all

	for _, k := range keys {
		for _, alg := range []string{"ES256", "ES384", "ES512", "EdDSA", "PS256", "RS256"} {
			same := k.alg() == alg || k.alg() == "Ed25519" && alg == "EdDSA" || k.jwk()[0].value == `"RSA"` && alg[1] == 'S' && alg[0] != 'E'
			if !same {
				s.add(alg+" with the key of "+k.alg(), "key_mismatch", "", valid(k).set("alg", quote(alg)), "I20").Config = all
			}
		}
	}
	return s
}
