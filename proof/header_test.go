// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"unsafe"
)

// A header that is kept must not keep the request that it came with.
func TestCloneSharesNoMemory(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := NewSigner(key, "ES256")
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signer.Sign(SignRequest{Method: "GET", URI: "https://a.example/"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(Config{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.Parse(compact, nil)
	if err != nil {
		t.Fatal(err)
	}
	within := func(part string) bool {
		at, start := uintptr(unsafe.Pointer(unsafe.StringData(part))), uintptr(unsafe.Pointer(unsafe.StringData(compact)))
		return at >= start && at < start+uintptr(len(compact))
	}
	if !within(p.Header.segment) {
		t.Error("the parsed header is a copy already")
	}
	kept := p.Header.Clone()
	if within(kept.segment) || within(kept.thumbprint) {
		t.Error("the clone holds on to the proof")
	}
	if again, err := v.Parse(compact, kept); err != nil || again.Header != kept {
		t.Errorf("the clone is not recognised: %v", err)
	}
}
