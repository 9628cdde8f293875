// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

const (
	// grace is how much longer than its expiry an entry is kept, in seconds: so much the clock of Redis may be ahead
	// of ours before the oldest proofs that handlers accept are refused. More would keep a jti from being used
	// again after its time.
	grace = 5

	// stepBack is how far, in milliseconds, the clock of Redis has to be set back to be taken for a step. Keys may have
	// been forgotten while it was ahead, so a step begins a new epoch.
	stepBack = 5000

	// farFuture, in seconds, is beyond any expiry that a handler can mean.
	farFuture = 100 * 365 * 24 * 3600
)

var (
	errLost     = errors.New("redis has lost entries while this claim was under way")
	errSlow     = errors.New("the mark in redis keeps changing")
	errNoAnswer = errors.New("redis has not answered")
)

// serve decides every claim of the batch. What has certainly not been carried out is tried again.
func (p *partition) serve(ctx context.Context, batch []*waiter) {
	const attempts = 3
	for range attempts {
		v, err := p.current(ctx)
		if err != nil {
			p.fail(batch, err)
			return
		}
		batch = p.admit(v, batch)
		if len(batch) == 0 {
			return
		}
		if batch = p.round(ctx, v, batch); len(batch) == 0 {
			return
		}
	}
}

// admit answers what can be answered without Redis, and returns the rest.
func (p *partition) admit(v *view, batch []*waiter) []*waiter {
	now := p.store.now().Unix()
	rest := batch[:0:len(batch)]
	if len(batch) > 1 {
		rest = make([]*waiter, 0, len(batch))
	}
	for _, w := range batch {
		if issued(w.claim) <= v.mark.Since {
			w.err = replay.ErrTooEarly
			continue
		}
		expiry, check := v.mark.judge(w.claim)
		if check <= now {
			w.err = replay.ErrTooOld
			continue
		}
		if expiry > now+farFuture {
			w.err = fmt.Errorf("%w: it expires in the far future", replay.ErrTooOld)
			continue
		}
		if !w.held {
			w.expiry = expiry
			w.bound = p.store.bounds.reserve(w.claim.Owner, expiry, now)
			w.held = w.bound == nil
		}
		w.check = check
		rest = append(rest, w)
	}
	return rest
}

// round is the one round trip. SET comes before GET of the mark and TIME: what these say holds for the SET too. It
// returns the claims that have certainly not been carried out and may be tried again.
func (p *partition) round(ctx context.Context, v *view, batch []*waiter) (again []*waiter) {
	pipe := v.node.client.Pipeline()
	for _, w := range batch {
		if w.bound != nil {
			w.cmd = redis.NewIntCmd(ctx, "exists", w.key) // only a replay has a better answer
		} else {
			expiry, _ := v.mark.judge(w.claim)
			w.cmd = redis.NewStatusCmd(ctx, "set", w.key, "1", "pxat", (expiry+grace)*1000, "nx")
		}
		_ = pipe.Process(ctx, w.cmd)
	}
	text, now, err := p.exec(ctx, pipe, len(batch))
	switch {
	case errors.Is(err, errServerChanged):
		p.forget(v)
		return batch
	case isMoved(err):
		p.forget(v)
		v.link.reload(ctx)
	case err != nil:
		p.forget(v)
		v.link.distrust(ctx)
	}

	var fresh []*waiter
	for _, w := range batch {
		switch first, e := outcome(w.cmd); {
		case isMoved(e):
			again = append(again, w)
		case isFull(e):
			w.err = replay.ErrFull
		case e != nil:
			w.err = replay.Unavailable(e)
		case !first:
			w.err = replay.ErrReplayed
		case err != nil:
			w.err = replay.Unavailable(err)
		case w.bound != nil:
			w.err = w.bound
		default:
			fresh = append(fresh, w)
		}
	}
	if err != nil || len(fresh) == 0 {
		return again
	}
	if text == v.mark.text && now+stepBack >= v.high.Load() {
		p.settle(v, fresh, now)
		return again
	}
	p.adapt(ctx, v, fresh)
	return again
}

// outcome reads whether a claim is the first.
func outcome(cmd redis.Cmder) (first bool, err error) {
	err = cmd.Err()
	switch cmd := cmd.(type) {
	case *redis.StatusCmd: // SET: OK, or nothing when the key is there
		if errors.Is(err, redis.Nil) {
			return false, nil
		}
		if err == nil && cmd.Val() != "OK" {
			return false, errNoAnswer
		}
		return err == nil, err
	case *redis.IntCmd: // EXISTS
		return err == nil && cmd.Val() == 0, err
	default:
		return false, errors.New("unexpected command")
	}
}

// exec sends the pipeline, and after it asks for the mark and the time. No mark is no text.
//
// The client leaves the commands of a pipeline without answer and without error when the server refuses the
// connection itself, for a wrong password say. So it is the time, which comes last, that shows that they were carried out.
func (p *partition) exec(ctx context.Context, pipe redis.Pipeliner, claims int) (text string, now int64, err error) {
	get, clock := pipe.Get(ctx, p.key), pipe.Time(ctx)
	start := time.Now()
	_, whole := pipe.Exec(ctx)
	if err = get.Err(); errors.Is(err, redis.Nil) {
		err = nil
	}
	if err == nil {
		err = clock.Err()
	}
	if err == nil && clock.Val().IsZero() {
		if err = whole; err == nil {
			err = errNoAnswer
		}
	}
	if err != nil {
		if claims > 0 && !errors.Is(err, errServerChanged) && !isMoved(err) {
			p.store.health.failed(p.store.log(), err)
		}
		return "", 0, err
	}
	p.store.health.answered(p.store.log(), claims, time.Since(start))
	return get.Val(), clock.Val().UnixMilli(), nil
}

// settle accepts claims whose SET was the first, unless an earlier key of the same proof may have expired.
func (p *partition) settle(v *view, fresh []*waiter, now int64) {
	raise(v.high, now)
	high := v.high.Load()
	for _, w := range fresh {
		switch end := (w.check + grace) * 1000; {
		case v.node.gone.Load():
			w.err = replay.Unavailable(errServerChanged)
		case high < end:
			w.err = nil
		case w.check <= p.store.now().Unix():
			w.err = replay.ErrTooOld
		default:
			w.err = replay.Unavailable(fmt.Errorf("the clock of redis is at least %d s ahead of ours", (high-p.store.now().UnixMilli())/1000))
		}
	}
}

// adapt decides claims during which the mark has changed. If only the window was raised, what has been set is kept
// for longer; if entries may have been lost, nothing is certain.
func (p *partition) adapt(ctx context.Context, old *view, fresh []*waiter) {
	for range openAttempts {
		v, err := p.open(ctx, old)
		if err != nil {
			p.fail(fresh, err)
			return
		}
		fresh = p.stillFresh(old, v, fresh)
		if len(fresh) == 0 {
			return
		}
		text, now, err := p.prolong(ctx, v, fresh)
		if err != nil {
			p.store.health.failed(p.store.log(), err)
			p.forget(v)
			p.fail(fresh, err)
			return
		}
		if text == v.mark.text && now+stepBack >= v.high.Load() {
			p.settle(v, fresh, now)
			return
		}
		old = v // and again
	}
	p.fail(fresh, errSlow)
}

// stillFresh answers the claims that a new mark leaves no hope, and judges the rest by it.
func (p *partition) stillFresh(old, v *view, fresh []*waiter) (rest []*waiter) {
	for _, w := range fresh {
		switch {
		case issued(w.claim) <= v.mark.Since:
			w.err = replay.ErrTooEarly
		case v.mark.Epoch != old.mark.Epoch:
			w.err = replay.Unavailable(errLost)
		default:
			_, w.check = v.mark.judge(w.claim)
			rest = append(rest, w)
		}
	}
	return rest
}

// prolong keeps entries that are ours for the window of the mark.
func (p *partition) prolong(ctx context.Context, v *view, fresh []*waiter) (text string, now int64, err error) {
	pipe := v.node.client.Pipeline()
	kept := make([]*redis.BoolCmd, 0, len(fresh))
	for _, w := range fresh {
		expiry, _ := v.mark.judge(w.claim)
		cmd := redis.NewBoolCmd(ctx, "pexpireat", w.key, (expiry+grace)*1000)
		_ = pipe.Process(ctx, cmd)
		kept = append(kept, cmd)
	}
	text, now, err = p.exec(ctx, pipe, 0)
	if err != nil {
		return "", 0, err
	}
	for _, cmd := range kept {
		if err := cmd.Err(); err != nil {
			return "", 0, err
		}
		if !cmd.Val() {
			return "", 0, errLost
		}
	}
	return text, now, nil
}

func (p *partition) fail(batch []*waiter, err error) {
	for _, w := range batch {
		w.err = replay.Unavailable(err)
	}
}

// forget makes the next batch read the mark again.
func (p *partition) forget(v *view) { p.view.CompareAndSwap(v, nil) }
