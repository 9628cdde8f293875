// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// Nonce configures server-chosen nonces (RFC 9449, section 9). They hold the
// time, so that a proof cannot be made in advance, and a client whose clock is
// wrong needs none: a live nonce stands in for the proof's `iat`, unless that is
// more than a day ahead, and for `exp` and `nbf`. Nothing is stored per client;
// nodes that share Caddy's storage accept each other's.
type Nonce struct {
	// Mode is `off`, `optional` or `required`. `optional` lets proofs without
	// a nonce pass as before and heals clients with a wrong clock; it does not
	// keep anybody from leaving the nonce out (RFC 9449, section 11.3).
	// `required` refuses proofs without a live nonce. Default: `off`.
	Mode string `json:"mode,omitempty"`

	// Lifetime is how long after it was made a nonce is accepted. Default: 5m;
	// from 10s to 1h. Clients get a new one when half of it is over.
	Lifetime *caddy.Duration `json:"lifetime,omitempty"`
}

// Modes and bounds of nonces.
const (
	nonceOff      = "off"
	nonceOptional = "optional"
	nonceRequired = "required"

	defaultNonceLifetime = 5 * time.Minute
	minNonceLifetime     = 10 * time.Second
	maxNonceLifetime     = time.Hour
)

func (n *Nonce) enabled() bool { return n != nil && n.Mode != nonceOff && n.Mode != "" }

func (n *Nonce) lifetime() time.Duration { return durationOr(n.Lifetime, defaultNonceLifetime) }

func (n *Nonce) check() error {
	if n == nil {
		return nil
	}
	switch n.Mode {
	case "":
		return errors.New("nonce: mode is missing: it takes off, optional or required")
	case nonceOff, nonceOptional, nonceRequired:
	default:
		return optionError("nonce", n.Mode, "off, optional or required")
	}
	if l := n.lifetime(); l < minNonceLifetime || l > maxNonceLifetime {
		return optionError("nonce lifetime", l, "a duration from 10s to 1h")
	}
	return nil
}

// nonceChecker is what one handler makes of the nonces that all share.
type nonceChecker struct {
	keys     *nonceKeys
	lifetime time.Duration
	skew     time.Duration
	required bool
}

func (h *Handler) provisionNonces(ctx caddy.Context) error {
	if !h.Nonce.enabled() {
		return nil
	}
	keys, err := h.app.nonceKeys(ctx)
	if err != nil {
		return err
	}
	h.nonces = &nonceChecker{
		keys:     keys,
		lifetime: h.Nonce.lifetime(),
		skew:     h.clockSkew(),
		required: h.Nonce.Mode == nonceRequired,
	}
	keys.cover(h.nonces.lifetime)
	return nil
}

// CheckNonce implements proof.NonceChecker. A nonce from up to `clock_skew`
// ahead is live: another node's clock made it.
func (n *nonceChecker) CheckNonce(nonce string, now time.Time) (issued time.Time, state proof.NonceState) {
	issued, ok := n.keys.find(nonce, now.Add(n.skew))
	switch {
	case !ok || issued.After(now.Add(n.skew)):
		return time.Time{}, proof.NonceUnknown
	case now.Sub(issued) > n.lifetime:
		return issued, proof.NonceStale
	}
	return issued, proof.NonceLive
}

// setNonce puts a nonce on a refusal: on every nonce challenge, and on a
// later failure of a proof whose nonce needs replacing.
func (h *Handler) setNonce(w http.ResponseWriter, c *check, answer refusal) {
	if h.nonces == nil {
		return
	}
	if answer.code == errUseNonce || h.wantsFreshNonce(c) {
		w.Header().Set("Dpop-Nonce", h.nonces.keys.current(c.now))
	}
}

// refreshNonce puts a new nonce on the answer to a good proof whose nonce is
// past half its life (RFC 9449, section 8.2), and keeps shared caches from
// handing it to others.
func (h *Handler) refreshNonce(w http.ResponseWriter, c *check) {
	if h.nonces == nil || !h.wantsFreshNonce(c) {
		return
	}
	writer, ok := w.(*headerWriter)
	if !ok {
		return
	}
	writer.nonce = h.nonces.keys.current(c.now)
}

// dropForeign removes a DPoP-Nonce of the upstream's: a client would send it in its
// next proof, here, and be challenged every time. Those of another dpop on the
// request are ours as well.
func (n *nonceChecker) dropForeign(header http.Header) {
	for _, nonce := range header["Dpop-Nonce"] {
		if _, state := n.CheckNonce(nonce, n.keys.now()); state != proof.NonceLive {
			delete(header, "Dpop-Nonce")
			return
		}
	}
}

func (h *Handler) wantsFreshNonce(c *check) bool {
	return c.proof != nil && !c.proof.NonceIssuedAt.IsZero() &&
		c.now.Sub(c.proof.NonceIssuedAt) > h.nonces.lifetime/2
}
