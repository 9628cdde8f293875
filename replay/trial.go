// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
)

// Try finds out whether a storage can serve this log, without moving there: what the log does meanwhile is not
// disturbed, whatever comes of it. A name is begun and closed again before anything is announced under it, which
// means nothing to the other nodes. The error is an [ErrUnavailable] that wraps the storage's, such as
// fs.ErrPermission.
func (l *Log) Try(ctx context.Context, storage Storage) error {
	return bounded(ctx, func() error { return try(ctx, storage, l.node.layout) })
}

// try makes each of the calls that a claim and the sweeping need.
func try(ctx context.Context, storage Storage, at layout) (err error) {
	name, err := newName(rand.Reader)
	if err != nil {
		return err
	}
	if err := storage.Store(ctx, at.pass(name), []byte{}); err != nil {
		return fmt.Errorf("storing %s: %w", at.pass(name), err)
	}
	defer func() {
		// Also when the time is over. Should it fail, the others close the name.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultTimeout)
		defer cancel()
		err = errors.Join(err, remove(ctx, storage, at.pass(name)))
	}()
	shown, err := list(ctx, storage, at)
	if err != nil {
		return err
	}
	if !shown.passes[name] {
		return errLostName
	}
	for other := range shown.dirs {
		if _, err := storage.Load(ctx, at.head(other)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("loading %s: %w", at.head(other), err)
		}
	}
	return nil
}
