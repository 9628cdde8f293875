// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"
)

// node is one process's side of the protocol: announce, then look. It is a plain sequence of storage calls with
// no goroutine and no lock; a [Log] makes sure that one goroutine at a time runs it, and a test can stop it at
// each call. The steps are in commit; look.go has the second half of it, sweep.go what is done at leisure.
//
// Why it is exact. Each node writes before it reads. If two nodes accepted the same entry, each must have read
// before the other's write had ended; but each read after its own write had ended, so that cannot hold for both.
// The rest is about what could hide a write from a read: a name closed behind its owner's back (the pass), a
// listing made while a name begins (notePeers), a write that lands after its time-out (the fresh name), entries
// swept away (the marks), records lost (the cut-off).
type node struct {
	layout  layout
	storage Storage
	table   *Table
	random  io.Reader
	hooks   mutation

	// What this process writes. name is empty when a new one has to be taken.
	name     string
	number   uint64
	base     uint64
	packed   []byte // entries in the head
	latest   int64  // latest expiry in packed
	seals    []sealInfo
	nextSeal uint64
	furthest int64           // latest expiry of anything announced under the name
	settled  bool            // the name has counted at least once
	mark     int64           // published, or about to be
	counted  int64           // the part of mark that is known to count
	dump     bool            // the next name begins with all live entries
	mine     map[string]bool // names this process has had, while they are listed

	// What it has read.
	peers map[string]*peer
	seen  int64 // latest mark of any head
	since int64 // cut-off; 0: none seen yet

	todo chores

	sealAfter  int   // entries in a head before they move to a seal; 0: by the table's size
	closeAfter int64 // seconds after which a head that does not change is closed
}

// mutation takes a rule out of the protocol, so that tests can show what it is good for.
type mutation uint8

const (
	lookThenAnnounce mutation = 1 << iota
	ignorePass
	ignoreMarks
	keepName
	ignoreMissingSeal
	ignoreContest
	closeAtFirstSight
)

var (
	errClosedName = errors.New("another node has closed this name")
	errLostName   = errors.New("storage does not list what was just stored")
)

const (
	// minSeal and maxSeal bound the number of entries that a head holds before they move to a seal; in between
	// it follows the table's size. A small head is cheap to write and to read, few seals are cheap to name.
	minSeal = 256
	maxSeal = 8192

	// closeAfter is how long a head may stay the same before others close its name. An idle process notices at
	// its next claim and takes a new one, at the cost of two more Stores.
	closeAfter = 5 * time.Minute

	// maxBatch bounds the claims of one batch, and with maxSeal the size of a head.
	maxBatch = 32768
)

// announced is a claim on its way through a batch; its entry is pending in the table.
type announced struct {
	id     ID
	issued int64
	expiry int64
	check  int64 // see windows.judge
	err    error // the verdict
}

func newNode(prefix string, table *Table, random io.Reader) *node {
	return &node{
		layout: layout(prefix),
		table:  table,
		random: random,
		mine:   map[string]bool{},
		peers:  map[string]*peer{},
		mark:   table.epoch,
		seen:   table.epoch,

		closeAfter: int64(closeAfter / time.Second),
	}
}

// commit announces a batch and decides each claim of it. An error decides none. If it is not ErrFull, the caller
// has to call leave before the next commit: then nothing of what has been written counts, whenever it lands.
func (n *node) commit(ctx context.Context, batch []announced) error {
	err := n.announce(ctx, batch)
	if errors.Is(err, errClosedName) {
		// Another node found us asleep and closed our name. Nothing is lost but this announcement.
		n.leave()
		err = n.announce(ctx, nil) // the head still holds the batch
	}
	if err != nil {
		return err
	}
	for i := range batch {
		batch[i].err = n.verdict(&batch[i])
	}
	return nil
}

func (n *node) announce(ctx context.Context, batch []announced) error {
	if n.hooks&lookThenAnnounce != 0 && n.name != "" {
		if err := n.look(ctx); err != nil {
			return err
		}
		return n.storeHead(ctx, batch)
	}
	if n.name == "" {
		if err := n.takeName(ctx); err != nil {
			return err
		}
	}
	if len(n.packed) >= n.sealAt()*entrySize {
		if err := n.sealHead(ctx); err != nil {
			return err
		}
	}
	if err := n.storeHead(ctx, batch); err != nil {
		return err
	}
	if err := n.look(ctx); err != nil {
		return err
	}
	// Our pass was there after the Store.
	n.counted, n.settled, n.dump = n.mark, true, false
	return nil
}

// verdict decides a claim after the look.
func (n *node) verdict(a *announced) error {
	if n.hooks&ignoreMarks == 0 && a.check <= max(n.seen, n.mark) {
		return ErrTooOld
	}
	if a.issued <= n.since {
		return ErrTooEarly
	}
	return n.table.settle(a.id, a.check)
}

// takeName begins to write under a new random name. Its pass is stored once, before the first head, and never
// again, so whoever deletes it closes the name for good. What the last head held is announced again, in case
// the storage lost it over an error; if our records have vanished, or the storage is another one, everything is.
func (n *node) takeName(ctx context.Context) error {
	name, err := newName(n.random)
	if err != nil {
		return err
	}
	n.mine[name] = true
	n.name, n.number, n.base, n.seals, n.nextSeal = name, 0, 0, nil, 0
	n.furthest, n.settled = n.latest, false
	if err := n.store(ctx, n.layout.pass(name), []byte{}); err != nil {
		return err
	}
	if !n.dump {
		return nil
	}
	n.packed, n.latest = nil, 0
	return n.table.live(func(entries []entry) error {
		for _, e := range entries {
			n.hold(e.id, e.expiry)
		}
		if len(n.packed) < maxSeal*entrySize {
			return nil
		}
		return n.sealHead(ctx)
	})
}

// leave gives the name up. It is called after anything that leaves the outcome of a Store, or our standing,
// uncertain; the pass of the name left is deleted at leisure.
func (n *node) leave() {
	if n.name == "" || n.hooks&keepName != 0 {
		return
	}
	n.todo.passes = append(n.todo.passes, n.name)
	// To be swept in its time, like anybody's. There is nothing to read: what is in it came from our table.
	n.peers[n.name] = &peer{name: n.name, mine: true, open: true, known: true, mark: n.mark, latest: n.furthest, since: n.table.now()}
	n.name = ""
}

func (n *node) hold(id ID, expiry int64) {
	n.packed = appendEntry(n.packed, id, expiry)
	n.latest = max(n.latest, expiry)
	n.furthest = max(n.furthest, expiry)
}

// sealAt returns the number of entries at which a head is sealed.
func (n *node) sealAt() int {
	if n.sealAfter != 0 {
		return n.sealAfter
	}
	return min(max(int(n.table.count.Load())/128, minSeal), maxSeal)
}

// sealHead moves the head's entries to a seal. It is stored before the head that names it.
func (n *node) sealHead(ctx context.Context) error {
	const most = maxSealEntries * entrySize
	for len(n.packed) > 0 {
		part := n.packed[:min(len(n.packed), most)]
		number := n.nextSeal
		n.nextSeal++
		if err := n.store(ctx, n.layout.seal(n.name, number), encodeSeal(n.name, number, part)); err != nil {
			return err
		}
		n.base += uint64(len(part) / entrySize)
		n.seals = append(n.seals, sealInfo{number: number, end: n.base, latest: n.latest})
		n.packed = n.packed[len(part):]
	}
	n.packed, n.latest = nil, 0
	return nil
}

// storeHead announces the batch. What expires is dropped from the head in the same Store that publishes the mark
// for it, so nobody sees one without the other.
func (n *node) storeHead(ctx context.Context, batch []announced) error {
	for i := range batch {
		n.hold(batch[i].id, batch[i].expiry)
	}
	n.raiseMark()
	n.seals = slices.DeleteFunc(n.seals, func(s sealInfo) bool {
		if s.latest > n.mark {
			return false
		}
		n.todo.seals = append(n.todo.seals, n.layout.seal(n.name, s.number))
		return true
	})
	n.number++
	w := n.table.history.load()
	h := head{number: n.number, base: n.base, mark: n.mark, window: w.current, past: w.past, seals: n.seals, packed: n.packed}
	return n.store(ctx, n.layout.head(n.name), h.encode(n.name))
}

// raiseMark raises the mark to the latest expiry among what can be dropped now: own seals and closed names that
// hold nothing but expired entries. It is published before any of it goes.
func (n *node) raiseMark() {
	now := n.table.now()
	n.mark = max(n.mark, n.table.horizon.Load())
	for _, s := range n.seals {
		if s.latest <= now {
			n.mark = max(n.mark, s.latest)
		}
	}
	for _, p := range n.peers {
		if p.done && p.latest <= now {
			n.mark = max(n.mark, p.latest, p.mark)
		}
	}
}

func (n *node) store(ctx context.Context, key string, value []byte) error {
	if err := n.storage.Store(ctx, key, value); err != nil {
		return fmt.Errorf("storing %s: %w", key, err)
	}
	return nil
}

// listAttempts is how often a listing is tried that fails because something vanished while it was being made, as
// certmagic's FileStorage does.
const listAttempts = 20

func (n *node) list(ctx context.Context) (listing, error) { return list(ctx, n.storage, n.layout) }

func list(ctx context.Context, storage Storage, at layout) (listing, error) {
	for attempt := 1; ; attempt++ {
		keys, err := storage.List(ctx, string(at), false)
		if err == nil {
			return at.parseListing(keys), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || attempt == listAttempts {
			return listing{}, fmt.Errorf("listing %s: %w", at, err)
		}
	}
}
