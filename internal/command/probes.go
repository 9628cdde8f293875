// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// verdicts of a probe
const (
	verdictOK      = "ok"      // as it must be
	verdictFail    = "fail"    // accepted what must not be, or the other way round
	verdictUnclear = "unclear" // no answer that says either
	verdictWarn    = "warn"    // works, but clients will not like it
	verdictInfo    = "info"    // the server's choice
)

// finding is the outcome of one probe.
type finding struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Clause  string `json:"clause"`
	Want    string `json:"want"` // accepted, refused or any
	Verdict string `json:"verdict"`
	Answer  string `json:"answer"` // status and error
	Note    string `json:"note,omitempty"`
}

// probe is one request of check that must be refused.
type probe struct {
	id, title, clause string
	// errors are the values of the challenge's error that clients can work with.
	errors []string
	// send sends it, after what must come before, and returns the answer that counts.
	send func(ctx context.Context, p *prober) (*answer, error)
}

// Errors that an answer can have. A nonce challenge also keeps a request out.
var (
	badProof = []string{"invalid_dpop_proof", "use_dpop_nonce"}
	either   = []string{"invalid_dpop_proof", "use_dpop_nonce", "invalid_token"}
)

// refusals are the requests that nobody may get through with. All but one thing
// about each is right.
var refusals = []probe{
	{id: "replay", title: "a proof that was used", clause: "RFC 9449, 11.1", errors: badProof, send: replay},
	{id: "replay-at-once", title: "eight copies of a proof at the same time", clause: "RFC 9449, 11.1", errors: badProof, send: replayAtOnce},
	{id: "bearer", title: "the token as Bearer, without a proof", clause: "RFC 9449, 7.2", errors: either, send: bearer},
	{id: "bearer-lower-case", title: "the token as bearer in lower case", clause: "RFC 9110, 11.1", errors: either, send: bearerLower},
	{id: "bearer-with-proof", title: "the token as Bearer, with a good proof", clause: "RFC 9449, 7.2", errors: either, send: bearerWithProof},
	{id: "no-proof", title: "no proof", clause: "RFC 9449, 7.1", errors: badProof, send: func(ctx context.Context, p *prober) (*answer, error) {
		return p.fire(ctx, shot{authorization: []string{"DPoP " + p.token}})
	}},
	{id: "no-token", title: "a proof without a token", clause: "RFC 9449, 7.1", errors: append([]string{""}, either...), send: func(ctx context.Context, p *prober) (*answer, error) {
		signed, err := p.key.forge(nil, p.claims(map[string]any{"ath": nil}))
		if err != nil {
			return nil, err
		}
		return p.fire(ctx, shot{proofs: []string{signed}})
	}},
	{id: "two-proofs", title: "two good proofs", clause: "RFC 9449, 4.3, check 1", errors: badProof, send: twoProofs},
	{id: "two-tokens", title: "two Authorization fields", clause: "RFC 9110, 11.6.2", errors: append([]string{"invalid_request"}, either...), send: twoTokens},
	{id: "htm", title: "a proof for another method", clause: "RFC 9449, 4.3, check 8", errors: badProof, send: func(ctx context.Context, p *prober) (*answer, error) {
		return p.with(ctx, nil, map[string]any{"htm": otherMethod(p.method)})
	}},
	{id: "htu-path", title: "a proof for another path", clause: "RFC 9449, 4.3, check 9", errors: badProof, send: func(ctx context.Context, p *prober) (*answer, error) {
		return p.with(ctx, nil, map[string]any{"htu": p.target.Scheme + "://" + p.target.Host + "/some/other/path"})
	}},
	{id: "htu-host", title: "a proof for another server", clause: "RFC 9449, 4.3, check 9", errors: badProof, send: func(ctx context.Context, p *prober) (*answer, error) {
		return p.with(ctx, nil, map[string]any{"htu": p.target.Scheme + "://elsewhere.example" + p.target.EscapedPath()})
	}},
	{id: "ath-missing", title: "a proof without ath", clause: "RFC 9449, 4.3, check 12", errors: badProof, send: without("ath")},
	{id: "ath-wrong", title: "a proof for another token", clause: "RFC 9449, 4.3, check 12", errors: badProof, send: func(ctx context.Context, p *prober) (*answer, error) {
		return p.with(ctx, nil, map[string]any{"ath": tokenHash("another token")})
	}},
	{id: "key", title: "a proof by another key", clause: "RFC 9449, 4.3, check 12", errors: either, send: otherKey},
	{id: "signature", title: "a proof with a broken signature", clause: "RFC 9449, 4.3, check 6", errors: badProof, send: brokenSignature},
	{id: "iat-old", title: "a proof of an hour ago", clause: "RFC 9449, 4.3, check 11", errors: badProof, send: func(ctx context.Context, p *prober) (*answer, error) {
		return p.with(ctx, nil, map[string]any{"iat": p.now().Unix() - 3600, "nonce": nil}) // a nonce would stand in for the clock
	}},
	{id: "iat-ahead", title: "a proof of an hour from now", clause: "RFC 9449, 4.3, check 11", errors: badProof, send: func(ctx context.Context, p *prober) (*answer, error) {
		return p.with(ctx, nil, map[string]any{"iat": p.now().Unix() + 3600, "nonce": nil})
	}},
	{id: "jti-missing", title: "a proof without jti", clause: "RFC 9449, 4.3, check 3", errors: badProof, send: without("jti")},
	{id: "htm-missing", title: "a proof without htm", clause: "RFC 9449, 4.3, check 3", errors: badProof, send: without("htm")},
	{id: "htu-missing", title: "a proof without htu", clause: "RFC 9449, 4.3, check 3", errors: badProof, send: without("htu")},
	{id: "iat-missing", title: "a proof without iat", clause: "RFC 9449, 4.3, check 3", errors: badProof, send: without("iat")},
	{id: "typ", title: "a proof of type JWT", clause: "RFC 9449, 4.3, check 4", errors: badProof, send: func(ctx context.Context, p *prober) (*answer, error) {
		return p.with(ctx, map[string]any{"typ": "JWT"}, nil)
	}},
	{id: "alg-none", title: "a proof with alg none", clause: "RFC 9449, 4.3, check 5", errors: badProof, send: algNone},
	{id: "jwk-private", title: "a proof with a private key in it", clause: "RFC 9449, 4.3, check 7", errors: badProof, send: privateKey},
	{id: "token-signature", title: "a token with a broken signature", clause: "RFC 9068, 4", errors: either, send: brokenToken},
}

func without(claim string) func(context.Context, *prober) (*answer, error) {
	return func(ctx context.Context, p *prober) (*answer, error) {
		return p.with(ctx, nil, map[string]any{claim: nil})
	}
}

func otherMethod(method string) string {
	if method == http.MethodPost {
		return http.MethodGet
	}
	return http.MethodPost
}

// replay sends a good proof twice; the second answer counts.
func replay(ctx context.Context, p *prober) (*answer, error) {
	for attempt := 0; ; attempt++ {
		signed, err := p.good()
		if err != nil {
			return nil, err
		}
		s := shot{authorization: []string{"DPoP " + p.token}, proofs: []string{signed}}
		first, err := p.fire(ctx, s)
		switch {
		case err != nil:
			return nil, err
		case first.err == "use_dpop_nonce" && attempt == 0:
			continue // the nonce had become stale
		case first.refused() || first.status >= 500:
			return nil, fmt.Errorf("the first use was refused already: %s", first)
		}
		return p.fire(ctx, s)
	}
}

// replayAtOnce sends copies side by side. At most one may pass; the answer is
// that of the first copy too many, or of one that was refused.
func replayAtOnce(ctx context.Context, p *prober) (*answer, error) {
	signed, err := p.good()
	if err != nil {
		return nil, err
	}
	const copies = 8
	answers := make([]*answer, copies)
	errs := make([]error, copies)
	var wg sync.WaitGroup
	for i := range copies {
		wg.Go(func() {
			answers[i], errs[i] = p.fire(ctx, shot{authorization: []string{"DPoP " + p.token}, proofs: []string{signed}})
		})
	}
	wg.Wait()
	var passed, refused *answer
	for i, a := range answers {
		switch {
		case errs[i] != nil:
			return nil, errs[i]
		case a.refused() || a.status >= 500:
			refused = a
		case passed != nil:
			return a, nil // the second that passed
		default:
			passed = a
		}
	}
	return refused, nil
}

func bearer(ctx context.Context, p *prober) (*answer, error) {
	return p.fire(ctx, shot{authorization: []string{"Bearer " + p.token}})
}

func bearerLower(ctx context.Context, p *prober) (*answer, error) {
	return p.fire(ctx, shot{authorization: []string{"bearer " + p.token}})
}

func bearerWithProof(ctx context.Context, p *prober) (*answer, error) {
	signed, err := p.good()
	if err != nil {
		return nil, err
	}
	return p.fire(ctx, shot{authorization: []string{"Bearer " + p.token}, proofs: []string{signed}})
}

func twoProofs(ctx context.Context, p *prober) (*answer, error) {
	one, err := p.good()
	if err != nil {
		return nil, err
	}
	two, err := p.good()
	if err != nil {
		return nil, err
	}
	return p.fire(ctx, shot{authorization: []string{"DPoP " + p.token}, proofs: []string{one, two}})
}

func twoTokens(ctx context.Context, p *prober) (*answer, error) {
	signed, err := p.good()
	if err != nil {
		return nil, err
	}
	return p.fire(ctx, shot{authorization: []string{"DPoP " + p.token, "DPoP " + p.token}, proofs: []string{signed}})
}

// otherKey signs with a key that the token does not know.
func otherKey(ctx context.Context, p *prober) (*answer, error) {
	foreign, err := openKey("", "")
	if err != nil {
		return nil, err
	}
	signed, err := foreign.forge(nil, p.claims(nil))
	if err != nil {
		return nil, err
	}
	return p.fire(ctx, shot{authorization: []string{"DPoP " + p.token}, proofs: []string{signed}})
}

func brokenSignature(ctx context.Context, p *prober) (*answer, error) {
	signed, err := p.good()
	if err != nil {
		return nil, err
	}
	return p.fire(ctx, shot{authorization: []string{"DPoP " + p.token}, proofs: []string{spoil(signed)}})
}

func algNone(ctx context.Context, p *prober) (*answer, error) {
	signed, err := p.key.forge(map[string]any{"alg": "none"}, p.claims(nil))
	if err != nil {
		return nil, err
	}
	unsigned := signed[:strings.LastIndexByte(signed, '.')+1]
	return p.fire(ctx, shot{authorization: []string{"DPoP " + p.token}, proofs: []string{unsigned}})
}

// privateKey gives away a key made for this, never the user's: the member that
// only a private key has is random.
func privateKey(ctx context.Context, p *prober) (*answer, error) {
	public, err := publicMembers(p.key.key.Public())
	if err != nil {
		return nil, err
	}
	public["d"] = tokenHash(newID())
	return p.with(ctx, map[string]any{"jwk": public}, nil)
}

// brokenToken presents a token that its issuer never signed, with a proof for it.
func brokenToken(ctx context.Context, p *prober) (*answer, error) {
	forged := spoil(p.token)
	signed, err := p.key.forge(nil, p.claims(map[string]any{"ath": tokenHash(forged)}))
	if err != nil {
		return nil, err
	}
	return p.fire(ctx, shot{authorization: []string{"DPoP " + forged}, proofs: []string{signed}})
}
