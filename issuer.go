// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/token"
)

// Issuer is an authorization server whose JWT access tokens are accepted
// (RFC 9068). Its signature keys come from its metadata (RFC 8414, then OpenID
// Connect Discovery) unless `jwks_uri` or `jwks_file` says where they are.
type Issuer struct {
	// Issuer is the issuer identifier, compared to the token's `iss` and the
	// metadata's `issuer` character by character. An https URL; http is
	// accepted on a loopback host. Required.
	Issuer string `json:"issuer"`

	// Audience lists the values of which the token's `aud` must hold one, or
	// the single value `any`. Default: the handler's `audience`.
	Audience []string `json:"audience,omitempty"`

	// JWKSURI is where the key set is, in place of discovery. An https URL;
	// http is accepted on a loopback host.
	JWKSURI string `json:"jwks_uri,omitempty"`

	// JWKSFile is a file that holds the key set, in place of any network. It
	// is read again when it changes.
	JWKSFile string `json:"jwks_file,omitempty"`

	// Algorithms are the JWS algorithms that a token may be signed with.
	// Default: every asymmetric one (`RS256` to `RS512`, `PS256` to `PS512`,
	// `ES256` to `ES512`, `EdDSA`).
	Algorithms []string `json:"algorithms,omitempty"`

	// Typ is `any` (default), which accepts the header `typ` `at+jwt`,
	// `application/at+jwt`, `JWT` or none, or `at+jwt`, which insists on the
	// first two (RFC 9068, section 4) and so keeps ID tokens out.
	Typ string `json:"typ,omitempty"`
}

const typATJWT = "at+jwt"

func cloneIssuers(issuers []*Issuer) []*Issuer {
	clones := make([]*Issuer, 0, len(issuers))
	for _, i := range issuers {
		if i == nil {
			clones = append(clones, nil) // for expand to find
			continue
		}
		c := *i
		c.Audience, c.Algorithms = slices.Clone(i.Audience), slices.Clone(i.Algorithms)
		clones = append(clones, &c)
	}
	return clones
}

func (i *Issuer) expand(repl *caddy.Replacer) error {
	if i == nil {
		return errors.New("issuers: null is not an issuer")
	}
	if err := expandText(repl, "issuer", i.Issuer, &i.Issuer); err != nil {
		return err
	}
	for n, audience := range i.Audience {
		if err := expandText(repl, "audience", audience, &i.Audience[n]); err != nil {
			return err
		}
	}
	if i.JWKSURI != "" {
		if err := expandText(repl, "jwks_uri", i.JWKSURI, &i.JWKSURI); err != nil {
			return err
		}
	}
	if i.JWKSFile != "" {
		return expandText(repl, "jwks_file", i.JWKSFile, &i.JWKSFile)
	}
	return nil
}

// check is called after expand; shared is the handler's audience.
func (i *Issuer) check(shared []string) error {
	if err := checkServerURL("issuer", i.Issuer); err != nil {
		return err
	}
	if strings.ContainsAny(i.Issuer, "?#") {
		return optionError("issuer", i.Issuer, "an issuer identifier without query and fragment (RFC 8414, section 2)")
	}
	if i.JWKSURI != "" && i.JWKSFile != "" {
		return fmt.Errorf("issuer %q: jwks_uri and jwks_file exclude each other", i.Issuer)
	}
	if i.JWKSURI != "" {
		if err := checkServerURL("jwks_uri", i.JWKSURI); err != nil {
			return err
		}
	}
	if i.Audience == nil {
		i.Audience = shared
	}
	if len(i.Audience) == 0 {
		return fmt.Errorf("issuer %q has no audience: add the value that its tokens carry in aud for this resource, or `any`", i.Issuer)
	}
	if err := checkList("audience", i.Audience, wordAny); err != nil {
		return err
	}
	if err := checkList("algorithms", i.Algorithms, ""); err != nil {
		return err
	}
	for _, alg := range i.Algorithms {
		if !slices.Contains(token.Algorithms(), alg) {
			return optionError("algorithms", alg, oneOf(token.Algorithms()))
		}
	}
	if i.Typ == "" {
		i.Typ = wordAny
	}
	if i.Typ != wordAny && i.Typ != typATJWT {
		return optionError("typ", i.Typ, "at+jwt or any")
	}
	return nil
}

// policy is what this handler asks of the issuer's tokens, on every request.
func (i *Issuer) policy(h *Handler) token.Policy {
	p := token.Policy{
		Issuer:       i.Issuer,
		Algorithms:   i.Algorithms,
		RequireATJWT: i.Typ == typATJWT,
		Scopes:       h.Scope,
		ClockSkew:    h.clockSkew(),
	}
	p.Audiences, p.AnyAudience = audiences(i.Audience)
	return p
}

// audiences splits an audience list into its values and the word for all.
func audiences(list []string) (values []string, anyAudience bool) {
	if len(list) == 1 && list[0] == wordAny {
		return nil, true
	}
	return list, false
}

// redacted is a URL without the password that there can be in it, for an error.
func redacted(value string) string {
	if u, err := url.Parse(value); err == nil && u.User != nil {
		return u.Redacted()
	}
	return value
}

// checkServerURL accepts what we may call for keys and answers: https, or
// http where nobody can listen in between.
func checkServerURL(option, value string) error {
	const accepted = "an https URL, or an http URL on a loopback host"
	u, err := url.Parse(value)
	if err != nil {
		return optionError(option, value, accepted)
	}
	value = redacted(value)
	private := u.Scheme == "https" || u.Scheme == "http" && token.IsLoopback(u.Hostname())
	if !private || u.Hostname() == "" || u.User != nil {
		return optionError(option, value, accepted)
	}
	return nil
}
