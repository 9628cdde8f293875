// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-dpop/caddy-dpop/internal/strictjson"
)

// Limits of a key set. Real ones have two to ten keys.
const (
	maxKeySetSize = 1 << 20
	maxKeys       = 100
)

// RSA keys below 2048 bits are too weak (RFC 7518, section 3.3). Above 4096 go-jose
// refuses them, and verifying becomes dear.
const minRSABits = 2048

// maxCandidates bounds what a token without kid costs: it is tried against no more
// keys than this.
const maxCandidates = 4

// key is one public key of a key set. The same key keeps its identity when the set
// is fetched again, and claims verified by it look at retired.
type key struct {
	set     *KeySet
	id, alg string // kid and alg of the JWK; empty when absent
	kty     string
	public  crypto.PublicKey
	// thumbprint is that of RFC 7638 and tells keys apart.
	thumbprint string
	jwk        jose.JSONWebKey
	retired    atomic.Bool
}

// live reports whether claims verified by the key still stand. The set comes first:
// looking at it can retire the key.
func (k *key) live() bool { return k.set.trusted() && !k.retired.Load() }

// fits reports whether the key can have made a signature with this algorithm.
func (k *key) fits(alg string) bool {
	if !fits(alg, k.public) {
		return false
	}
	// alg of a JWK binds it (RFC 7517, section 4.4); Ed25519 has two names.
	return k.alg == "" || k.alg == alg || alg == "EdDSA" && k.alg == "Ed25519" || alg == "Ed25519" && k.alg == "EdDSA"
}

func (k *key) same(other *key) bool {
	return k.id == other.id && k.alg == other.alg && k.thumbprint == other.thumbprint
}

// errNoKeys says that a key set was well-formed and held nothing to verify with.
var errNoKeys = errors.New("no key in the key set can verify a signature")

// parseKeySet reads a JWK Set (RFC 7517, section 5). Keys that we cannot or must
// not use are left out, as that section asks; ignored counts them.
func (s *KeySet) parseKeySet(data []byte) (keys []*key, ignored int, err error) {
	if len(data) > maxKeySetSize {
		return nil, 0, fmt.Errorf("the key set has more than %d bytes", maxKeySetSize)
	}
	document, err := strictjson.Parse(data)
	if err != nil {
		return nil, 0, fmt.Errorf("the key set is %w", err)
	}
	value, _ := document.Get("keys")
	entries, ok := value.Array()
	if !ok {
		return nil, 0, errors.New("the key set has no array of keys")
	}
	if len(entries) > maxKeys {
		return nil, 0, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	for _, entry := range entries {
		k := parseKey(entry)
		if k == nil {
			ignored++
			continue
		}
		if !slices.ContainsFunc(keys, k.same) {
			k.set = s
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, ignored, errNoKeys
	}
	return keys, ignored, nil
}

// parseKey reads one JWK; nil means that it is not for us.
func parseKey(entry strictjson.Value) *key {
	members, ok := entry.Object()
	if !ok || !forVerifying(members) {
		return nil
	}
	k := new(key)
	if err := k.jwk.UnmarshalJSON(entry); err != nil || !k.jwk.IsPublic() || !k.jwk.Valid() {
		return nil
	}
	if public, ok := k.jwk.Key.(*rsa.PublicKey); ok && (public.N.BitLen() < minRSABits || public.E < 3 || public.E&1 == 0) {
		return nil
	}
	k.id, k.alg, k.public = k.jwk.KeyID, k.jwk.Algorithm, k.jwk.Key
	if !slices.ContainsFunc(Algorithms(), k.fits) {
		return nil
	}
	kty, _ := members.Get("kty")
	k.kty, _ = kty.Text()
	thumbprint, err := k.jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil
	}
	k.thumbprint = string(thumbprint)
	return k
}

// privateMembers belong to private and symmetric keys (RFC 7518, sections 6.2.2,
// 6.3.2 and 6.4; RFC 8037, section 2). A key that was published with them is
// nobody's secret any more.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// forVerifying looks at what a JWK says that it is for (RFC 7517, sections 4.2 and
// 4.3).
func forVerifying(jwk strictjson.Object) bool {
	for _, m := range jwk {
		switch {
		case slices.Contains(privateMembers, m.Name):
			return false
		case m.Name == "use":
			if use, ok := m.Value.Text(); !ok || use != "sig" {
				return false
			}
		case m.Name == "key_ops":
			if ops, ok := m.Value.Strings(); !ok || !slices.Contains(ops, "verify") {
				return false
			}
		}
	}
	return true
}

// choose returns the keys that a token may have been signed by. known is false when
// the set has no key of that name, so that a newer set might have one.
func choose(keys []*key, kid, alg string) (candidates []*key, known bool) {
	for _, k := range keys {
		if kid != "" && k.id != kid {
			continue
		}
		known = known || kid != ""
		if k.fits(alg) && len(candidates) < maxCandidates {
			candidates = append(candidates, k)
		}
	}
	return candidates, known || len(candidates) > 0
}
