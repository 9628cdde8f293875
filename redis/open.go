// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// slack is how long after reading the time a change of the mark may take. One that took longer is corrected.
const slack = time.Second

// openAttempts bounds how often a mark is read again because somebody else has changed it.
const openAttempts = 10

// current returns a server and its mark. In general they are known.
func (p *partition) current(ctx context.Context) (*view, error) {
	if v := p.view.Load(); p.usable(v) {
		return v, nil
	}
	return p.open(ctx, nil)
}

func (p *partition) usable(v *view) bool {
	return v != nil && !v.link.stale.Load() && v.mark.covers(*p.store.wanted.Load())
}

// open reads the mark, and writes it if need be. If old is what is known, it is not good enough.
func (p *partition) open(ctx context.Context, old *view) (*view, error) {
	select {
	case p.opening <- struct{}{}:
		defer func() { <-p.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if v := p.view.Load(); v != old && p.usable(v) {
		return v, nil // somebody else was faster
	}
	for range openAttempts {
		v, err := p.read(ctx)
		switch {
		case err == nil:
			p.view.Store(v)
			p.last = v
			return v, nil
		case errors.Is(err, redis.TxFailedErr), errors.Is(err, errServerChanged):
		case isMoved(err):
			v.link.reload(ctx)
		default:
			if !errors.Is(err, errClosed) {
				p.store.health.failed(p.store.log(), err)
			}
			if v != nil {
				v.link.distrust(ctx)
			}
			return nil, err
		}
	}
	p.store.health.failed(p.store.log(), errSlow)
	return nil, errSlow
}

// read makes one attempt. A view is returned with some errors too, then without a mark.
func (p *partition) read(ctx context.Context) (*view, error) {
	l, err := p.store.connected()
	if err != nil {
		return nil, err
	}
	v := &view{link: l, high: new(atomic.Int64)}
	if v.node, err = l.node(ctx, p.key); err != nil {
		return v, err
	}
	start := time.Now()
	text, clock, err := p.exec(ctx, v.node.client.Pipeline(), 0)
	if err != nil {
		return v, err
	}
	info := v.node.server()
	if err := info.demand(); err != nil {
		p.store.refuse(l, err)
		return v, err
	}
	if list := info.untold(); len(list) > 0 {
		p.store.health.once(p.store.log(), "redis does not tell everything about itself", zap.String("missing", strings.Join(list, "; ")))
	}

	var found *mark
	if text != "" {
		if found, err = parseMark(text); err != nil {
			return v, fmt.Errorf("the key %s: %w", p.key, err)
		}
	}
	next, why := p.judge(found, info, clock)
	p.late = false
	if next != found {
		if err := p.write(ctx, v.node, text, next); err != nil {
			return v, err
		}
		if p.late = time.Since(start) > slack; p.late {
			return v, redis.TxFailedErr
		}
	}
	if why != "" {
		p.store.log().Warn("proofs issued up to now are refused, since redis may not remember them",
			zap.String("reason", why), zap.Time("cut_off", time.Unix(next.Since, 0)), zap.String("key", p.key))
	}
	v.mark = next
	if p.last != nil && p.last.mark.Epoch == next.Epoch {
		v.high = p.last.high
	}
	return v, nil
}

// judge returns the mark that there should be at this time of Redis, in milliseconds, and if it begins an epoch, why.
func (p *partition) judge(found *mark, info serverInfo, clock int64) (next *mark, why string) {
	// Nonces come from our clocks and the cut-off from whoever sees the change: the later of both.
	now := max(p.store.now().Unix(), clock/1000)
	until := now + int64(slack/time.Second)
	wanted := *p.store.wanted.Load()
	switch {
	case found == nil:
		why = "there is no mark: the database is new or has been emptied"
	case info.name() != "" && found.Server != info.name():
		why = "the server has been started or promoted"
	case p.last != nil && p.last.mark.Epoch == found.Epoch && clock+stepBack < p.last.high.Load():
		why = "the clock of redis has been set back"
	case !found.covers(wanted):
		return found.raised(wanted, until), ""
	case p.late && len(found.Past) > 0:
		return found.extended(until), ""
	default:
		return found, ""
	}
	epoch := make([]byte, 16)
	_, _ = rand.Read(epoch) // never fails
	return newMark(hex.EncodeToString(epoch), info.name(), now, wanted), why
}

// write changes the mark, unless somebody else has (redis.TxFailedErr).
func (p *partition) write(ctx context.Context, n *node, old string, next *mark) error {
	return n.client.Watch(ctx, func(tx *redis.Tx) error {
		text, err := tx.Get(ctx, p.key).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		if text != old {
			return redis.TxFailedErr
		}
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, p.key, next.text, 0)
			return nil
		})
		return err
	}, p.key)
}

// raise sets v to x if x is larger.
func raise(v *atomic.Int64, x int64) {
	for {
		old := v.Load()
		if x <= old || v.CompareAndSwap(old, x) {
			return
		}
	}
}
