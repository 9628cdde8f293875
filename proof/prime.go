// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"math/big"
	"sync"
)

// maxComposites is how many RSA keys are remembered as tested.
const maxComposites = 1024

// composites tests RSA moduli for being a prime, in which case anybody who reads the
// key can sign with it, and remembers the keys that are not.
//
// A test costs as much as a hundred signature checks (three milliseconds for 2048
// bits), and a stranger can make keys. So it is asked for only after a signature
// held, a caller who hands [Verifier.Parse] the client's last header never comes
// here again, and one test runs at a time: whatever strangers send, it takes no more
// than one core, and only other new RSA keys wait.
type composites struct {
	testing sync.Mutex // held during a test

	mu    sync.Mutex // guards known
	known map[string]struct{}
}

// has reports whether the modulus n of the key with this thumbprint is composite.
func (c *composites) has(thumbprint string, n *big.Int) bool {
	if c.remembers(thumbprint) {
		return true
	}
	c.testing.Lock()
	defer c.testing.Unlock()
	if c.remembers(thumbprint) { // tested while this one waited
		return true
	}
	if n.ProbablyPrime(0) {
		return false
	}
	c.remember(thumbprint)
	return true
}

func (c *composites) remembers(thumbprint string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.known[thumbprint]
	return ok
}

// remember forgets some other key when there are too many.
func (c *composites) remember(thumbprint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[string]struct{})
	}
	for other := range c.known {
		if len(c.known) < maxComposites {
			break
		}
		delete(c.known, other)
	}
	c.known[thumbprint] = struct{}{}
}
