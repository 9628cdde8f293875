// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"go.uber.org/zap"
)

// tidy closes names that no longer change and sweeps those that have expired, until ctx ends. A log that nobody
// uses and that has nothing left to sweep leaves the storage alone.
func (l *Log) tidy(ctx context.Context) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	claims := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.mu.Lock()
		busy := l.health.pending || l.health.claims != claims
		claims = l.health.claims
		l.mu.Unlock()
		if !busy {
			continue
		}
		if err := l.tidyOnce(ctx); err != nil && ctx.Err() == nil {
			l.logger.Load().Warn("tidying up the replay storage", zap.Error(err))
		}
	}
}

// tidyOnce publishes a mark, with an empty batch if need be, then deletes what that allows.
func (l *Log) tidyOnce(ctx context.Context) error {
	l.mu.Lock()
	b, err := l.nextBatch()
	if err == nil {
		b.tidy = true
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err := b.wait(ctx); err != nil || b.storage == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return b.todo.do(ctx, b.storage, l.node.layout)
}

// closeName deletes the pass of the name in use. All that ran has ended.
func (l *Log) closeName(ctx context.Context) error {
	name, storage := l.node.name, l.node.storage
	l.node.leave()
	if name == "" {
		return nil
	}
	if guarded, ok := storage.(*guardedStorage); ok {
		storage = guarded.storage
	}
	return bounded(ctx, func() error { return remove(ctx, storage, l.node.layout.pass(name)) })
}

// bounded returns what the call does, or when ctx ends: a storage may ignore it.
func bounded(ctx context.Context, call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		if err != nil {
			return Unavailable(err)
		}
		return nil
	case <-ctx.Done():
		return Unavailable(context.Cause(ctx))
	}
}

// move finds out whether the storage, which is a new value, is the one this node writes to. If it shows our
// present name, a random one, it is. Otherwise everything begins anew there, with all live entries.
func (n *node) move(ctx context.Context) error {
	if n.name != "" {
		shown, err := n.list(ctx)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && shown.passes[n.name] && shown.dirs[n.name] {
			return nil
		}
	}
	n.name, n.dump, n.packed, n.latest = "", true, nil, 0
	n.peers, n.mine, n.todo = map[string]*peer{}, map[string]bool{}, chores{}
	return nil
}

// nodes returns how many nodes have an open name, this one included.
func (n *node) nodes() int {
	count := 1
	for _, p := range n.peers {
		if p.open && !p.mine {
			count++
		}
	}
	return count
}

// pending reports whether there is anything that a later mark will allow to be deleted. Names that are open do
// not count: or nodes that nobody uses would keep one another busy.
func (n *node) pending() bool {
	if len(n.seals)+len(n.todo.passes)+len(n.todo.seals)+len(n.todo.since) > 0 {
		return true
	}
	for _, p := range n.peers {
		if p.mine || !p.open {
			return true
		}
	}
	return false
}
