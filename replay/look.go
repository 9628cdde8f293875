// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
)

// maxLooks bounds how often a look begins anew because things vanish under it.
const maxLooks = 16

var (
	errRestless = errors.New("storage changes too fast to be read")
	errLostPeer = errors.New("records of another node are lost or corrupt; proofs issued until now are refused from now on")
	errLostSeal = errors.New("a seal of another node is lost; it is waited for until what it held has expired")
	errBackward = errors.New("storage returned a head older than one read before")
)

// look reads what the other nodes have announced into the table. It begins with a listing, which has to show our
// own pass, or nothing that was stored before it counts. When something listed is gone, that has been swept or
// is just being moved: the next listing or the heads read after it tell.
func (n *node) look(ctx context.Context) error {
	for _, p := range n.inOrder() {
		p.gone, p.broken, p.lost = 0, 0, nil
	}
	for range maxLooks {
		again, err := n.lookOnce(ctx)
		if err != nil || !again {
			return err
		}
	}
	return errRestless
}

func (n *node) lookOnce(ctx context.Context) (again bool, err error) {
	shown, err := n.list(ctx)
	if err != nil {
		return false, err
	}
	if err := n.checkOwn(shown); err != nil {
		return false, err
	}
	cutoff, ok := shown.cutoff()
	if !ok {
		// An empty storage, or an emptied one: what had been accepted before is not known.
		return true, n.cut(ctx, 0)
	}
	n.since = max(n.since, cutoff)
	n.noteCutoffs(shown.since)
	vanished := n.notePeers(shown)

	// First every head, so that every mark is known; then the seals they name.
	for _, p := range n.inOrder() {
		more, err := n.loadHead(ctx, p)
		if err != nil {
			return false, err
		}
		again = again || more
	}
	if again {
		for _, p := range vanished {
			n.peers[p.name] = p // looked at again
		}
		return true, nil
	}
	if err := n.checkVanished(ctx, vanished); err != nil {
		return false, err
	}
	for _, p := range n.inOrder() {
		if p.head == nil {
			continue
		}
		more, err := n.readHead(ctx, p)
		if err != nil {
			return false, err
		}
		again = again || more
	}
	n.noteWindows()
	return again, nil
}

// checkOwn tells whether a listing made after our Store shows that it counts.
func (n *node) checkOwn(shown listing) error {
	switch {
	case n.hooks&ignorePass != 0:
		return nil
	case shown.passes[n.name] && shown.dirs[n.name]:
		return nil
	case shown.dirs[n.name]:
		return errClosedName
	}
	// Our records are gone, or were never there. If they were, the next name begins with everything we know.
	n.dump = n.dump || n.settled
	return errLostName
}

// notePeers updates the names that are there, and returns those that no longer are.
func (n *node) notePeers(shown listing) (vanished []*peer) {
	for _, names := range []map[string]bool{shown.dirs, shown.passes} {
		for name := range names {
			p := n.peers[name]
			if p == nil && n.mine[name] {
				continue
			}
			if p == nil {
				p = &peer{name: name, mark: math.MinInt64, latest: math.MinInt64, since: n.table.now()}
				n.peers[name] = p
				// A listing can show a name without the pass that was there before it, if both came while it was
				// made: a directory is read in any order. So the first one tells nothing, and the next one does.
				p.open = n.hooks&closeAtFirstSight == 0 || shown.passes[name]
			} else {
				p.open = shown.passes[name]
			}
			if p.mine {
				p.done = !p.open
			}
		}
	}
	for _, p := range n.inOrder() {
		if name := p.name; !shown.dirs[name] && !shown.passes[name] {
			delete(n.peers, name)
			if !p.mine {
				vanished = append(vanished, p)
			}
		}
	}
	for name := range n.mine {
		if !shown.dirs[name] && !shown.passes[name] {
			delete(n.mine, name)
		}
	}
	return vanished
}

// checkVanished makes sure that names no longer listed have been swept: then some mark covers them.
func (n *node) checkVanished(ctx context.Context, vanished []*peer) error {
	var lost *peer
	for _, p := range vanished {
		n.noteWindow(p)
		if p.known && p.latest > max(n.seen, n.mark) && (lost == nil || lost.issued() < p.issued()) {
			lost = p
		}
	}
	if lost == nil {
		return nil
	}
	for _, p := range vanished {
		n.peers[p.name] = p // not dealt with until the cut-off stands
	}
	if err := n.cut(ctx, lost.issued()); err != nil {
		return err
	}
	for _, p := range vanished {
		delete(n.peers, p.name)
	}
	return fmt.Errorf("name %s: %w", lost.name, errLostPeer)
}

// loadHead loads a peer's head, unless the name has been closed and read since.
func (n *node) loadHead(ctx context.Context, p *peer) (again bool, err error) {
	p.head = nil
	if p.done || p.mine {
		return false, nil
	}
	key := n.layout.head(p.name)
	data, err := n.storage.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		p.gone++
		return n.headGone(ctx, p)
	}
	if err != nil {
		return false, fmt.Errorf("loading %s: %w", key, err)
	}
	h, err := decodeHead(p.name, data)
	if errors.Is(err, errCorrupt) {
		if p.broken++; p.broken == 1 {
			return true, nil // it may have been caught in the middle of a write
		}
		if !p.open {
			return false, n.lose(ctx, p)
		}
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", key, err)
	}
	if h.number < p.number && p.open {
		return false, fmt.Errorf("reading %s: %w", key, errBackward)
	}
	if !p.known || h.number != p.number {
		p.since = n.table.now()
	}
	p.head, p.known, p.gone = h, true, 0
	p.number, p.mark, p.window, p.past = h.number, max(p.mark, h.mark), h.window, h.past
	n.seen = max(n.seen, h.mark)
	return false, nil
}

// headGone decides what a head means that is not there. Gone once, it may have been swept after the listing: the
// mark that went before shows in a head read after the next listing. Gone again, it holds nothing.
func (n *node) headGone(ctx context.Context, p *peer) (again bool, err error) {
	switch {
	case p.gone == 1:
		return true, nil
	case p.known && (p.open || p.latest > max(n.seen, n.mark)):
		return false, n.lose(ctx, p) // nobody sweeps an open name, or one that no mark covers
	case !p.open:
		p.done = true
	}
	return false, nil
}

// readHead reads what a head holds into the table, as far as it has not been read before: seals first, oldest
// first, then its own entries.
func (n *node) readHead(ctx context.Context, p *peer) (again bool, err error) {
	h := p.head
	for _, s := range h.seals {
		if s.end <= p.read {
			continue
		}
		gone, err := n.readSeal(ctx, p, s)
		if err != nil || gone {
			return gone, err
		}
		p.latest = max(p.latest, s.latest)
		p.read = s.end
	}
	count := len(h.packed) / entrySize
	first := 0
	if p.read > h.base {
		first = int(min(p.read-h.base, uint64(count)))
	}
	for i := first; i < count; i++ {
		if err := n.note(p, entryAt(h.packed, i)); err != nil {
			return false, err
		}
	}
	p.read = max(p.read, h.base+uint64(count))
	p.done = !p.open
	p.head = nil
	return false, nil
}

// readSeal reads one seal. A seal that is gone has been dropped by its writer, and then its head has changed, or
// it was swept; either way a mark covers what was in it. Otherwise nobody knows, and nothing can be accepted
// until it has expired.
func (n *node) readSeal(ctx context.Context, p *peer, s sealInfo) (gone bool, err error) {
	key := n.layout.seal(p.name, s.number)
	data, err := n.storage.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		if s.latest <= max(n.seen, n.mark) || n.hooks&ignoreMissingSeal != 0 {
			return false, nil
		}
		if p.lost[s.number] {
			return false, fmt.Errorf("loading %s: %w", key, errLostSeal)
		}
		if p.lost == nil {
			p.lost = map[uint64]bool{}
		}
		p.lost[s.number] = true
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("loading %s: %w", key, err)
	}
	packed, err := decodeSeal(p.name, s.number, data)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", key, err)
	}
	for i := range len(packed) / entrySize {
		if err := n.note(p, entryAt(packed, i)); err != nil {
			return false, err
		}
	}
	return false, nil
}

func (n *node) note(p *peer, e entry) error {
	p.latest = max(p.latest, e.expiry)
	if n.hooks&ignoreContest != 0 && n.table.has(e.id) {
		return nil
	}
	return n.table.addRemote(e.id, e.expiry)
}

// lose deals with a peer whose records are gone or unreadable. What it had accepted cannot be known any more, so
// a new cut-off refuses everything that it can have accepted; and its name is closed.
func (n *node) lose(ctx context.Context, p *peer) error {
	if err := n.cut(ctx, p.issued()); err != nil {
		return err
	}
	n.todo.passes = append(n.todo.passes, p.name)
	p.known, p.number, p.read, p.done = false, 0, 0, !p.open
	p.latest = math.MinInt64
	return fmt.Errorf("name %s: %w", p.name, errLostPeer)
}

// cut stores a new cut-off: proofs issued up to now are refused by every node that lists it; or up to the second
// given, by which another node's clock may be ahead of ours, within reason.
func (n *node) cut(ctx context.Context, second int64) error {
	now := n.table.now()
	return n.store(ctx, n.layout.since(max(now, min(second, now+clockLead))), []byte{})
}
