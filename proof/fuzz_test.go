// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// joseAlgorithms are those that both we and go-jose know: it lacks the name Ed25519.
var joseAlgorithms = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.PS256, jose.PS384, jose.PS512, jose.RS256, jose.RS384, jose.RS512,
}

// FuzzParse compares reading a proof with a known header and without, and, where we
// accept it, with go-jose: it must accept it too and find the same in it.
func FuzzParse(f *testing.F) {
	v := mustVerifier(f, proof.Config{Algorithms: proof.SupportedAlgorithms()})
	for _, set := range loadVectors(f) {
		for _, c := range set {
			f.Add(c.Proof)
		}
	}
	headers := knownHeaders(f)
	var some *proof.Header
	for _, h := range headers {
		some = h
	}
	f.Fuzz(func(t *testing.T, compact string) {
		p, err := v.Parse(compact, nil)
		segment, _, _ := strings.Cut(compact, ".")
		for _, known := range []*proof.Header{headers[segment], some} {
			again, errAgain := v.Parse(compact, known)
			if proof.ReasonOf(err) != proof.ReasonOf(errAgain) {
				t.Fatalf("%v without a header, %v with one", err, errAgain)
			}
			if err == nil {
				sameProof(t, p, again)
			}
		}
		if err != nil {
			if proof.ReasonOf(err) == "" {
				t.Fatalf("error without a reason: %v", err)
			}
			return
		}
		ours := p.VerifySignature()
		if ours == nil { // only a header that has passed may be used again
			again, err := v.Parse(compact, p.Header)
			if err != nil {
				t.Fatalf("with its own header: %v", err)
			}
			if again.Header != p.Header {
				t.Fatal("its own header was read again")
			}
			sameProof(t, p, again)
		}
		if p.Header.Algorithm() == "Ed25519" || hasCertificates(segment) {
			return
		}
		jws, err := jose.ParseSignedCompact(compact, joseAlgorithms)
		if err != nil {
			t.Fatalf("go-jose: %v", err)
		}
		h := jws.Signatures[0].Protected
		sum, err := h.JSONWebKey.Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatalf("go-jose: %v", err)
		}
		if h.Algorithm != p.Header.Algorithm() || base64.RawURLEncoding.EncodeToString(sum) != p.Header.Thumbprint() {
			t.Fatal("go-jose reads another header")
		}
		if _, err := jws.Verify(h.JSONWebKey); (err == nil) != (ours == nil) {
			// It takes a salt of any length and a modulus that is a prime.
			lenient := h.Algorithm[0] == 'P' || proof.ReasonOf(ours) == proof.ReasonKeyUnacceptable
			if err != nil || !lenient {
				t.Fatalf("signature: %v, go-jose: %v", ours, err)
			}
		}
	})
}

// hasCertificates reports whether a header has x5c, which go-jose reads and we do not.
func hasCertificates(segment string) bool {
	header, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return false
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal(header, &members)
	_, ok := members["x5c"]
	return ok
}

// sameProof demands that two readings of a proof say the same.
func sameProof(t *testing.T, a, b *proof.Proof) {
	t.Helper()
	type facts struct {
		algorithm, thumbprint, id, method, uri, nonce string
		issued                                        time.Time
		signature                                     proof.Reason
	}
	of := func(p *proof.Proof) facts {
		return facts{
			p.Header.Algorithm(), p.Header.Thumbprint(), p.ID, p.Method, p.URI, p.Nonce,
			p.IssuedAt, proof.ReasonOf(p.VerifySignature()),
		}
	}
	if x, y := of(a), of(b); !reflect.DeepEqual(x, y) {
		t.Fatalf("%+v and %+v", x, y)
	}
}

// FuzzPayload compares the reader of the payload with one written on encoding/json.
func FuzzPayload(f *testing.F) {
	for _, set := range loadVectors(f) {
		for _, c := range set {
			if parts := strings.Split(c.Proof, "."); len(parts) == 3 {
				if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
					f.Add(payload)
				}
			}
		}
	}
	f.Add([]byte(` { "htm" : "a" , "x" : [ 1 , { } , [ ] , -0.5e+7 ] } `))
	f.Add([]byte(`{"a":{"b":{"c":{"d":{"e":{}}}}},"\ud83d\ude00":"\ud83d"}`))
	v := mustVerifier(f, proof.Config{MaxSize: 1 << 20})
	signer, err := proof.NewSigner(keyFor(f, "ES256"), "")
	if err != nil {
		f.Fatal(err)
	}
	compact, err := signer.Sign(proof.SignRequest{Method: "GET", URI: "https://a.example/"})
	if err != nil {
		f.Fatal(err)
	}
	known, err := v.Parse(compact, nil)
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.Split(compact, ".")
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) == 0 {
			return
		}
		p, err := v.Parse(parts[0]+"."+base64.RawURLEncoding.EncodeToString(payload)+"."+parts[2], known.Header)
		want, reason := oraclePayload(payload)
		if got := proof.ReasonOf(err); got != reason {
			t.Fatalf("got %q (%v), reference %q", got, err, reason)
		}
		if err != nil {
			return
		}
		got := oracleFacts{p.ID, p.Method, p.URI, p.Nonce, p.IssuedAt.Unix()}
		if got != want {
			t.Fatalf("got %+v, reference %+v", got, want)
		}
	})
}

type oracleFacts struct {
	id, method, uri, nonce string
	issued                 int64
}

// oraclePayload is what the reader of the payload does, in other words.
func oraclePayload(payload []byte) (f oracleFacts, reason proof.Reason) {
	m, err := strictObject(payload)
	if err != nil || hasCaseVariant(m, "jti", "htm", "htu", "iat", "ath", "nonce", "exp", "nbf", "iss", "sub", "aud", "cnf") {
		return f, proof.ReasonClaimsInvalid
	}
	var present, ok bool
	if f.method, present, ok = text(m, "htm"); !ok {
		return f, either(present, proof.ReasonClaimsInvalid, proof.ReasonHTMMissing)
	}
	if f.uri, present, ok = text(m, "htu"); !ok {
		return f, either(present, proof.ReasonHTUInvalid, proof.ReasonHTUMissing)
	}
	if f.issued, present, ok = date(m, "iat"); !ok {
		return f, either(present, proof.ReasonIATInvalid, proof.ReasonIATMissing)
	}
	for _, name := range []string{"exp", "nbf"} {
		if _, present, ok := date(m, name); present && !ok {
			return f, proof.ReasonClaimsInvalid
		}
	}
	if f.id, present, ok = text(m, "jti"); !ok {
		return f, either(present, proof.ReasonJTIInvalid, proof.ReasonJTIMissing)
	}
	switch {
	case len(f.id) > 256:
		return f, proof.ReasonJTITooLong
	case slices.Contains([]byte(f.id), 0), !slices.ContainsFunc([]rune(f.id), func(r rune) bool { return !unicode.IsSpace(r) }):
		return f, proof.ReasonJTIInvalid
	}
	if _, present, ok := text(m, "ath"); present && !ok {
		return f, proof.ReasonClaimsInvalid
	}
	if f.nonce, present, ok = text(m, "nonce"); present && (!ok || len(f.nonce) > 512) {
		return f, proof.ReasonNonceInvalid
	}
	return f, ""
}

func either(first bool, a, b proof.Reason) proof.Reason {
	if first {
		return a
	}
	return b
}

// FuzzJWK compares our reading of a key with go-jose's: what we accept it accepts,
// with the same thumbprint, and written again the key has the text that we read.
func FuzzJWK(f *testing.F) {
	for _, set := range loadVectors(f) {
		for _, c := range set {
			segment, _, _ := strings.Cut(c.Proof, ".")
			header, err := base64.RawURLEncoding.DecodeString(segment)
			var h struct {
				Alg string
				JWK json.RawMessage
			}
			if err == nil && json.Unmarshal(header, &h) == nil && len(h.JWK) > 0 {
				f.Add(h.Alg, []byte(h.JWK))
			}
		}
	}
	v := mustVerifier(f, proof.Config{Algorithms: proof.SupportedAlgorithms(), MaxSize: 1 << 20})
	f.Fuzz(func(t *testing.T, alg string, jwk []byte) {
		if !slices.Contains(proof.SupportedAlgorithms(), alg) {
			return
		}
		header := `{"typ":"dpop+jwt","alg":"` + alg + `","jwk":` + string(jwk) + `}`
		claims := `{"htm":"GET","htu":"https://a.example/","iat":1,"jti":"a"}`
		encode := base64.RawURLEncoding.EncodeToString
		p, err := v.Parse(encode([]byte(header))+"."+encode([]byte(claims))+".AA", nil)
		if err != nil {
			return
		}
		// The document as a whole was read as a header, so the key ends where we think.
		var ref jose.JSONWebKey
		if err := ref.UnmarshalJSON(jwk); err != nil || !ref.IsPublic() || !ref.Valid() {
			t.Fatalf("go-jose: %v", err)
		}
		sum, err := ref.Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		own, err := proof.Thumbprint(p.Header.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		if want := encode(sum); p.Header.Thumbprint() != want || own != want {
			t.Fatalf("thumbprints %s and %s, go-jose %s", p.Header.Thumbprint(), own, want)
		}
		m, err := strictObject(jwk)
		if err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		public, err := (&jose.JSONWebKey{Key: ref.Key}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var canonical map[string]string
		if err := json.Unmarshal(public, &canonical); err != nil {
			t.Fatal(err)
		}
		for name, want := range canonical {
			if got, _, _ := text(m, name); got != want {
				t.Fatalf("%s is %q, written again %q", name, got, want)
			}
		}
		for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
			if _, ok := m[name]; ok {
				t.Fatalf("accepted with a private member %s", name)
			}
		}
	})
}
