// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/token"
)

// userIDPlaceholder fills `user_id` of Caddy's access log and REMOTE_USER of
// FastCGI.
const userIDPlaceholder = "http.auth.user.id"

// publish makes what a request proved known to the handlers behind us and to
// the access log.
func (h *Handler) publish(c *check) {
	x := c.x
	x.reason, x.code = "", ""
	x.claims, x.jkt, x.userID = c.claims, "", ""
	if c.proof != nil {
		x.jkt = c.proof.Header.Thumbprint()
	}
	if c.claims != nil {
		x.userID = h.userID(c.claims)
		overrideUserID(c.r, x.userID)
	}
	h.mapPlaceholders(c.r, x)
}

// userID is the token's subject: unique at its issuer only (RFC 9068, section
// 2.2), so with several of them both.
func (h *Handler) userID(claims *token.Claims) string {
	if claims.Subject != "" && (len(h.sources) > 1 || len(h.sources) == 1 && h.opaque != nil) {
		return claims.Issuer + "|" + claims.Subject
	}
	return claims.Subject
}

// overrideUserID makes sure that placeholder is asked: what an earlier handler
// has set was another's word.
func overrideUserID(r *http.Request, id string) {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if repl == nil {
		return
	}
	if earlier, ok := repl.Get(userIDPlaceholder); ok && earlier != id {
		repl.Set(userIDPlaceholder, id)
	}
}

// publishRefusal sets what error routes can ask for.
func (h *Handler) publishRefusal(c *check, reason Reason, answer refusal) {
	x := c.x
	x.reason, x.code = reason, answer.code
	x.claims, x.jkt, x.userID = nil, "", ""
	h.mapPlaceholders(c.r, x)
}

// mapPlaceholders hooks the exchange into the request's replacer, once.
func (h *Handler) mapPlaceholders(r *http.Request, x *exchange) {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if repl != nil && !x.mapped {
		x.mapped = true
		repl.Map(x.placeholder)
		if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok && keepsLogs(r) {
			extra.Set(zap.Object("dpop", x))
		}
	}
}

// keepsLogs says whether the server that the request came in by writes an
// access log, so that a field for it is worth its making.
func keepsLogs(r *http.Request) bool {
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return server == nil || server.Logs != nil
}

// placeholder answers {http.dpop.*} and {http.auth.user.id}. Unset ones are empty, not unknown, so that
// a template written for success also works on a refusal, and with `mode monitor` no upstream takes a
// placeholder's own text for somebody's name.
func (x *exchange) placeholder(key string) (any, bool) {
	if key == userIDPlaceholder {
		// Unknown only where nothing is said about a user: `proof_only`.
		return x.userID, x.claims != nil || x.reason != ""
	}
	name, ok := strings.CutPrefix(key, "http.dpop.")
	if !ok {
		return nil, false
	}
	switch name {
	case "jkt":
		return x.jkt, true
	case "error":
		return x.code, true
	case "reason":
		return string(x.reason), true
	}
	if x.claims == nil {
		return "", true
	}
	switch name {
	case "client_id":
		return x.claims.ClientID, true
	case "scope":
		return strings.Join(x.claims.Scopes, " "), true
	case "issuer":
		return x.claims.Issuer, true
	}
	if path, ok := strings.CutPrefix(name, "claims."); ok {
		value, _ := x.claims.Value(strings.Split(path, "/")...)
		return claimText(value), true
	}
	return nil, false
}

// claimText writes a claim: strings and numbers as they are, lists of strings
// joined by spaces, everything else as JSON.
func claimText(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		if strings.ContainsFunc(v, unicode.IsControl) {
			return jsonText(v) // fit for a header field, and still one of a kind
		}
		return v
	case json.Number:
		return v.String()
	case []any:
		words := make([]string, 0, len(v))
		for _, element := range v {
			word, ok := element.(string)
			if !ok || strings.ContainsFunc(word, unicode.IsControl) {
				return jsonText(v)
			}
			words = append(words, word)
		}
		return strings.Join(words, " ")
	default:
		return jsonText(v)
	}
}

func jsonText(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text)
}

// MarshalLogObject writes the field `dpop` of the access log.
func (x *exchange) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for _, field := range []struct{ name, value string }{
		{"jkt", x.jkt},
		{"error", x.code},
		{"reason", string(x.reason)},
	} {
		if field.value != "" {
			enc.AddString(field.name, field.value)
		}
	}
	if x.claims != nil && x.claims.ClientID != "" {
		enc.AddString("client_id", x.claims.ClientID)
	}
	return nil
}
