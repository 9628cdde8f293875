// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMemoryOnSeveralNodes: two processes that each remember for themselves find out
// about each other by what they leave in the storage; one alone finds nobody.
func TestMemoryOnSeveralNodes(t *testing.T) {
	const advice = "other nodes were seen on Caddy's storage"
	for _, size := range []int{1, 2} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			storage := filepath.Join(t.TempDir(), "storage")
			c := start(t, size, storage, "memory")
			told := func(n *node) bool { return strings.Contains(n.Log(), advice) }
			refresh := func(n *node) {
				res, err := http.Post("http://"+n.Admin+"/dpop/keys/refresh", "", nil)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				if res.StatusCode != http.StatusNoContent {
					t.Fatalf("refresh: %s", res.Status)
				}
			}
			// New keys are copied at once, others only every five minutes.
			for round := range 4 {
				for i, n := range c.nodes {
					c.issuer.Rotate(fmt.Sprint("round ", round, " node ", i), true)
					refresh(n)
					waitForCopy(t, storage, c.issuer.KeyID)
				}
			}
			for end := time.Now().Add(5 * time.Second); size > 1 && time.Now().Before(end) && !(told(c.nodes[0]) && told(c.nodes[1])); {
				time.Sleep(5 * time.Millisecond) // their logs come through a pipe
			}
			for i, n := range c.nodes {
				if told(n) != (size > 1) {
					t.Errorf("node %d of %d was told: %v\n%s", i, size, told(n), n.Tail())
				}
			}
		})
	}
}

// waitForCopy waits until the storage holds a copy of a key set with this key.
func waitForCopy(t *testing.T, storage, kid string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		copies, err := filepath.Glob(filepath.Join(storage, "dpop", "keys", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range copies {
			if len(filepath.Base(file)) != 64 {
				continue // the storage's temporary file
			}
			if value, err := os.ReadFile(file); err == nil && strings.Contains(string(value), `"`+kid+`"`) {
				return
			}
		}
	}
	t.Fatalf("no copy with the key %s", kid)
}
