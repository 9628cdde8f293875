// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// BenchmarkClaim is a claim on redis-server over loopback, with the CPU time of this process and of the server per
// claim, for one request alone and for many at once. BenchmarkPlain is the same SET by the client's own pool, without
// mark, time and batches, for comparison.
func BenchmarkClaim(b *testing.B) {
	server := startRedis(b)
	for _, pool := range []int{1, defaultPoolSize, 4, 8} {
		for _, clients := range []int{1, 8, 32, 128} {
			b.Run(fmt.Sprintf("pool=%d/clients=%d", pool, clients), func(b *testing.B) {
				server.do("FLUSHALL")
				s := openStore(b, "redis://"+server.addr(), time.Now, replay.Params{MaxPerKey: 1 << 30, MaxEntries: 1 << 30})
				s.parts[0].lanes = pool
				s.SetWindow(replay.Window{Proof: 90 * time.Second})
				_ = s.Claim(b.Context(), benchClaim(0))
				before := s.Stats()
				measure(b, server, clients, func(n uint64) error { return s.Claim(b.Context(), benchClaim(n)) })
				after := s.Stats()
				b.ReportMetric(float64(after.Claims-before.Claims)/float64(after.Batches-before.Batches), "claims/batch")
			})
		}
	}
}

// BenchmarkEntries claims where so many live entries lie already.
func BenchmarkEntries(b *testing.B) {
	server := startRedis(b)
	for _, million := range []int{1, 10} {
		b.Run(fmt.Sprintf("entries=%dM", million), func(b *testing.B) {
			server.do("FLUSHALL")
			s := openStore(b, "redis://"+server.addr(), time.Now, replay.Params{MaxPerKey: 1 << 30, MaxEntries: 1 << 30})
			s.SetWindow(replay.Window{Proof: time.Hour})
			var n atomic.Uint64
			claim := func(uint64) error { return s.Claim(b.Context(), benchClaim(n.Add(1))) }
			var group sync.WaitGroup
			for range 4096 { // large batches
				group.Go(func() {
					for n.Load() < uint64(million)*1_000_000 {
						if err := claim(0); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			for _, clients := range []int{1, 32} {
				b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { measure(b, server, clients, claim) })
			}
		})
	}
}

func BenchmarkPlain(b *testing.B) {
	server := startRedis(b)
	for _, clients := range []int{1, 8, 32, 128} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			server.do("FLUSHALL")
			c := redis.NewClient(&redis.Options{Addr: server.addr(), MaxRetries: -1, Protocol: 2, DisableIdentity: true})
			defer c.Close()
			part := newPartition(nil, defaultPrefix, 1)
			measure(b, server, clients, func(n uint64) error {
				claim := benchClaim(n)
				return c.Do(b.Context(), "set", part.entryKey(claim.ID), "1", "px", 90000, "nx").Err()
			})
		})
	}
}

// BenchmarkWithoutRedis is what a claim costs beside the client library and the network.
func BenchmarkWithoutRedis(b *testing.B) {
	s := newStore(&options{poolSize: 1, prefix: defaultPrefix}, "", time.Now)
	s.SetWindow(replay.Window{Proof: 90 * time.Second})
	p := s.parts[0]
	v := &view{link: new(link), node: new(node), mark: newMark("e", "s", 1, *s.wanted.Load()), high: new(atomic.Int64)}
	now := time.Now().UnixMilli()
	b.ReportAllocs()
	for n := range uint64(b.N) {
		c := benchClaim(n)
		w := &waiter{claim: c, came: time.Now(), key: p.entryKey(c.ID)}
		p.settle(v, p.admit(v, []*waiter{w}), now)
		if w.err != nil {
			b.Fatal(w.err)
		}
	}
}

var benchStart = uint64(time.Now().UnixNano())

// benchClaim is a proof from the near future, later than any cut-off of these seconds, by one of a thousand keys.
func benchClaim(n uint64) (c replay.Claim) {
	binary.BigEndian.PutUint64(c.ID[:], (benchStart+n)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(c.ID[8:], n)
	binary.BigEndian.PutUint64(c.Owner[:], n%1000)
	c.IssuedAt = time.Now().Unix() + 25
	return c
}

// measure spreads b.N calls over clients and reports the median time, and CPU per call here and at the server.
func measure(b *testing.B, server *realServer, clients int, call func(n uint64) error) {
	b.Helper()
	b.ReportAllocs()
	var next atomic.Int64
	next.Store(1)
	times := make([][]time.Duration, clients)
	serverBefore, before := server.cpu(), cpuTime()
	b.ResetTimer()
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N)+1 {
					return
				}
				start := time.Now()
				if err := call(uint64(n)); err != nil {
					b.Error(err)
					return
				}
				times[i] = append(times[i], time.Since(start))
			}
		})
	}
	group.Wait()
	b.StopTimer()
	used, serverUsed := cpuTime()-before, server.cpu()-serverBefore
	all := slices.Concat(times...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1000, "p50-us")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1000, "p99-us")
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(b.N), "client-cpu-us/op")
	b.ReportMetric(float64(serverUsed.Nanoseconds())/1000/float64(b.N), "server-cpu-us/op")
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
