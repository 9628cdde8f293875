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
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// access is what request and check need to get in: a key and a token for it.
// Its fields are the flags that both have.
type access struct {
	key, algorithm           string
	token                    string
	issuer, clientID, secret string
	scope, resource          string
	insecure, verbose, show  bool
	timeout                  time.Duration
}

func (a *access) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&a.key, "key", "k", "", "Private key, PEM or JWK (default: one made for this run)")
	f.StringVarP(&a.algorithm, "algorithm", "a", "", "Signature algorithm (default: by the kind of the key, ES256 for a new one)")
	f.StringVarP(&a.token, "token", "t", "", "Access token bound to --key, @file or - (default: get one)")
	f.StringVar(&a.issuer, "issuer", "", "Authorization server (default: the one that the API's challenge names, else the API's own origin)")
	f.StringVar(&a.clientID, "client-id", "caddy-dpop", "Client ID for the client credentials grant")
	f.StringVar(&a.secret, "client-secret", "", "Client secret, @file or -")
	f.StringVar(&a.scope, "scope", "", "Scopes to ask for, separated by spaces")
	f.StringVar(&a.resource, "resource", "", "Resource to ask a token for (RFC 8707)")
	f.BoolVar(&a.insecure, "insecure", false, "Do not verify TLS certificates")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "Show requests and answers on the standard error, as curl -v does")
	f.BoolVar(&a.show, "show-secrets", false, "With -v, show tokens and proofs in full")
	f.DurationVar(&a.timeout, "timeout", 30*time.Second, "How long one request may take")
}

// credentials are a token and the key that it is bound to.
type credentials struct {
	key      *signingKey
	token    string
	issuer   string            // "" when the token was given
	resource *resourceMetadata // nil when there is none or nobody looked
}

// open makes or reads the key and gets a token, unless one was given.
func (a *access) open(ctx context.Context, e *env, c *client, target *url.URL) (*credentials, error) {
	token, err := e.readValue(a.token)
	if err != nil {
		return nil, fmt.Errorf("--token: %w", err)
	}
	if token != "" && a.key == "" {
		return nil, errors.New("--token needs --key, the key that the token is bound to")
	}
	key, err := openKey(a.key, a.algorithm)
	if err != nil {
		return nil, err
	}
	cr := &credentials{key: key, token: token}
	c.say("key with thumbprint %s", key.Thumbprint())
	if token != "" {
		return cr, nil
	}

	cr.issuer = a.issuer
	if cr.issuer == "" {
		d, err := c.discover(ctx, target)
		if err != nil {
			return nil, err
		}
		cr.issuer, cr.resource = d.issuer, d.resource
	}
	server, err := c.server(ctx, cr.issuer)
	if err != nil {
		if a.issuer == "" && cr.resource == nil {
			err = fmt.Errorf("the challenge of %s does not say who issues tokens, and its own origin does not: give --issuer, or --token and --key\n%w", target, err)
		}
		return nil, exitWith(exitIssuer, err)
	}
	if cr.token, err = a.requestToken(ctx, e, c, server, key); err != nil {
		return nil, exitWith(exitIssuer, fmt.Errorf("no token from %s: %w", server.TokenEndpoint, err))
	}
	return cr, nil
}

// tokenAnswer is an answer of a token endpoint, good (RFC 6749, section 5.1) or
// bad (section 5.2).
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// requestToken asks for a token by the client credentials grant, with a proof,
// and once more when the server wants a nonce in it (RFC 9449, sections 5 and 8).
func (a *access) requestToken(ctx context.Context, e *env, c *client, server *serverMetadata, key *signingKey) (string, error) {
	secret, err := e.readValue(a.secret)
	if err != nil {
		return "", fmt.Errorf("--client-secret: %w", err)
	}
	nonce := ""
	for attempt := 0; ; attempt++ {
		signed, err := key.Sign(proof.SignRequest{Method: http.MethodPost, URI: server.TokenEndpoint, Nonce: nonce, Now: e.now()})
		if err != nil {
			return "", err
		}
		r, err := a.tokenRequest(ctx, server, secret)
		if err != nil {
			return "", err
		}
		r.Header.Set("DPoP", signed)
		answer, err := c.do(r)
		if err != nil {
			return "", err
		}
		body, err := readBody(answer)
		_ = answer.Body.Close()
		if err != nil {
			return "", err
		}
		var t tokenAnswer
		if err := json.Unmarshal(body, &t); err != nil {
			return "", fmt.Errorf("%s, and no JSON", answer.Status)
		}
		switch given := answer.Header.Get("DPoP-Nonce"); {
		case t.Error == "use_dpop_nonce" && attempt == 0 && given != "":
			c.say("the authorization server wants a nonce in the proof: once more")
			nonce = given
			continue
		case t.Error != "":
			return "", a.explainToken(t)
		case answer.StatusCode != http.StatusOK || t.AccessToken == "":
			return "", fmt.Errorf("%s, without a token", answer.Status)
		case !strings.EqualFold(t.TokenType, "DPoP"):
			return "", fmt.Errorf("the token is of type %q, so it is not bound to the key", t.TokenType)
		}
		return t.AccessToken, nil
	}
}

// explainToken gives the authorization server's words, and which flag may be
// missing where it does not know us.
func (a *access) explainToken(t tokenAnswer) error {
	text := t.Error
	if t.Description != "" {
		text += ": " + t.Description
	}
	if t.Error == "invalid_client" && a.secret == "" {
		text += " (give --client-id and --client-secret)"
	}
	return errors.New(clean(text))
}

func (a *access) tokenRequest(ctx context.Context, server *serverMetadata, secret string) (*http.Request, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if a.scope != "" {
		form.Set("scope", a.scope)
	}
	if a.resource != "" {
		form.Set("resource", a.resource)
	}
	// A server that says nothing takes HTTP Basic (RFC 8414, section 2).
	basic := secret != "" && (len(server.AuthMethods) == 0 || slices.Contains(server.AuthMethods, "client_secret_basic"))
	if !basic {
		form.Set("client_id", a.clientID)
		if secret != "" {
			form.Set("client_secret", secret)
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.TokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("token endpoint %q: not a URL", server.TokenEndpoint)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if basic {
		r.SetBasicAuth(url.QueryEscape(a.clientID), url.QueryEscape(secret))
	}
	return r, nil
}

// parseTarget reads the URL of the API.
func parseTarget(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%q: not an http or https URL", s)
	}
	if u.User != nil {
		return nil, errors.New("the URL must not contain a user name")
	}
	u.Fragment, u.RawFragment = "", ""
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}
