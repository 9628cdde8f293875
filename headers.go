// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// headerWriter sets what must win over the upstream's headers when the
// response begins: reverse_proxy adds to what is there.
type headerWriter struct {
	caddyhttp.ResponseWriterWrapper
	nonce string
	ours  *nonceChecker // nil without nonces
	cors  *corsPolicy
	req   *http.Request
	wrote bool
}

// guard wraps a response whose headers we have a say in.
func (h *Handler) guard(w http.ResponseWriter, r *http.Request) *headerWriter {
	return &headerWriter{
		ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		ours:                  h.nonces,
		cors:                  h.cors,
		req:                   r,
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *headerWriter) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		w.settle()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *headerWriter) Write(b []byte) (int, error) {
	w.settle()
	return w.ResponseWriter.Write(b)
}

// settle sets the headers, once.
func (w *headerWriter) settle() {
	if w.wrote {
		return
	}
	w.wrote = true
	header := w.Header()
	if w.ours != nil {
		w.ours.dropForeign(header)
	}
	if w.nonce != "" {
		header["Dpop-Nonce"] = []string{w.nonce}
		keepFromSharedCaches(header)
	}
	if w.cors != nil {
		w.cors.apply(header, w.req)
	}
}

// keepFromSharedCaches adds `private` unless the response already says
// something at least as strict.
func keepFromSharedCaches(header http.Header) {
	control := strings.ToLower(strings.Join(header["Cache-Control"], ","))
	if strings.Contains(control, "no-store") || strings.Contains(control, "private") {
		return
	}
	header.Add("Cache-Control", "private")
}
