// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// Paths of an [Issuer].
const (
	PathMetadata   = "/.well-known/oauth-authorization-server"
	PathOpenID     = "/.well-known/openid-configuration"
	PathJWKS       = "/jwks"
	PathIntrospect = "/introspect"
)

// Issuer is an authorization server as a resource server sees it: metadata, a key
// set and an introspection endpoint, each counted and each free to misbehave.
type Issuer struct {
	// URL is the issuer identifier, without a trailing slash.
	URL string
	// Key signs tokens under the key id KeyID until a test rotates.
	Key   *Key
	KeyID string

	server *httptest.Server

	mu       sync.Mutex
	keys     []Object
	metadata Object
	answers  map[string]any
	faults   map[string]http.HandlerFunc
	counts   map[string]int
	requests []Request
}

// Request is one request that an [Issuer] saw.
type Request struct {
	Method, Path, Authorization, ContentType, Accept string
	Form                                             map[string][]string
}

// NewIssuer starts an issuer on a free loopback port with one ES256 key.
func NewIssuer(seed string) *Issuer { return newIssuer(seed, false) }

// NewTLSIssuer starts an issuer whose certificate nobody trusts.
func NewTLSIssuer(seed string) *Issuer { return newIssuer(seed, true) }

func newIssuer(seed string, secure bool) *Issuer {
	s := &Issuer{
		Key: P256("issuer " + seed), KeyID: "k1",
		answers: map[string]any{}, faults: map[string]http.HandlerFunc{}, counts: map[string]int{},
	}
	s.keys = []Object{s.Key.JWK(s.KeyID)}
	if secure {
		s.server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	} else {
		s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	}
	s.URL = s.server.URL
	s.metadata = Object{
		{"issuer", s.URL},
		{"jwks_uri", s.URL + PathJWKS},
		{"introspection_endpoint", s.URL + PathIntrospect},
		{"token_endpoint", s.URL + "/token"},
		{"dpop_signing_alg_values_supported", []string{"ES256"}},
		{"response_types_supported", []string{"code"}},
	}
	return s
}

// Close stops the server at once, requests in flight included.
func (s *Issuer) Close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

// Token makes a good access token of this issuer, ready to be bent.
func (s *Issuer) Token(c TokenClaims, now time.Time) *JWS {
	if c.Issuer == "" {
		c.Issuer = s.URL
	}
	return NewToken(s.Key, s.KeyID, c, now)
}

// Publish replaces the key set.
func (s *Issuer) Publish(keys ...Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

// Rotate makes a new signing key and publishes it beside the present ones, or, when
// withdraw is set, in their place.
func (s *Issuer) Rotate(seed string, withdraw bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Key, s.KeyID = P256("issuer "+seed), "k-"+seed
	if withdraw {
		s.keys = nil
	}
	s.keys = append(s.keys, s.Key.JWK(s.KeyID))
}

// SetMetadata changes one member of the metadata documents; nil removes it.
func (s *Issuer) SetMetadata(name string, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value == nil {
		s.metadata.Delete(name)
		return
	}
	s.metadata.Set(name, value)
}

// Introspects sets the answer for one token: an [Object], a string that is sent as it
// stands, or an http.HandlerFunc. Tokens without an answer are inactive.
func (s *Issuer) Introspects(token string, answer any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[token] = answer
}

// Fault makes a path misbehave; nil heals it.
func (s *Issuer) Fault(path string, f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[path] = f
}

// Count says how often a path was asked for.
func (s *Issuer) Count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[path]
}

// Total says how many requests there were.
func (s *Issuer) Total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// Requests returns what was asked so far.
func (s *Issuer) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

func (s *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.mu.Lock()
	s.counts[r.URL.Path]++
	s.requests = append(s.requests, Request{
		Method: r.Method, Path: r.URL.Path, Authorization: r.Header.Get("Authorization"),
		ContentType: r.Header.Get("Content-Type"), Accept: r.Header.Get("Accept"), Form: r.PostForm,
	})
	fault := s.faults[r.URL.Path]
	var answer any
	switch r.URL.Path {
	case PathMetadata, PathOpenID:
		answer = s.metadata.Clone()
	case PathJWKS:
		set := []any{}
		for _, k := range s.keys {
			set = append(set, k)
		}
		answer = Object{{"keys", set}}
	case PathIntrospect:
		if answer = s.answers[r.PostForm.Get("token")]; answer == nil {
			answer = Object{{"active", false}}
		}
	}
	s.mu.Unlock()

	if fault != nil {
		fault(w, r)
		return
	}
	switch a := answer.(type) {
	case nil:
		http.NotFound(w, r)
	case http.HandlerFunc:
		a(w, r)
	case string:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(a))
	default:
		w.Header().Set("Content-Type", "application/json")
		b, err := json.Marshal(a)
		must(err)
		_, _ = w.Write(b)
	}
}

// Status answers with a status and a body.
func Status(code int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

// Redirect sends the caller elsewhere.
func Redirect(location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}
}

// Hang answers nothing until the caller gives up or the time is over.
func Hang(d time.Duration) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(d):
		}
	}
}

// Reset cuts the connection with a TCP reset instead of answering.
func Reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// Flood answers 200 and never stops sending.
func Flood(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"active":true,"filler":"`))
	chunk := make([]byte, 1<<16)
	for i := range chunk {
		chunk[i] = 'x'
	}
	for range 1 << 14 { // one gigabyte
		if _, err := w.Write(chunk); err != nil || r.Context().Err() != nil {
			return
		}
	}
}
