// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// serverMetadata is what we need of RFC 8414.
type serverMetadata struct {
	Issuer        string   `json:"issuer"`
	TokenEndpoint string   `json:"token_endpoint"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
}

// resourceMetadata is what we need of RFC 9728.
type resourceMetadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	Scopes               []string `json:"scopes_supported"`
	BoundTokensRequired  bool     `json:"dpop_bound_access_tokens_required"`
}

// discovery is how the authorization server of a URL was found.
type discovery struct {
	issuer   string
	resource *resourceMetadata // nil: there is none
}

// discover finds the authorization server of a protected URL: by the metadata
// that its challenge names (RFC 9728, section 5.1), else on the same origin.
func (c *client) discover(ctx context.Context, target *url.URL) (*discovery, error) {
	c.say("asking %s without a token, to learn who gives one", target)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	_ = answer.Body.Close()

	location := ""
	for _, ch := range parseChallenges(answer.Header.Values("WWW-Authenticate")) {
		if location = ch.params["resource_metadata"]; location != "" {
			break
		}
	}
	if location == "" {
		c.say("no resource_metadata in the answer: trying the same origin")
		return &discovery{issuer: target.Scheme + "://" + target.Host}, nil
	}
	m, err := c.resource(ctx, location, target)
	if err != nil {
		return nil, err
	}
	return &discovery{issuer: m.AuthorizationServers[0], resource: m}, nil
}

// resource fetches the metadata of a protected resource. It must speak for the
// URL that we want to call, or somebody could send us to a server of their
// choice (RFC 9728, section 3.3).
func (c *client) resource(ctx context.Context, location string, target *url.URL) (*resourceMetadata, error) {
	var m resourceMetadata
	if _, err := c.getJSON(ctx, location, &m); err != nil {
		return nil, fmt.Errorf("resource metadata: %w", err)
	}
	if !covers(m.Resource, target) {
		return nil, fmt.Errorf("resource metadata at %s is about %q, not about %s", location, m.Resource, target)
	}
	if len(m.AuthorizationServers) == 0 {
		return nil, fmt.Errorf("resource metadata at %s names no authorization server; give --issuer", location)
	}
	return &m, nil
}

// covers reports whether a URL is the resource or lies below it.
func covers(resource string, target *url.URL) bool {
	u, err := url.Parse(resource)
	if err != nil || !strings.EqualFold(u.Scheme, target.Scheme) || !strings.EqualFold(u.Host, target.Host) {
		return false
	}
	base := strings.TrimSuffix(u.EscapedPath(), "/")
	path := target.EscapedPath()
	return path == base || strings.HasPrefix(path, base+"/") || (base == "" && path == "")
}

// server fetches the metadata of an authorization server (RFC 8414, section 3),
// then where OpenID Connect has it. It must be about the issuer that was asked
// for.
func (c *client) server(ctx context.Context, issuer string) (*serverMetadata, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fmt.Errorf("issuer %q: not an http or https URL", issuer)
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	locations := []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	}
	var problems []error
	for _, location := range locations {
		var m serverMetadata
		if _, err := c.getJSON(ctx, location, &m); err != nil {
			problems = append(problems, err)
			continue
		}
		switch {
		case m.Issuer != issuer:
			problems = append(problems, fmt.Errorf("%s is about issuer %q, not %q", location, m.Issuer, issuer))
		case m.TokenEndpoint == "":
			problems = append(problems, fmt.Errorf("%s names no token endpoint", location))
		default:
			return &m, nil
		}
	}
	return nil, fmt.Errorf("no metadata of the authorization server %s:\n%w", issuer, errors.Join(problems...))
}

// getJSON fetches a document. It returns the answer's header.
func (c *client) getJSON(ctx context.Context, location string, into any) (http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, fmt.Errorf("%q: not a URL", location)
	}
	r.Header.Set("Accept", "application/json")
	answer, err := c.do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", location, err)
	}
	body, err := readBody(answer)
	_ = answer.Body.Close()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", location, err)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %s", location, answer.Status)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, fmt.Errorf("%s: not the JSON expected", location)
	}
	return answer.Header, nil
}
