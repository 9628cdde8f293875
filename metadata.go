// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

func init() {
	caddy.RegisterModule(new(MetadataHandler))
}

// Metadata publishes OAuth 2.0 protected resource metadata (RFC 9728), from
// which clients learn where to get a token and that it must be bound. The
// document is generated from the configuration and never depends on what a
// request says; one is made for each public URL.
type Metadata struct {
	// Path is the path of the resource on its public URL. The document is found
	// by inserting `/.well-known/oauth-protected-resource` before it (RFC 9728,
	// section 3.1). Default: the path of the public URL.
	Path string `json:"path,omitempty"`

	// Fields are further members of the document, such as `resource_name` or
	// `resource_documentation`. Those that follow from the configuration
	// cannot be overridden, except `scopes_supported`.
	Fields map[string]json.RawMessage `json:"fields,omitempty"`
}

// wellKnown is where documents are, RFC 9728, section 3.
const wellKnown = "/.well-known/oauth-protected-resource"

// resourceMetadata are the documents of one handler, in the order of its
// public URLs.
type resourceMetadata struct {
	documents []*document
}

// document is one document, where it is and what it says.
type document struct {
	proof.Origin // of the public URL
	path         string
	url          string
	body         []byte
}

func (h *Handler) provisionMetadata(caddy.Context) error {
	if h.Metadata == nil {
		return nil
	}
	if len(h.endpoints) == 0 {
		return errors.New("metadata: add public_url: the document names the resource and must not depend on what Host says")
	}
	if p := h.Metadata.Path; p != "" && (!strings.HasPrefix(p, "/") || strings.ContainsAny(p, "?#*{} ")) {
		return optionError("metadata", p, "a path that begins with a slash")
	}
	h.meta = new(resourceMetadata)
	for _, e := range h.endpoints {
		d, err := h.document(e)
		if err != nil {
			return fmt.Errorf("metadata: %w", err)
		}
		if err := h.app.publish(d); err != nil {
			return err
		}
		h.meta.documents = append(h.meta.documents, d)
	}
	return nil
}

// document generates the document of one public URL.
func (h *Handler) document(e endpoint) (*document, error) {
	base := e.Scheme() + "://" + e.Host()
	path := strings.TrimPrefix(e.String(), base)
	if h.Metadata.Path != "" {
		path = strings.TrimSuffix(path, "/") + h.Metadata.Path
	}
	if path == "/" {
		path = ""
	}
	if target, err := proof.ParseTarget(base + path); err != nil || path != "" && target.String() != base+path {
		return nil, optionError("metadata", h.Metadata.Path, "a path in the normal form of RFC 3986")
	}
	members := map[string]any{
		"resource":                          base + path,
		"bearer_methods_supported":          []string{"header"},
		"dpop_signing_alg_values_supported": h.algorithms(),
		"dpop_bound_access_tokens_required": !h.acceptsBearer(),
	}
	if servers := h.authorizationServers(); len(servers) > 0 {
		members["authorization_servers"] = servers
	}
	if h.MTLS {
		members["tls_client_certificate_bound_access_tokens"] = true
	}
	for name, value := range h.Metadata.Fields {
		if _, taken := members[name]; taken {
			return nil, fmt.Errorf("%q follows from the configuration and cannot be set", name)
		}
		members[name] = value
	}
	if _, set := members["scopes_supported"]; !set && len(h.Scope) > 0 {
		members["scopes_supported"] = h.Scope
	}
	body, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	return &document{Origin: e.Origin, path: wellKnown + path, url: base + wellKnown + path, body: body}, nil
}

func (h *Handler) authorizationServers() []string {
	var servers []string
	for _, issuer := range h.Issuers {
		servers = append(servers, issuer.Issuer)
	}
	if in := h.Introspection; in != nil && in.Issuer != "" && !slices.Contains(servers, in.Issuer) {
		servers = append(servers, in.Issuer)
	}
	return servers
}

// publish registers a document. One directive can become several handlers, so
// the same document may come again; another for the same URL is a mistake.
func (a *App) publish(d *document) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range a.documents {
		if other.url != d.url {
			continue
		}
		if !bytes.Equal(other.body, d.body) {
			return fmt.Errorf("metadata: two different documents for %s: give one of them a path of its own", d.url)
		}
		return nil
	}
	a.documents = append(a.documents, d)
	return nil
}

// serveOwn answers what is addressed to this handler itself: preflights and
// its metadata.
func (h *Handler) serveOwn(w http.ResponseWriter, r *http.Request) bool {
	if h.cors != nil && h.cors.isPreflight(r) {
		h.cors.preflight(w, r)
		return true
	}
	return h.meta != nil && serveDocument(w, r, h.meta.documents)
}

// serveDocument answers when the request is for one of the documents.
func serveDocument(w http.ResponseWriter, r *http.Request, documents []*document) bool {
	path := r.URL.Path
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		path = original.URL.Path
	}
	if !strings.HasPrefix(path, wellKnown) {
		return false
	}
	d := findDocument(r, path, documents)
	if d == nil {
		return false
	}
	header := w.Header()
	// Public by nature, and pages of any origin need it before they can ask
	// for a token.
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Cache-Control", "public, max-age=300")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		header.Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			_, _ = w.Write(d.body)
		}
	case http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", "GET, HEAD")
		header.Set("Access-Control-Allow-Headers", "*")
		w.WriteHeader(http.StatusNoContent)
	default:
		header.Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
	return true
}

// findDocument looks by path; Host, and then the scheme, choose only between
// documents of several public URLs.
func findDocument(r *http.Request, path string, documents []*document) *document {
	var found, only *document
	matches := 0
	scheme, host := connection(r)
	for _, d := range documents {
		if d.path != path {
			continue
		}
		only = d
		matches++
		if sameHost(d.Origin, host) && (found == nil || d.Scheme() == scheme) {
			found = d
		}
	}
	if found == nil && matches == 1 {
		return only
	}
	return found
}

// MetadataHandler serves the metadata documents of all `dpop` handlers, by
// host and path (RFC 9728). It has no options. A `dpop` without matcher serves
// its own document; this directive is for those that have one.
type MetadataHandler struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (*MetadataHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.dpop_metadata",
		New: func() caddy.Module { return new(MetadataHandler) },
	}
}

// Provision finds the app that holds the documents.
func (m *MetadataHandler) Provision(ctx caddy.Context) error {
	app, err := ctx.App("dpop")
	if err != nil {
		return fmt.Errorf("loading the dpop app: %w", err)
	}
	m.app = app.(*App)
	return nil
}

// ServeHTTP serves a document or passes the request on.
func (m *MetadataHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if serveDocument(w, r, m.app.documents) {
		return nil
	}
	return next.ServeHTTP(w, r)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*MetadataHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*MetadataHandler)(nil)
)
