// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replaytest

import (
	"sync/atomic"
	"time"
)

// Clock is a clock that moves only when told to, in either direction.
type Clock struct {
	nanoseconds atomic.Int64
	moved       func(time.Duration)
}

// NewClock returns a clock that shows some time.
func NewClock() *Clock {
	c := new(Clock)
	c.nanoseconds.Store(int64(1_800_000_000 * time.Second))
	return c
}

// Now returns the time.
func (c *Clock) Now() time.Time { return time.Unix(0, c.nanoseconds.Load()) }

// Add moves the clock.
func (c *Clock) Add(d time.Duration) {
	c.nanoseconds.Add(int64(d))
	if c.moved != nil {
		c.moved(d)
	}
}
