// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports come from below the range that systems take them from by themselves, so that
// neither a connection nor another listener comes to one by chance. They come in
// blocks, each of which one test process has at a time.
const (
	lowestPort = 12000
	blocks     = 400
	blockSize  = 50
)

var ports struct {
	sync.Mutex
	next, end int
	claims    []net.Listener // on each block's first port, until this process ends
}

// FreeAddress returns a loopback address that nobody listens on, and that no other call
// returns, here or in another process that runs at the same time: Caddy shares ports
// between processes (SO_REUSEPORT), so two that got the same one would answer for each
// other.
func FreeAddress() string {
	ports.Lock()
	defer ports.Unlock()
	for {
		if ports.next == ports.end {
			claimBlock()
		}
		address := loopback(ports.next)
		ports.next++
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
}

// claimBlock listens on a block's first port, which nobody else can then do.
func claimBlock() {
	for {
		first := lowestPort + blockSize*rand.IntN(blocks) // #nosec G404 -- any block will do
		if l, err := net.Listen("tcp", loopback(first)); err == nil {
			ports.claims = append(ports.claims, l)
			ports.next, ports.end = first+1, first+blockSize
			return
		}
	}
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
