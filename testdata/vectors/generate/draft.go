// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// A member is the name of a JSON member, as it is between the quotation marks, and
// its value as it is written.
type member struct{ name, value string }

type object []member

func (o object) with(name, value string) object {
	o = slices.Clone(o)
	for i := range o {
		if o[i].name == name {
			o[i].value = value
			return o
		}
	}
	return append(o, member{name, value})
}

func (o object) also(name, value string) object {
	return append(slices.Clone(o), member{name, value})
}

func (o object) first(name, value string) object {
	return append(object{{name, value}}, o...)
}

func (o object) without(name string) object {
	return slices.DeleteFunc(slices.Clone(o), func(m member) bool { return m.name == name })
}

func (o object) renamed(from, to string) object {
	o = slices.Clone(o)
	for i := range o {
		if o[i].name == from {
			o[i].name = to
		}
	}
	return o
}

func (o object) text() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + m.name + `":` + m.value)
	}
	return b.String() + "}"
}

// A draft is a proof about to be signed. Texts, where set, replace the objects, and
// segments replace what would be encoded.
type draft struct {
	key                         key
	header, claims              object
	headerText, claimsText      string
	headerSegment, claimSegment string
	sign                        func(input string) []byte // nil: as the key does
	signatureSegment            *string
	text                        string // replaces everything
}

// valid is the draft of a right proof by key.
func valid(k key) draft {
	return draft{
		key:    k,
		header: object{{"typ", `"dpop+jwt"`}, {"alg", quote(k.alg())}, {"jwk", k.jwk().text()}},
		claims: object{
			{"jti", `"-BwC3ESc6acc2lTc"`}, {"htm", quote(method)}, {"htu", quote(uri)},
			{"iat", strconv.Itoa(now)}, {"ath", quote(hash(accessToken))},
		},
	}
}

// plain is a right proof by the first P-256 key.
func plain() draft { return valid(p256) }

func (d draft) set(name, value string) draft {
	d.header = d.header.with(name, value)
	return d
}

func (d draft) claim(name, value string) draft {
	d.claims = d.claims.with(name, value)
	return d
}

func (d draft) drop(name string) draft {
	d.claims = d.claims.without(name)
	return d
}

func (d draft) jwk(o object) draft { return d.set("jwk", o.text()) }

// input returns the signing input.
func (d draft) input() string {
	header, claims := d.headerSegment, d.claimSegment
	if header == "" {
		header = encode([]byte(or(d.headerText, d.header.text())))
	}
	if claims == "" {
		claims = encode([]byte(or(d.claimsText, d.claims.text())))
	}
	return header + "." + claims
}

func (d draft) signature() []byte {
	if d.sign != nil {
		return d.sign(d.input())
	}
	return d.key.sign(d.input())
}

func (d draft) compact() string {
	if d.text != "" {
		return d.text
	}
	if d.signatureSegment != nil {
		return d.input() + "." + *d.signatureSegment
	}
	return d.input() + "." + encode(d.signature())
}

// signedAs has the draft's own signature changed.
func (d draft) signedAs(change func([]byte) []byte) draft {
	signature := encode(change(d.signature()))
	d.signatureSegment = &signature
	return d
}

// raw is a vector's proof that no draft describes.
func raw(text string) draft { return draft{key: p256, text: text} }

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return encode(sum[:])
}

func quote(text string) string { return `"` + text + `"` }

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

// respell changes the bits of the last character of a base64url text that do not
// count. There must be some.
func respell(text string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(text)%4 == 0 {
		panic("every bit counts")
	}
	last := strings.IndexByte(alphabet, text[len(text)-1])
	return text[:len(text)-1] + string(alphabet[last|1])
}
