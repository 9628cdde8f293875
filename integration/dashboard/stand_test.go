// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const origin = "https://api.example.test"

var (
	key   = testkit.P256("client of the dashboard")
	thief = testkit.P256("thief")
)

// fate is what becomes of a request, in the labels of caddy_dpop_requests_total.
type fate struct{ outcome, reason string }

var accepted = fate{"accepted", ""}

func refused(reason string) fate { return fate{"refused", reason} }

// stand is a Caddy with sites for all that has metrics, and an issuer. Dead is the
// address of an issuer that is not there.
type stand struct {
	*testing.T
	caddy   *process.Caddy
	storage string
	issuer  *testkit.Issuer
	dead    string
	client  *http.Client

	jwt, opaque, nonces, monitor, orphan string // addresses of sites

	mu    sync.Mutex
	tally map[fate]float64
}

func newStand(t *testing.T) *stand {
	t.Helper()
	binary, err := process.Binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{
		T: t, issuer: testkit.NewIssuer(t.Name()), dead: "http://" + process.FreeAddress(), storage: filepath.Join(t.TempDir(), "storage"),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		tally:  map[fate]float64{},
	}
	t.Cleanup(s.issuer.Close)
	s.caddy = &process.Caddy{Binary: binary, Dir: t.TempDir(), Admin: process.FreeAddress()}
	s.caddy.Text = fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	storage file_system %s
}
`, s.caddy.Admin, s.storage)
	issuer := "issuer " + s.issuer.URL
	s.jwt = s.site(issuer)
	s.nonces = s.site(issuer + "\n\t\tnonce required")
	s.monitor = s.site(issuer + "\n\t\tmode monitor")
	s.orphan = s.site("issuer " + s.dead)
	s.opaque = s.site(fmt.Sprintf(`introspection %s {
			issuer %s
			client_id rs
			client_secret secret
			cache_ttl 0
		}`, s.issuer.URL+testkit.PathIntrospect, s.issuer.URL))
	if err := s.caddy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.caddy.Kill)
	// The storage is new: what was issued up to now is refused.
	eventually(t, "the first request", patience, func() error {
		if _, got := s.send(s.jwt, s.proof()); got != accepted {
			return fmt.Errorf("%v\n%s", got, s.caddy.Tail())
		}
		return nil
	})
	return s
}

// site adds one to the configuration and returns its address.
func (s *stand) site(options string) string {
	address := process.FreeAddress()
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
	respond "ok"
}
`, address, options, origin, origin)
	return address
}

// proven is a token with a proof.
type proven struct{ token, proof string }

func (s *stand) token(issuer string) string {
	return s.issuer.Token(testkit.TokenClaims{Issuer: issuer, Audience: origin, Thumbprint: key.Thumbprint()}, time.Now()).String()
}

// prove makes a good proof for a token, and bends it.
func prove(k *testkit.Key, token string, bend ...func(*testkit.JWS)) proven {
	p := testkit.NewProof(k, http.MethodPost, origin+"/items", token, time.Now())
	for _, f := range bend {
		f(p)
	}
	return proven{token, p.String()}
}

// proof is a good one with a new token.
func (s *stand) proof(bend ...func(*testkit.JWS)) proven {
	return prove(key, s.token(s.issuer.URL), bend...)
}

func elsewhere(p *testkit.JWS) { p.Set("htu", origin+"/elsewhere") }

// opaqueToken makes a token that the issuer vouches for.
func (s *stand) opaqueToken() string {
	token := "opaque-" + testkit.NewID()
	s.issuer.Introspects(token, testkit.Object{
		{Name: "active", Value: true},
		{Name: "iss", Value: s.issuer.URL},
		{Name: "aud", Value: origin},
		{Name: "exp", Value: time.Now().Add(time.Hour).Unix()},
		{Name: "cnf", Value: testkit.Object{{Name: "jkt", Value: key.Thumbprint()}}},
	})
	return token
}

// send makes a request and counts what became of it; nonce is the one that came back.
func (s *stand) send(site string, m proven) (nonce string, got fate) {
	r, err := http.NewRequest(http.MethodPost, "http://"+site+"/items", http.NoBody)
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "DPoP "+m.token)
	r.Header.Set("DPoP", m.proof)
	res, err := s.client.Do(r)
	if err != nil {
		s.Errorf("no answer: %v", err)
		return "", fate{}
	}
	_ = res.Body.Close()
	switch got = accepted; {
	case site == s.monitor:
		got = fate{"monitored", "htu_mismatch"} // all that is sent there
	case res.StatusCode != http.StatusOK:
		got = refused(res.Header.Get("X-Reason"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally[got]++
	return res.Header.Get("DPoP-Nonce"), got
}

// must sends and says when something else became of it.
func (s *stand) must(site string, m proven, want fate) (nonce string) {
	nonce, got := s.send(site, m)
	if got != want {
		s.Errorf("%v, want %v", got, want)
	}
	return nonce
}

// traffic makes requests of all kinds, and everything happens that has a metric.
func (s *stand) traffic() {
	s.Helper()
	const many = 25 // so that an alert takes notice
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			good := s.proof()
			s.must(s.jwt, good, accepted)
			s.must(s.jwt, good, refused("jti_replayed"))
			s.must(s.jwt, prove(thief, good.token), refused("jkt_mismatch"))
			s.must(s.jwt, prove(key, good.token), accepted) // its token is cached
		})
	}
	all.Wait()
	for range 3 {
		s.must(s.jwt, s.proof(elsewhere), refused("htu_mismatch"))
		s.must(s.jwt, s.proof(func(p *testkit.JWS) { p.Set("iat", time.Now().Add(-time.Hour).Unix()) }), refused("iat_too_old"))
		s.must(s.monitor, s.proof(elsewhere), fate{"monitored", "htu_mismatch"})
		nonce := s.must(s.nonces, s.proof(), refused("nonce_missing"))
		s.must(s.nonces, s.proof(func(p *testkit.JWS) { p.Set("nonce", nonce) }), accepted)
		s.must(s.opaque, prove(key, s.opaqueToken()), accepted)
		s.must(s.orphan, prove(key, s.token(s.dead)), refused("keys_unavailable"))
	}
	s.issuer.Fault(testkit.PathIntrospect, testkit.Status(http.StatusInternalServerError, "text/plain", "no"))
	s.must(s.opaque, prove(key, s.opaqueToken()), refused("introspection_unavailable"))
	s.issuer.Fault(testkit.PathIntrospect, nil)
	s.breakStorage()
	s.refreshKeys()
}

// breakStorage puts a file where a directory was, for the length of a request.
func (s *stand) breakStorage() {
	s.Helper()
	dir := filepath.Join(s.storage, "dpop", "replay")
	try := func(err error) {
		if err != nil {
			s.Fatal(err)
		}
	}
	try(os.Rename(dir, dir+".away"))
	try(os.WriteFile(dir, nil, 0o600))
	s.must(s.jwt, s.proof(), refused("replay_unavailable"))
	try(os.Remove(dir))
	try(os.Rename(dir+".away", dir))
	s.must(s.jwt, s.proof(), accepted)
}

// refreshKeys fetches all key sets, which fails for the issuer that is not there.
func (s *stand) refreshKeys() {
	s.Helper()
	res, err := http.Post("http://"+s.caddy.Admin+"/dpop/keys/refresh", "", nil)
	if err != nil {
		s.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadGateway {
		s.Errorf("refreshing keys: %s", res.Status)
	}
}
