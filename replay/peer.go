// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"maps"
	"slices"
	"strings"
)

// peer is what a node knows of another node's name.
type peer struct {
	name   string
	mine   bool // this process has left it
	open   bool // its pass was in the last listing
	done   bool // closed, and read since: nothing that is written under it can count any more
	known  bool // its head has been read
	number uint64
	read   uint64 // how many of the entries written under it have been read
	mark   int64
	latest int64 // latest expiry in anything under it
	window limits
	past   []span
	since  int64 // second of our clock in which its head last changed

	// Of the present look.
	head   *head
	gone   int             // times its head was not there
	broken int             // times its head could not be decoded
	lost   map[uint64]bool // seals that were not there
}

// inOrder returns the peers in the order of their names, so that what a node does follows from what it sees.
func (n *node) inOrder() []*peer {
	if len(n.peers) == 0 {
		return nil
	}
	peers := slices.Collect(maps.Values(n.peers))
	slices.SortFunc(peers, func(a, b *peer) int { return strings.Compare(a.name, b.name) })
	return peers
}

// issued returns the latest second in which a proof known to be accepted under the name can have been issued: its
// expiry less the time it was remembered for.
func (p *peer) issued() int64 {
	if p.window.nonce > 0 {
		return p.latest - min(p.window.proof, p.window.nonce)
	}
	return p.latest - p.window.proof
}

// noteWindows tells the table how long the other nodes remember, so that no claim is judged by a longer time
// than the node that may have accepted it used.
func (n *node) noteWindows() {
	shortest := noPeers
	var past []span
	for _, p := range n.inOrder() {
		if p.open && p.known && !p.mine {
			shortest = shortest.shortest(p.window)
		}
		past = append(past, p.past...)
	}
	n.table.history.setPeers(shortest, past)
	for _, p := range n.inOrder() {
		if !p.open && p.known {
			n.noteWindow(p)
		}
	}
}

// noteWindow keeps the window of a name that has been closed or swept, for proofs that it may have accepted.
func (n *node) noteWindow(p *peer) {
	w := n.table.history.load()
	if p.mine || !p.known || !p.window.shorterThan(w.current) {
		return
	}
	n.table.history.setPeers(w.peers, []span{{limits: p.window, until: p.issued()}})
}
