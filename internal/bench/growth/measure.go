// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build unix

package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// growClients has requests of ever more clients, each with a key and a token,
// all of them known already and calling in random order.
func growClients(rounds int) ([]chart, error) {
	x := []float64{1, 10, 100, 1000, 10_000, 100_000}
	var ratio, memory []float64
	for _, n := range x {
		b, err := newBed()
		if err != nil {
			return nil, err
		}
		b.join(int(n), 0)
		before := heap()
		if err := b.warm(); err != nil {
			return nil, err
		}
		memory = append(memory, max(heap()-before, 0)/n)
		r, err := b.ratio(rounds)
		if err != nil {
			return nil, err
		}
		ratio = append(ratio, r)
		b.close()
	}
	return []chart{
		{
			file: "clients", title: "A request, by the number of clients", unit: "CPU, x raw signature check", across: "clients",
			x: x, lines: []line{{"accepted", ratio}},
		},
		{
			file: "clients-memory", title: "Memory for each client", unit: "bytes", across: "clients",
			// Below a thousand the tables' smallest sizes would be all there is to see.
			x: x[3:], lines: []line{{"token cache, header, replay entry", memory[3:]}},
		},
	}, nil
}

// growEntries claims replayst a table with ever more live entries.
func growEntries(rounds int) ([]chart, error) {
	x := []float64{1e6, 2e6, 4e6, 6e6, 8e6, 10e6}
	var first, again, access, bytes []float64
	table := replay.NewTable(replay.TableConfig{MaxEntries: 12e6, MaxPerKey: 1 << 30})
	table.SetWindow(replay.Window{Proof: 10 * time.Minute})
	issued := time.Now().Unix() + 60
	id := func(n uint64) (c replay.Claim) {
		binary.LittleEndian.PutUint64(c.ID[:], n*0x9e3779b97f4a7c15)
		binary.LittleEndian.PutUint64(c.ID[8:], n)
		binary.LittleEndian.PutUint64(c.Owner[:], n%100_000)
		c.IssuedAt = issued
		return c
	}
	n := uint64(0)
	claim := func(c replay.Claim, want error) {
		if err := table.Claim(context.Background(), c); err != want {
			panic(err)
		}
	}
	const step = 20_000
	for _, target := range x {
		for n < uint64(target)-uint64(rounds*step) {
			claim(id(n), nil)
			n++
		}
		var firsts, replays, accesses []float64
		slots := make([]uint64, int(target)*3) // as much memory as the entries take
		for i := range slots {
			slots[i] = 1 // or the system would have to find the memory while we measure
		}
		for range rounds {
			firsts = append(firsts, 1000*cost(step, func() {
				for range step {
					claim(id(n), nil)
					n++
				}
			}))
			replays = append(replays, 1000*cost(step, func() {
				for range step {
					claim(id(rand.Uint64N(n)), replay.ErrReplayed)
				}
			}))
			accesses = append(accesses, 1000*cost(step, func() {
				place := rand.Uint64()
				for range step { // each waits for the one before, as the steps of a claim do
					place = place*6364136223846793005 + slots[(place>>20)%uint64(len(slots))]
				}
				slots[0] = place | 1
			}))
		}
		access = append(access, median(accesses))
		first, again = append(first, median(firsts)), append(again, median(replays))
		bytes = append(bytes, float64(table.Stats().Bytes)/float64(n))
	}
	return []chart{
		{
			file: "entries", title: "A claim in memory, by used proofs remembered", unit: "CPU ns", across: "live entries",
			x: x, lines: []line{{"first use", first}, {"replay", again}, {"bare memory access", access}},
		},
		{
			file: "entries-memory", title: "Memory for each used proof remembered", unit: "bytes", across: "live entries",
			x: x, lines: []line{{"all told", bytes}},
		},
	}, nil
}

// growTokens has requests with ever larger tokens, seen before and new.
func growTokens(rounds int) ([]chart, error) {
	x := []float64{1 << 10, 2 << 10, 4 << 10, 8 << 10, 16<<10 - 64}
	var known, fresh, memory []float64
	for _, size := range x {
		b, err := newBed()
		if err != nil {
			return nil, err
		}
		b.join(chunk, int(size))
		before := heap()
		var first []float64
		for range rounds {
			raw := rawVerify()
			run, err := b.requests(b.clients)
			if err != nil {
				return nil, err
			}
			first = append(first, cost(len(b.clients), run)/raw)
			if len(first) == 1 {
				memory = append(memory, max(heap()-before, 0)/chunk)
			}
			b.renew() // the same clients with new tokens
		}
		fresh = append(fresh, median(first))
		if err := b.warm(); err != nil {
			return nil, err
		}
		r, err := b.ratio(rounds)
		if err != nil {
			return nil, err
		}
		known = append(known, r)
		b.close()
	}
	return []chart{
		{
			file: "tokens", title: "A request, by the size of its access token", unit: "CPU, x raw signature check", across: "bytes of token",
			x: x, lines: []line{{"token seen before", known}, {"new token", fresh}},
		},
		{
			file: "tokens-memory", title: "Memory for each client, by the size of its access token", unit: "bytes", across: "bytes of token",
			x: x, lines: []line{{"token cache, header, replay entry", memory}},
		},
	}, nil
}

// growNodes claims on ever more nodes that share one directory, all within
// this process, with 64 claims at a time in all.
func growNodes(rounds int) ([]chart, error) {
	x := []float64{1, 2, 3, 4}
	var cpu, rate []float64
	for _, nodes := range x {
		var cpus, rates []float64
		for range rounds {
			c, r, err := claimOnNodes(int(nodes))
			if err != nil {
				return nil, err
			}
			cpus, rates = append(cpus, c), append(rates, r)
		}
		cpu, rate = append(cpu, median(cpus)), append(rate, median(rates))
	}
	return []chart{
		{
			file: "nodes", title: "A claim on shared storage, by nodes", unit: "CPU us, all nodes together", across: "nodes",
			x: x, lines: []line{{"64 claims at a time", cpu}},
		},
		{
			file: "nodes-rate", title: "Claims on shared storage, by nodes", unit: "claims per second, all nodes together", across: "nodes",
			x: x, lines: []line{{"64 claims at a time", rate}},
		},
	}, nil
}

func claimOnNodes(nodes int) (cpu, rate float64, err error) {
	dir, err := os.MkdirTemp("", "dpop-growth-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	storage := &certmagic.FileStorage{Path: dir}
	ctx := context.Background()
	logs := make([]*replay.Log, nodes)
	var n atomic.Uint64
	issued := time.Now().Unix() + 30
	claim := func(l *replay.Log) error {
		c := replay.Claim{IssuedAt: issued}
		binary.BigEndian.PutUint64(c.ID[:], n.Add(1)*0x9e3779b97f4a7c15)
		return l.Claim(ctx, c)
	}
	for i := range logs {
		logs[i] = replay.NewLog(replay.LogConfig{Storage: storage, MaxPerKey: 1 << 30})
		logs[i].SetWindow(replay.Window{Proof: 90 * time.Second})
		defer logs[i].Close(ctx)
		if err := claim(logs[i]); err != nil {
			return 0, 0, err
		}
	}
	const claims, concurrent = 20_000, 64
	before, begin := processTime(), time.Now()
	var wait sync.WaitGroup
	var failed atomic.Pointer[error]
	var left atomic.Int64
	left.Store(claims)
	for worker := range concurrent {
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				if err := claim(logs[worker%nodes]); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	return float64((processTime() - before).Nanoseconds()) / 1000 / claims, claims / time.Since(begin).Seconds(), nil
}
