// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// endpoint is one public URL.
type endpoint struct {
	proof.Origin
}

// parsePublicURLs reads the option `public_url`; `any` yields none.
func parsePublicURLs(urls []string) ([]endpoint, error) {
	if err := checkList("public_url", urls, wordAny); err != nil {
		return nil, err
	}
	if isAny(urls) {
		return nil, nil
	}
	var endpoints []endpoint
	for _, u := range urls {
		origin, err := proof.ParseOrigin(u)
		if err != nil {
			return nil, fmt.Errorf("public_url: %q is not accepted: it takes `any` or a URL such as https://api.example.com or https://api.example.com/base: %w", redacted(u), err)
		}
		for _, other := range endpoints {
			if other.Scheme() == origin.Scheme() && other.Host() == origin.Host() {
				return nil, fmt.Errorf("public_url: %q and %q have the same host, so Host cannot choose between them", other.String(), u)
			}
		}
		endpoints = append(endpoints, endpoint{origin})
	}
	return endpoints, nil
}

func isAny(list []string) bool { return len(list) == 1 && list[0] == wordAny }

// target is the method and URI that the client asked for: from the original
// request, before `method`, `rewrite`, `uri` or `handle_path` touched it, so
// that the proof is held against what the client signed (RFC 9449, section
// 4.3, checks 8 and 9).
func (h *Handler) target(r *http.Request) (method string, target proof.Target, err error) {
	method, uri, url := r.Method, r.RequestURI, r.URL
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		method, uri, url = original.Method, original.RequestURI, original.URL
	}
	origin, err := h.origin(r)
	if err != nil {
		return "", proof.Target{}, err
	}
	return method, origin.Target(requestPath(uri, url)), nil
}

// requestPath is the path as it stood on the request line: parsing and
// escaping it again would lose which slashes were encoded when it also has
// characters that need not be escaped for us.
func requestPath(uri string, url *url.URL) string {
	path, _, _ := strings.Cut(uri, "?")
	switch {
	case strings.HasPrefix(path, "/") && !strings.ContainsRune(path, '#'):
		return path
	case path != "" && path[0] != '/' && url.Scheme == "":
		return path // the authority form of CONNECT, or an asterisk: no htu names that
	}
	return url.EscapedPath() // absolute form, or nothing that a URI could hold
}

// origin says by which name the client called. What a client can make up
// never decides it: not Origin, Referer, an absolute-form request line, nor
// forwarded headers of a peer that is not a trusted proxy.
func (h *Handler) origin(r *http.Request) (proof.Origin, error) {
	if len(h.endpoints) == 1 {
		return h.endpoints[0].Origin, nil
	}
	scheme, host := connection(r)
	if len(h.endpoints) > 1 {
		i := h.endpointOf(scheme, host)
		if i < 0 {
			return proof.Origin{}, refuse(ReasonHostUnknown, nil)
		}
		return h.endpoints[i].Origin, nil
	}
	if err := h.app.checkHosts(); err != nil {
		return proof.Origin{}, refuse(ReasonHostUnknown, err)
	}
	if !isAny(h.PublicURLs) {
		host = r.Host // X-Forwarded-Host only chooses among public URLs
	}
	origin, err := h.site.origin(scheme, host)
	if err == nil && !h.site.any && !isLocalPort(r, origin) {
		err = errors.New("the port in Host is not the one that was connected to; where it is mapped, add public_url")
	}
	if err != nil {
		return proof.Origin{}, refuse(ReasonHostUnknown, err)
	}
	return origin, nil
}

// isLocalPort says whether an origin has its scheme's default port or the one
// that the request came in by: on another port of the same host somebody else
// may be listening.
func isLocalPort(r *http.Request, o proof.Origin) bool {
	host := o.Host()
	colon := strings.LastIndexByte(host, ':')
	if colon <= strings.LastIndexByte(host, ']') {
		return true // the default, which is not written
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	_, localPort, err := net.SplitHostPort(local.String())
	return err == nil && host[colon+1:] == localPort
}

// endpointOf is the index of the public URL that has the Host, or -1; the
// scheme decides only between two that differ in nothing else.
func (h *Handler) endpointOf(scheme, host string) int {
	found := -1
	for i := range h.endpoints {
		e := &h.endpoints[i]
		if sameHost(e.Origin, host) && (found < 0 || e.Scheme() == scheme) {
			found = i
		}
	}
	return found
}

// sameHost compares a Host field with an origin's host, which is in lower
// case and without the default port.
func sameHost(o proof.Origin, host string) bool {
	if strings.EqualFold(o.Host(), host) {
		return true
	}
	named, err := proof.ParseOrigin(o.Scheme() + "://" + host)
	return err == nil && named.Host() == o.Host() && !strings.ContainsRune(host, '/')
}

// connection is the scheme and host of the request, as forwarded by a trusted
// proxy (the last value, as reverse_proxy reads it) or else as received.
func connection(r *http.Request) (scheme, host string) {
	scheme, host = "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		return scheme, host
	}
	if proto := lastValue(r.Header["X-Forwarded-Proto"]); strings.EqualFold(proto, "https") || strings.EqualFold(proto, "http") {
		scheme = strings.ToLower(proto)
	}
	if forwarded := lastValue(r.Header["X-Forwarded-Host"]); forwarded != "" {
		host = forwarded
	}
	return scheme, host
}

// lastValue is the last element of a comma-separated list field.
func lastValue(fields []string) string {
	if len(fields) == 0 {
		return ""
	}
	last := fields[len(fields)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}
