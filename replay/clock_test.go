// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// testClock is a clock that only moves when told to, in either direction.
type testClock struct{ second atomic.Int64 }

const testEpoch = 1_800_000_000

func newTestClock() *testClock {
	c := new(testClock)
	c.second.Store(testEpoch)
	return c
}

func (c *testClock) Now() time.Time      { return time.Unix(c.second.Load(), 0) }
func (c *testClock) Add(d time.Duration) { c.second.Add(int64(d / time.Second)) }

// testID spreads n over an ID as a hash would.
func testID(n uint64) (id ID) {
	binary.LittleEndian.PutUint64(id[:8], n*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(id[8:], (n+1)*0xd1342543de82ef95)
	return id
}

func testOwner(n uint64) (o Owner) {
	binary.LittleEndian.PutUint64(o[:], n*0x9e3779b97f4a7c15)
	return o
}

// testWindow is the default: a minute and half a minute of skew.
var testWindow = Window{Proof: 90 * time.Second, Nonce: 330 * time.Second}
