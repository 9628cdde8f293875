// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/proof"
	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/token"
)

// refusalError is a refusal by this package itself.
type refusalError struct {
	reason Reason
	err    error // the cause, for the log; may be nil
}

func refuse(reason Reason, cause error) error { return &refusalError{reason, cause} }

func (e *refusalError) Error() string {
	if e.err == nil {
		return string(e.reason)
	}
	return fmt.Sprintf("%s: %v", e.reason, e.err)
}

func (e *refusalError) Unwrap() error { return e.err }

// reasonOf names the reason of an error from any of the packages. What has
// none is a fault of ours and answered like an outage: closed.
func reasonOf(err error) Reason {
	if own, ok := errors.AsType[*refusalError](err); ok {
		return own.reason
	}
	if r := proof.ReasonOf(err); r != "" {
		return Reason(r)
	}
	if r := token.ReasonOf(err); r != "" {
		return Reason(r)
	}
	return ReasonReplayUnavailable
}

// refuse answers: challenge, nonce, and an error for Caddy's error routes.
func (h *Handler) refuse(w http.ResponseWriter, c *check, reason Reason, answer refusal, err error) error {
	answerAtOnce(w, c.r)
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	switch answer.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest:
		if h.ProofOnly {
			return h.refuseAsTokenEndpoint(w, c, answer)
		}
		h.challengesFor(c.r).set(header, reason, c.credentials.bearer)
		h.setNonce(w, c, answer)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		header.Set("Retry-After", retryAfter(waitOf(err)))
	}
	// Caddy would look for its caller to name where the error comes from. That it is from here is known.
	return caddyhttp.Error(answer.status, caddyhttp.HandlerError{Err: err, Trace: refusedHere})
}

const refusedHere = "dpop.(*Handler).refuse (refuse.go)"

// bodyPatience is how long a refusal waits for the rest of a request's body.
const bodyPatience = 250 * time.Millisecond

// answerAtOnce keeps a client that sends its body slowly, or waits to be asked
// for it, from holding up its own refusal: net/http reads what is left of a
// body before it answers. A body that is there is still read, so that the
// connection stays good for the next try; after a stalled one it is closed.
// (Answering while the body comes, EnableFullDuplex, is no way: net/http
// panics when the connection is used again.)
func answerAtOnce(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// What cannot do it is no connection of net/http.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience))
	}
}

// answer is what the tables say. A token endpoint's status for what a client did
// wrong is 400 (RFC 6749, section 5.2).
func (h *Handler) answer(reason Reason) refusal {
	answer, ok := refusals[reason]
	if !ok {
		answer = refusals[ReasonReplayUnavailable]
	}
	if other, ok := nonceRefusals[reason]; ok && h.nonces != nil {
		answer = other
	}
	if h.ProofOnly && answer.status == http.StatusUnauthorized {
		answer.status = http.StatusBadRequest
	}
	return answer
}

// waitOf is how long the client should wait before it comes back.
func waitOf(err error) time.Duration {
	if terr, ok := errors.AsType[*token.Error](err); ok && terr.RetryAfter > 0 {
		return terr.RetryAfter
	}
	return replay.RetryAfter(err)
}

// refuseAsTokenEndpoint answers as RFC 6749, section 5.2, and RFC 9449,
// section 5, want it: 400 with JSON.
func (h *Handler) refuseAsTokenEndpoint(w http.ResponseWriter, c *check, answer refusal) error {
	h.setNonce(w, c, answer)
	body, err := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{answer.code, answer.description})
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Pragma", "no-cache")
	w.WriteHeader(answer.status)
	_, err = w.Write(body)
	return err
}
