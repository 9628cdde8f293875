// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"crypto/sha256"
	"time"
)

// ID names a proof for as long as it is remembered: the first 16 bytes of SHA-256(jkt || 0x00 || jti).
//
// A jkt (RFC 7638 thumbprint) is base64url and has no zero byte, so no two pairs run together. A client cannot
// use up another client's jti, since the key is part of the hash; and nothing a client chose gets any further
// than this hash, into no file name, no database key and no log. Two different proofs share an ID with a
// chance of 2^-128, and then the second is refused.
type ID [16]byte

// NewID returns the ID of the proof with this jti by the key with this thumbprint.
func NewID(jkt, jti string) ID {
	buf := make([]byte, 0, 320) // thumbprint 43, jti at most 256 characters in most cases: stays on the stack
	buf = append(buf, jkt...)
	buf = append(buf, 0)
	buf = append(buf, jti...)
	sum := sha256.Sum256(buf)
	return ID(sum[:len(ID{})])
}

// Owner names the key a claim is counted against, so that one client cannot fill a store. It is only ever
// compared, and a clash of two owners makes them share one limit.
type Owner [8]byte

// NewOwner returns the owner for the key with this thumbprint.
func NewOwner(jkt string) Owner {
	sum := sha256.Sum256(append(make([]byte, 0, 64), jkt...)) // stays on the stack
	return Owner(sum[:len(Owner{})])
}

// Claim asks whether this is the first use of a proof. The caller has verified everything else about it.
type Claim struct {
	ID    ID
	Owner Owner

	// IssuedAt is the proof's iat in Unix seconds, rounded down.
	IssuedAt int64

	// NonceAt is the second in which the proof's nonce was issued, when it has one that is still live; else 0.
	// With it the proof cannot be older than the nonce, whatever the client's clock says.
	NonceAt int64
}

// issued returns the second before which this proof cannot have been made, as far as anybody can tell: that of
// the server's nonce if there is one, else what the client says.
func (c Claim) issued() int64 {
	if c.NonceAt != 0 {
		return c.NonceAt
	}
	return c.IssuedAt
}

// Store remembers used proofs. All methods may be called concurrently.
type Store interface {
	// Claim uses up the proof. Nil means that this was its first use, here and on every node that shares the
	// store. [ErrReplayed], [ErrTooEarly] and [ErrTooOld] refuse the proof; [ErrOwnerFull] refuses its key for a
	// while (see [RetryAfter]); [ErrFull] and [ErrUnavailable] say that the store cannot answer. A proof that was
	// refused or whose caller went away may be used up nevertheless: what is uncertain counts as used.
	Claim(ctx context.Context, c Claim) error

	// SetWindow says for how long handlers accept a proof. It is called before the first claim and on every change.
	SetWindow(w Window)

	// Stats reports the store's state. It does not wait for storage or network.
	Stats() Stats

	// Close ends what the store has started, waiting no longer than ctx lasts. Claims after it are refused.
	Close(ctx context.Context) error
}

// Stats is a snapshot of a store's state, for metrics and for people.
type Stats struct {
	Kind       string        // "memory", "storage", "redis"
	Entries    int           // remembered entries, those of other nodes included; expired ones until their room is needed
	MaxEntries int           // limit on Entries; 0: not limited here
	Bytes      int           // memory taken by entries; 0: not known
	CutOff     time.Time     // proofs issued up to this second are refused; zero: not known yet
	Nodes      int           // nodes seen at the last look, this one included; 0: not known
	Batches    uint64        // storage or network round trips that carried claims
	Claims     uint64        // claims carried by these; Claims / Batches is the mean batch size
	Failures   uint64        // round trips that failed
	LastError  error         // of the newest failure; nil once a later round trip has succeeded
	LastTime   time.Duration // duration of the newest round trip
}
