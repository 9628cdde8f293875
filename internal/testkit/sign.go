// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // #nosec G505 -- signed with on purpose, to be refused
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/big"
)

// Sign makes the signature that a JOSE algorithm name stands for (RFC 7518,
// section 3; RFC 8037, section 3.1). A name that does not fit the key gives what the
// key can do, so that a test can pair any name with any key.
func (k *Key) Sign(algorithm string, input []byte) []byte {
	if k.SignWith != nil {
		return k.SignWith(algorithm, input)
	}
	switch p := k.Private.(type) {
	case *ecdsa.PrivateKey:
		return SignECDSA(p, hashFor(algorithm, k.Algorithm), input)
	case ed25519.PrivateKey:
		return ed25519.Sign(p, input)
	case *rsa.PrivateKey:
		h := hashFor(algorithm, k.Algorithm)
		if algorithm != "" && algorithm[0] == 'R' {
			return SignPKCS1(p, h, input)
		}
		return SignPSS(p, h, input, h.Size())
	}
	return nil
}

// hashFor returns the hash that the last digits of an algorithm name stand for,
// falling back to the key's own.
func hashFor(names ...string) crypto.Hash {
	for _, n := range names {
		if len(n) < 3 {
			continue
		}
		switch n[len(n)-3:] {
		case "256":
			return crypto.SHA256
		case "384":
			return crypto.SHA384
		case "512":
			return crypto.SHA512
		case "RS1":
			return crypto.SHA1
		}
	}
	return crypto.SHA256
}

// SignECDSA makes an ECDSA signature over any hash, as r || s (RFC 7518, section 3.4).
func SignECDSA(p *ecdsa.PrivateKey, h crypto.Hash, input []byte) []byte {
	r, s, err := ecdsa.Sign(rand.Reader, p, Digest(h, input))
	must(err)
	size := (p.Curve.Params().BitSize + 7) / 8
	sig := make([]byte, 2*size)
	r.FillBytes(sig[:size])
	s.FillBytes(sig[size:])
	return sig
}

// SignPSS makes an RSASSA-PSS signature with a salt of that length.
func SignPSS(p *rsa.PrivateKey, h crypto.Hash, input []byte, salt int) []byte {
	sig, err := rsa.SignPSS(rand.Reader, p, h, Digest(h, input), &rsa.PSSOptions{SaltLength: salt})
	must(err)
	return sig
}

// SignPKCS1 makes an RSASSA-PKCS1-v1_5 signature.
func SignPKCS1(p *rsa.PrivateKey, h crypto.Hash, input []byte) []byte {
	sig, err := rsa.SignPKCS1v15(nil, p, h, Digest(h, input))
	must(err)
	return sig
}

// SignHMAC makes the MAC of HS256, for attacks that use a public key as the secret.
func SignHMAC(secret, input []byte) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write(input)
	return m.Sum(nil)
}

// Digest hashes input; SHA-1 is there because attackers may name it.
func Digest(h crypto.Hash, input []byte) []byte {
	var f hash.Hash
	switch h {
	case crypto.SHA1:
		f = sha1.New() // #nosec G401
	case crypto.SHA384:
		f = sha512.New384()
	case crypto.SHA512:
		f = sha512.New()
	default:
		f = sha256.New()
	}
	f.Write(input)
	return f.Sum(nil)
}

// MalleateECDSA returns the sibling of a P-256 signature: s becomes n - s, which
// verifies as well.
func MalleateECDSA(sig []byte) []byte {
	n, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(n, s)
	out := append([]byte(nil), sig[:32]...)
	return append(out, s.FillBytes(make([]byte, 32))...)
}

// MalleateEd25519 adds the group order to S, which RFC 8032 section 5.1.7 forbids.
func MalleateEd25519(sig []byte) []byte {
	l, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	s := new(big.Int).SetBytes(reverse(sig[32:]))
	s.Add(s, l)
	out := append([]byte(nil), sig[:32]...)
	return append(out, reverse(s.FillBytes(make([]byte, 32)))...)
}

func reverse(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[len(b)-1-i] = c
	}
	return out
}
