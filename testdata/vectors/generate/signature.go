// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"fmt"
	"math/big"
)

// signatureVectors are about the signature itself.
func signatureVectors() *set {
	s := &set{Description: "RFC 9449, section 4.3, check 6: the signature, by the key in jwk and no other."}
	flip := func(i int) func([]byte) []byte {
		return func(sig []byte) []byte { sig[(i+len(sig))%len(sig)] ^= 1; return sig }
	}
	for _, k := range []key{p256, edKey, newRSA(2048, 65537, "PS256"), newRSA(2048, 65537, "RS256")} {
		s.add(k.alg()+": first byte of the signature", "signature_invalid", "One bit differs.", valid(k).signedAs(flip(0)), "I24")
		s.add(k.alg()+": last byte of the signature", "signature_invalid", "One bit differs.", valid(k).signedAs(flip(-1)), "I24")
		for _, n := range []int{1, 32, 63, 65, 128} {
			s.add(fmt.Sprintf("%s: signature of %d bytes", k.alg(), n), "signature_invalid", "", valid(k).signedAs(func(sig []byte) []byte {
				return append(sig, make([]byte, n)...)[:n]
			}), "I26")
		}
		s.add(k.alg()+": one byte more", "signature_invalid", "", valid(k).signedAs(func(sig []byte) []byte { return append(sig, 0) }), "I26")
		s.add(k.alg()+": all zero", "signature_invalid", "", valid(k).signedAs(func(sig []byte) []byte { return make([]byte, len(sig)) }))
		d := valid(k)
		sig := encode(d.signature())
		d = d.claim("jti", `"-BwC3ESc6acc2lTd"`)
		d.signatureSegment = &sig
		s.add(k.alg()+": payload changed", "signature_invalid", "", d, "I24")
		d = valid(k).set("kid", `"1"`)
		d.signatureSegment = &sig
		s.add(k.alg()+": header changed", "signature_invalid", "", d, "I24")
	}
	s.add("key of one, signature of another", "signature_invalid", "", plain().jwk(other.jwk()), "I31")
	order := p256.private.Params().N
	half := func(change func(r, s *big.Int) (*big.Int, *big.Int)) func([]byte) []byte {
		return func(sig []byte) []byte {
			r, s := change(new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	}
	s.add("other s", "accept", "n-s verifies as well: no replay cache may be keyed by the proof as sent.",
		plain().signedAs(half(func(r, s *big.Int) (*big.Int, *big.Int) { return r, new(big.Int).Sub(order, s) })), "I30")
	s.add("r is zero", "signature_invalid", "", plain().signedAs(half(func(r, s *big.Int) (*big.Int, *big.Int) { return new(big.Int), s })))
	s.add("s is zero", "signature_invalid", "", plain().signedAs(half(func(r, s *big.Int) (*big.Int, *big.Int) { return r, new(big.Int) })))
	s.add("r is the order", "signature_invalid", "", plain().signedAs(half(func(r, s *big.Int) (*big.Int, *big.Int) { return order, s })))
	s.add("signature in ASN.1", "signature_invalid", "", plain().signedAs(func(sig []byte) []byte {
		return append([]byte{0x30, 0x44, 0x02, 0x20}, append(append(sig[:32:32], 0x02, 0x20), sig[32:]...)...)
	}), "I26")
	s.add("r and s with a leading zero octet each", "signature_invalid", "The same numbers on 66 bytes.", plain().signedAs(func(sig []byte) []byte {
		return append(append([]byte{0}, sig[:32]...), append([]byte{0}, sig[32:]...)...)
	}), "I26")
	for name, h := range map[string]crypto.Hash{"SHA-384": crypto.SHA384, "SHA-1": crypto.SHA1} {
		d := plain()
		d.sign = func(input string) []byte { return p256.signHash(h, input) }
		s.add("ES256 over "+name, "signature_invalid", "", d, "I39")
	}
	s.add("Ed25519 with S+L", "signature_invalid", "", valid(edKey).signedAs(func(sig []byte) []byte {
		l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		sum := new(big.Int).Add(new(big.Int).SetBytes(reversed(sig[32:])), l)
		return append(sig[:32:32], reversed(sum.FillBytes(make([]byte, 32)))...)
	}), "I32")
	return s
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[len(b)-1-i] = b[i]
	}
	return out
}
