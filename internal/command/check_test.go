// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func runCheck(t *testing.T, s *server, args ...string) (report, result) {
	t.Helper()
	res := runCommand(t, "", append([]string{"check", "--json", s.URL + "/api/items"}, args...)...)
	var r report
	if err := json.Unmarshal([]byte(res.out), &r); err != nil {
		t.Fatalf("output %q, %q: %v", res.out, res.err, err)
	}
	return r, res
}

// everyRefusal is the IDs of all that must be refused.
func everyRefusal(more ...string) []string {
	var ids []string
	for _, p := range refusals {
		ids = append(ids, p.id)
	}
	return append(ids, more...)
}

// Each server leaves out one check; check must name exactly what is wrong.
func TestCheckNamesTheFault(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault  fault
		failed []string
		warned []string
		code   int
	}{
		{fault: ""},
		{fault: "replay", failed: []string{"replay", "replay-at-once"}},
		{fault: "bearer", failed: []string{"bearer", "bearer-lower-case", "bearer-with-proof"}},
		{fault: "ath", failed: []string{"ath-missing", "ath-wrong"}},
		{fault: "htm", failed: []string{"htm", "htm-missing"}},
		{fault: "htu", failed: []string{"htu-path", "htu-host", "htu-missing"}},
		{fault: "key", failed: []string{"key"}},
		{fault: "signature", failed: []string{"signature"}},
		{fault: "iat", failed: []string{"iat-old", "iat-ahead", "iat-missing"}},
		{fault: "jti", failed: []string{"jti-missing"}},
		{fault: "typ", failed: []string{"typ"}},
		{fault: "alg", failed: []string{"alg-none"}},
		{fault: "private", failed: []string{"jwk-private"}},
		{fault: "two proofs", failed: []string{"two-proofs"}},
		{fault: "two tokens", failed: []string{"two-tokens"}},
		{fault: "token signature", failed: []string{"token-signature"}},
		{fault: "open", failed: everyRefusal("challenge")},
		{fault: "case", warned: []string{"scheme-case"}},
		{fault: "Bearer challenge first", warned: []string{"challenge"}},
		{fault: "wrong error", warned: everyRefusal()},
		{fault: "challenge on success", warned: []string{"good"}},
		{fault: "broken API", failed: []string{"good"}, code: exitUnclear},
	}
	for _, tt := range tests {
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			s := newServer(t, tt.fault)
			r, res := runCheck(t, s)
			if tt.code == 0 && len(tt.failed) > 0 {
				tt.code = exitRefused
			}
			if !slices.Equal(r.Failed, tt.failed) && len(r.Failed)+len(tt.failed) > 0 {
				t.Errorf("failed %v, want %v", r.Failed, tt.failed)
			}
			if !slices.Equal(r.Warned, tt.warned) && len(r.Warned)+len(tt.warned) > 0 {
				t.Errorf("warned %v, want %v", r.Warned, tt.warned)
			}
			if res.code != tt.code {
				t.Errorf("exit code %d, want %d; %s", res.code, tt.code, res.err)
			}
		})
	}
}

func TestCheckWithNonce(t *testing.T) {
	t.Run("good", func(t *testing.T) {
		s := newServer(t)
		s.nonce = "n-1"
		r, res := runCheck(t, s)
		if res.code != 0 || len(r.Failed)+len(r.Warned) > 0 {
			t.Errorf("exit code %d, failed %v, warned %v", res.code, r.Failed, r.Warned)
		}
		if f := findingOf(r, "nonce"); f.Answer != "401 use_dpop_nonce" || f.Verdict != verdictOK {
			t.Errorf("nonce: %+v", f)
		}
	})
	t.Run("takes any", func(t *testing.T) {
		s := newServer(t, "any nonce")
		s.nonce = "n-1"
		r, res := runCheck(t, s)
		if res.code != exitRefused || !slices.Equal(r.Failed, []string{"nonce"}) {
			t.Errorf("exit code %d, failed %v", res.code, r.Failed)
		}
	})
}

// Where each nonce is good once, nearly every probe is challenged first. That
// refusal says nothing; only the one after it counts.
func TestCheckWithOneTimeNonces(t *testing.T) {
	s := newServer(t, "one-time nonces", "htm")
	s.nonce = "n-1"
	r, res := runCheck(t, s)
	if res.code != exitRefused || !slices.Equal(r.Failed, []string{"htm", "htm-missing"}) || len(r.Unclear) > 0 {
		t.Errorf("exit code %d, failed %v, unclear %v", res.code, r.Failed, r.Unclear)
	}
	if f := findingOf(r, "ath-missing"); f.Answer != "401 invalid_dpop_proof" {
		t.Errorf("ath-missing: %+v", f)
	}
}

// A 503 is no refusal: nobody knows what would have happened.
func TestCheckUnclear(t *testing.T) {
	s := newServer(t, "replay store down")
	r, res := runCheck(t, s)
	if res.code != exitUnclear || len(r.Failed) > 0 || !slices.Contains(r.Unclear, "replay") || slices.Contains(r.Unclear, "htm") {
		t.Errorf("exit code %d, failed %v, unclear %v", res.code, r.Failed, r.Unclear)
	}
	text := runCommand(t, "", "check", newServer(t, "replay store down").URL+"/api/items")
	if !strings.Contains(text.out, "cannot be told: ") || !strings.Contains(text.out, "  ?     a proof that was used") {
		t.Errorf("have\n%s", text.out)
	}
}

func TestCheckSurroundings(t *testing.T) {
	s := newServer(t)
	s.metadata, s.origin = true, "https://spa.example"
	r, res := runCheck(t, s, "--origin", "https://spa.example")
	if res.code != 0 {
		t.Errorf("exit code %d: %s", res.code, res.err)
	}
	for id, want := range map[string]string{"metadata": verdictOK, "cors": verdictOK, "nonce": verdictInfo} {
		if f := findingOf(r, id); f.Verdict != want {
			t.Errorf("%s: %+v, want %s", id, f, want)
		}
	}
}

// What clients need besides is no matter of safety, so nothing of it fails a check,
// but it is named.
func TestCheckWarnsOfSurroundings(t *testing.T) {
	const page = "https://spa.example"
	tests := []struct {
		name    string
		fault   fault
		origin  string // that the server allows
		args    []string
		id      string
		verdict string
		note    string
	}{
		{"no metadata", "", "", nil, "metadata", verdictInfo, "none: clients must be told the authorization server"},
		{"an origin that nobody named", "", "", nil, "cors", verdictInfo, "not allowed: pages of that origin cannot call this API"},
		{"another origin than the one named", "", "https://other.example", []string{"--origin", page}, "cors", verdictWarn, "not allowed: pages of that origin cannot call this API"},
		{"preflight", "preflight needs a token", page, []string{"--origin", page}, "cors", verdictWarn, "a preflight must be answered with 2xx, without credentials"},
		{"any header", "any header", page, []string{"--origin", page}, "cors", verdictWarn, "Access-Control-Allow-Headers does not name authorization"},
		{"no DPoP field", "no DPoP field", page, []string{"--origin", page}, "cors", verdictWarn, "Access-Control-Allow-Headers does not name dpop"},
		{"nothing exposed", "nothing exposed", page, []string{"--origin", page}, "cors", verdictWarn, "a 401 does not let the page read dpop-nonce: it cannot answer a challenge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, tt.fault)
			s.origin = tt.origin
			r, res := runCheck(t, s, tt.args...)
			if f := findingOf(r, tt.id); f.Verdict != tt.verdict || f.Note != tt.note {
				t.Errorf("have %+v, want %s: %s", f, tt.verdict, tt.note)
			}
			if res.code != 0 || len(r.Failed) > 0 || (len(r.Warned) == 1) != (tt.verdict == verdictWarn) {
				t.Errorf("exit code %d, failed %v, warned %v", res.code, r.Failed, r.Warned)
			}
		})
	}
}

func TestCheckMetadataOfSomebodyElse(t *testing.T) {
	s := newServer(t, "foreign metadata")
	s.metadata = true
	r, res := runCheck(t, s, "--issuer", s.URL)
	if res.code != exitRefused || !slices.Equal(r.Failed, []string{"metadata"}) {
		t.Errorf("exit code %d, failed %v", res.code, r.Failed)
	}
	// Without --issuer the same metadata must not even be followed.
	if res := runCommand(t, "", "check", s.URL+"/api/items"); res.code != exitFailed || !strings.Contains(res.err, `is about "https://other.example"`) {
		t.Errorf("exit code %d: %s", res.code, res.err)
	}
}

func TestCheckTable(t *testing.T) {
	s := newServer(t, "replay")
	res := runCommand(t, "", "check", s.URL+"/api/items")
	for _, want := range []string{
		"  ok    a good request                                     200\n",
		"  FAIL  a proof that was used                              200\n        accepted (RFC 9449, 11.1)\n",
		"  ok    no proof                                           401 invalid_dpop_proof\n",
		"\n2 of 32 failed: replay, replay-at-once\n",
	} {
		if !strings.Contains(res.out, want) {
			t.Errorf("no %q in\n%s", want, res.out)
		}
	}
	if res.err != "" {
		t.Errorf("a quick run says %q", res.err)
	}
}

// Eight copies reach a server that looks, waits and then stores: all pass.
func TestReplayAtOnceSeesTheRace(t *testing.T) {
	const copies = 8
	var arrived sync.WaitGroup
	arrived.Add(copies)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived.Done()
		arrived.Wait() // every copy has looked before the first is stored
		w.WriteHeader(http.StatusOK)
	}))
	defer api.Close()
	target, _ := url.Parse(api.URL)
	key, err := openKey("", "")
	if err != nil {
		t.Fatal(err)
	}
	e := &env{err: io.Discard}
	p := &prober{
		credentials: &credentials{key: key, token: "token"}, method: http.MethodGet, target: target,
		client: newClient(e, 30*time.Second, false, false, false), now: func() time.Time { return testNow },
	}
	a, err := replayAtOnce(t.Context(), p)
	if err != nil || a.status != http.StatusOK {
		t.Errorf("have %v, %v: the second that passed must be the answer", a, err)
	}
}

func TestProgress(t *testing.T) {
	ticks := make(chan time.Time)
	r, w := io.Pipe()
	stopped := false
	p := startProgress(w, func() (<-chan time.Time, func()) { return ticks, func() { stopped = true } })
	read := func() string {
		b := make([]byte, 100)
		n, _ := r.Read(b)
		return string(b[:n])
	}
	p.now("step %d", 1)
	go func() { ticks <- testNow }()
	if have := read(); have != "step 1\n" {
		t.Errorf("have %q", have)
	}
	ticks <- testNow // nothing new: nothing is written, or this would block the next
	p.now("step %d", 2)
	go func() { ticks <- testNow }()
	if have := read(); have != "step 2\n" {
		t.Errorf("have %q", have)
	}
	p.stop()
	if !stopped {
		t.Error("the ticker goes on")
	}
}

func findingOf(r report, id string) finding {
	for _, f := range r.Findings {
		if f.ID == id {
			return f
		}
	}
	return finding{}
}
