// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// corsPolicy is the Fetch standard's CORS protocol for pages that use DPoP.
// Every such request has a preflight, which carries neither token nor proof,
// and a page can answer a challenge only when it may read it.
type corsPolicy struct {
	everyone bool
	origins  map[string]bool
}

// What a page must be able to read, and what it sends.
var (
	corsExposed = []string{"DPoP-Nonce", "WWW-Authenticate"}
	corsSent    = []string{"authorization", "dpop"}
)

// corsMaxAge is how long a browser may remember a preflight, in seconds.
const corsMaxAge = "600"

func (h *Handler) provisionCORS(caddy.Context) error {
	if h.CORS == nil {
		return nil
	}
	if err := checkList("cors", h.CORS, "*"); err != nil {
		return err
	}
	policy := &corsPolicy{origins: make(map[string]bool)}
	for _, origin := range h.CORS {
		if origin == "*" {
			policy.everyone = true
			continue
		}
		if !isOrigin(origin) {
			return optionError("cors", origin, "`*` or origins as browsers send them, such as https://app.example.com")
		}
		policy.origins[origin] = true
	}
	h.cors = policy
	return nil
}

// isOrigin says whether a browser could send s as Origin (RFC 6454, section
// 6.2): what it never sends would be listed without effect.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != s || strings.ToLower(s) != s || strings.Contains(s, "*") {
		return false
	}
	return !(u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80")
}

func (p *corsPolicy) listed(origin string) bool {
	return origin != "" && (p.everyone || p.origins[origin])
}

// allowed is the value of Access-Control-Allow-Origin for a listed origin.
func (p *corsPolicy) allowed(origin string) string {
	if p.everyone {
		return "*"
	}
	return origin
}

// isPreflight recognises a CORS-preflight request of a listed origin. Any
// other OPTIONS is a request like all others.
func (p *corsPolicy) isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		p.listed(r.Header.Get("Origin")) &&
		isToken(r.Header.Get("Access-Control-Request-Method"))
}

// preflight answers, without asking the upstream. Which methods and fields
// there are is the upstream's business: what is asked for is granted.
func (p *corsPolicy) preflight(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", p.allowed(r.Header.Get("Origin")))
	header.Set("Access-Control-Allow-Methods", r.Header.Get("Access-Control-Request-Method"))
	header.Set("Access-Control-Allow-Headers", strings.Join(requestedFields(r), ", "))
	header.Set("Access-Control-Max-Age", corsMaxAge)
	header["Vary"] = []string{"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
	w.WriteHeader(http.StatusNoContent)
}

// requestedFields are the fields that the page wants to send and those it
// will need.
func requestedFields(r *http.Request) []string {
	fields := slices.Clone(corsSent)
	for field := range strings.SplitSeq(strings.Join(r.Header["Access-Control-Request-Headers"], ","), ",") {
		field = strings.ToLower(strings.TrimSpace(field))
		if isToken(field) && !slices.Contains(fields, field) {
			fields = append(fields, field)
		}
	}
	return fields
}

// apply settles the CORS fields of any other answer, in place of those that
// an upstream may have set.
func (p *corsPolicy) apply(header http.Header, r *http.Request) {
	if !slices.Contains(listElements(header["Vary"]), "origin") {
		header.Add("Vary", "Origin")
	}
	origin := r.Header.Get("Origin")
	if !p.listed(origin) {
		header.Del("Access-Control-Allow-Origin")
		header.Del("Access-Control-Allow-Credentials")
		return
	}
	header["Access-Control-Allow-Origin"] = []string{p.allowed(origin)}
	exposed := header["Access-Control-Expose-Headers"]
	present := listElements(exposed)
	merged := make([]string, 0, len(corsExposed)+1)
	for _, name := range corsExposed {
		if !slices.Contains(present, strings.ToLower(name)) {
			merged = append(merged, name)
		}
	}
	if len(merged) > 0 {
		merged = append(slices.Clone(exposed), merged...)
		header["Access-Control-Expose-Headers"] = []string{strings.Join(merged, ", ")}
	}
}

// listElements are the elements of a comma-separated list field, in lower case.
func listElements(fields []string) []string {
	var elements []string
	for _, field := range fields {
		for element := range strings.SplitSeq(field, ",") {
			if element = strings.ToLower(strings.TrimSpace(element)); element != "" {
				elements = append(elements, element)
			}
		}
	}
	return elements
}
