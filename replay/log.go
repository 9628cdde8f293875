// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// DefaultPrefix is the default of [LogConfig.Prefix].
	DefaultPrefix = "dpop/replay"

	// DefaultTimeout is the default of [LogConfig.Timeout].
	DefaultTimeout = 5 * time.Second

	// tickEvery is how often a log that is in use tidies up.
	tickEvery = time.Minute
)

// LogConfig configures a [Log].
type LogConfig struct {
	// Storage is what the nodes share. It has to show every node what any node has stored, from the moment that
	// Store returns: replicas, caches and NFS without noac,lookupcache=none do not, and let a proof pass twice.
	Storage Storage

	// Prefix is the path of the log's objects in the storage, DefaultPrefix when empty. Logs with the same prefix
	// on the same storage are one log; logs with different ones accept each other's proofs.
	Prefix string

	// Table is the process's memory of entries, its own and those of other nodes; it may outlive the log and serve
	// another store. Nil makes one with MaxEntries and MaxPerKey, for which see [TableConfig].
	Table      *Table
	MaxEntries int
	MaxPerKey  int

	// Timeout bounds a claim, DefaultTimeout when zero. After it the claim ends with ErrUnavailable and its
	// proof stays used up. A longer one lets requests pile up behind a storage that hangs.
	Timeout time.Duration

	Now    func() time.Time // clock for expiry and cut-off, time.Now when nil; may step
	Random io.Reader        // for names, crypto/rand when nil
	Logger *zap.Logger      // nil: silent

	// OnBatch, when set, is told how many claims each batch had, before they are answered; empty batches do not
	// count. It is called with the log locked: it must return at once and must not call the log.
	OnBatch func(claims int)
}

// Log is a store on a storage that several nodes share and that has no conditional write: announce, then look.
//
// Each process writes its entries under a random name of its own, then reads those of all others; an entry passes
// if no other name has it. Claims that come while that goes on make the next batch, which costs one Store and one
// List however many there are, and one Load for each other node. A claim that comes alone waits for nobody.
//
// Nothing is started before the first claim. From then on one goroutine at a time carries batches and ends when
// there are none, and one tidies up once a minute until Close.
type Log struct {
	table   *Table
	logger  atomic.Pointer[zap.Logger]
	onBatch func(claims int)

	since atomic.Int64 // the node's cut-off, to refuse at once what it would refuse

	mu      sync.Mutex // guards what follows; never held during a storage call
	timeout time.Duration
	storage Storage
	moved   bool // storage is not known to be the one that node has written to
	closed  bool
	next    *batch // claims that wait for the runner
	running bool   // there is a runner
	current *batch // what it carries
	turn    uint64 // of the runner that owns node
	calling bool   // the runner is in a storage call
	stuck   int    // storage calls that have outlived their batch
	health  health
	load    load
	enough  chan struct{} // closed when wanted claims have joined next; nil: nobody waits for that
	wanted  int

	node *node // owned by the runner of this turn, touched by it outside of storage calls only

	work sync.WaitGroup     // the runner, runners whose call hangs, and tidying
	stop context.CancelFunc // ends tidying; nil before the first claim
}

var _ Store = (*Log)(nil)

// Why a log refuses without asking the storage.
var (
	errClosed     = errors.New("replay store is closed")
	errOverloaded = errors.New("too many claims wait for storage")
	errStuck      = errors.New("storage does not answer")
	errTimeout    = errors.New("storage did not answer in time")
)

// NewLog returns a log. It does not touch the storage.
func NewLog(config LogConfig) *Log {
	if config.Prefix == "" {
		config.Prefix = DefaultPrefix
	}
	if config.Table == nil {
		config.Table = NewTable(TableConfig{MaxEntries: config.MaxEntries, MaxPerKey: config.MaxPerKey, Now: config.Now})
	}
	if config.Timeout <= 0 {
		config.Timeout = DefaultTimeout
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	if config.OnBatch == nil {
		config.OnBatch = func(int) {}
	}
	node := newNode(config.Prefix, config.Table, config.Random)
	node.dump = true // a table that has served another store has something to tell
	l := &Log{
		table:   config.Table,
		timeout: config.Timeout,
		onBatch: config.OnBatch,
		storage: config.Storage,
		node:    node,
	}
	l.logger.Store(config.Logger)
	return l
}

// Claim implements [Store]. When ctx ends first, the claim goes on without its caller: its proof is used up.
func (l *Log) Claim(ctx context.Context, c Claim) error {
	if c.issued() <= l.since.Load() {
		return ErrTooEarly
	}
	l.mu.Lock()
	err := l.ready()
	l.mu.Unlock()
	if err != nil {
		return err // before the proof is used up
	}
	expiry, check, err := l.table.admit(c, flagPending)
	if err != nil {
		return err
	}
	b, place, err := l.join(announced{id: c.ID, issued: c.issued(), expiry: expiry, check: check})
	if err != nil {
		return err
	}
	select {
	case <-b.done:
		return b.verdict(place)
	case <-ctx.Done():
		return Unavailable(context.Cause(ctx))
	}
}

// Check announces nothing and looks, so that a storage that cannot be used is noticed before the first request.
// The error is an [ErrUnavailable] that wraps the storage's, such as fs.ErrPermission.
func (l *Log) Check(ctx context.Context) error {
	l.mu.Lock()
	b, err := l.nextBatch()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return b.wait(ctx)
}

// SetWindow implements [Store].
func (l *Log) SetWindow(w Window) { l.table.SetWindow(w) }

// SetTimeout changes [LogConfig.Timeout] for the claims to come.
func (l *Log) SetTimeout(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timeout = d
}

// SetLogger changes [LogConfig.Logger], which may end with the configuration that it belongs to.
func (l *Log) SetLogger(logger *zap.Logger) { l.logger.Store(logger) }

// SetStorage replaces the storage, as every reload does. If it shows the records of this process, it is the same
// one under another value, and nothing changes. Otherwise it receives all live entries before any claim is
// accepted on it.
func (l *Log) SetStorage(storage Storage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.storage, l.moved = storage, true
}

// Stats implements [Store].
func (l *Log) Stats() Stats {
	stats := l.table.Stats()
	stats.Kind, stats.CutOff = "storage", time.Time{}
	if since := l.since.Load(); since != 0 {
		stats.CutOff = time.Unix(since, 0)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h := &l.health
	stats.Nodes, stats.Batches, stats.Claims = h.nodes, h.batches, h.claims
	stats.Failures, stats.LastError, stats.LastTime = h.failures, h.last, h.took
	return stats
}

// Close implements [Store]: it lets the batch in hand finish, ends the tidying and closes this process's name, so
// that other nodes read it once more and then never again. What has been claimed stays claimed.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	if l.stop != nil {
		l.stop()
	}
	l.mu.Unlock()
	ended := make(chan struct{})
	go func() { // ends with the last storage call
		l.work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		return Unavailable(context.Cause(ctx))
	}
	return l.closeName(ctx)
}
