// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"time"

	"go.uber.org/zap"
)

// Provider is what a Caddy module in the namespace http.dpop.replay
// implements, so that a store can live in a package of its own and this one
// needs to know nothing of Caddy.
type Provider interface {
	// OpenReplay returns the store to claim proofs in. It is called while a
	// configuration is provisioned, also by `caddy validate`: it must neither
	// touch the network nor write anything. The module releases the store in
	// its own Cleanup.
	OpenReplay(p Params) (Store, error)
}

// Adopter is what a [Store] implements that outlives the configuration it was
// opened by.
type Adopter interface {
	// Adopt puts the limits and the logger of another configuration in force. It
	// is called when that one has taken over, not when it opens the store: its
	// load can still fail then, and the one before goes on.
	Adopt(p Params)
}

// Params is what all stores of one configuration share.
type Params struct {
	// Space keeps apart what must not mix: "" for proofs that come with an
	// access token, "proof_only" for those that strangers may make.
	Space string

	// MaxEntries bounds the live entries of the store (0: the store's default).
	MaxEntries int

	// MaxPerKey bounds the live entries of one client key (0: the default).
	MaxPerKey int

	// Timeout bounds one claim (0: the store's default).
	Timeout time.Duration

	// Logger is the logger of the generation that opens the store, or that takes
	// it over.
	Logger *zap.Logger

	// OnBatch, when set, is told how many claims each round trip carried. It
	// must return at once and must not call the store. Like the store it
	// outlives the generation.
	OnBatch func(claims int)
}
