// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package replay_test

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"runtime"
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
				benchmarkLog(b, nodes, concurrent, 0)
			})
		}
	}
	// As a server would: each claim follows a signature check's worth of work.
	b.Run("nodes=1/concurrent=64/work=80us", func(b *testing.B) { benchmarkLog(b, 1, 64, 80*time.Microsecond) })
}

func benchmarkLog(b *testing.B, nodes, concurrent int, work time.Duration) {
	storage := &certmagic.FileStorage{Path: b.TempDir()}
	logs := make([]*replay.Log, nodes)
	for i := range logs {
		logs[i] = replay.NewLog(replay.LogConfig{Storage: storage, MaxPerKey: 1 << 30})
		logs[i].SetWindow(replay.Window{Proof: 90 * time.Second})
		defer logs[i].Close(b.Context())
	}
	var n, worker atomic.Uint64
	claim := func(log *replay.Log) {
		c := replay.Claim{IssuedAt: time.Now().Unix() + 30}
		binary.BigEndian.PutUint64(c.ID[:], n.Add(1)*0x9e3779b97f4a7c15)
		if err := log.Claim(b.Context(), c); err != nil {
			b.Error(err)
		}
	}
	for _, log := range logs {
		claim(log)
	}
	before := batches(logs)
	first := n.Load()
	b.SetParallelism(concurrent / runtime.GOMAXPROCS(0))
	cpu := reportCPU(b, func() {
		if concurrent == 1 {
			for b.Loop() {
				claim(logs[0])
			}
			return
		}
		b.RunParallel(func(pb *testing.PB) {
			log := logs[worker.Add(1)%uint64(nodes)]
			for pb.Next() {
				for end := time.Now().Add(work); work > 0 && time.Now().Before(end); {
				}
				claim(log)
			}
		})
	})
	claims := float64(n.Load() - first)
	b.ReportMetric(claims/float64(batches(logs)-before), "claims/batch")
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
