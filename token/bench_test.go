// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// BenchmarkRawVerify is the floor that BenchmarkVerify is measured against.
func BenchmarkRawVerify(b *testing.B) {
	key := testkit.P256("issuer").Private.(*ecdsa.PrivateKey)
	hash := sha256.Sum256([]byte("signing input"))
	sig, err := ecdsa.SignASN1(rand.Reader, key, hash[:])
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.VerifyASN1(&key.PublicKey, hash[:], sig) {
			b.Fatal("not verified")
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		b.Run(alg, func(b *testing.B) {
			key := map[string]*testkit.Key{
				"ES256": testkit.P256("issuer"), "EdDSA": testkit.Ed25519("issuer"), "RS256": testkit.RSA(2048, "issuer"),
			}[alg]
			f := newFixture(b, key.JWK("k1").Without("alg"))
			raw := f.token(key, "k1").Head("alg", alg).String()
			p, thumbprint := policy(), testkit.P256("client").Thumbprint()
			b.ReportAllocs()
			for b.Loop() {
				c, err := f.issuer.Verify(b.Context(), raw)
				if err != nil || p.Check(c, epoch) != nil || c.CheckBinding(thumbprint) != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRefuse is what a stranger can have us do without a signature.
func BenchmarkRefuse(b *testing.B) {
	f := newFixture(b)
	if err := f.keys.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	for name, j := range map[string]*testkit.JWS{
		"expired":      f.token(f.key, "k1").Set("exp", 1),
		"other issuer": f.token(f.key, "k1").Set("iss", "https://x.example"),
		"other typ":    f.token(f.key, "k1").Head("typ", "dpop+jwt"),
	} {
		raw := j.String()
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := f.issuer.Verify(b.Context(), raw); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

func BenchmarkCacheHit(b *testing.B) {
	f := newFixture(b)
	raw := f.token(f.key, "k1").String()
	claims, err := f.issuer.Verify(b.Context(), raw)
	if err != nil {
		b.Fatal(err)
	}
	cache := NewCache(0, nil)
	for i := range 100_000 {
		cache.Put(sha256.Sum256(fmt.Append(nil, i)), f.issuer.ID(), claims)
	}
	hash := sha256.Sum256([]byte(raw))
	cache.Put(hash, f.issuer.ID(), claims)
	p := policy()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := cache.Get(hash, f.issuer.ID())
			if r == nil || !r.Claims.Live() || p.Check(r.Claims, epoch) != nil {
				b.Error("no hit")
			}
		}
	})
}
