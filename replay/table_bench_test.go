// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package replay

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkTable reports the time of a claim against a table with that many live entries of 100,000 clients,
// first uses and replays, and the bytes that a live entry takes all told.
func BenchmarkTable(b *testing.B) {
	for _, million := range []int{1, 4, 10} {
		entries := million * 1_000_000
		b.Run(fmt.Sprintf("entries=%dM", million), func(b *testing.B) {
			clock := newTestClock()
			table := newTestTable(clock, TableConfig{MaxEntries: entries + 10_000_000, MaxPerKey: 1 << 20})
			fill(b, table, clock, entries)
			perEntry := float64(table.Stats().Bytes) / float64(entries)
			b.Run("first", func(b *testing.B) {
				now := clock.Now().Unix()
				n := rand.Uint64()
				before := cpuTime()
				for b.Loop() {
					if table.count.Load() == int64(table.config.MaxEntries) {
						b.Skip("more claims than there is room for: use a shorter -benchtime")
					}
					n++
					if err := table.Claim(b.Context(), Claim{ID: testID(n), Owner: testOwner(n % 100_000), IssuedAt: now}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
				b.ReportMetric(perEntry, "bytes/entry")
			})
			b.Run("replay", func(b *testing.B) {
				now := clock.Now().Unix()
				before := cpuTime()
				for b.Loop() {
					n := rand.Uint64N(uint64(entries))
					if err := table.Claim(b.Context(), Claim{ID: testID(n), Owner: testOwner(n % 100_000), IssuedAt: now}); err != ErrReplayed {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
			})
		})
	}
}

func fill(b *testing.B, table *Table, clock *testClock, entries int) {
	now := clock.Now().Unix()
	for n := range uint64(entries) {
		if err := table.Claim(b.Context(), Claim{ID: testID(n), Owner: testOwner(n % 100_000), IssuedAt: now}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTableSteady claims at a steady rate of 44,000 a second by the table's clock, which keeps 4 million
// entries live at the default window: every claim pays for the expiry of one. The bytes are those of live
// entries with everything that expired ones and free slots take.
func BenchmarkTableSteady(b *testing.B) {
	const rate = 4_000_000 / 90
	clock := newTestClock()
	table := newTestTable(clock, TableConfig{MaxEntries: 6_000_000, MaxPerKey: 1 << 20})
	n := uint64(0)
	claim := func() {
		if n++; n%rate == 0 {
			clock.Add(time.Second)
		}
		if err := table.Claim(b.Context(), Claim{ID: testID(n), Owner: testOwner(n % 100_000), IssuedAt: clock.Now().Unix()}); err != nil {
			b.Fatal(err)
		}
	}
	for range 3 * 91 * rate {
		claim()
	}
	before := cpuTime()
	for b.Loop() {
		claim()
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(table.Stats().Bytes)/(91*rate), "bytes/live")
	b.ReportMetric(float64(table.Stats().Entries)/(91*rate), "entries/live")

	// Expiry by itself: one pass through all shards, and the share of a core that it takes at this rate.
	before = cpuTime()
	clock.Add(20 * time.Second)
	table.reclaim(clock.Now().Unix())
	b.ReportMetric(float64(cpuTime()-before)/(20*rate), "cpu-ns/expired")
}
