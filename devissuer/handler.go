// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package devissuer

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ServeHTTP answers the paths of an authorization server and passes every
// other request on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	path := r.URL.EscapedPath()
	switch path {
	case "/.well-known/oauth-authorization-server" + h.basePath, // RFC 8414, section 3.1
		h.basePath + "/.well-known/openid-configuration":
		return get(w, r, func() error { return writeJSON(w, http.StatusOK, h.metadata()) })
	case h.basePath + "/jwks":
		return get(w, r, func() error {
			return writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{h.state.publicKey}})
		})
	case h.basePath + "/token":
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			return h.refuse(w, r, &tokenError{status: http.StatusMethodNotAllowed, code: "invalid_request", description: "the token endpoint takes POST only"})
		}
		return h.serveToken(w, r)
	}
	if name, ok := strings.CutPrefix(path, h.basePath+"/"); ok && h.DemoPage {
		if asset, ok := demoAssets[name]; ok {
			return get(w, r, func() error { return asset.serve(w, r) })
		}
	}
	return next.ServeHTTP(w, r)
}

// get runs f for GET and HEAD and refuses every other method.
func get(w http.ResponseWriter, r *http.Request, f func() error) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	return f()
}

// metadata is the document of RFC 8414, section 2.
func (h *Handler) metadata() map[string]any {
	m := map[string]any{
		"issuer":                                h.Issuer,
		"token_endpoint":                        h.tokenURL.String(),
		"jwks_uri":                              h.Issuer + "/jwks",
		"grant_types_supported":                 []string{"client_credentials"},
		"response_types_supported":              []string{},
		"token_endpoint_auth_methods_supported": h.authMethods(),
		"dpop_signing_alg_values_supported":     h.verifier.Algorithms(),

		// What OpenID Connect Discovery 1.0 demands besides, although there
		// are no ID tokens.
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{string(jose.ES256)},

		// A word to whoever finds this document where it should not be.
		"development_only": true,
	}
	if len(h.Scopes) > 0 {
		m["scopes_supported"] = h.Scopes
	}
	return m
}

func (h *Handler) authMethods() []string {
	methods := []string{"client_secret_basic", "client_secret_post"}
	if len(h.Clients) == 0 {
		return append(methods, "none")
	}
	for _, c := range h.Clients {
		if c.Secret == "" {
			return append(methods, "none")
		}
	}
	return methods
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	w.Header().Set("Content-Type", "application/json")
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "no-cache")
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client has gone when this fails
	return nil
}
