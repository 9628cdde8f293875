// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// IntrospectionConfig says where opaque access tokens are asked about.
type IntrospectionConfig struct {
	// Endpoint is the address of the introspection endpoint (RFC 7662, section 2).
	// It must be https, or http on a loopback host. Required.
	Endpoint string
	// Issuer is the issuer that the endpoint belongs to. It stands in for iss where
	// an answer has none, and is demanded of signed answers. Empty accepts any.
	Issuer string
	// ClientID is the name under which we ask. Required.
	ClientID string
	// AuthMethod is how we prove that name: [ClientSecretBasic], [ClientSecretPost]
	// or [PrivateKeyJWT]. Empty means PrivateKeyJWT with a PrivateKey, else
	// ClientSecretBasic.
	AuthMethod string
	// ClientSecret is for the first two methods, PrivateKey for the third.
	ClientSecret string
	PrivateKey   *ClientKey
	// Keys is the issuer's key set, by which signed answers are verified (RFC 9701).
	// With it they are asked for; an answer that is not signed is still accepted.
	// Nil means that signed answers are refused.
	Keys *KeySet

	// CacheTTL is for how long a positive answer is relied on, never past its exp.
	// This is how long a revoked token stays good. Nil means [DefaultCacheTTL]; zero
	// asks on every request.
	CacheTTL *time.Duration
	// RefusalTTL is the same for negative answers, and never more than CacheTTL.
	// Zero means [DefaultRefusalTTL].
	RefusalTTL time.Duration
	// CacheSize is how many answers are kept of either kind. Zero means
	// [DefaultAnswers].
	CacheSize int
	// MaxConcurrent is how many requests to the endpoint may be under way; MaxQueue
	// is how long further tokens wait for their turn before they are answered 503.
	// Zero means [DefaultMaxConcurrent] and [DefaultMaxQueue].
	MaxConcurrent int
	MaxQueue      time.Duration
	// Timeout bounds one request. Zero means [DefaultIntrospectionTimeout].
	Timeout time.Duration
	// MaxSize is the largest token asked about, in bytes. Zero means [DefaultMaxSize].
	MaxSize int
	// ClockSkew is how far the clock of a signed answer may differ from ours.
	ClockSkew time.Duration

	// Client, Logger and Now are as in [KeySetConfig].
	Client *http.Client
	Logger *zap.Logger
	Now    func() time.Time
}

// Defaults of [IntrospectionConfig].
const (
	DefaultCacheTTL             = 30 * time.Second
	DefaultRefusalTTL           = 5 * time.Second
	DefaultAnswers              = 10_000
	DefaultMaxConcurrent        = 64
	DefaultMaxQueue             = time.Second
	DefaultIntrospectionTimeout = 5 * time.Second
)

// retryIntrospection is what clients are told to wait when the endpoint fails.
const retryIntrospection = 2 * time.Second

// Introspection asks an authorization server what an access token means (RFC 7662).
//
// Whoever can have us ask can load the authorization server, so ask only for a
// caller that has proven something: when the proof's signature held. Before that,
// [Introspection.Cached] says what is known already.
//
// However many requests bring one token, there is one request for it at a time, which
// none of them can cancel. Positive answers and negative ones are kept apart, so
// that a flood of invalid tokens pushes out no valid one.
type Introspection struct {
	cfg    IntrospectionConfig
	id     string
	client *http.Client
	log    atomic.Pointer[zap.Logger]

	active  *Cache    // positive answers
	refused *refusals // negative answers
	places  chan struct{}

	mu        sync.Mutex // guards what follows
	inquiries map[[sha256.Size]byte]*inquiry

	calls, failures atomic.Uint64
	lastError       atomic.Pointer[string] // nil after a success
}

// inquiry is a request to the endpoint that is under way.
type inquiry struct {
	done   chan struct{} // closed when the two below are set
	claims *Claims
	err    error
}

// NewIntrospection makes an Introspection. It starts nothing and asks nothing.
func NewIntrospection(c IntrospectionConfig) (*Introspection, error) {
	if err := checkFetchable(c.Endpoint); err != nil {
		return nil, fmt.Errorf("introspection endpoint: %w", err)
	}
	if err := c.checkClient(); err != nil {
		return nil, err
	}
	if c.Keys != nil && c.Issuer == "" {
		return nil, errors.New("signed introspection answers need an issuer to come from")
	}
	ttl := DefaultCacheTTL
	if c.CacheTTL != nil {
		ttl = *c.CacheTTL
	}
	c.CacheTTL = &ttl
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&ttl, 0},
		{&c.RefusalTTL, DefaultRefusalTTL},
		{&c.MaxQueue, DefaultMaxQueue},
		{&c.Timeout, DefaultIntrospectionTimeout},
		{&c.ClockSkew, 0},
	} {
		if *d.value < 0 {
			return nil, fmt.Errorf("durations of an introspection endpoint cannot be negative, got %v", *d.value)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	for _, n := range []struct {
		value    *int
		standard int
	}{
		{&c.CacheSize, DefaultAnswers},
		{&c.MaxConcurrent, DefaultMaxConcurrent},
		{&c.MaxSize, DefaultMaxSize},
	} {
		if *n.value < 0 {
			return nil, fmt.Errorf("limits of an introspection endpoint cannot be negative, got %d", *n.value)
		}
		if *n.value == 0 {
			*n.value = n.standard
		}
	}
	c.RefusalTTL = min(c.RefusalTTL, ttl)
	if c.Now == nil {
		c.Now = time.Now
	}
	logger := c.Logger
	c.Logger = nil // the one in use may become another, see SetLogger
	i := &Introspection{
		cfg:       c,
		id:        "introspection " + c.Endpoint + " " + c.ClientID + " " + c.Issuer,
		client:    newClient(c.Client),
		active:    NewCache(c.CacheSize, c.Now),
		refused:   newRefusals(c.CacheSize),
		places:    make(chan struct{}, c.MaxConcurrent),
		inquiries: make(map[[sha256.Size]byte]*inquiry),
	}
	i.SetLogger(logger)
	return i, nil
}

// SetLogger changes [IntrospectionConfig.Logger], as [KeySet.SetLogger] does.
func (i *Introspection) SetLogger(logger *zap.Logger) {
	if logger == nil {
		logger = zap.NewNop()
	}
	i.log.Store(logger.With(zap.String("introspection", i.cfg.Endpoint)))
}

// ID identifies the endpoint, and us to it.
func (i *Introspection) ID() string { return i.id }

// Close gives up connections. A request under way ends by itself within its time-out,
// and tokens can still be verified, as after [KeySet.Close].
func (i *Introspection) Close() { i.client.CloseIdleConnections() }

// Cached returns what the token with this SHA-256 hash means, if that is known and
// recent enough. It asks nobody.
func (i *Introspection) Cached(hash [sha256.Size]byte) (*Claims, bool) {
	if r := i.active.Get(hash, ""); r != nil && r.Claims.Live() {
		return r.Claims, true
	}
	return nil, false
}

// Verify returns what the token means, asking the endpoint if need be. When CacheTTL
// is zero, claims are no longer live as soon as they are returned, and good for the
// one request that asked.
func (i *Introspection) Verify(ctx context.Context, raw string) (*Claims, error) {
	if len(raw) > i.cfg.MaxSize {
		return nil, refuse(TooLarge, "over the size limit")
	}
	if raw == "" {
		return nil, refuse(Malformed, "empty")
	}
	hash := sha256.Sum256([]byte(raw))
	if c, ok := i.Cached(hash); ok {
		return c, nil
	}
	if err := i.refused.get(hash, i.cfg.Now()); err != nil {
		return nil, err
	}
	q := i.inquire(hash, raw)
	select {
	case <-q.done:
		return q.claims, q.err
	case <-ctx.Done():
		return nil, unavailable(IntrospectionUnavailable, retryIntrospection, ctx.Err())
	}
}

// inquire begins a request for the token, or joins the one under way.
func (i *Introspection) inquire(hash [sha256.Size]byte, raw string) *inquiry {
	i.mu.Lock()
	defer i.mu.Unlock()
	if q := i.inquiries[hash]; q != nil {
		return q
	}
	q := &inquiry{done: make(chan struct{})}
	// One may have ended since the cache was looked at.
	if q.claims, _ = i.Cached(hash); q.claims != nil {
		close(q.done)
		return q
	}
	i.inquiries[hash] = q
	go func() {
		q.claims, q.err = i.ask(hash, raw)
		i.mu.Lock()
		delete(i.inquiries, hash)
		i.mu.Unlock()
		close(q.done)
	}()
	return q
}

// ask waits for its turn, asks the endpoint, and remembers the answer. It belongs to
// no request.
func (i *Introspection) ask(hash [sha256.Size]byte, raw string) (*Claims, error) {
	queue := time.NewTimer(i.cfg.MaxQueue)
	defer queue.Stop()
	select {
	case i.places <- struct{}{}:
		defer func() { <-i.places }()
	case <-queue.C:
		return nil, unavailable(IntrospectionUnavailable, retryIntrospection, errors.New("too many tokens are being asked about"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), i.cfg.Timeout)
	defer cancel()
	asked := i.cfg.Now()
	claims, err := i.request(ctx, raw)
	i.note(err)
	switch {
	case err == nil:
		until := asked.Add(*i.cfg.CacheTTL)
		if !claims.Expiry.IsZero() && claims.Expiry.Before(until) {
			until = claims.Expiry
		}
		claims.source = &answer{until: until, now: i.cfg.Now}
		if claims.Live() {
			i.active.Put(hash, "", claims)
		}
	case !ReasonOf(err).Unavailable():
		i.refused.put(hash, err, asked.Add(i.cfg.RefusalTTL))
	}
	return claims, err
}

// note counts, and logs when the endpoint begins to fail and when it is back: under
// load a line for each request would only do harm.
func (i *Introspection) note(err error) {
	i.calls.Add(1)
	if !ReasonOf(err).Unavailable() {
		if i.lastError.Swap(nil) != nil {
			i.log.Load().Info("introspection works again")
		}
		return
	}
	i.failures.Add(1)
	text := err.Error()
	if i.lastError.Swap(&text) == nil {
		i.log.Load().Warn("introspection fails", zap.Error(err))
	}
}

// IntrospectionStatus is what an operator wants to know about an endpoint.
type IntrospectionStatus struct {
	Endpoint string `json:"endpoint"`
	// Calls and Failures count requests since the start, Calls including Failures.
	Calls    uint64 `json:"calls"`
	Failures uint64 `json:"failures"`
	// Active and Refused are the numbers of answers that are remembered.
	Active  int `json:"active"`
	Refused int `json:"refused"`
	// UnderWay is the number of requests to the endpoint right now.
	UnderWay int `json:"under_way"`
	// LastError is that of the last request; empty when it succeeded.
	LastError string `json:"last_error,omitempty"`
}

// Status describes the endpoint for an operator.
func (i *Introspection) Status() IntrospectionStatus {
	st := IntrospectionStatus{
		Endpoint: i.cfg.Endpoint, Calls: i.calls.Load(), Failures: i.failures.Load(),
		Active: i.active.Len(), Refused: i.refused.len(), UnderWay: len(i.places),
	}
	if text := i.lastError.Load(); text != nil {
		st.LastError = *text
	}
	return st
}
