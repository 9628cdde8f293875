// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package replay_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// BenchmarkLog claims on local disk, through certmagic's FileStorage, and reports the CPU of the whole process
// per claim, kernel included; beside it what a bare Store and List cost on the same disk.
func BenchmarkLog(b *testing.B) {
	b.Run("raw=Store", func(b *testing.B) {
		storage := &certmagic.FileStorage{Path: b.TempDir()}
		value := make([]byte, 4096)
		reportCPU(b, func() {
			for b.Loop() {
				if err := storage.Store(b.Context(), "dpop/replay/name/head", value); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("raw=List", func(b *testing.B) {
		storage := &certmagic.FileStorage{Path: b.TempDir()}
		for _, key := range []string{"name/head", "name.pass", "since.1"} {
			_ = storage.Store(b.Context(), filepath.Join("dpop/replay", key), nil)
		}
		reportCPU(b, func() {
			for b.Loop() {
				if _, err := storage.List(b.Context(), "dpop/replay", false); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	for _, nodes := range []int{1, 2, 4} {
		for _, concurrent := range []int{1, 64} {
			b.Run(fmt.Sprintf("nodes=%d/concurrent=%d", nodes, concurrent), func(b *testing.B) {
				newLogBed(b, nodes, 0).measure(b, concurrent, 0)
			})
		}
	}
	// As a server would: each claim follows a signature check's worth of work.
	b.Run("nodes=1/concurrent=64/work=80us", func(b *testing.B) { newLogBed(b, 1, 0).measure(b, 64, 80*time.Microsecond) })
}

// BenchmarkLogEntries claims on a log that holds so many live entries already.
func BenchmarkLogEntries(b *testing.B) {
	for _, million := range []int{1, 10} {
		b.Run(fmt.Sprintf("entries=%dM", million), func(b *testing.B) {
			bed := newLogBed(b, 1, million*1_000_000)
			for _, concurrent := range []int{1, 64} {
				b.Run(fmt.Sprintf("concurrent=%d", concurrent), func(b *testing.B) { bed.measure(b, concurrent, 0) })
			}
		})
	}
}

// logBed is logs that share a directory.
type logBed struct {
	logs   []*replay.Log
	claims atomic.Uint64
}

func newLogBed(b *testing.B, nodes, entries int) *logBed {
	storage := &certmagic.FileStorage{Path: b.TempDir()}
	bed := &logBed{logs: make([]*replay.Log, nodes)}
	for i := range bed.logs {
		log := replay.NewLog(replay.LogConfig{Storage: storage, MaxPerKey: 1 << 30, MaxEntries: entries + replay.DefaultMaxEntries})
		log.SetWindow(replay.Window{Proof: time.Hour})
		b.Cleanup(func() { _ = log.Close(context.Background()) })
		bed.logs[i] = log
		bed.claim(b, log)
	}
	var group sync.WaitGroup
	for range 8192 { // large batches
		group.Go(func() {
			for bed.claims.Load() < uint64(entries) {
				bed.claim(b, bed.logs[0])
			}
		})
	}
	group.Wait()
	return bed
}

func (bed *logBed) claim(b *testing.B, log *replay.Log) {
	n := bed.claims.Add(1)
	c := replay.Claim{IssuedAt: time.Now().Unix() + 30}
	binary.BigEndian.PutUint64(c.ID[:], n*0x9e3779b97f4a7c15)
	if err := log.Claim(b.Context(), c); err != nil {
		b.Error(err)
	}
}

// measure claims from so many goroutines at once, each claim after so much work.
func (bed *logBed) measure(b *testing.B, concurrent int, work time.Duration) {
	var worker atomic.Uint64
	before, first := batches(bed.logs), bed.claims.Load()
	b.SetParallelism(concurrent / runtime.GOMAXPROCS(0))
	cpu := reportCPU(b, func() {
		if concurrent == 1 {
			for b.Loop() {
				bed.claim(b, bed.logs[0])
			}
			return
		}
		b.RunParallel(func(pb *testing.PB) {
			log := bed.logs[worker.Add(1)%uint64(len(bed.logs))]
			for pb.Next() {
				for end := time.Now().Add(work); work > 0 && time.Now().Before(end); {
				}
				bed.claim(b, log)
			}
		})
	})
	claims := float64(bed.claims.Load() - first)
	b.ReportMetric(claims/float64(batches(bed.logs)-before), "claims/batch")
	if work > 0 {
		b.ReportMetric(float64(cpu.Nanoseconds())/claims/1000-float64(work.Microseconds()), "net-cpu-us/op")
	}
}

func batches(logs []*replay.Log) (n uint64) {
	for _, log := range logs {
		n += log.Stats().Batches
	}
	return n
}

// reportCPU reports the CPU time that the process spends in f, per operation.
func reportCPU(b *testing.B, f func()) time.Duration {
	before := cpuTime()
	f()
	used := cpuTime() - before
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N)/1000, "cpu-us/op")
	return used
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
