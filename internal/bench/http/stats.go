// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build linux

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// quantile of the values, which it sorts.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[int(q*float64(len(values)-1)+.5)]
}

// spread writes the median and the quartiles.
func spread(values []float64, digits int) string {
	values = slices.Clone(values)
	return fmt.Sprintf("%.*f [%.*f-%.*f]", digits, quantile(values, .5), digits, quantile(values, .25), digits, quantile(values, .75))
}

// rawVerify returns the CPU microseconds of one bare signature check: the
// smallest thing that checking a proof can cost.
func rawVerify(n int) float64 {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	digest := sha256.Sum256([]byte("signing input"))
	der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	begin := ownCPU()
	for range n {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], der) {
			panic("signature does not verify")
		}
	}
	return float64((ownCPU() - begin).Nanoseconds()) / 1000 / float64(n)
}

func ownCPU() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// ticksPerSecond is the unit of /proc: USER_HZ, which is 100 on every Linux.
const ticksPerSecond = 100

// processCPU is the CPU time that a process and those that it started have used
// so far, in microseconds.
func processCPU(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and can hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var total float64
	for _, field := range fields[11:13] { // utime and stime, fields 14 and 15
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		total += float64(n) * 1e6 / ticksPerSecond
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for _, child := range bytes.Fields(children) {
		id, err := strconv.Atoi(string(child))
		if err != nil {
			return 0, err
		}
		used, err := processCPU(id)
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}
