// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-dpop/caddy-dpop/internal/strictjson"
)

// How we authenticate at the introspection endpoint (RFC 7591, section 2).
const (
	// ClientSecretBasic sends the secret in the Authorization field.
	ClientSecretBasic = "client_secret_basic"
	// ClientSecretPost sends the secret in the form.
	ClientSecretPost = "client_secret_post"
	// PrivateKeyJWT sends a JWT signed by our key (RFC 7523, section 2.2), so that
	// no secret leaves us.
	PrivateKeyJWT = "private_key_jwt"
)

// assertionLife is how long the JWT of [PrivateKeyJWT] is good. It is made anew for
// each request.
const assertionLife = time.Minute

// maxAnswerSize bounds an introspection answer, in bytes, decompressed.
const maxAnswerSize = 64 << 10

// signedAnswer is the media type of RFC 9701, section 5.
const signedAnswer = "application/token-introspection+jwt"

// checkClient completes and checks how we authenticate.
func (c *IntrospectionConfig) checkClient() error {
	if c.ClientID == "" {
		return errors.New("introspection needs a client id")
	}
	if c.AuthMethod == "" {
		c.AuthMethod = ClientSecretBasic
		if c.PrivateKey != nil {
			c.AuthMethod = PrivateKeyJWT
		}
	}
	switch c.AuthMethod {
	case ClientSecretBasic, ClientSecretPost:
		if c.ClientSecret == "" {
			return fmt.Errorf("%s needs a client secret that is not empty", c.AuthMethod)
		}
		if c.PrivateKey != nil {
			return fmt.Errorf("%s has no use for a private key", c.AuthMethod)
		}
	case PrivateKeyJWT:
		if c.PrivateKey == nil {
			return fmt.Errorf("%s needs a private key", c.AuthMethod)
		}
		if c.ClientSecret != "" {
			return fmt.Errorf("%s has no use for a client secret", c.AuthMethod)
		}
	default:
		return fmt.Errorf("authentication method %q is none of %s, %s and %s",
			c.AuthMethod, ClientSecretBasic, ClientSecretPost, PrivateKeyJWT)
	}
	return nil
}

// request asks the endpoint about one token (RFC 7662, section 2.1).
func (i *Introspection) request(ctx context.Context, raw string) (*Claims, error) {
	req, err := i.newRequest(ctx, raw)
	if err != nil {
		return nil, unavailable(IntrospectionUnavailable, retryIntrospection, err)
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, unavailable(IntrospectionUnavailable, retryIntrospection, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusBadRequest {
		// 401 and 403 are about us, not about the token. A redirect is not followed.
		return nil, unavailable(IntrospectionUnavailable, retryIntrospection, fmt.Errorf("the endpoint answered %d", resp.StatusCode))
	}
	body, err := readLimited(resp.Body, maxAnswerSize)
	if err != nil {
		return nil, unavailable(IntrospectionUnavailable, retryIntrospection, err)
	}
	if resp.StatusCode == http.StatusBadRequest {
		return nil, badRequest(body)
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == signedAnswer {
		return i.readSigned(ctx, string(body))
	}
	members, err := strictjson.Parse(body)
	if err != nil {
		return nil, unavailable(IntrospectionInvalid, retryIntrospection, err)
	}
	return i.read(body, members)
}

// badRequest reads an answer 400. Authorization servers give it for tokens of a kind
// that they do not introspect (unsupported_token_type), which is the token's fault,
// and some for a client that they do not know, which is ours (RFC 6749, section 5.2).
// What has no error code, such as the page of a proxy that was spoken to in the wrong
// way, says nothing about the token.
func badRequest(body []byte) error {
	members, err := strictjson.Parse(body)
	if err != nil {
		return unavailable(IntrospectionUnavailable, retryIntrospection, errors.New("the endpoint answered 400 and not as an OAuth endpoint does"))
	}
	value, _ := members.Get("error")
	switch code, _ := value.Text(); code {
	case "":
		return unavailable(IntrospectionUnavailable, retryIntrospection, errors.New("the endpoint answered 400 without an error code"))
	case "invalid_client", "unauthorized_client":
		return unavailable(IntrospectionUnavailable, retryIntrospection, errors.New("the endpoint does not accept our credentials"))
	case "server_error", "temporarily_unavailable":
		return unavailable(IntrospectionUnavailable, retryIntrospection, errors.New("the endpoint says that it cannot answer"))
	}
	return refuse(Inactive, "the endpoint answered 400")
}

func (i *Introspection) newRequest(ctx context.Context, raw string) (*http.Request, error) {
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	switch i.cfg.AuthMethod {
	case ClientSecretPost:
		form.Set("client_id", i.cfg.ClientID)
		form.Set("client_secret", i.cfg.ClientSecret)
	case PrivateKeyJWT:
		assertion, err := i.assertion()
		if err != nil {
			return nil, err
		}
		form.Set("client_id", i.cfg.ClientID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.cfg.Endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if i.cfg.Keys != nil {
		req.Header.Set("Accept", signedAnswer+", application/json;q=0.5")
	}
	if i.cfg.AuthMethod == ClientSecretBasic {
		// RFC 6749, section 2.3.1: form-encoded first, so that a colon stays one.
		req.SetBasicAuth(url.QueryEscape(i.cfg.ClientID), url.QueryEscape(i.cfg.ClientSecret))
	}
	return req, nil
}

// assertion makes a JWT that says who we are (RFC 7523, section 3). Its audience is
// the issuer if we know it, else the endpoint.
func (i *Introspection) assertion() (string, error) {
	audience := i.cfg.Issuer
	if audience == "" {
		audience = i.cfg.Endpoint
	}
	now := i.cfg.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": i.cfg.ClientID, "sub": i.cfg.ClientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(i.cfg.PrivateKey.signingKey(), (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
