// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"strings"
	"testing"
	"time"
)

// TestThumbprintOfTheRFC checks the one published value: the proof key of RFC 9449,
// section 4.1, whose thumbprint stands in section 6.1.
func TestThumbprintOfTheRFC(t *testing.T) {
	jwk := Object{
		{"kty", "EC"},
		{"x", "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"},
		{"y", "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"},
		{"crv", "P-256"},
	}
	if got, want := Thumbprint(jwk), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"; got != want {
		t.Errorf("thumbprint %s, want %s", got, want)
	}
	// Section 4.2 and 7.1: the ath of the token in figure 12.
	if got, want := ATH("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"; got != want {
		t.Errorf("ath %s, want %s", got, want)
	}
}

// TestSignatures verifies what the kit signs with the standard library's verifiers.
func TestSignatures(t *testing.T) {
	for _, k := range []*Key{P256("a"), P384("a"), P521("a"), Ed25519("a"), RSA(2048, "a"), LeadingZero("x"), RSAWithExponent(2048, 65537)} {
		p := NewProof(k, "GET", "https://api.example.test/", "", time.Now())
		h, c, s := p.Segments()
		input, sig := []byte(h+"."+c), UnB64(s)
		var ok bool
		switch key := k.Private.(type) {
		case *ecdsa.PrivateKey:
			r, ss := new(big.Int).SetBytes(sig[:len(sig)/2]), new(big.Int).SetBytes(sig[len(sig)/2:])
			ok = ecdsa.Verify(&key.PublicKey, Digest(hashFor(k.Algorithm), input), r, ss)
		case ed25519.PrivateKey:
			ok = ed25519.Verify(key.Public().(ed25519.PublicKey), input, sig)
		default:
			pub := &rsa.PublicKey{N: k.Modulus(), E: 65537}
			ok = rsa.VerifyPSS(pub, hashFor(k.Algorithm), Digest(hashFor(k.Algorithm), input), sig, nil) == nil
		}
		if !ok {
			t.Errorf("%s: the signature does not verify", k.Algorithm)
		}
	}
}

func TestMalleatedSiblingVerifies(t *testing.T) {
	k := P256("a")
	p := k.Private.(*ecdsa.PrivateKey)
	sum := sha256.Sum256([]byte("input"))
	sig := k.Sign("ES256", []byte("input"))
	sibling := MalleateECDSA(sig)
	if string(sig) == string(sibling) {
		t.Fatal("the sibling is the original")
	}
	if !ecdsa.Verify(&p.PublicKey, sum[:], new(big.Int).SetBytes(sibling[:32]), new(big.Int).SetBytes(sibling[32:])) {
		t.Error("the sibling does not verify")
	}
}

func TestKoblitzPointIsOnTheCurve(t *testing.T) {
	k := Secp256k1("a")
	x, y := new(big.Int).SetBytes(UnB64(k.Public.Get("x").(string))), new(big.Int).SetBytes(UnB64(k.Public.Get("y").(string)))
	left := new(big.Int).Mul(y, y)
	right := new(big.Int).Exp(x, big.NewInt(3), nil)
	right.Add(right, big.NewInt(7))
	if left.Sub(left, right).Mod(left, koblitzP).Sign() != 0 {
		t.Error("the point is not on secp256k1")
	}
}

func TestLooseBits(t *testing.T) {
	for _, s := range []string{"AA", "AAA", strings.Repeat("A", 43)} {
		loose := LooseBits(s)
		if loose == s {
			t.Errorf("%s has no other spelling", s)
		}
	}
	if got := LooseBits("AAAA"); got != "AAAA" {
		t.Errorf("%s, but four characters have one spelling only", got)
	}
}

func TestParseChallenges(t *testing.T) {
	good := map[string][]string{
		`DPoP algs="ES256 PS256"`: {"DPoP"},
		`DPoP error="invalid_token", error_description="a b", algs="X"`: {"DPoP"},
		`DPoP realm="a\"b", algs="ES256", Bearer realm="x"`:             {"DPoP", "Bearer"},
		`Bearer`:                   {"Bearer"},
		`Negotiate abc==, DPoP`:    {"Negotiate", "DPoP"},
		`Basic, DPoP algs="ES256"`: {"Basic", "DPoP"},
	}
	for line, schemes := range good {
		got, err := ParseChallenges([]string{line})
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		var names []string
		for _, c := range got {
			names = append(names, c.Scheme)
		}
		if strings.Join(names, " ") != strings.Join(schemes, " ") {
			t.Errorf("%s: schemes %v, want %v", line, names, schemes)
		}
	}
	for _, line := range []string{
		``, `DPoP algs=, x="y"`, `DPoP algs="ES256`, `DPoP algs=ES256`, `DPoP algs="a" realm="b"`,
		`DPoP realm="a", realm="b"`, `DPoP error_description="a_b"`, "DPoP realm=\"a\nb\"", `DPoP ="x"`, `DPoP a="b",`,
	} {
		if got, err := ParseChallenges([]string{line}); err == nil {
			t.Errorf("%q was read as %v", line, got)
		}
	}
}

func TestIssuerCountsAndFaults(t *testing.T) {
	s := NewIssuer("test")
	defer s.Close()
	address := strings.TrimPrefix(s.URL, "http://")
	get := func(path string) *Answer {
		t.Helper()
		m := Message{Method: "GET", Target: path, Fields: []Field{{"Host", address}}}
		a, err := Exchange(address, "GET", m.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := get(PathJWKS); a.Status != 200 || !strings.Contains(string(a.Body), `"kid":"k1"`) {
		t.Errorf("key set: %d %s", a.Status, a.Body)
	}
	s.Fault(PathJWKS, Status(500, "text/plain", "no"))
	if a := get(PathJWKS); a.Status != 500 {
		t.Errorf("with a fault: %d", a.Status)
	}
	s.Fault(PathJWKS, nil)
	s.Rotate("2", true)
	if a := get(PathJWKS); strings.Contains(string(a.Body), `"kid":"k1"`) {
		t.Errorf("withdrawn key still there: %s", a.Body)
	}
	if got := s.Count(PathJWKS); got != 3 {
		t.Errorf("%d requests counted, want 3", got)
	}
}
