// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// A benched is a set of proofs by one key with all that it takes to check them.
type benched struct {
	verifier *proof.Verifier
	request  *proof.Request
	known    *proof.Header
	proofs   []string
	raw      []func() bool // the signature check alone, everything prepared
}

// newBenched makes proofs like those in the field: about 540 bytes with ES256.
func newBenched(tb testing.TB, algorithm string) *benched {
	tb.Helper()
	signer, err := proof.NewSigner(keyFor(tb, algorithm), algorithm)
	if err != nil {
		tb.Fatal(err)
	}
	verifier, err := proof.NewVerifier(proof.Config{Algorithms: []string{algorithm}})
	if err != nil {
		tb.Fatal(err)
	}
	token := strings.Repeat("eyJhbGciOiJFUzI1NiJ9.", 25)
	hash := sha256.Sum256([]byte(token))
	b := &benched{verifier: verifier, request: &proof.Request{
		Method:          "GET",
		Target:          mustOrigin(tb, "https://api.example.com").Target("/v1/accounts/4711/items"),
		AccessTokenHash: &hash,
		Now:             time.Now(),
	}}
	for range 64 {
		compact, err := signer.Sign(proof.SignRequest{
			Method: "GET", URI: "https://api.example.com/v1/accounts/4711/items",
			AccessToken: token, Now: b.request.Now,
		})
		if err != nil {
			tb.Fatal(err)
		}
		p, err := verifier.Verify(compact, b.request)
		if err != nil {
			tb.Fatal(err)
		}
		b.known = p.Header
		b.proofs = append(b.proofs, compact)
		b.raw = append(b.raw, rawVerify(tb, p.Header, compact))
	}
	return b
}

// rawVerify prepares what the standard library needs to verify a proof's signature.
func rawVerify(tb testing.TB, h *proof.Header, compact string) func() bool {
	tb.Helper()
	dot := strings.LastIndexByte(compact, '.')
	signed := []byte(compact[:dot])
	signature, err := base64.RawURLEncoding.DecodeString(compact[dot+1:])
	if err != nil {
		tb.Fatal(err)
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[h.Algorithm()[2:]]
	var digest []byte
	if hash != 0 {
		d := hash.New()
		d.Write(signed)
		digest = d.Sum(nil)
	}
	switch key := h.PublicKey().(type) {
	case *ecdsa.PublicKey:
		half := len(signature) / 2
		der, err := asn1.Marshal(struct{ R, S *big.Int }{
			new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]),
		})
		if err != nil {
			tb.Fatal(err)
		}
		return func() bool { return ecdsa.VerifyASN1(key, digest, der) }
	case ed25519.PublicKey:
		return func() bool { return ed25519.Verify(key, signed, signature) }
	case *rsa.PublicKey:
		if h.Algorithm()[0] == 'R' {
			return func() bool { return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil }
		}
		return func() bool { return rsa.VerifyPSS(key, hash, digest, signature, nil) == nil }
	}
	tb.Fatal("unknown key")
	return nil
}

// check is what a handler does with a proof, given the header that passed before.
func (b *benched) check(tb testing.TB, i int, known *proof.Header) {
	p, err := b.verifier.Parse(b.proofs[i%len(b.proofs)], known)
	if err == nil {
		err = b.verifier.Match(p, b.request)
	}
	if err == nil {
		err = p.VerifySignature()
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkVerify has, for each algorithm, the signature check alone (raw), the whole
// check of a client's further proof (warm) and that of its first (cold).
func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range proof.SupportedAlgorithms() {
		set := newBenched(b, algorithm)
		b.Run(algorithm+"/raw", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !set.raw[i%len(set.raw)]() {
					b.Fatal("signature does not verify")
				}
			}
		})
		b.Run(algorithm+"/warm", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				set.check(b, i, set.known)
			}
		})
		b.Run(algorithm+"/cold", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				set.check(b, i, nil)
			}
		})
	}
}

// BenchmarkRatio prints what the whole check costs as a multiple of the signature
// check alone: x/warm and x/cold, medians over interleaved rounds, so that a busy
// machine disturbs all alike. Run it with -benchtime=1x.
func BenchmarkRatio(b *testing.B) {
	const rounds, perRound = 21, 200
	for _, algorithm := range proof.DefaultAlgorithms() {
		b.Run(algorithm, func(b *testing.B) {
			set := newBenched(b, algorithm)
			var warm, cold []float64
			for b.Loop() {
				for range rounds {
					raw := clock(perRound, func(i int) { set.raw[i%len(set.raw)]() })
					warm = append(warm, clock(perRound, func(i int) { set.check(b, i, set.known) })/raw)
					cold = append(cold, clock(perRound, func(i int) { set.check(b, i, nil) })/raw)
				}
			}
			b.ReportMetric(median(warm), "x/warm")
			b.ReportMetric(median(cold), "x/cold")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// clock returns the seconds that n calls of f take.
func clock(n int, f func(i int)) float64 {
	start := time.Now()
	for i := range n {
		f(i)
	}
	return time.Since(start).Seconds()
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkRefuse has each kind of refusal before the signature, with the header
// known and not.
func BenchmarkRefuse(b *testing.B) {
	signer, err := proof.NewSigner(keyFor(b, "ES256"), "ES256")
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	hash := sha256.Sum256([]byte("token"))
	verifier := mustVerifier(b, proof.Config{})
	request := &proof.Request{
		Method: "GET", Target: mustOrigin(b, "https://api.example.com").Target("/items"),
		AccessTokenHash: &hash, Now: now,
	}
	right := proof.SignRequest{Method: "GET", URI: "https://api.example.com/items", AccessToken: "token", Now: now}
	with := func(change func(*proof.SignRequest)) string {
		r := right
		change(&r)
		compact, err := signer.Sign(r)
		if err != nil {
			b.Fatal(err)
		}
		return compact
	}
	valid := with(func(*proof.SignRequest) {})
	p, err := verifier.Verify(valid, request)
	if err != nil {
		b.Fatal(err)
	}
	segments := strings.Split(valid, ".")
	payload := func(json string) string {
		return segments[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(json)) + "." + segments[2]
	}
	header := func(json string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(json)) + "." + segments[1] + "." + segments[2]
	}
	for _, c := range []struct {
		name    string
		compact string
		reason  proof.Reason
	}{
		{"size", valid + strings.Repeat("A", 8192), proof.ReasonTooLarge},
		{"form", valid + ".", proof.ReasonMalformed},
		{"typ", header(`{"typ":"JWT","alg":"ES256"}`), proof.ReasonTypInvalid},
		{"alg", header(`{"typ":"dpop+jwt","alg":"none"}`), proof.ReasonAlgUnsupported},
		{"jwk", header(`{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"AA"}}`), proof.ReasonJWKInvalid},
		{"claims", payload(`{"htm":"GET","htm":"GET"}`), proof.ReasonClaimsInvalid},
		{"names", payload(manyNames()), proof.ReasonClaimsInvalid},
		{"depth", payload(strings.Repeat("[", 5000)), proof.ReasonClaimsInvalid},
		{"htm", with(func(r *proof.SignRequest) { r.Method = "PUT" }), proof.ReasonHTMMismatch},
		{"htu", with(func(r *proof.SignRequest) { r.URI += "/x" }), proof.ReasonHTUMismatch},
		{"iat", with(func(r *proof.SignRequest) { r.Now = now.Add(-time.Hour) }), proof.ReasonIATTooOld},
		{"ath", with(func(r *proof.SignRequest) { r.AccessToken = "other" }), proof.ReasonATHMismatch},
	} {
		for name, known := range map[string]*proof.Header{"warm": p.Header, "cold": nil} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				var err error
				for b.Loop() {
					var p *proof.Proof
					if p, err = verifier.Parse(c.compact, known); err == nil {
						err = verifier.Match(p, request)
					}
				}
				if got := proof.ReasonOf(err); got != c.reason {
					b.Fatalf("refused with %q, want %q", got, c.reason)
				}
			})
		}
	}
}

// manyNames is an object that makes the search for duplicate names as dear as the
// size limit allows.
func manyNames() string {
	var b strings.Builder
	b.WriteString(`{"a":[`)
	for b.Len() < 5500 {
		b.WriteString(`{`)
		for i := range 60 {
			b.WriteString(`"` + string(rune('!'+1+i%90)) + `":0,`)
		}
		b.WriteString(`"~":0},`)
	}
	b.WriteString(`0],"a":0}`)
	return strings.ReplaceAll(b.String(), `"\":`, `"\\":`)
}

// BenchmarkTarget compares htu with the request's target, in normal form and not.
func BenchmarkTarget(b *testing.B) {
	origin := mustOrigin(b, "https://api.example.com")
	b.Run("Normal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			origin.Target("/v1/accounts/4711/items")
		}
	})
	b.Run("Escaped", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			origin.Target("/v1/./accounts/%34711/it%c3%a9ms")
		}
	})
}
