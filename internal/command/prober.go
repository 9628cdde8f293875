// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// prober sends the requests of check.
type prober struct {
	*credentials
	client *client
	method string
	target *url.URL
	origin string // for the CORS probes
	now    func() time.Time

	originGiven bool // the user named it

	mu    sync.Mutex
	nonce string // the newest that the server gave
}

// shot is one request. What is empty is not sent.
type shot struct {
	method        string
	authorization []string
	proofs        []string
	header        http.Header
}

// answer is what came back.
type answer struct {
	status      int
	header      http.Header
	err         string // error of the challenge
	description string
}

// refused reports whether the server turned the request down because of its
// credentials. A 404 or 405 of the API behind it is an answer to a request that
// was let through.
func (a *answer) refused() bool {
	switch a.status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest,
		http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return false
}

func (a *answer) String() string {
	s := fmt.Sprint(a.status)
	if a.err != "" {
		s += " " + a.err
	}
	return clean(s)
}

// fire sends one request and keeps the nonce of the answer.
func (p *prober) fire(ctx context.Context, s shot) (*answer, error) {
	if s.method == "" {
		s.method = p.method
	}
	r, err := http.NewRequestWithContext(ctx, s.method, p.target.String(), nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, s.header)
	if len(s.authorization) > 0 {
		r.Header["Authorization"] = s.authorization
	}
	if len(s.proofs) > 0 {
		r.Header["Dpop"] = s.proofs
	}
	response, err := p.client.do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.CopyN(io.Discard, response.Body, maxDocument) // so that the connection can be used again

	if nonce := response.Header.Get("DPoP-Nonce"); nonce != "" {
		p.mu.Lock()
		p.nonce = nonce
		p.mu.Unlock()
	}
	a := &answer{status: response.StatusCode, header: response.Header}
	for _, c := range parseChallenges(response.Header.Values("WWW-Authenticate")) {
		if a.err == "" {
			a.err, a.description = c.params["error"], c.params["error_description"]
		}
	}
	return a, nil
}

func (p *prober) lastNonce() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nonce
}

// claims are those of a good proof for the present request. A change with the
// value nil takes a claim out.
func (p *prober) claims(changes map[string]any) map[string]any {
	htu, _, _ := strings.Cut(p.target.String(), "?")
	claims := map[string]any{
		"jti": newID(),
		"htm": p.method,
		"htu": htu,
		"iat": p.now().Unix(),
		"ath": tokenHash(p.token),
	}
	if nonce := p.lastNonce(); nonce != "" {
		claims["nonce"] = nonce
	}
	maps.Copy(claims, changes)
	return claims
}

// with sends a request that is good but for the changes to its proof.
func (p *prober) with(ctx context.Context, header, claims map[string]any) (*answer, error) {
	signed, err := p.key.forge(header, p.claims(claims))
	if err != nil {
		return nil, err
	}
	return p.fire(ctx, shot{authorization: []string{"DPoP " + p.token}, proofs: []string{signed}})
}

// good signs a proof that must be accepted.
func (p *prober) good() (string, error) { return p.key.forge(nil, p.claims(nil)) }

// calibrate sends the good request, with a nonce if the server asks for one.
// Nothing that is refused afterwards means anything unless this is accepted.
func (p *prober) calibrate(ctx context.Context) (*answer, error) {
	for attempt := 0; ; attempt++ {
		a, err := p.with(ctx, nil, nil)
		if err != nil || a.err != "use_dpop_nonce" || attempt > 0 || p.lastNonce() == "" {
			return a, err
		}
	}
}
