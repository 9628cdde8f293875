// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// chores is what can be deleted. Each of them, once it may be done, may be done at any later time and more than
// once, by anybody: closed names stay closed, marks that count keep counting, and what has expired under a mark
// is refused by it.
type chores struct {
	passes []string // names to close
	seals  []string // keys of seals that no head names any more
	names  []string // closed names to sweep
	since  []string // keys of cut-offs with a newer one beside them
}

// plan adds what a commit has shown to be due. It is called after one, before takeChores.
func (n *node) plan() {
	now := n.table.now()
	for _, p := range n.inOrder() {
		idle := now-p.since >= n.closeAfter
		switch {
		case p.open && idle:
			n.todo.passes = append(n.todo.passes, p.name)
			p.since = now // once in a while, should it fail
		case p.open || !p.done:
		case !p.known && !idle:
			// No head, so seals at most: of a name being swept, or of one not quite begun.
		case p.latest <= n.counted && p.mark <= n.counted:
			n.todo.names = append(n.todo.names, p.name)
		}
	}
}

// noteCutoffs plans to delete all cut-offs but the newest.
func (n *node) noteCutoffs(all []int64) {
	if len(all) < 2 {
		return
	}
	newest := slices.Max(all)
	for _, second := range all {
		if key := n.layout.since(second); second < newest && !slices.Contains(n.todo.since, key) {
			n.todo.since = append(n.todo.since, key)
		}
	}
}

// takeChores returns what is to be done and forgets it. Seals dropped from the head wait until the mark that was
// published with it counts.
func (n *node) takeChores() chores {
	todo := n.todo
	n.todo = chores{}
	if n.counted < n.mark {
		n.todo.seals, todo.seals = todo.seals, nil
	}
	return todo
}

// do deletes. It needs nothing but the storage and may run beside commits. After an error the rest is left: what
// is still due will be planned again, or is swept with its name.
func (c *chores) do(ctx context.Context, storage Storage, at layout) error {
	for _, name := range c.passes {
		if err := remove(ctx, storage, at.pass(name)); err != nil {
			return err
		}
	}
	for _, key := range slices.Concat(c.seals, c.since) {
		if err := remove(ctx, storage, key); err != nil {
			return err
		}
	}
	for _, name := range c.names {
		if err := sweep(ctx, storage, at, name); err != nil {
			return err
		}
	}
	return nil
}

// sweep deletes a name: the head first, since a head without its seals would look like a loss.
func sweep(ctx context.Context, storage Storage, at layout, name string) error {
	if err := remove(ctx, storage, at.head(name)); err != nil {
		return err
	}
	keys, err := storage.List(ctx, at.dir(name), false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listing %s: %w", at.dir(name), err)
	}
	for _, key := range keys {
		if base := path.Base(key); isHex(base, sealLength) {
			if err := remove(ctx, storage, path.Join(at.dir(name), base)); err != nil {
				return err
			}
		}
	}
	return remove(ctx, storage, at.dir(name)) // the directory itself, where there is such a thing
}

// remove deletes a key. Some backends call it an error when there is nothing to delete.
func remove(ctx context.Context, storage Storage, key string) error {
	if err := storage.Delete(ctx, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting %s: %w", key, err)
	}
	return nil
}
