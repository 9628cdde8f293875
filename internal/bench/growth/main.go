// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build unix

// Command growth measures how costs grow with what there is more of, clients,
// used proofs that are remembered, bytes of token, nodes, and draws the curves:
//
//	go run ./internal/bench/growth -out docs/performance
//
// Times are CPU time of this process, where a bare P-256 signature check is the
// unit they are multiples of it, measured next to them; each point is the median
// of several rounds.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	out := flag.String("out", "", "directory for the pictures; none are drawn without")
	rounds := flag.Int("rounds", 7, "rounds for each point")
	only := flag.String("only", "clients,entries,tokens,nodes", "what to measure")
	flag.Parse()
	for _, m := range []struct {
		name    string
		measure func(rounds int) ([]chart, error)
	}{
		{"clients", growClients},
		{"entries", growEntries},
		{"tokens", growTokens},
		{"nodes", growNodes},
	} {
		if !strings.Contains(*only, m.name) {
			continue
		}
		charts, err := m.measure(*rounds)
		if err == nil {
			err = show(charts, *out)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", m.name, err)
			os.Exit(1)
		}
	}
}

// show prints the figures and draws the pictures.
func show(charts []chart, out string) error {
	for _, c := range charts {
		fmt.Printf("\n%s (%s by %s)\n", c.title, c.unit, c.across)
		for i, x := range c.x {
			fmt.Printf("%12s", number(x))
			for _, l := range c.lines {
				fmt.Printf("  %s %s", l.name, figure(l.y[i]))
			}
			fmt.Println()
		}
		if out == "" {
			continue
		}
		if err := os.MkdirAll(out, 0o755); err != nil { //nolint:gosec // as below
			return err
		}
		if err := os.WriteFile(filepath.Join(out, c.file+".svg"), c.svg(), 0o644); err != nil { //nolint:gosec // a picture for everybody
			return err
		}
	}
	return nil
}

// processTime is the CPU time of this process.
func processTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// cost returns the CPU microseconds that one of n operations takes.
func cost(n int, run func()) float64 {
	runtime.GC() // of what the preparation left
	begin := processTime()
	run()
	return float64((processTime() - begin).Nanoseconds()) / 1000 / float64(n)
}

// heap is the memory in use, in bytes.
func heap() float64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// rawVerify returns the CPU microseconds of a bare signature check.
func rawVerify() float64 {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	digest := sha256.Sum256(nil)
	der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	const n = 500
	return cost(n, func() {
		for range n {
			if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], der) {
				panic("signature does not verify")
			}
		}
	})
}
