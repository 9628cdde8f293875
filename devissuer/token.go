// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package devissuer

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// maxTokenRequest bounds the body of a token request. 64 KiB.
const maxTokenRequest = 1 << 16

// tokenError is an answer of RFC 6749, section 5.2.
type tokenError struct {
	status      int
	code        string
	description string
	reason      proof.Reason // for the log; the proof's fault, if it was that
}

func (e *tokenError) Error() string { return e.code + ": " + e.description }

func badRequest(code, description string) error {
	return &tokenError{status: http.StatusBadRequest, code: code, description: description}
}

// serveToken is the token endpoint.
func (h *Handler) serveToken(w http.ResponseWriter, r *http.Request) error {
	grant, err := h.grant(w, r)
	if err != nil {
		return h.refuse(w, r, err)
	}
	answer, err := h.issue(grant)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	w.Header().Set("Cache-Control", "no-store")
	h.logger.Debug("token issued", zap.String("client_id", grant.clientID), zap.String("jkt", grant.jkt))
	return writeJSON(w, http.StatusOK, answer)
}

// grant is what a token request was found worthy of.
type grant struct {
	clientID string
	audience []string
	scope    string
	jkt      string
}

// grant checks a token request, its form first and its proof, which is used up
// thereby, last.
func (h *Handler) grant(w http.ResponseWriter, r *http.Request) (grant, error) {
	var g grant
	form, err := readForm(w, r)
	if err != nil {
		return g, err
	}
	if g.clientID, err = h.authenticate(r, form); err != nil {
		return g, err
	}
	switch form.Get("grant_type") {
	case "client_credentials":
	case "":
		return g, badRequest("invalid_request", "grant_type is missing")
	default:
		return g, badRequest("unsupported_grant_type", "only client_credentials is supported")
	}
	if g.scope, err = h.scope(form.Get("scope")); err != nil {
		return g, err
	}
	if g.audience, err = h.audience(form["resource"]); err != nil {
		return g, err
	}
	g.jkt, err = h.checkProof(r)
	return g, err
}

// readForm reads the body. No parameter but resource may come twice (RFC 6749,
// section 3.2; RFC 8707, section 2).
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType != "application/x-www-form-urlencoded" {
		return nil, badRequest("invalid_request", "the body must be application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxTokenRequest)
	if err := r.ParseForm(); err != nil {
		return nil, badRequest("invalid_request", "the body cannot be read")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && name != "resource" {
			return nil, badRequest("invalid_request", "a parameter is repeated")
		}
	}
	return r.PostForm, nil
}

// authenticate finds out who asks: by HTTP Basic or by parameters, not both
// (RFC 6749, section 2.3).
func (h *Handler) authenticate(r *http.Request, form url.Values) (string, error) {
	id, secret := form.Get("client_id"), form.Get("client_secret")
	refused := &tokenError{status: http.StatusUnauthorized, code: "invalid_client", description: "unknown client or wrong secret"}
	if r.Header.Get("Authorization") != "" {
		user, password, ok := r.BasicAuth()
		if !ok {
			return "", refused
		}
		if secret != "" {
			return "", badRequest("invalid_request", "the client authenticates in two ways")
		}
		basicID, err1 := url.QueryUnescape(user)
		basicSecret, err2 := url.QueryUnescape(password)
		if err1 != nil || err2 != nil || (id != "" && id != basicID) {
			return "", refused
		}
		id, secret = basicID, basicSecret
	}
	if id == "" {
		return "", badRequest("invalid_request", "client_id is missing")
	}
	if !validClientID(id) {
		return "", badRequest("invalid_request", "client_id must have 1 to 64 letters, digits and -._~:/")
	}
	if len(h.Clients) == 0 {
		return id, nil
	}
	for _, c := range h.Clients {
		if c.ID == id && subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) == 1 {
			return id, nil
		}
	}
	return "", refused
}

func (h *Handler) scope(asked string) (string, error) {
	if asked == "" {
		return strings.Join(h.Scopes, " "), nil
	}
	for s := range strings.SplitSeq(asked, " ") {
		if !validScope(s) {
			return "", badRequest("invalid_scope", "the scope is malformed")
		}
		if len(h.Scopes) > 0 && !slices.Contains(h.Scopes, s) {
			return "", badRequest("invalid_scope", "a scope is not supported")
		}
	}
	return asked, nil
}

// audience is all that is configured, or what the client chose of it (RFC 8707,
// section 2).
func (h *Handler) audience(resources []string) ([]string, error) {
	if len(resources) == 0 {
		return h.Audience, nil
	}
	for _, r := range resources {
		if !slices.Contains(h.Audience, r) {
			return nil, badRequest("invalid_target", "the resource is not known here")
		}
	}
	return resources, nil
}

// checkProof verifies the request's proof and returns its key's thumbprint. A
// token without a key is not to be had here.
func (h *Handler) checkProof(r *http.Request) (string, error) {
	fields := r.Header.Values("DPoP")
	switch len(fields) {
	case 0:
		return "", badRequest("invalid_dpop_proof", "the DPoP header is missing")
	case 1:
	default:
		return "", badRequest("invalid_dpop_proof", "there are several DPoP headers")
	}

	now := h.now()
	request := &proof.Request{Method: r.Method, Target: h.tokenURL, Now: now}
	if h.Nonce {
		request.Nonces, request.RequireNonce = h.state, true
	}
	p, err := h.verifier.Verify(fields[0], request)
	if err != nil {
		return "", proofError(err)
	}
	jkt := p.Header.Thumbprint()
	switch h.state.seen.use(jkt, p.ID, now) {
	case seenBefore:
		return "", &tokenError{http.StatusBadRequest, "invalid_dpop_proof", "the proof was used before", "jti_replayed"}
	case seenFirst:
	case seenFull:
		return "", &tokenError{http.StatusServiceUnavailable, "temporarily_unavailable", "too many requests for now", ""}
	}
	return jkt, nil
}

func proofError(err error) error {
	reason := proof.ReasonOf(err)
	if reason.Challenge() {
		return &tokenError{http.StatusBadRequest, "use_dpop_nonce", "the proof needs the nonce of this answer", reason}
	}
	// Developers read this, and it is their own proof: say what is wrong.
	return &tokenError{http.StatusBadRequest, "invalid_dpop_proof", "the proof is refused: " + strings.ReplaceAll(string(reason), "_", " "), reason}
}

// issue signs the access token (RFC 9068, section 2; RFC 9449, section 6.1).
func (h *Handler) issue(g grant) (map[string]any, error) {
	now := h.now()
	lifetime := time.Duration(h.Lifetime)
	claims := map[string]any{
		"iss":       h.Issuer,
		"sub":       g.clientID, // no user: the client itself (RFC 9068, section 2.2)
		"client_id": g.clientID,
		"aud":       g.audience,
		"iat":       now.Unix(),
		"exp":       now.Add(lifetime).Unix(),
		"jti":       rand.Text(),
		"cnf":       map[string]string{"jkt": g.jkt},
	}
	answer := map[string]any{
		"token_type": "DPoP",
		"expires_in": int64(lifetime / time.Second),
	}
	if g.scope != "" {
		claims["scope"] = g.scope
		answer["scope"] = g.scope
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, err
	}
	signed, err := h.state.signer.Sign(payload)
	if err != nil {
		return nil, err
	}
	answer["access_token"], err = signed.CompactSerialize()
	return answer, err
}

// refuse answers with an error. It never says anything that the client sent.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	var te *tokenError
	if !errors.As(err, &te) {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	h.logger.Info("token refused", zap.String("error", te.code), zap.String("reason", string(te.reason)))
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case te.code == "use_dpop_nonce":
		w.Header().Set("DPoP-Nonce", h.state.newNonce(h.now()))
	case te.status == http.StatusUnauthorized && r.Header.Get("Authorization") != "":
		w.Header().Set("WWW-Authenticate", `Basic realm="dpop_dev_issuer"`)
	case te.status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "60")
	}
	return writeJSON(w, te.status, map[string]string{"error": te.code, "error_description": te.description})
}

// validClientID keeps client IDs to what needs no quoting anywhere: they end up
// in the demonstration's answers as they are.
func validClientID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~:/", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// validScope reports whether s is one scope-token of RFC 6749, section 3.3.
func validScope(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}
