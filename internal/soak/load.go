// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// load sends requests of all kinds and counts the answers.
type load struct {
	url    string
	issuer *testkit.Issuer
	client *http.Client

	sent   atomic.Int64
	unique atomic.Int64 // different valid proofs
	lost   atomic.Int64 // requests without an answer

	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex // guards what follows
	counts   map[string]int
	bad      []string
	holders  []holder
	accepted []minted // some of those that passed lately
}

// holder is a client with its key and token.
type holder struct {
	key   *testkit.Key
	token string
}

type minted struct{ token, proof string }

func newLoad(url string, issuer *testkit.Issuer) *load {
	return &load{
		url: url, issuer: issuer, counts: map[string]int{},
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
}

// warm waits until proofs pass: a new store refuses what is as old as itself.
func (l *load) warm() error {
	for i := range 16 {
		l.newHolder(fmt.Sprint("holder ", i))
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		status, reason := l.send(l.mint(nil))
		if status == http.StatusOK {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the first proofs are answered %d %s", status, reason)
		}
	}
}

// forget starts the counts anew.
func (l *load) forget() {
	l.sent.Store(0)
	l.lost.Store(0)
}

func (l *load) newHolder(seed string) holder {
	key := testkit.P256(seed)
	h := holder{key, l.issuer.Token(testkit.TokenClaims{Audience: origin, Subject: seed, Thumbprint: key.Thumbprint(), Expiry: 48 * time.Hour}, time.Now()).String()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.holders) < 16 {
		l.holders = append(l.holders, h)
	}
	return h
}

func (l *load) holder() holder {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holders[rand.IntN(len(l.holders))] // #nosec G404 -- any of them
}

// mint makes a new proof of some client, bent if need be.
func (l *load) mint(bend func(*testkit.JWS)) minted {
	return l.mintFor(l.holder(), bend)
}

func (l *load) mintFor(h holder, bend func(*testkit.JWS)) minted {
	p := testkit.NewProof(h.key, http.MethodPost, origin+"/items", h.token, time.Now())
	if bend != nil {
		bend(p)
	}
	return minted{h.token, p.String()}
}

// send presents a proof. It is a POST because Go sends a GET a second time by itself
// when a connection breaks, and then nobody knows which of the two counted.
func (l *load) send(m minted) (status int, reason string) {
	l.sent.Add(1)
	r, err := http.NewRequest(http.MethodPost, l.url, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	r.Header.Set("Authorization", "DPoP "+m.token)
	r.Header.Set("DPoP", m.proof)
	res, err := l.client.Do(r)
	if err != nil {
		l.lost.Add(1)
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header.Get("X-Reason")
}

// start begins the load.
func (l *load) start(o options) {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	tick := time.NewTicker(time.Second / time.Duration(o.rate))
	for range o.workers {
		l.work.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					l.one()
				}
			}
		})
	}
}

func (l *load) stop() {
	l.cancel()
	l.work.Wait()
}

// one sends one request of a random kind, or two that belong together.
func (l *load) one() {
	switch n := rand.IntN(100); { // #nosec G404 -- a mix, not a secret
	case n < 50:
		l.valid("valid", l.mint(nil))
	case n < 55:
		l.valid("new key", l.mintFor(l.newHolder(testkit.NewID()), nil))
	case n < 70:
		l.replay()
	case n < 75:
		l.twins()
	case n < 85:
		l.refused("expired", "iat_too_old", l.mint(func(p *testkit.JWS) { p.Set("iat", time.Now().Add(-5*time.Minute).Unix()) }))
	case n < 90:
		l.refused("other URI", "htu_mismatch", l.mint(func(p *testkit.JWS) { p.Set("htu", origin+"/other") }))
	case n < 95:
		l.refused("signature", "signature_invalid", l.mint(func(p *testkit.JWS) { p.Signature = func(_, s []byte) []byte { s[9] ^= 1; return s } }))
	default:
		m := l.mint(nil)
		m.proof = strings.Replace(m.proof, ".", "", 1)
		l.refused("malformed", "proof_malformed", m)
	}
}

// valid sends a proof that must pass. Without an answer nobody knows whether it did;
// sent again it must then pass or be known, so that it is accepted once either way.
func (l *load) valid(kind string, m minted) {
	l.unique.Add(1)
	status, reason := l.send(m)
	for status == 0 {
		if status, reason = l.send(m); reason == "jti_replayed" {
			l.count(kind+", answer lost", "", "")
			return
		}
	}
	if status != http.StatusOK {
		l.count(kind, fmt.Sprint(status, " ", reason), "200")
		return
	}
	l.count(kind, "", "")
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accepted = append(l.accepted, m); len(l.accepted) > 4000 {
		l.accepted = slices.Clone(l.accepted[2000:])
	}
}

// replay sends a proof that has passed.
func (l *load) replay() {
	l.mu.Lock()
	n := len(l.accepted)
	var m minted
	if n > 0 {
		m = l.accepted[rand.IntN(n)] // #nosec G404 -- any of them
	}
	l.mu.Unlock()
	if n == 0 {
		return
	}
	status, reason := l.send(m)
	if reason == "iat_too_old" || status == 0 {
		reason = "jti_replayed" // as good: it has become too old meanwhile, or nobody answered
	}
	l.count("replayed", reason, "jti_replayed")
}

// twins sends two copies of a new proof at the same time: one of them passes.
func (l *load) twins() {
	m := l.mint(nil)
	l.unique.Add(1)
	var answers [2]string
	var both sync.WaitGroup
	for i := range answers {
		both.Go(func() {
			status, reason := l.send(m)
			answers[i] = fmt.Sprint(status, " ", reason)
		})
	}
	both.Wait()
	slices.Sort(answers[:])
	if strings.HasPrefix(answers[0], "0 ") || strings.HasPrefix(answers[1], "0 ") {
		// An answer is lost. Once more, so that the proof is used up in any case.
		if status, reason := l.send(m); status != http.StatusOK && reason != "jti_replayed" {
			l.count("two copies", fmt.Sprint(status, " ", reason), "200 or jti_replayed")
		}
		return
	}
	l.count("two copies", strings.Join(answers[:], ", "), "200 , 401 jti_replayed")
}

func (l *load) refused(kind, want string, m minted) {
	status, reason := l.send(m)
	if status != 0 {
		l.count(kind, reason, want)
	}
}

// count notes an answer, and keeps it when it is not what it must be.
func (l *load) count(kind, got, want string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[kind]++
	if got != want && len(l.bad) < 20 {
		l.bad = append(l.bad, fmt.Sprintf("%s: %s, want %s", kind, got, want))
	}
}

func (l *load) wrong() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.bad, "\n")
}

func (l *load) report() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kinds []string
	for kind := range l.counts {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		fmt.Printf("%s %d; ", kind, l.counts[kind])
	}
	fmt.Printf("requests %d, without an answer %d\n", l.sent.Load(), l.lost.Load())
}
