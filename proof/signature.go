// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"strings"
)

// VerifySignature checks that the proof was signed by the private key of the public
// key in its header: RFC 9449, section 4.3, check 6.
//
// It costs one signature check, and for an RSA key that has not been seen a test that
// its modulus is not a prime, provided the signature held.
func (p *Proof) VerifySignature() error {
	alg := &algorithms[p.Header.algorithm]
	valid := false
	switch key := p.Header.key.(type) {
	case *ecdsa.PublicKey:
		var digest [sha512.Size]byte
		if len(p.signature) == 2*alg.size {
			valid = ecdsa.VerifyASN1(key, sum(alg.hash, &digest, p.signed), appendDER(p.der[:0], p.signature))
		}
	case ed25519.PublicKey:
		// Verify panics on a key of another length; parseJWK has seen to that.
		valid = ed25519.Verify(key, []byte(p.signed), []byte(p.signature))
	case *rsa.PublicKey:
		var digest [sha512.Size]byte
		hashed := sum(alg.hash, &digest, p.signed)
		if alg.family == familyPSS {
			// The salt is as long as the hash (RFC 7518, section 3.5).
			options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			valid = rsa.VerifyPSS(key, alg.hash, hashed, []byte(p.signature), options) == nil
		} else {
			valid = rsa.VerifyPKCS1v15(key, alg.hash, hashed, []byte(p.signature)) == nil
		}
		if valid && !p.vetted && !p.composites.has(p.Header.thumbprint, key.N) {
			return refuse(ReasonKeyUnacceptable, "modulus is a prime")
		}
	}
	if !valid {
		return refuse(ReasonSignatureInvalid, "")
	}
	return nil
}

// sum hashes text into digest and returns the part of it that is used.
func sum(hash crypto.Hash, digest *[sha512.Size]byte, text string) []byte {
	buf := append(make([]byte, 0, 1024), text...) // most proofs fit, and stay on the stack
	switch hash {
	case crypto.SHA384:
		d := sha512.Sum384(buf)
		return digest[:copy(digest[:], d[:])]
	case crypto.SHA512:
		*digest = sha512.Sum512(buf)
		return digest[:]
	default:
		d := sha256.Sum256(buf)
		return digest[:copy(digest[:], d[:])]
	}
}

// maxDER is the size of the largest signature in DER: for P-521 two integers of up
// to 66 bytes, each with three bytes in front, in a sequence with three.
const maxDER = 3 + 2*(3+66)

// appendDER appends to b the ECDSA-Sig-Value (RFC 3279, section 2.2.3) for r and s,
// given as two numbers of equal and fixed length (RFC 7518, section 3.4). Nothing is
// checked: r or s out of range is for the verifier to find.
func appendDER(b []byte, rs string) []byte {
	r, s := integer(rs[:len(rs)/2]), integer(rs[len(rs)/2:])
	size := lenDER(r) + lenDER(s)
	b = append(b, 0x30)
	if size >= 0x80 {
		b = append(b, 0x81)
	}
	b = append(b, byte(size))
	for _, n := range []string{r, s} {
		b = append(b, 0x02, byte(lenDER(n)-2))
		if n[0] >= 0x80 {
			b = append(b, 0) // or it would be negative
		}
		b = append(b, n...)
	}
	return b
}

// integer strips leading zeros but leaves one digit.
func integer(n string) string {
	if trimmed := strings.TrimLeft(n, "\x00"); trimmed != "" {
		return trimmed
	}
	return n[:1]
}

// lenDER returns the encoded length of an integer.
func lenDER(n string) int {
	if n[0] >= 0x80 {
		return len(n) + 3
	}
	return len(n) + 2
}
