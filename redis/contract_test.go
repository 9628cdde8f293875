// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

func TestContract(t *testing.T) {
	replaytest.Run(t, func(t testing.TB) replaytest.Cluster {
		f := newFake(t)
		return replaytest.Cluster{
			Open: func(t testing.TB, o replaytest.Options) replay.Store {
				return openStore(t, "redis://"+f.Addr(), o.Clock.Now, replay.Params{
					MaxEntries: o.MaxEntries,
					MaxPerKey:  o.MaxPerKey,
					Timeout:    o.Timeout,
				})
			},
			Advance: func(d time.Duration) { f.advance(d) },
		}
	})
}
