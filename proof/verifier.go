// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	defaultMaxAge    = 60 * time.Second
	defaultClockSkew = 30 * time.Second
	defaultMaxSize   = 8192 // bytes; proofs in the field have 480 to 1200

	// maxClockSkew is the farthest into the future that a proof may be dated (FAPI
	// 2.0 Security Profile, section 5.3.2.1: never more than 60 seconds).
	maxClockSkew = 60 * time.Second
)

// Config says which proofs a [Verifier] accepts. The zero value is a safe default.
type Config struct {
	// Algorithms are the accepted values of alg; empty means [DefaultAlgorithms]. Each
	// further name widens what a client can make the verifier compute: see there.
	Algorithms []string

	// MaxAge is how old a proof may be by its iat claim; zero means 60 seconds. A
	// larger value lets a proof that was overheard be used for longer where it has
	// not been used yet, and makes replay stores grow in proportion.
	MaxAge time.Duration

	// ClockSkew is how far the client's clock may differ, either way: a proof passes
	// from ClockSkew before its iat to MaxAge plus ClockSkew after it. Nil means 30
	// seconds, zero means none, more than 60 seconds is refused.
	ClockSkew *time.Duration

	// MaxSize is the largest compact proof in bytes that is decoded at all; zero
	// means 8192.
	MaxSize int
}

// Verifier verifies proofs by one configuration. It is safe for concurrent use.
type Verifier struct {
	names     []string
	accepted  [len(algorithms)]bool
	maxAge    time.Duration
	clockSkew time.Duration
	maxSize   int

	composites composites
}

// NewVerifier returns a verifier for c, or an error that names the value at fault
// and the values accepted.
func NewVerifier(c Config) (*Verifier, error) {
	v := &Verifier{
		names:     slices.Clone(c.Algorithms),
		maxAge:    c.MaxAge,
		clockSkew: defaultClockSkew,
		maxSize:   c.MaxSize,
	}
	if len(v.names) == 0 {
		v.names = DefaultAlgorithms()
	}
	for _, name := range v.names {
		i := algorithmIndex(name)
		if i < 0 {
			return nil, fmt.Errorf("unknown proof algorithm %q, must be one of %s",
				name, strings.Join(SupportedAlgorithms(), ", "))
		}
		if v.accepted[i] {
			return nil, fmt.Errorf("proof algorithm %q is listed twice", name)
		}
		v.accepted[i] = true
	}
	if v.maxAge == 0 {
		v.maxAge = defaultMaxAge
	}
	if v.maxAge < 0 {
		return nil, fmt.Errorf("maximum age of a proof is %v, must be positive", c.MaxAge)
	}
	if c.ClockSkew != nil {
		v.clockSkew = *c.ClockSkew
	}
	if v.clockSkew < 0 || v.clockSkew > maxClockSkew {
		return nil, fmt.Errorf("clock skew is %v, must be between 0s and %v", v.clockSkew, maxClockSkew)
	}
	if v.maxSize == 0 {
		v.maxSize = defaultMaxSize
	}
	if v.maxSize < 0 {
		return nil, fmt.Errorf("maximum size of a proof is %d bytes, must be positive", c.MaxSize)
	}
	return v, nil
}

// Algorithms returns the accepted algorithms in the order configured, for the
// algs parameter of a challenge (RFC 9449, section 7.1).
func (v *Verifier) Algorithms() []string { return slices.Clone(v.names) }

// Verify checks everything about a proof that needs no memory: Parse, Match and
// VerifySignature. What is left to the caller: that [Header.Thumbprint] is the
// cnf.jkt of the access token, and that the proof has not been used before.
func (v *Verifier) Verify(compact string, r *Request) (*Proof, error) {
	p, err := v.Parse(compact, nil)
	if err != nil {
		return nil, err
	}
	if err := v.Match(p, r); err != nil {
		return nil, err
	}
	if err := p.VerifySignature(); err != nil {
		return nil, err
	}
	return p, nil
}

// Proof is what a parsed proof says. Nothing in it is to be believed before
// [Verifier.Match] and [Proof.VerifySignature] have passed. It is not safe for
// concurrent use.
type Proof struct {
	// Header is the protected header with the client's key; keep a clone of it to have
	// the next proof of the same client parsed faster.
	Header *Header

	ID     string // jti: 1 to 256 bytes, not blank
	Method string // htm
	URI    string // htu as written
	Nonce  string // nonce, or ""

	// IssuedAt is iat. Where it has a fraction of a second the window is checked for
	// the whole second before.
	IssuedAt time.Time

	// NonceIssuedAt is when the nonce was issued. Set by Match; zero when there was
	// no nonce to look at.
	NonceIssuedAt time.Time

	signed    string // the signing input: header and payload as sent
	signature string // decoded
	der       [maxDER]byte

	hasNonce  bool
	ath       string // "" when absent: no hash is empty
	hasATH    bool
	expiry    time.Time // exp, zero when absent
	notBefore time.Time // nbf, zero when absent

	// vetted: a header with this very key has passed before, so that what is checked
	// once per key need not be checked again.
	vetted     bool
	composites *composites
}

// Offset returns iat minus now: how far the client's clock seems to be ahead,
// negative when it is behind.
func (p *Proof) Offset(now time.Time) time.Duration { return p.IssuedAt.Sub(now) }

// Parse reads a proof and checks all that depends on nothing but the proof: its
// form, header, key and claims (RFC 9449, section 4.3, checks 2 to 5 and 7). It
// computes no signature.
//
// A client's protected header is the same text from proof to proof. When known is
// the header of a proof that passed before and the text is equal, its key is
// used again. The outcome is the same with known and without; only the header of
// a proof that passed everything may be handed over.
func (v *Verifier) Parse(compact string, known *Header) (*Proof, error) {
	header, claims, signature, err := v.split(compact)
	if err != nil {
		return nil, err
	}
	p := &Proof{signed: compact[:len(compact)-len(signature)-1], composites: &v.composites}
	switch {
	case known == nil || known.segment != header:
		if p.Header, err = v.parseHeader(header); err != nil {
			return nil, err
		}
		p.vetted = known != nil && known.thumbprint == p.Header.thumbprint
	case !v.accepted[known.algorithm]: // it may have passed another verifier
		return nil, refuse(ReasonAlgUnsupported, "")
	default:
		p.Header, p.vetted = known, true
	}
	text, err := p.decode(claims, signature)
	if err != nil {
		return nil, err
	}
	if err := p.readClaims(text); err != nil {
		return nil, err
	}
	return p, nil
}
