// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// site is one listener of a profile with what a client must know about it.
type site struct {
	profile  string
	name     string
	address  string // where to connect to
	origin   string // what clients call it: the public URL
	audience string
	issuer   *testkit.Issuer
	scope    string
	server   *server
	tls      bool
	tokens   bool // false: a token endpoint, requests carry no access token
	opaque   bool // tokens are opaque and introspected
	silent   bool // does not say the reason in a header
}

var attempts atomic.Int64

// attempt is one request in the making: good in every respect until a case changes
// something.
type attempt struct {
	site *site
	name string // for the upstream

	method, target string // request line
	version        string
	host           string // Host field; empty: none
	client         *testkit.Key
	accessToken    string
	proof          *testkit.JWS
	compact        string // the proof once it is written, or what a case put in its place

	auth  []string // Authorization lines; nil: DPoP and the token
	dpops []string // DPoP lines; nil: the proof
	first []testkit.Field
	extra []testkit.Field
	body  []byte
	bytes []byte // the whole request instead of all that

	noAuth, noProof bool
}

// client1 is the client's key (K1 of the catalogue), client2 the attacker's (K2).
var (
	client1 = testkit.P256("client")
	client2 = testkit.P256("attacker")
)

// basePath is the target of the base request.
const basePath = "/api/items?x=1"

// newAttempt makes a good request to a site.
func newAttempt(s *site) *attempt {
	a := &attempt{
		site: s, method: "GET", target: basePath, client: client1,
		name: strconv.FormatInt(attempts.Add(1), 10),
	}
	a.host = strings.SplitN(s.origin, "/", 4)[2]
	if !s.tokens {
		a.method, a.target = "POST", "/token"
	}
	a.renew()
	return a
}

// renew makes token and proof again, after the site, the key or the target changed.
func (a *attempt) renew() {
	a.accessToken = ""
	if a.site.tokens {
		a.accessToken = a.newToken(nil)
	}
	a.reproof()
}

// newToken signs an access token bound to the attempt's key, bent by change.
func (a *attempt) newToken(change func(*testkit.JWS)) string {
	now := time.Now()
	if a.site.opaque {
		return a.opaqueToken(nil)
	}
	t := a.site.issuer.Token(testkit.TokenClaims{
		Audience: a.site.audience, Subject: "alice", ClientID: "app",
		Scope: a.site.scope, Thumbprint: a.client.Thumbprint(),
	}, now)
	if change != nil {
		change(t)
	}
	s := t.String()
	secrets.add(s)
	return s
}

// opaqueToken makes an opaque token and tells the introspection endpoint about it.
func (a *attempt) opaqueToken(change func(*testkit.Object)) string {
	token := "opaque-" + testkit.NewID() + testkit.NewID()
	answer := testkit.Object{
		{Name: "active", Value: true},
		{Name: "iss", Value: a.site.issuer.URL},
		{Name: "aud", Value: a.site.audience},
		{Name: "sub", Value: "alice"},
		{Name: "client_id", Value: "app"},
		{Name: "scope", Value: a.site.scope},
		{Name: "exp", Value: time.Now().Add(time.Hour).Unix()},
		{Name: "token_type", Value: "DPoP"},
		{Name: "cnf", Value: testkit.Object{{Name: "jkt", Value: a.client.Thumbprint()}}},
	}
	if change != nil {
		change(&answer)
	}
	a.site.issuer.Introspects(token, answer)
	secrets.add(token)
	return token
}

// reproof makes the proof again.
func (a *attempt) reproof() {
	a.proof = testkit.NewProof(a.client, a.method, a.uri(), a.accessToken, time.Now())
	a.compact = ""
}

// uri is what the client calls the target: the public URL and the path, without query.
func (a *attempt) uri() string {
	path, _, _ := strings.Cut(a.target, "?")
	return a.site.origin + path
}

// request changes method and target, the proof with them.
func (a *attempt) request(method, target string) {
	a.method, a.target = method, target
	a.reproof()
}

// bind changes the client's key, token and proof with it.
func (a *attempt) bind(k *testkit.Key) {
	a.client = k
	a.renew()
}

// token bends the access token; the proof follows with the right ath.
func (a *attempt) token(change func(*testkit.JWS)) { a.useToken(a.newToken(change)) }

// introspected gets an opaque token with a bent introspection answer.
func (a *attempt) introspected(change func(*testkit.Object)) { a.useToken(a.opaqueToken(change)) }

// useToken presents any string as the token, with the right ath.
func (a *attempt) useToken(token string) {
	secrets.add(token)
	a.accessToken = token
	a.reproof()
}

// claim and head set a claim or header parameter of the proof.
func (a *attempt) claim(name string, value any) { a.proof.Claims.Set(name, value) }

func (a *attempt) head(name string, value any) { a.proof.Header.Set(name, value) }

// htu sets the claim of that name.
func (a *attempt) htu(uri string) { a.claim("htu", uri) }

// iat dates the proof relative to now.
func (a *attempt) iat(d time.Duration) { a.claim("iat", time.Now().Add(d).Unix()) }

// rawClaims and rawHeader edit the JSON text of a segment before it is signed.
func (a *attempt) rawClaims(edit func(string) string) {
	a.proof.RawClaims = []byte(edit(a.proof.Claims.String()))
}

func (a *attempt) rawHeader(edit func(string) string) {
	a.proof.RawHeader = []byte(edit(a.proof.Header.String()))
}

// write signs the proof, once.
func (a *attempt) write() string {
	if a.compact == "" {
		a.compact = a.proof.String()
		secrets.add(a.compact)
	}
	return a.compact
}

// rewrite changes the written proof as a string.
func (a *attempt) rewrite(edit func(string) string) { a.compact = edit(a.write()) }

// field adds a header line.
func (a *attempt) field(name, value string) {
	a.extra = append(a.extra, testkit.Field{Name: name, Value: value})
}

// authorization replaces the Authorization lines.
func (a *attempt) authorization(values ...string) { a.auth = values }

// dpop replaces the DPoP lines.
func (a *attempt) dpop(values ...string) { a.dpops = values }

// bearer presents the token under the Bearer scheme and no proof.
func (a *attempt) bearer() {
	a.auth = []string{"Bearer " + a.accessToken}
	a.noProof = true
}

// anonymous removes all credentials.
func (a *attempt) anonymous() { a.noAuth, a.noProof = true, true }

// fields returns the header lines in the order in which they are sent.
func (a *attempt) fields() []testkit.Field {
	f := append([]testkit.Field(nil), a.first...)
	if a.host != "" {
		f = append(f, testkit.Field{Name: "Host", Value: a.host})
	}
	f = append(f, testkit.Field{Name: attemptHeader, Value: a.name})
	if !a.noAuth {
		auth := a.auth
		if auth == nil && a.accessToken != "" {
			auth = []string{"DPoP " + a.accessToken}
		}
		for _, v := range auth {
			f = append(f, testkit.Field{Name: "Authorization", Value: v})
		}
	}
	if !a.noProof {
		proofs := a.dpops
		if proofs == nil {
			proofs = []string{a.write()}
		}
		for _, v := range proofs {
			f = append(f, testkit.Field{Name: "DPoP", Value: v})
		}
	}
	return append(f, a.extra...)
}

// wire is the request as bytes.
func (a *attempt) wire() []byte {
	if a.bytes != nil {
		return a.bytes
	}
	m := testkit.Message{Method: a.method, Target: a.target, Version: a.version, Fields: a.fields(), Body: a.body}
	return m.Bytes()
}

// again returns the attempt under a new name with the same token and the same written
// proof: a replay.
func (a *attempt) again() *attempt {
	a.write()
	b := *a
	b.name = strconv.FormatInt(attempts.Add(1), 10)
	b.extra = append([]testkit.Field(nil), a.extra...)
	return &b
}
