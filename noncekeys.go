// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// A nonce is an HMAC over the second in which it was made, so that it shows
// neither time nor counter. The first half of the HMAC selects among the
// nonces of the last minutes, which every node can compute for itself; the
// second half is compared in constant time.
const (
	nonceSelector = 8
	nonceVerifier = 16
	nonceLength   = nonceSelector + nonceVerifier

	nonceKeySize = 32
	maxNonceKeys = 8

	// A key is announced before it is used, so that every node has read it by
	// then, and replaced after a day.
	nonceKeyRefresh  = time.Minute
	nonceKeyAnnounce = 10 * nonceKeyRefresh
	nonceKeyLife     = 24 * time.Hour

	nonceKeyTimeout = 5 * time.Second

	// nonceSlack seconds more are remembered than a nonce can be stale for,
	// since those ahead of the clock are computed, too.
	nonceSlack = int64(2 * maxClockSkew / time.Second)

	nonceKeyObject = "dpop/nonce/keys.json"
	nonceKeyLock   = "dpop_nonce_keys"
)

// errNoNonceKeys is answered 503: nonces can be neither made nor checked.
var errNoNonceKeys = errors.New("the nonce keys have not been read from the storage yet")

// nonceKeys makes and finds nonces with keys that all nodes on one storage
// share. It lives in the pool, so a reload invalidates nothing.
type nonceKeys struct {
	logger  atomic.Pointer[zap.Logger]
	now     func() time.Time
	storage *sharedStorage
	keep    atomic.Int64 // seconds that a nonce is remembered, twice the longest lifetime

	recent sync.Map     // selector as uint64 -> recentNonce; readers take no lock
	newest atomic.Int64 // the last second in recent

	mu      sync.Mutex  // guards what follows; never held while the storage is asked
	keys    []nonceKey  // oldest first
	oldest  int64       // the first second in recent
	reading *keyReading // nil when nobody reads
}

// nonceKey makes the nonces from a second on, until the next key's.
type nonceKey struct {
	From   int64  `json:"from"`
	Secret []byte `json:"secret"`
}

type recentNonce struct {
	issued   int64
	verifier [nonceVerifier]byte
}

// nonceKeys takes the shared keys from the pool.
func (a *App) nonceKeys(ctx caddy.Context) (*nonceKeys, error) {
	keys, err := acquire(&a.held, "nonce_keys", func() (*nonceKeys, error) {
		return newNonceKeys(a.logger, a.clock.Now, ctx.Storage()), nil
	})
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nonces = keys
	return keys, nil
}

func newNonceKeys(logger *zap.Logger, now func() time.Time, storage certmagic.Storage) *nonceKeys {
	n := &nonceKeys{now: now, storage: newSharedStorage(storage)}
	n.logger.Store(logger)
	return n
}

// Destruct implements caddy.Destructor.
func (*nonceKeys) Destruct() error { return nil }

// cover makes nonces of the given lifetime findable for as long again, so
// that a stale one can be told from a foreign one.
func (n *nonceKeys) cover(lifetime time.Duration) {
	seconds := int64(2 * lifetime / time.Second)
	for {
		old := n.keep.Load()
		if old >= seconds || n.keep.CompareAndSwap(old, seconds) {
			return
		}
	}
}

// ready reads the keys when that has not happened yet.
func (n *nonceKeys) ready(ctx context.Context) error {
	if n.newest.Load() != 0 {
		return nil
	}
	n.mu.Lock()
	known := len(n.keys) > 0
	n.mu.Unlock()
	if known {
		return nil
	}
	return n.reload(ctx)
}

// refresh reads the keys again and again until the context ends, and makes a
// new one when the last gets old.
func (n *nonceKeys) refresh(ctx context.Context) {
	ticker := time.NewTicker(nonceKeyRefresh)
	defer ticker.Stop()
	for {
		if err := n.reload(ctx); err != nil && ctx.Err() == nil {
			n.logger.Load().Error("the nonce keys cannot be read; those in memory stay in use", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// keyReading is one attempt to read the keys, for all who wait for it.
type keyReading struct {
	done chan struct{}
	err  error // set before done is closed
}

// reload reads the keys, or joins whoever is reading them. The storage is asked
// in a goroutine of its own and under no lock: it may hang whatever its context
// says, and requests that have the keys must not.
func (n *nonceKeys) reload(ctx context.Context) error {
	n.mu.Lock()
	r := n.reading
	if r == nil {
		r = &keyReading{done: make(chan struct{})}
		n.reading = r
		go n.read(r) //nolint:gosec // for all requests that wait, so none of them ends it
	}
	n.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, nonceKeyTimeout)
	defer cancel()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNoNonceKeys, ctx.Err())
	}
}

func (n *nonceKeys) read(r *keyReading) {
	ctx, cancel := context.WithTimeout(context.Background(), nonceKeyTimeout)
	defer cancel()
	keys, err := n.fetch(ctx, *n.storage.current.Load())

	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.adopt(keys)
	}
	n.reading, r.err = nil, err
	close(r.done)
}

// adopt puts keys to use. The caller holds mu.
func (n *nonceKeys) adopt(keys []nonceKey) {
	before, newest := n.keys, n.newest.Load()
	n.keys = keys
	if len(before) > 0 && newest != 0 && nonceAt(before, newest) != nonceAt(keys, newest) {
		n.newest.Store(1) // what is in recent was made by other keys: anew, with the next nonce
	}
}

// fetch reads the keys from the storage; where there are none, or the last is
// old, it makes one under a lock, so that a cluster makes one together.
func (n *nonceKeys) fetch(ctx context.Context, storage certmagic.Storage) ([]nonceKey, error) {
	keys, err := loadNonceKeys(ctx, storage)
	if err != nil || !needsNonceKey(keys, n.now()) {
		return keys, err
	}
	return n.create(ctx, storage)
}

func (n *nonceKeys) create(ctx context.Context, storage certmagic.Storage) (keys []nonceKey, err error) {
	if err := storage.Lock(ctx, nonceKeyLock); err != nil {
		return nil, fmt.Errorf("locking the nonce keys: %w", err)
	}
	defer func() { err = errors.Join(err, storage.Unlock(context.WithoutCancel(ctx), nonceKeyLock)) }()

	if keys, err = loadNonceKeys(ctx, storage); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		n.mu.Lock()
		keys = slices.Clone(n.keys) // the storage lost them: what we have is still alive
		n.mu.Unlock()
	}
	now := n.now()
	if !needsNonceKey(keys, now) {
		if len(keys) == 0 {
			return nil, errNoNonceKeys
		}
	} else {
		from := now.Add(nonceKeyAnnounce).Unix()
		if len(keys) == 0 {
			from = now.Unix() // nobody has another yet
		}
		key := nonceKey{From: from, Secret: make([]byte, nonceKeySize)}
		if _, err := rand.Read(key.Secret); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	for len(keys) > 1 && keys[1].From < now.Add(-nonceKeyLife/2).Unix() {
		keys = keys[1:] // its last nonce is long dead
	}
	value, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	return keys, storage.Store(ctx, nonceKeyObject, value)
}

func loadNonceKeys(ctx context.Context, storage certmagic.Storage) ([]nonceKey, error) {
	value, err := storage.Load(ctx, nonceKeyObject)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the nonce keys: %w", err)
	}
	var keys []nonceKey
	if err := json.Unmarshal(value, &keys); err != nil {
		return nil, errors.New("the nonce keys in the storage cannot be read")
	}
	for i, key := range keys {
		if len(key.Secret) != nonceKeySize || i > 0 && key.From <= keys[i-1].From || len(keys) > maxNonceKeys {
			return nil, errors.New("the nonce keys in the storage are damaged")
		}
	}
	return keys, nil
}

func needsNonceKey(keys []nonceKey, now time.Time) bool {
	return len(keys) == 0 || now.Sub(time.Unix(keys[len(keys)-1].From, 0)) > nonceKeyLife
}

// at computes the nonce of a second. The caller holds mu.
func (n *nonceKeys) at(second int64) [nonceLength]byte { return nonceAt(n.keys, second) }

// nonceAt computes the nonce of a second; the first key also serves what was
// before it.
func nonceAt(keys []nonceKey, second int64) (sum [nonceLength]byte) {
	key := keys[0]
	for _, k := range keys[1:] {
		if k.From <= second {
			key = k
		}
	}
	mac := hmac.New(sha256.New, key.Secret)
	var message [8]byte
	binary.BigEndian.PutUint64(message[:], uint64(second))
	mac.Write(message[:])
	copy(sum[:], mac.Sum(nil))
	return sum
}

// current is the nonce to hand out now.
func (n *nonceKeys) current(now time.Time) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.keys) == 0 {
		return ""
	}
	sum := n.at(now.Unix())
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// find says when a nonce was made; until is the latest second that counts.
func (n *nonceKeys) find(nonce string, until time.Time) (issued time.Time, ok bool) {
	if newest := n.newest.Load(); newest < until.Unix() || newest > until.Unix()+nonceSlack {
		n.advance(until.Unix())
	}
	var sum [nonceLength]byte
	if len(nonce) != base64.RawURLEncoding.EncodedLen(nonceLength) {
		return time.Time{}, false
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(sum[:], []byte(nonce)); err != nil {
		return time.Time{}, false
	}
	found, _ := n.recent.Load(binary.BigEndian.Uint64(sum[:nonceSelector]))
	recent, ok := found.(recentNonce)
	if !ok || subtle.ConstantTimeCompare(recent.verifier[:], sum[nonceSelector:]) != 1 {
		return time.Time{}, false
	}
	return time.Unix(recent.issued, 0), true
}

// advance computes the nonces up to a second and forgets the oldest. Where the
// clock jumped, ahead or back, it begins anew.
func (n *nonceKeys) advance(until int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	newest := n.newest.Load()
	if len(n.keys) == 0 || newest >= until && newest <= until+nonceSlack {
		return // nothing to compute with, or another request was quicker
	}
	from := until - n.keep.Load() - nonceSlack
	if newest >= from && newest < until {
		from = newest + 1
	} else {
		n.recent.Clear()
		n.oldest = from
	}
	for second := from; second <= until; second++ {
		sum := n.at(second)
		recent := recentNonce{issued: second, verifier: [nonceVerifier]byte(sum[nonceSelector:])}
		n.recent.Store(binary.BigEndian.Uint64(sum[:nonceSelector]), recent)
	}
	n.newest.Store(until)
	for first := until - n.keep.Load() - nonceSlack; n.oldest < first; n.oldest++ {
		sum := n.at(n.oldest)
		n.recent.Delete(binary.BigEndian.Uint64(sum[:nonceSelector]))
	}
}
