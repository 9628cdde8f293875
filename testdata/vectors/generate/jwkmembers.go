// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/sha1" // #nosec G505 -- x5t is a SHA-1
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"time"
)

// addMembers adds keys with members of another kind of key, and those that every kind
// may have (RFC 7517, sections 4.5 to 4.9). They play no part, but a wrong type or a
// certificate of another key says that nobody made this key as a whole.
func addMembers(s *set) {
	rsaKey := newRSA(2048, 65537, "PS256")
	kinds := map[string]struct {
		of      draft
		jwk     object
		foreign []string
	}{
		"EC":      {plain(), p256.jwk(), []string{"n", "e"}},
		"Ed25519": {valid(edKey), edKey.jwk(), []string{"y", "n", "e"}},
		"RSA":     {valid(rsaKey), rsaKey.jwk(), []string{"crv", "x", "y"}},
	}
	for kind, k := range kinds {
		for _, name := range k.foreign {
			with := func(value string) draft { return k.of.jwk(k.jwk.with(name, value)) }
			s.add(kind+" with "+name, "accept", "Of no meaning here.", with(`"AQAB"`), "J36")
			s.add(kind+" with "+name+": null", "accept", "", with("null"), "J36")
			for what, value := range map[string]string{"number": "1", "array": `["AQAB"]`, "object": "{}", "true": "true"} {
				s.add(kind+" with "+name+": "+what, "jwk_invalid", "", with(value), "J36")
			}
			if name != "crv" {
				s.add(kind+" with "+name+": no base64url", "jwk_invalid", "", with(`"AQ!B"`), "J36")
			}
		}
	}

	change := func(name, value string) draft { return plain().jwk(p256.jwk().with(name, value)) }
	for what, value := range map[string]string{"null": "null", "empty": `""`, "long": quote(strings.Repeat("k", 1000))} {
		s.add("kid: "+what, "accept", "", change("kid", value), "J36")
	}
	for _, name := range []string{"kid", "x5u", "x5t", "x5t#S256", "pub"} {
		for what, value := range map[string]string{"number": "1", "array": `["a"]`, "object": "{}", "true": "true"} {
			s.add(name+": "+what, "jwk_invalid", "", change(name, value), "J36")
		}
	}
	s.add("x5u: no URL", "jwk_invalid", "", change("x5u", `"https://[canary"`), "J48")
	s.add("pub of an AKP key", "accept", "Of no meaning here.", change("pub", `"AQAB"`), "J36")
	s.add("pub: no base64url", "jwk_invalid", "", change("pub", `"AQ!B"`), "J36")

	for kind, k := range map[string]struct {
		own, another crypto.PublicKey
	}{
		"EC":      {&p256.private.PublicKey, &other.private.PublicKey},
		"Ed25519": {edKey.private.Public(), newEd("2", "EdDSA").private.Public()},
	} {
		own, another := certificate(k.own), certificate(k.another)
		with := func(o object) draft { return kinds[kind].of.jwk(o) }
		right := kinds[kind].jwk
		s.add(kind+": x5c", "accept", "The key's own certificate; who issued it plays no part.", with(right.with("x5c", x5c(own))), "J47")
		s.add(kind+": x5c with the issuer's", "accept", "", with(right.with("x5c", x5c(own, another))), "J47")
		s.add(kind+": x5c of another key", "jwk_invalid", "A good certificate.", with(right.with("x5c", x5c(another))), "J47")
		s.add(kind+": x5c of another key first", "jwk_invalid", "", with(right.with("x5c", x5c(another, own))), "J47")
		s.add(kind+": x5c, second no certificate", "jwk_invalid", "", with(right.with("x5c", x5c(own, []byte("AAA")))), "J47")
	}
	own, another := certificate(&p256.private.PublicKey), certificate(&other.private.PublicKey)
	s.add("x5c empty", "accept", "No certificate, none of another key.", change("x5c", "[]"), "J47")
	s.add("x5c null", "accept", "", change("x5c", "null"), "J47")
	s.add("x5c as a string", "jwk_invalid", "", change("x5c", quote(base64.StdEncoding.EncodeToString(own))), "J47")
	s.add("x5c with a number", "jwk_invalid", "", change("x5c", "[1]"), "J47")

	withOwn := p256.jwk().with("x5c", x5c(own))
	for name, hash := range map[string]func([]byte) []byte{
		"x5t":      func(b []byte) []byte { sum := sha1.Sum(b); return sum[:] }, // #nosec G401
		"x5t#S256": func(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] },
	} {
		s.add(name+" without x5c", "accept", "", change(name, quote(encode(hash(own)))), "J47")
		s.add(name+" of the certificate", "accept", "", plain().jwk(withOwn.with(name, quote(encode(hash(own))))), "J47")
		s.add(name+" of another certificate", "jwk_invalid", "", plain().jwk(withOwn.with(name, quote(encode(hash(another))))), "J47")
		s.add(name+" one byte short", "jwk_invalid", "", change(name, quote(encode(hash(own)[1:]))), "J47")
		s.add(name+": no base64url", "jwk_invalid", "", change(name, `"AQ!B"`), "J47")
	}
}

// certificate makes one for a key, by an issuer whose signatures are always the same.
func certificate(key crypto.PublicKey) []byte {
	issuer := newEd("issuer", "EdDSA")
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Unix(now, 0).UTC(), NotAfter: time.Unix(now+86400, 0).UTC(),
		}
	}
	return must(x509.CreateCertificate(nil, template("client"), template("issuer"), key, issuer.private))
}

// x5c writes a chain of certificates: in base64, not base64url (RFC 7517, section 4.7).
func x5c(chain ...[]byte) string {
	var texts []string
	for _, c := range chain {
		texts = append(texts, quote(base64.StdEncoding.EncodeToString(c)))
	}
	return "[" + strings.Join(texts, ",") + "]"
}
