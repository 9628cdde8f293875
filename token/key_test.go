// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/ecdsa"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

func TestParseKeySet(t *testing.T) {
	t.Parallel()
	ec, rsa := testkit.P256("issuer"), testkit.RSA(2048, "issuer")
	good := ec.JWK("k1")
	many := func(n int) []byte {
		keys := make([]testkit.Object, n)
		for i := range keys {
			keys[i] = good.With("kid", fmt.Sprint(i))
		}
		return jwksBytes(keys...)
	}
	for _, tt := range []struct {
		name          string
		document      []byte
		keys, ignored int
	}{
		{"one", jwksBytes(good), 1, 0},
		{"all kinds", jwksBytes(good, rsa.JWK("k2"), testkit.Ed25519("a").JWK("k3"), testkit.P384("a").JWK("k4"), testkit.P521("a").JWK("k5")), 5, 0},
		{"no use, no alg", jwksBytes(good.Without("use", "alg")), 1, 0},
		{"key_ops verify", jwksBytes(good.With("key_ops", []string{"verify"})), 1, 0},
		{"P24 twice", jwksBytes(good, good), 1, 0},
		{"P06 same kid, other kind", jwksBytes(good, rsa.JWK("k1")), 2, 0},
		{"unknown members", jwksBytes(good.With("note", testkit.Object{})), 1, 0},
		{"P11 use enc", jwksBytes(good.With("use", "enc"), rsa.JWK("k2")), 1, 1},
		{"use of another type", jwksBytes(good.With("use", 1), rsa.JWK("k2")), 1, 1},
		{"key_ops sign", jwksBytes(good.With("key_ops", []string{"sign"}), rsa.JWK("k2")), 1, 1},
		{"alg for encryption", jwksBytes(good.With("alg", "ECDH-ES"), rsa.JWK("k2").With("alg", "RSA-OAEP")), 0, 2},
		{"alg of another curve", jwksBytes(good.With("alg", "ES384"), rsa.JWK("k2")), 1, 1},
		{"alg symmetric", jwksBytes(rsa.JWK("k2").With("alg", "HS256"), good), 1, 1},
		{"P14 RSA 1024", jwksBytes(testkit.RSA(1024, "weak").JWK("k2"), good), 1, 1},
		{"RSA exponent 1", jwksBytes(rsa.JWK("k2").With("e", "AQ"), good), 1, 1},
		{"RSA even exponent", jwksBytes(rsa.JWK("k2").With("e", "BA"), good), 1, 1},
		{"private key", jwksBytes(ec.PrivateJWK().With("kid", "k2"), good), 1, 1},
		{"symmetric key", jwksBytes(testkit.Object{{Name: "kty", Value: "oct"}, {Name: "k", Value: "AAAA"}}, good), 1, 1},
		{"unknown kind", jwksBytes(testkit.Object{{Name: "kty", Value: "XYZ"}, {Name: "kid", Value: "x"}}, good), 1, 1},
		{"no kind", jwksBytes(good.Without("kty"), good), 1, 1},
		{"kind in another case", jwksBytes(good.With("kty", "ec"), rsa.JWK("k2")), 1, 1},
		{"unknown curve", jwksBytes(good.With("crv", "secp256k1"), rsa.JWK("k2")), 1, 1},
		{"off the curve", jwksBytes(good.With("y", good.Get("x")), rsa.JWK("k2")), 1, 1},
		{"kid number", jwksBytes(good.With("kid", 1), rsa.JWK("k2")), 1, 1},
		{"not an object", []byte(`{"keys":[1,null,"x",[],` + string(good.JSON()) + `]}`), 1, 4},
		{"most keys", many(maxKeys), maxKeys, 0},
		{"too many keys", many(maxKeys + 1), 0, 0},
		{"P07 empty", jwksBytes(), 0, 0},
		{"no keys", []byte(`{}`), 0, 0},
		{"keys null", []byte(`{"keys":null}`), 0, 0},
		{"keys object", []byte(`{"keys":{}}`), 0, 0},
		{"P15 HTML", []byte(`<html>`), 0, 0},
		{"array", []byte(`[]`), 0, 0},
		{"duplicate keys member", []byte(`{"keys":[],"keys":[` + string(good.JSON()) + `]}`), 0, 0},
		{"trailing", append(jwksBytes(good), '{', '}'), 0, 0},
		{"too large", append(jwksBytes(good), strings.Repeat(" ", maxKeySetSize)...), 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			keys, ignored, err := new(KeySet).parseKeySet(tt.document)
			if len(keys) != tt.keys || ignored != tt.ignored || (err == nil) != (tt.keys > 0) {
				t.Errorf("got %d keys, %d ignored, %v", len(keys), ignored, err)
			}
		})
	}
}

// TestWhichKey: kid and alg choose, and nothing else.
func TestWhichKey(t *testing.T) {
	t.Parallel()
	ec, rsa := testkit.P256("issuer"), testkit.RSA(2048, "issuer")
	plain := func(k *testkit.Key, kid string) testkit.Object { return k.JWK(kid).Without("alg") }
	crowd := []testkit.Object{}
	for i := range maxCandidates {
		crowd = append(crowd, testkit.P256(fmt.Sprint("other", i)).JWK(fmt.Sprint("o", i)))
	}
	for _, tt := range []struct {
		name      string
		published []testkit.Object
		key       *testkit.Key
		kid, alg  string
		want      Reason
	}{
		{"P06 one kid, two kinds: EC", []testkit.Object{plain(rsa, "k1"), plain(ec, "k1")}, ec, "k1", "ES256", ""},
		{"P06 one kid, two kinds: RSA", []testkit.Object{plain(ec, "k1"), plain(rsa, "k1")}, rsa, "k1", "PS256", ""},
		{"one kid, two keys of a kind", []testkit.Object{plain(testkit.P256("x"), "k1"), plain(ec, "k1")}, ec, "k1", "ES256", ""},
		{"alg of the key binds", []testkit.Object{rsa.JWK("k1").With("alg", "PS256")}, rsa, "k1", "RS256", SignatureInvalid},
		{"P21 kid in another case", []testkit.Object{plain(ec, "K1")}, ec, "k1", "ES256", KeyUnknown},
		{"N10 kid unknown, key known", []testkit.Object{plain(ec, "k1")}, ec, "k2", "ES256", KeyUnknown},
		{"N43 kid a path", []testkit.Object{plain(ec, "k1")}, ec, "../../../../dev/null", "ES256", KeyUnknown},
		{"N43 kid an address", []testkit.Object{plain(ec, "k1")}, ec, "https://canary.example/", "ES256", KeyUnknown},
		{"P11 key for encryption", []testkit.Object{ec.JWK("k1").With("use", "enc"), plain(rsa, "k2")}, ec, "k1", "ES256", KeyUnknown},
		{"no kid among several", []testkit.Object{plain(rsa, "k2"), plain(testkit.P256("x"), "k3"), plain(ec, "k1")}, ec, "", "ES256", ""},
		{"no kid, the last that is tried", append(crowd[:maxCandidates-1:maxCandidates-1], ec.JWK("k1")), ec, "", "ES256", ""},
		{"no kid, past the last that is tried", append(crowd[:maxCandidates:maxCandidates], ec.JWK("k1")), ec, "", "ES256", SignatureInvalid},
		{"no kid, none of that kind", []testkit.Object{plain(rsa, "k1")}, ec, "", "ES256", KeyUnknown},
		{"P14 only a weak key", []testkit.Object{testkit.RSA(1024, "weak").JWK("k1")}, testkit.RSA(1024, "weak"), "k1", "PS256", KeysUnavailable},
		{"P07 empty set", []testkit.Object{}, ec, "k1", "ES256", KeysUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, tt.published...)
			err := judge(t, f, policy(), f.token(tt.key, tt.kid).Head("alg", tt.alg).String())
			wantReason(t, err, tt.want)
			if n := f.web.count(testJWKSURI); n != f.web.total() || n > 2 {
				t.Errorf("asked for %q", f.web.asked)
			}
		})
	}
}

// TestKeysOfTwoIssuers is N41: one kid, two issuers, each with a key of its own.
func TestKeysOfTwoIssuers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := testkit.P256("other issuer")
	wantReason(t, judge(t, f, policy(), f.token(other, "k1").String()), SignatureInvalid)
}

// TestSharedFlight is N48: good and bad tokens of one kid wait for one fetch.
func TestSharedFlight(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	thief := testkit.P256("thief")
	var tokens [100]string
	for i := range tokens {
		tokens[i] = f.token([]*testkit.Key{f.key, thief}[i%2], "k1").String()
	}
	var got [100]error
	parallel(len(tokens), func(i int) error {
		_, got[i] = f.issuer.Verify(t.Context(), tokens[i])
		return nil
	})(t, "")
	for i, err := range got {
		wantReason(t, err, []Reason{"", SignatureInvalid}[i%2])
	}
	if n := f.web.total(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestKeysKeepTheirIdentity(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.keys.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := f.keys.current.Load().keys[0]
	if err := f.keys.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.keys.current.Load().keys[0] != first {
		t.Error("the same key is another after a fetch")
	}
	f.web.on(testJWKSURI, jwks(f.key.JWK("k9")))
	if err := f.keys.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first.live() {
		t.Error("a key that changed its name is still live")
	}
	if _, ok := first.public.(*ecdsa.PublicKey); !ok {
		t.Errorf("a key of type %T", first.public)
	}
}
