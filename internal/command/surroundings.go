// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Surroundings are what a client needs besides: a challenge that it can read,
// metadata, CORS, nonces. Little of it is a must, so most findings here are advice.

// surroundings looks at everything but the proof.
var surroundings = []func(context.Context, *prober) []finding{
	checkChallenge, checkMetadata, checkScheme, checkNonce, checkCORS,
}

func problem(f finding, verdict, format string, args ...any) finding {
	f.Verdict, f.Note = verdict, clean(fmt.Sprintf(format, args...))
	return f
}

// checkChallenge sends no credentials at all.
func checkChallenge(ctx context.Context, p *prober) []finding {
	f := finding{ID: "challenge", Title: "no credentials: a challenge that clients can read", Clause: "RFC 9449, 7.1", Want: "refused", Verdict: verdictOK}
	a, err := p.fire(ctx, shot{})
	if err != nil {
		return []finding{problem(f, verdictWarn, "%v", err)}
	}
	f.Answer = a.String()
	fields := a.header.Values("WWW-Authenticate")
	params, ok := findChallenge(fields, "DPoP")
	switch {
	case !a.refused():
		return []finding{problem(f, verdictFail, "let in without any credentials")}
	case a.status != http.StatusUnauthorized:
		return []finding{problem(f, verdictWarn, "clients act on 401 only")}
	case !ok:
		return []finding{problem(f, verdictWarn, "no DPoP challenge in WWW-Authenticate")}
	case !strings.HasPrefix(fields[0], "DPoP "):
		return []finding{problem(f, verdictWarn, "the DPoP challenge is not the first field, spelled DPoP: some clients look no further")}
	case params["algs"] == "":
		return []finding{problem(f, verdictWarn, "the challenge has no algs")}
	}
	return []finding{f}
}

// checkMetadata follows the challenge to the resource's metadata.
func checkMetadata(ctx context.Context, p *prober) []finding {
	f := finding{ID: "metadata", Title: "protected resource metadata", Clause: "RFC 9728", Want: "any", Verdict: verdictOK}
	a, err := p.fire(ctx, shot{})
	if err != nil {
		return []finding{problem(f, verdictWarn, "%v", err)}
	}
	params, _ := findChallenge(a.header.Values("WWW-Authenticate"), "DPoP")
	location := params["resource_metadata"]
	if location == "" {
		return []finding{problem(f, verdictInfo, "none: clients must be told the authorization server")}
	}
	m, err := p.client.resource(ctx, location, p.target)
	if err != nil {
		return []finding{problem(f, verdictFail, "%v", err)}
	}
	f.Answer = "200"
	if p.issuer != "" && !slices.Contains(m.AuthorizationServers, p.issuer) {
		return []finding{problem(f, verdictWarn, "it does not name %s, whose tokens are taken", p.issuer)}
	}
	if !m.BoundTokensRequired {
		return []finding{problem(f, verdictInfo, "it does not say dpop_bound_access_tokens_required")}
	}
	return []finding{f}
}

// checkScheme writes the scheme in another case, which means the same.
func checkScheme(ctx context.Context, p *prober) []finding {
	f := finding{ID: "scheme-case", Title: "the scheme spelled dpop, with a good proof", Clause: "RFC 9110, 11.1", Want: "accepted", Verdict: verdictOK}
	signed, err := p.good()
	if err != nil {
		return []finding{problem(f, verdictWarn, "%v", err)}
	}
	a, err := p.fire(ctx, shot{authorization: []string{"dpop " + p.token}, proofs: []string{signed}})
	if err != nil {
		return []finding{problem(f, verdictWarn, "%v", err)}
	}
	f.Answer = a.String()
	if a.refused() {
		return []finding{problem(f, verdictWarn, "scheme names have no case; some clients write it so")}
	}
	return []finding{f}
}

// checkNonce tries a nonce of our own making where the server wants its own.
func checkNonce(ctx context.Context, p *prober) []finding {
	f := finding{ID: "nonce", Title: "a nonce that the server never gave", Clause: "RFC 9449, 9", Want: "refused", Verdict: verdictOK}
	before := p.lastNonce()
	if before == "" {
		f.Want = "any"
		return []finding{problem(f, verdictInfo, "the server uses no nonces")}
	}
	a, err := p.with(ctx, nil, map[string]any{"nonce": newID()})
	if err != nil {
		return []finding{problem(f, verdictWarn, "%v", err)}
	}
	f.Answer = a.String()
	switch {
	case !a.refused():
		return []finding{problem(f, verdictFail, "accepted")}
	case a.err != "use_dpop_nonce" || a.header.Get("DPoP-Nonce") == "":
		return []finding{problem(f, verdictWarn, "clients try again only on use_dpop_nonce with a DPoP-Nonce")}
	}
	return []finding{f}
}

// checkCORS asks as a browser does before it lets a page call another origin.
func checkCORS(ctx context.Context, p *prober) []finding {
	f := finding{ID: "cors", Title: "a preflight from " + p.origin, Clause: "Fetch, CORS protocol", Want: "any", Verdict: verdictOK}
	a, err := p.fire(ctx, shot{method: http.MethodOptions, header: http.Header{
		"Origin":                         {p.origin},
		"Access-Control-Request-Method":  {p.method},
		"Access-Control-Request-Headers": {"authorization,dpop"},
	}})
	if err != nil {
		return []finding{problem(f, verdictWarn, "%v", err)}
	}
	f.Answer = a.String()
	allowed := a.header.Get("Access-Control-Allow-Origin")
	if allowed != p.origin && allowed != "*" {
		verdict := verdictInfo
		if p.originGiven {
			verdict = verdictWarn
		}
		return []finding{problem(f, verdict, "not allowed: pages of that origin cannot call this API")}
	}
	if a.status < 200 || a.status > 299 {
		return []finding{problem(f, verdictWarn, "a preflight must be answered with 2xx, without credentials")}
	}
	headers := listOf(a.header, "Access-Control-Allow-Headers")
	for _, name := range []string{"authorization", "dpop"} {
		if !slices.Contains(headers, name) { // "*" does not cover Authorization
			return []finding{problem(f, verdictWarn, "Access-Control-Allow-Headers does not name %s", name)}
		}
	}

	refusal, err := p.fire(ctx, shot{header: http.Header{"Origin": {p.origin}}})
	if err != nil {
		return []finding{problem(f, verdictWarn, "%v", err)}
	}
	exposed := listOf(refusal.header, "Access-Control-Expose-Headers")
	for _, name := range []string{"dpop-nonce", "www-authenticate"} {
		if refusal.header.Get("Access-Control-Allow-Origin") == "" || !slices.Contains(exposed, name) {
			return []finding{problem(f, verdictWarn, "a 401 does not let the page read %s: it cannot answer a challenge", name)}
		}
	}
	return []finding{f}
}

// listOf reads a header of comma-separated names, in lower case.
func listOf(h http.Header, name string) []string {
	var all []string
	for _, field := range h.Values(name) {
		for s := range strings.SplitSeq(field, ",") {
			all = append(all, strings.ToLower(strings.TrimSpace(s)))
		}
	}
	return all
}

// publicMembers is a public key's JWK as a map.
func publicMembers(key crypto.PublicKey) (map[string]any, error) {
	b, err := json.Marshal(jose.JSONWebKey{Key: key})
	if err != nil {
		return nil, err
	}
	var members map[string]any
	return members, json.Unmarshal(b, &members)
}

// validOrigin reports whether s is an origin as browsers write it.
func validOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && s == u.Scheme+"://"+u.Host
}
