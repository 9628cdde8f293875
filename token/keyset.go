// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// KeySetConfig says where the public keys of an issuer come from and how they are
// kept fresh. Of Issuer, URI and File exactly one way is used: File, else URI, else
// discovery from Issuer.
type KeySetConfig struct {
	// Issuer is the issuer identifier whose metadata names the key set: RFC 8414,
	// section 3, then OpenID Connect Discovery 1.0, section 4. Its issuer member must
	// be exactly this. Required when URI and File are empty, else not looked at.
	Issuer string
	// URI is the address of the key set, for issuers without metadata. Like
	// everything that is fetched it must be https, or http on a loopback host.
	URI string
	// File is the path of a key set, read again when it changes. No network is used.
	File string

	// Client makes the requests. Nil means one with the proxy settings of the
	// environment and the system's roots. Redirects are refused in any case.
	Client *http.Client
	// Cache keeps the last good copy across restarts. Nil means that there is none,
	// and a restart while the issuer is down answers 503.
	Cache KeyCache
	// Logger gets one line per failure and per change. Nil means none.
	Logger *zap.Logger
	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// RefreshInterval is the time from one scheduled fetch to the next, and with it
	// how long a withdrawn key can stay in use. Zero means [DefaultRefreshInterval].
	// What the server says about caching is not looked at.
	RefreshInterval time.Duration
	// MinInterval is the least time between two fetches that tokens cause by naming
	// an unknown key, however many there are. Zero means [DefaultMinInterval].
	MinInterval time.Duration
	// Timeout bounds one fetch, discovery included. Zero means [DefaultFetchTimeout].
	Timeout time.Duration
	// MaxWait is how long requests wait for one fetch, counted from its beginning: a
	// server that hangs holds up the first of them, not all. Zero means
	// [DefaultMaxWait].
	MaxWait time.Duration
	// MaxStale is the age at which a copy that cannot be renewed is no longer used.
	// A longer one lets a stolen and withdrawn key live on for as long as its thief
	// can keep us from the issuer. Zero means [DefaultMaxStale].
	MaxStale time.Duration
}

// Defaults of [KeySetConfig].
const (
	DefaultRefreshInterval = 5 * time.Minute
	DefaultMinInterval     = 10 * time.Second
	DefaultFetchTimeout    = 10 * time.Second
	DefaultMaxWait         = 3 * time.Second
	DefaultMaxStale        = 24 * time.Hour
)

// KeySet holds the public keys of an issuer.
//
// One copy of the keys is in use at any time. It is replaced whole when a fetch
// succeeds, and kept when one fails, until it is MaxStale old. Fetches happen one at
// a time, in a goroutine of their own that no caller can cancel, for three causes:
//
//   - on schedule, every RefreshInterval, sooner after failures (keyset_refresh.go);
//   - for a token that names an unknown key, at most every MinInterval;
//   - on request ([KeySet.Refresh]).
//
// A token whose key is unknown even to a copy fetched after it arrived is refused.
// As long as no such copy can be had, nothing is known against the token, and the
// answer is [KeysNotRefreshed]: a verdict is never remembered and never guessed.
type KeySet struct {
	cfg    KeySetConfig
	id     string
	origin origin
	client *http.Client
	log    atomic.Pointer[zap.Logger]

	// current is the copy in use; nil until there is one.
	current atomic.Pointer[snapshot]
	// due is when the next scheduled fetch may begin, in nanoseconds since 1970.
	due atomic.Int64
	// closed says that nobody will notice any more when a key is withdrawn.
	closed atomic.Bool

	restoring sync.Once
	restored  chan struct{} // closed when the copy of the last run is in use, or will not be waited for

	mu       sync.Mutex // guards what follows
	flight   *flight
	forced   time.Time // begin of the last fetch that an unknown key caused
	failures int       // failed fetches in a row
	stop     chan struct{}
	stopped  chan struct{}
	status   KeySetStatus
	stored   time.Time // when the copy was last put into the cache
	unstored bool      // the keys have changed since
	storing  bool      // a copy is being put there
}

// origin is where a key set comes from.
type origin interface {
	fetch(ctx context.Context) ([]byte, error)
	// uri is the address last used, for the status.
	uri() string
}

// snapshot is one copy of a key set.
type snapshot struct {
	keys []*key
	// fetched is a time of the wall clock, since it is compared after restarts.
	fetched time.Time
}

// NewKeySet makes a KeySet. It starts nothing and uses no network; the first token,
// or [KeySet.Start], does.
func NewKeySet(c KeySetConfig) (*KeySet, error) {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&c.RefreshInterval, DefaultRefreshInterval},
		{&c.MinInterval, DefaultMinInterval},
		{&c.Timeout, DefaultFetchTimeout},
		{&c.MaxWait, DefaultMaxWait},
		{&c.MaxStale, DefaultMaxStale},
	} {
		if *d.value < 0 {
			return nil, fmt.Errorf("intervals of a key set cannot be negative, got %v", *d.value)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	logger := c.Logger
	c.Logger = nil // the one in use may become another, see SetLogger
	s := &KeySet{cfg: c, client: newClient(c.Client), restored: make(chan struct{})}
	switch {
	case c.File != "" && c.URI != "":
		return nil, errors.New("a key set comes from a URI or from a file, not from both")
	case c.File != "":
		s.id, s.origin = "file "+c.File, &file{path: c.File}
	case c.URI != "":
		if err := checkFetchable(c.URI); err != nil {
			return nil, err
		}
		s.id, s.origin = "uri "+c.URI, &remote{client: s.client, jwksURI: c.URI}
	default:
		d, err := newDiscovery(c.Issuer, s.client, c.Now)
		if err != nil {
			return nil, err
		}
		s.id, s.origin = "issuer "+c.Issuer, d
	}
	s.SetLogger(logger)
	return s, nil
}

// SetLogger changes [KeySetConfig.Logger], for a key set that outlives what its
// logger belongs to.
func (s *KeySet) SetLogger(logger *zap.Logger) {
	if logger == nil {
		logger = zap.NewNop()
	}
	s.log.Store(logger.With(zap.String("key_set", s.id)))
}

// ID says where the keys come from. Two key sets with one ID can stand in for each
// other.
func (s *KeySet) ID() string { return s.id }

// cacheKey is the name of the last good copy in the cache: lower-case hex, which
// every file system and database can hold.
func (s *KeySet) cacheKey() string {
	sum := sha256.Sum256([]byte(s.id))
	return "dpop/keys/" + hex.EncodeToString(sum[:])
}

// trusted reports whether the copy in use is young enough to stand on, and looked
// after: another set for the same issuer may know by now what this one does not.
func (s *KeySet) trusted() bool {
	if s.closed.Load() {
		return false
	}
	if f, ok := s.origin.(*file); ok {
		_ = s.poll(f, pollInterval) // it has been logged, and what counts is the copy's age
	}
	copied := s.current.Load()
	return copied != nil && s.fresh(copied)
}

func (s *KeySet) fresh(copied *snapshot) bool {
	return s.cfg.Now().Sub(copied.fetched) < s.cfg.MaxStale
}

// KeySetStatus is what an operator wants to know about a key set.
type KeySetStatus struct {
	// ID is [KeySet.ID].
	ID string `json:"id"`
	// URI is the address that was last fetched from, or the path of the file.
	URI string `json:"uri,omitempty"`
	// Keys are the keys in use.
	Keys []KeyStatus `json:"keys"`
	// Fetched is when the copy in use was fetched, perhaps before a restart; zero
	// when there is none. Age is the time since, in seconds.
	Fetched time.Time `json:"fetched,omitzero"`
	Age     float64   `json:"age,omitempty"`
	// Restored says that the copy in use is that of the last run.
	Restored bool `json:"restored,omitempty"`
	// Attempted is when the last fetch began, Next when the next one is due.
	Attempted time.Time `json:"attempted,omitzero"`
	Next      time.Time `json:"next,omitzero"`
	// Fetches and Failures count since the start, Fetches including Failures.
	Fetches  uint64 `json:"fetches"`
	Failures uint64 `json:"failures"`
	// LastError is that of the last fetch; empty when it succeeded.
	LastError string `json:"last_error,omitempty"`
}

// KeyStatus describes one public key.
type KeyStatus struct {
	ID        string `json:"kid,omitempty"`
	Type      string `json:"kty"`
	Algorithm string `json:"alg,omitempty"`
}

// Status describes the key set for an operator.
func (s *KeySet) Status() KeySetStatus {
	s.mu.Lock()
	st := s.status
	s.mu.Unlock()
	st.ID, st.URI = s.id, s.origin.uri()
	if due := s.due.Load(); due != 0 {
		st.Next = time.Unix(0, due)
	}
	if copied := s.current.Load(); copied != nil {
		st.Fetched, st.Age = copied.fetched, s.cfg.Now().Sub(copied.fetched).Seconds()
		for _, k := range copied.keys {
			st.Keys = append(st.Keys, KeyStatus{ID: k.id, Type: k.kty, Algorithm: k.alg})
		}
	}
	return st
}
