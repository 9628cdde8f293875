// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// formVectors are about the compact serialisation.
func formVectors() *set {
	s := &set{Description: "The outer form of a proof: RFC 7515, section 3.1, and RFC 9449, section 4.3, check 2."}
	right := plain().compact()
	parts := strings.Split(right, ".")
	header, payload, signature := parts[0], parts[1], parts[2]

	s.add("valid", "accept", "The proof from which the others are made.", plain(), "D01")
	for name, text := range map[string]string{
		"one segment":  header,
		"two segments": header + "." + payload,
		"not a JWT":    "not-a-jwt",
		"one byte":     "x",
	} {
		s.add(name, "proof_malformed", "", raw(text), "K01", "K04")
	}
	s.add("four segments", "proof_malformed", "", raw(right+"."+signature), "K01")
	s.add("encrypted token", "proof_malformed", "Five segments.", raw(header+".."+header+"."+right), "K05")
	s.add("empty header", "proof_malformed", "", raw("."+payload+"."+signature), "K02")
	s.add("detached payload", "proof_malformed", "", raw(header+".."+signature), "K02", "K08")
	s.add("two dots", "proof_malformed", "", raw(".."), "K02")
	s.add("one dot", "proof_malformed", "", raw("."), "K02")
	s.add("signature removed", "proof_malformed", "", raw(header+"."+payload+"."), "I25")
	s.add("empty objects", "typ_invalid", "", raw("e30.e30.e30"), "K04")
	s.add("flattened JSON serialisation", "proof_malformed", "",
		raw(`{"protected":"`+header+`","payload":"`+payload+`","signature":"`+signature+`"}`), "K07")
	s.add("general JSON serialisation", "proof_malformed", "",
		raw(`{"payload":"`+payload+`","signatures":[{"protected":"`+header+`","signature":"`+signature+`"}]}`), "K07")

	s.add("padded header", "proof_malformed", "", raw(header+"=."+payload+"."+signature), "K09")
	s.add("padded payload", "proof_malformed", "", raw(header+"."+payload+"=."+signature), "K09")
	s.add("padded signature", "proof_malformed", "", raw(right+"=="), "K09", "K31")
	for name, c := range map[string]string{"blank": " ", "tab": "\t", "line feed": "\n", "carriage return": "\r"} {
		s.add(name+" in the header", "proof_malformed", "", raw(header[:8]+c+header[8:]+"."+payload+"."+signature), "K11")
		s.add(name+" in the payload", "proof_malformed", "", raw(header+"."+payload[:8]+c+payload[8:]+"."+signature), "K11")
		s.add(name+" in the signature", "proof_malformed", "", raw(right[:len(right)-8]+c+right[len(right)-8:]), "K11")
		s.add(name+" after the proof", "proof_malformed", "", raw(right+c), "K11")
	}
	s.add("blank before the proof", "proof_malformed", "", raw(" "+right), "K11")
	s.add("quoted", "proof_malformed", "", raw(quote(right)), "A17")
	s.add("scheme before the proof", "proof_malformed", "", raw("DPoP "+right), "A18")
	s.add("comma after the proof", "proof_malformed", "", raw(right+","), "A06")
	s.add("two proofs with a comma", "proof_malformed", "", raw(right+", "+right), "A02")
	s.add("escaped dots", "proof_malformed", "", raw(strings.ReplaceAll(right, ".", "%2E")), "K12")
	s.add("standard alphabet", "proof_malformed", "The payload has a character in one alphabet only.",
		raw(strings.ReplaceAll(header, "-", "+")+"/."+payload+"."+signature))

	d := plain()
	d.headerText = strings.TrimSuffix(d.header.text(), "}") + " }"
	for len(d.headerText)%3 == 0 {
		d.headerText += " "
	}
	d.headerSegment = respell(encode([]byte(d.headerText)))
	s.add("stray bits in the header", "proof_malformed", "Signed as spelt.", d, "K14")
	d = plain()
	text := d.claims.text()
	for len(text)%3 == 0 {
		text += " "
	}
	d.claimSegment = respell(encode([]byte(text)))
	s.add("stray bits in the payload", "proof_malformed", "Signed as spelt.", d, "K14")
	spelt := respell(signature)
	d = plain()
	d.signatureSegment = &spelt
	s.add("stray bits in the signature", "proof_malformed", "The same bytes when decoded carelessly.", d, "K13")
	s.add("CBOR", "proof_malformed", "A CWT in base64url.", raw(encode(append([]byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26}, stream("cwt", 80)...))), "K32")

	limit := func(size int) draft {
		d := plain()
		base := len(d.claim("fill", `""`).compact())
		// Three bytes become four characters; the rest is tried.
		for fill := (size - base) / 4 * 3; ; fill++ {
			if d := d.claim("fill", quote(strings.Repeat("a", fill))); len(d.compact()) >= size {
				return d
			}
		}
	}
	d = limit(2000)
	size := len(d.compact())
	over := size - 1
	s.add("as large as allowed", "accept", "", d).Config = &config{MaxSize: &size}
	s.add("one byte too large", "proof_too_large", "", d).Config = &config{MaxSize: &over}
	s.add("larger than the default allows", "proof_too_large", "8192 bytes are the default.", limit(8200), "F20", "K33")
	return s
}
