// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const origin = "https://api.example.test"

// stand is one Caddy with a site for JWTs and one for opaque tokens, and their issuer.
type stand struct {
	*testing.T
	caddy       *process.Caddy
	issuer      *testkit.Issuer
	jwt, opaque string // addresses
	client      *http.Client

	mu       sync.Mutex
	accepted map[string][]minted // by site, everything that has passed
	passedBy map[string]int      // what must not pass and did, by name
}

type minted struct{ token, proof string }

// answer is what a request got; status 0 means none.
type answer struct {
	status     int
	reason     string
	retryAfter string
	took       time.Duration
}

// newStand starts Caddy; storage is where it keeps used proofs, respond what both
// sites do with a request that passes.
func newStand(t *testing.T, storage, respond string) *stand {
	t.Helper()
	s := prepare(t, storage, respond)
	s.start()
	s.warm()
	return s
}

func prepare(t *testing.T, storage, respond string) *stand {
	t.Helper()
	s := &stand{
		T: t, issuer: testkit.NewIssuer("faults " + t.Name()), jwt: process.FreeAddress(), opaque: process.FreeAddress(),
		client:   &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		accepted: map[string][]minted{}, passedBy: map[string]int{},
	}
	t.Cleanup(s.issuer.Close)
	s.caddy = &process.Caddy{Binary: caddyBinary, Dir: t.TempDir(), Admin: process.FreeAddress()}
	s.caddy.Text = fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	storage file_system %s
}
`, s.caddy.Admin, storage)
	for address, source := range map[string]string{
		s.jwt: "issuer " + s.issuer.URL,
		s.opaque: fmt.Sprintf("introspection %s {\n\t\t\tissuer %s\n\t\t\tclient_id rs\n\t\t\tclient_secret secret\n\t\t\tcache_ttl 0\n\t\t}",
			s.issuer.URL+testkit.PathIntrospect, s.issuer.URL),
	} {
		s.caddy.Text += fmt.Sprintf(`http://%s {
	dpop {
		%s
		audience %s
		public_url %s
	}
	handle_errors {
		header X-Reason {http.dpop.reason}
		respond "refused"
	}
	%s
}
`, address, source, origin, origin, respond)
	}
	return s
}

func (s *stand) start() {
	s.Helper()
	s.check(s.caddy.Start())
	s.Cleanup(s.caddy.Kill)
}

func (s *stand) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// client keys: one with tokens, and one that has none.
var (
	key     = testkit.P256("client of faults")
	another = testkit.P256("thief")
)

func newStorage(t *testing.T) string { return filepath.Join(t.TempDir(), "storage") }

// token makes a good token for a site.
func (s *stand) token(site string) string {
	if site == s.jwt {
		return s.issuer.Token(testkit.TokenClaims{Audience: origin, Subject: "alice", Thumbprint: key.Thumbprint()}, time.Now()).String()
	}
	token := "opaque-" + testkit.NewID() + testkit.NewID()
	s.issuer.Introspects(token, s.says(key))
	return token
}

// says is what the endpoint says of a good token of a key.
func (s *stand) says(k *testkit.Key) testkit.Object {
	return testkit.Object{
		{Name: "active", Value: true},
		{Name: "iss", Value: s.issuer.URL},
		{Name: "aud", Value: origin},
		{Name: "exp", Value: time.Now().Add(time.Hour).Unix()},
		{Name: "cnf", Value: testkit.Object{{Name: "jkt", Value: k.Thumbprint()}}},
	}
}

func prove(k *testkit.Key, token string, bend ...func(*testkit.JWS)) minted {
	p := testkit.NewProof(k, http.MethodPost, origin+"/items", token, time.Now())
	for _, f := range bend {
		f(p)
	}
	return minted{token, p.String()}
}

// send presents a proof, as a POST since Go may repeat a GET.
func (s *stand) send(site string, m minted) answer {
	r, err := http.NewRequest(http.MethodPost, "http://"+site+"/items", http.NoBody)
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "DPoP "+m.token)
	r.Header.Set("DPoP", m.proof)
	begin := time.Now()
	res, err := s.client.Do(r)
	if err != nil {
		return answer{reason: err.Error(), took: time.Since(begin)}
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return answer{res.StatusCode, res.Header.Get("X-Reason"), res.Header.Get("Retry-After"), time.Since(begin)}
}

// good sends a fresh proof with a token and remembers it when it passes.
func (s *stand) good(site, token string) answer {
	m := prove(key, token)
	a := s.send(site, m)
	if a.status == http.StatusOK {
		s.mu.Lock()
		s.accepted[site] = append(s.accepted[site], m)
		s.mu.Unlock()
	}
	return a
}

// bad sends, with a token, all that must never pass whatever is broken, and notes what
// passed.
func (s *stand) bad(site, token string) {
	forged := s.issuer.Token(testkit.TokenClaims{Audience: origin, Thumbprint: another.Thumbprint()}, time.Now())
	forged.Key = another
	expired := s.issuer.Token(testkit.TokenClaims{Audience: origin, Thumbprint: key.Thumbprint()}, time.Now().Add(-3*time.Hour))
	attempts := map[string]minted{
		"another key":     prove(another, token),
		"another URI":     prove(key, token, func(p *testkit.JWS) { p.Set("htu", origin+"/other") }),
		"wrong signature": prove(key, token, func(p *testkit.JWS) { p.Signature = func(_, b []byte) []byte { b[3] ^= 1; return b } }),
		"old proof":       prove(key, token, func(p *testkit.JWS) { p.Set("iat", time.Now().Add(-time.Hour).Unix()) }),
		"forged token":    prove(another, forged.String()),
		"expired token":   prove(key, expired.String()),
		"unknown token":   prove(key, testkit.NewID()+testkit.NewID()),
	}
	s.mu.Lock()
	for i, m := range s.accepted[site] {
		if i >= len(s.accepted[site])-3 {
			attempts[fmt.Sprint("replay ", i)] = m
		}
	}
	s.mu.Unlock()
	var all sync.WaitGroup
	for name, m := range attempts {
		all.Go(func() {
			if a := s.send(site, m); a.status == http.StatusOK || a.status == 0 {
				s.mu.Lock()
				s.passedBy[name]++
				s.mu.Unlock()
			}
		})
	}
	all.Wait()
}

// warm waits until good proofs pass at both sites.
func (s *stand) warm() {
	s.Helper()
	s.recovers(s.jwt, 30*time.Second)
	s.recovers(s.opaque, 10*time.Second)
}

// recovers waits until a new token passes, as a client does: for as long as the answer
// says, and for the next second where a proof of this one is too early for the store.
func (s *stand) recovers(site string, within time.Duration) {
	s.Helper()
	for end := time.Now().Add(within); ; {
		a := s.good(site, s.token(site))
		if a.status == http.StatusOK {
			return
		}
		again := time.Now().Truncate(time.Second).Add(time.Second)
		if seconds, err := strconv.Atoi(a.retryAfter); err == nil {
			again = time.Now().Add(time.Duration(seconds) * time.Second)
		}
		if again.After(end) {
			s.Fatalf("does not recover within %v: %d %s, Retry-After %q\n%s", within, a.status, a.reason, a.retryAfter, s.caddy.Tail())
		}
		time.Sleep(time.Until(again))
	}
}

// sound checks that nothing passed that must not, and replays all that has passed.
func (s *stand) sound() {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, n := range s.passedBy {
		s.Errorf("%s: %d passed or had no answer", name, n)
	}
	replayed := 0
	for site, proofs := range s.accepted {
		for _, m := range proofs {
			// A key that the issuer has withdrawn may not be asked for again so soon.
			if a := s.send(site, m); a.status != http.StatusUnauthorized && a.reason != "keys_not_refreshed" {
				s.Errorf("a replay is answered %d %s", a.status, a.reason)
			}
			replayed++
		}
	}
	if replayed == 0 {
		s.Error("nothing has passed: there was nothing to replay")
	}
	s.Logf("%d proofs passed, none of them twice", replayed)
}

// busy counts the goroutines without those of connections that are kept for the next
// request, at either end: they are the business of their idle time-outs.
func (s *stand) busy() (number int, profile string) {
	s.Helper()
	s.client.CloseIdleConnections()
	number, profile, err := s.caddy.Goroutines()
	s.check(err)
	for _, block := range strings.Split(profile, "\n\n") {
		kept := strings.Contains(block, "net/http.(*persistConn).readLoop+") || strings.Contains(block, "net/http.(*persistConn).writeLoop+") ||
			strings.Contains(block, "bufio.(*Reader).Peek+") && strings.Contains(block, "net/http.(*conn).serve+")
		count, _, _ := strings.Cut(strings.TrimSpace(block[strings.Index(block, "\n")+1:]), " ")
		if first, _, ok := strings.Cut(block, " @ "); ok && !strings.Contains(first, "\n") {
			count = first
		}
		if n, err := strconv.Atoi(strings.TrimSpace(count)); kept && err == nil {
			number -= n
		}
	}
	return number, profile
}

// base is the number of goroutines at rest: what readings in a row agree on.
func (s *stand) base() int {
	s.Helper()
	last, _ := s.busy()
	for end, agreed := time.Now().Add(10*time.Second), 1; agreed < 5; {
		n, profile := s.busy()
		switch {
		case n == last:
			agreed++
		case time.Now().After(end):
			s.Fatalf("goroutines come and go:\n%.6000s", profile)
		default:
			last, agreed = n, 1
		}
	}
	return last
}

// settles waits until there are no more goroutines than before, give or take what the
// asking itself and a scheduled task need.
func (s *stand) settles(base int) {
	s.Helper()
	const slack = 3
	for end := time.Now().Add(40 * time.Second); ; time.Sleep(250 * time.Millisecond) {
		n, profile := s.busy()
		if n <= base+slack {
			s.Logf("%d goroutines before, %d after", base, n)
			return
		}
		if time.Now().After(end) {
			s.Fatalf("%d goroutines before, %d after:\n%.6000s", base, n, profile)
		}
	}
}
