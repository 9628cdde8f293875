// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/proof"
	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/token"
)

// ServeHTTP lets the request through or refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.serveOwn(w, r) {
		return nil
	}
	if h.nonces == nil && h.cors == nil {
		return h.serve(w, r, next)
	}
	guarded := h.guard(w, r)
	err := h.serve(guarded, r, next)
	if err != nil {
		guarded.settle() // the answer is written by somebody else
	}
	return err
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	c := check{h: h, r: r, x: exchangeOf(r), now: h.app.now()}
	begin := time.Now()
	err := c.run()
	checkSeconds.Observe(time.Since(begin).Seconds())
	if err != nil {
		reason := reasonOf(err)
		answer := h.answer(reason)
		h.countRefusal(&c, reason, answer)
		h.report(&c, reason, answer, err)
		if h.Mode != wordMonitor {
			return h.refuse(w, &c, reason, answer, err)
		}
		return next.ServeHTTP(w, r)
	}
	h.countAccepted(&c)
	c.remember()
	h.publish(&c)
	h.refreshNonce(w, &c)
	h.forward(r, &c)
	if c.claims == nil || c.claims.Expiry.IsZero() {
		return next.ServeHTTP(w, r)
	}
	s := h.endWithToken(w, r, &c)
	defer s.end()
	return next.ServeHTTP(s, r.WithContext(s))
}

// check is the way of one request through one handler.
type check struct {
	h   *Handler
	r   *http.Request
	x   *exchange
	now time.Time

	credentials credentials
	hash        *tokenHash // of the token, in the exchange
	source      *source
	record      *token.Record // nil while the token is new
	answered    bool          // the claims are from an earlier introspection
	claims      *token.Claims // nil with proof_only
	proof       *proof.Proof  // nil with Bearer
}

// run raises the three questions, cheap before dear, and does the one thing
// that cannot be undone, using up the jti, last: only a proof that passed
// everything else gets there, so that nobody without a valid token can fill
// the store or use up somebody else's jti.
func (c *check) run() (err error) {
	// Early data can be replayed by the network (RFC 8470, section 5.2).
	if c.r.TLS != nil && !c.r.TLS.HandshakeComplete {
		return refuse(ReasonEarlyData, nil)
	}
	if c.credentials, err = c.h.credentials(c.x); err != nil {
		return err
	}
	if c.credentials.token != "" {
		// Common tokens fit, and are not copied to the heap.
		c.x.hash = sha256.Sum256(append(make([]byte, 0, 2048), c.credentials.token...))
		c.hash = &c.x.hash
		c.source, c.record = c.h.cached(c.hash)
	}
	if c.credentials.bearer {
		return c.runBearer()
	}
	if err := c.parseProof(); err != nil {
		return err
	}
	if c.h.ProofOnly {
		if err := c.proof.VerifySignature(); err != nil {
			return err
		}
		return c.claim()
	}
	// A token that only its authorization server can judge waits until the
	// proof's signature held, so that a stranger cannot make us call out.
	deferred, err := c.findToken()
	if err != nil {
		return err
	}
	if !deferred {
		if err := c.checkBinding(); err != nil {
			return err
		}
	}
	if err := c.proof.VerifySignature(); err != nil {
		return err
	}
	if deferred {
		if err := c.verifyToken(); err != nil {
			return err
		}
		if err := c.checkBinding(); err != nil {
			return err
		}
	}
	if err := c.source.policy.CheckScope(c.claims); err != nil {
		return err
	}
	return c.claim()
}

// runBearer is the way of a token in the scheme Bearer, where that is
// accepted at all: never for one that is bound to a key.
func (c *check) runBearer() error {
	if deferred, err := c.findToken(); err != nil {
		return err
	} else if deferred {
		if c.h.Bearer != wordAllow && c.certificate() == nil {
			return refuse(ReasonBearerRefused, nil) // whatever the answer: a stranger shall not make us call out
		}
		if err := c.verifyToken(); err != nil {
			return err
		}
	}
	if err := c.checkBearer(); err != nil {
		return err
	}
	return c.source.policy.CheckScope(c.claims)
}

// parseProof is everything about the proof that needs no cryptography.
func (c *check) parseProof() (err error) {
	var known *proof.Header
	if c.record != nil {
		known, _ = c.record.Header.Load().(*proof.Header)
	}
	if c.proof, err = c.h.verifier.Parse(c.credentials.proof, known); err != nil {
		return err
	}
	request := proof.Request{Now: c.now}
	if request.Method, request.Target, err = c.h.target(c.r); err != nil {
		return err
	}
	if !c.h.ProofOnly {
		request.AccessTokenHash = c.hash
	}
	if c.h.nonces != nil {
		if err := c.h.nonces.keys.ready(c.r.Context()); err != nil {
			return refuse(ReasonNonceUnavailable, err)
		}
		request.Nonces, request.RequireNonce = c.h.nonces, c.h.nonces.required
	}
	return c.h.verifier.Match(c.proof, &request)
}

// findToken takes the claims from the cache or verifies the token. It says
// whether that has to wait for the proof's signature.
func (c *check) findToken() (deferred bool, err error) {
	if c.record != nil {
		c.claims = c.record.Claims
		return false, c.source.policy.Check(c.claims, c.now)
	}
	if c.source, err = c.h.chooseSource(c.credentials.token); err != nil {
		return false, err
	}
	if c.source == c.h.opaque {
		if claims, ok := c.h.answers.Cached(*c.hash); ok {
			c.claims, c.answered = claims, true
			return false, c.source.policy.Check(c.claims, c.now)
		}
		return true, nil
	}
	return false, c.verifyToken()
}

func (c *check) verifyToken() (err error) {
	if c.claims, err = c.source.Verify(c.r.Context(), c.credentials.token); err != nil {
		return err
	}
	return c.source.policy.Check(c.claims, c.now)
}

// checkBinding holds the key of the proof against the token's confirmation
// (RFC 9449, section 4.3, check 12), and the client certificate where the
// token is bound to one.
func (c *check) checkBinding() error {
	cnf := c.claims.Confirmation
	if cnf.X5TS256 != "" {
		// Also without `mtls`: who bound the token twice wants both proven.
		if err := c.checkCertificate(); err != nil {
			return err
		}
		if c.h.MTLS && cnf.JKT == "" && !cnf.Invalid {
			return nil
		}
	}
	return c.claims.CheckBinding(c.proof.Header.Thumbprint())
}

// checkBearer refuses a token with any confirmation, even a null or
// unreadable one, unless it is a certificate that was presented.
func (c *check) checkBearer() error {
	cnf := c.claims.Confirmation
	switch {
	case c.h.MTLS && !cnf.Invalid && cnf.X5TS256 != "" && cnf.JKT == "":
		return c.checkCertificate()
	case cnf.Present:
		return refuse(Reason(token.BearerBound), nil)
	case c.h.Bearer != wordAllow:
		return refuse(ReasonBearerRefused, nil)
	}
	return nil
}

func (c *check) checkCertificate() error {
	return token.CheckCertificate(c.claims, c.certificate())
}

// certificate is the client's of this connection, nil when there is none.
func (c *check) certificate() []byte {
	if c.r.TLS == nil || len(c.r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return c.r.TLS.PeerCertificates[0].Raw
}

// claim uses up the proof, RFC 9449, section 11.1. It must finish once begun,
// whatever the client does, or the entry would be in doubt; the store bounds
// its own time.
func (c *check) claim() error {
	if c.h.store == nil {
		return nil // `replay off`
	}
	jkt := c.proof.Header.Thumbprint()
	entry := replay.Claim{
		ID:       replay.NewID(jkt, c.proof.ID),
		Owner:    replay.NewOwner(jkt),
		IssuedAt: c.proof.IssuedAt.Unix(),
	}
	if issued := c.nonceIssued(); !issued.IsZero() {
		entry.NonceAt = issued.Unix()
	}
	if c.x.hasClaimed(c.h.store, entry.ID) {
		return nil
	}
	ctx := context.WithoutCancel(c.r.Context())
	if c.h.Mode == wordMonitor {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, monitorTimeout)
		defer cancel()
	}
	begin := time.Now()
	err := c.h.store.Claim(ctx, entry)
	replaySeconds.Observe(time.Since(begin).Seconds())
	if errors.Is(err, replay.ErrReplayed) && c.x.hasClaimedPartOf(c.h.store, entry.ID) {
		// Other nodes have not been asked, so it may not pass either.
		return refuse(ReasonReplayUnavailable, errTwoStores)
	}
	if err != nil {
		return refuse(c.replayReason(err), err)
	}
	c.x.claimed = append(c.x.claimed, claimed{c.h.store, entry.ID})
	return nil
}

// errTwoStores is a fault of the configuration, which no client is to blame for.
var errTwoStores = errors.New("an earlier dpop on this request has `replay memory` and this one `replay storage`: give both the same")

// nonceIssued is when the proof's nonce was made, also where this handler does
// not look at nonces: another one, on the same store, may let the proof pass
// for as long as its nonce lives.
func (c *check) nonceIssued() time.Time {
	if !c.proof.NonceIssuedAt.IsZero() || c.proof.Nonce == "" || c.h.app.nonces == nil {
		return c.proof.NonceIssuedAt
	}
	issued, _ := c.h.app.nonces.find(c.proof.Nonce, c.now.Add(maxClockSkew))
	return issued
}

// monitorTimeout is how long a claim may take where the answer changes nothing.
const monitorTimeout = 250 * time.Millisecond

// replayReason names what a store answered. Whatever it did not expect is an
// outage of ours, never a replay.
func (c *check) replayReason(err error) Reason {
	for _, known := range []struct {
		err    error
		reason Reason
	}{
		{replay.ErrReplayed, ReasonReplayed},
		{replay.ErrTooEarly, ReasonIssuedBeforeStart},
		{replay.ErrTooOld, ReasonWindowRaised},
		{replay.ErrOwnerFull, ReasonKeyOverLimit},
		{replay.ErrFull, ReasonReplayFull},
	} {
		if errors.Is(err, known.err) {
			if _, heals := nonceRefusals[known.reason]; heals && c.proof.NonceIssuedAt.Unix() == c.now.Unix() {
				return ReasonReplayUnavailable // with the nonce of this second, just used, nobody heals
			}
			return known.reason
		}
	}
	return ReasonReplayUnavailable
}

// remember keeps the token, and the header of its client's proofs, for the
// next request. Only what passed everything gets there.
func (c *check) remember() {
	if c.claims == nil {
		return
	}
	if c.record == nil {
		if c.source == c.h.opaque {
			return // has its own cache, with its own times
		}
		if c.h.app.tokens != nil {
			c.record = c.h.app.tokens.Put(*c.hash, c.source.ID(), c.claims)
		}
	}
	if c.record == nil || c.proof == nil {
		return
	}
	if known, _ := c.record.Header.Load().(*proof.Header); known != c.proof.Header {
		c.record.Header.Store(c.proof.Header.Clone())
	}
}
