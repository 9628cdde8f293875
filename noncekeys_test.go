// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/proof"
)

// nonceNode is one node's nonces, on a storage that it shares with others.
func nonceNode(t *testing.T, dir string, clock *testkit.Clock) *nonceChecker {
	t.Helper()
	keys := newNonceKeys(zap.NewNop(), clock.Now, &certmagic.FileStorage{Path: dir})
	c := &nonceChecker{keys: keys, lifetime: 5 * time.Minute, skew: 30 * time.Second}
	keys.cover(c.lifetime)
	must(t, keys.ready(t.Context()))
	return c
}

// read is what the background refresh does once a minute.
func (n *nonceChecker) read(t *testing.T) {
	t.Helper()
	must(t, n.keys.reload(t.Context()))
}

func (n *nonceChecker) state(nonce string, now time.Time) proof.NonceState {
	_, state := n.CheckNonce(nonce, now)
	return state
}

// TestNonceNodes: nodes on one storage accept each other's nonces at once.
func TestNonceNodes(t *testing.T) {
	dir, clock := t.TempDir(), testkit.NewClock(time.Now().Truncate(time.Second))
	a, b := nonceNode(t, dir, clock), nonceNode(t, dir, clock)
	now := clock.Now()
	nonce := a.keys.current(now)
	if b.keys.current(now) != nonce {
		t.Error("two nodes have different nonces in the same second")
	}
	issued, state := b.CheckNonce(nonce, now)
	if state != proof.NonceLive || issued.Unix() != now.Unix() {
		t.Errorf("state %v, issued %v", state, issued)
	}
	stranger := nonceNode(t, t.TempDir(), clock)
	if got := stranger.state(nonce, now); got != proof.NonceUnknown {
		t.Errorf("a node on another storage: %v", got)
	}
	later := nonceNode(t, dir, clock)
	if got := later.state(nonce, now.Add(5*time.Minute)); got != proof.NonceLive {
		t.Errorf("a node that started later: %v", got)
	}
}

// TestNonceRotation goes through a new key, minute by minute: what any node made
// is live on every node, whoever read the keys when.
func TestNonceRotation(t *testing.T) {
	dir, clock := t.TempDir(), testkit.NewClock(time.Now().Truncate(time.Second))
	nodes := []*nonceChecker{nonceNode(t, dir, clock), nonceNode(t, dir, clock)}
	clock.Advance(nonceKeyLife - time.Minute)
	made := make(map[string]time.Time)
	begin := clock.Now()
	for step := range 40 * 4 { // forty minutes in quarters
		now := clock.Now()
		switch {
		case step%4 == 1:
			nodes[0].read(t)
		case step%20 == 7: // the other reads its copy five minutes late
			nodes[1].read(t)
		}
		for _, n := range nodes {
			made[n.keys.current(now)] = now
		}
		for nonce, at := range made {
			want := proof.NonceLive
			if now.Sub(at) > 5*time.Minute {
				want = proof.NonceStale
			}
			if now.Sub(at) > 9*time.Minute {
				delete(made, nonce)
				continue
			}
			for i, n := range nodes {
				if got := n.state(nonce, now); got != want {
					t.Fatalf("minute %v, node %d: a nonce %v old is %v, want %v", now.Sub(begin), i, now.Sub(at), got, want)
				}
			}
		}
		clock.Advance(15 * time.Second)
	}
	if got := len(nodes[0].keys.keys); got != 2 {
		t.Errorf("%d keys", got)
	}

	// The old key is dropped with the next, and there are never many.
	for range 20 {
		clock.Advance(nonceKeyLife + time.Hour)
		nodes[0].read(t)
	}
	if got := len(nodes[0].keys.keys); got > maxNonceKeys || got > 3 {
		t.Errorf("%d keys after three weeks", got)
	}
	nodes[1].read(t)
	now := clock.Now()
	if nodes[1].state(nodes[0].keys.current(now), now) != proof.NonceLive {
		t.Error("the nodes disagree after three weeks")
	}
}

// TestNonceKeysLost: a storage that lost the keys gets them back from a node
// that runs; one that is damaged is an error, not a new set of keys.
func TestNonceKeysLost(t *testing.T) {
	dir, clock := t.TempDir(), testkit.NewClock(time.Now())
	a := nonceNode(t, dir, clock)
	nonce := a.keys.current(clock.Now())
	file := filepath.Join(dir, filepath.FromSlash(nonceKeyObject))
	must(t, os.Remove(file))
	a.read(t)
	if b := nonceNode(t, dir, clock); b.state(nonce, clock.Now()) != proof.NonceLive {
		t.Error("the keys were not put back")
	}

	good, err := os.ReadFile(file)
	must(t, err)
	var keys []nonceKey
	must(t, json.Unmarshal(good, &keys))
	again, err := json.Marshal(append(keys, keys...))
	must(t, err)
	for name, value := range map[string]string{
		"empty":     "",
		"no JSON":   "{",
		"short key": `[{"from":1,"secret":"AAAA"}]`,
		"disorder":  string(again),
	} {
		must(t, os.WriteFile(file, []byte(value), 0o600))
		err := a.keys.reload(t.Context())
		if err == nil || !strings.Contains(err.Error(), "nonce keys") {
			t.Errorf("%s: %v", name, err)
		}
		if a.state(nonce, clock.Now()) != proof.NonceLive {
			t.Errorf("%s: what is in memory is not used any more", name)
		}
		if got, _ := os.ReadFile(file); string(got) != value {
			t.Errorf("%s: overwritten", name)
		}
	}
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the keys are readable by others: %v", info.Mode())
	}
}

// TestNonceForm: a nonce shows neither time nor counter, and is of one length.
func TestNonceForm(t *testing.T) {
	clock := testkit.NewClock(time.Now())
	n := nonceNode(t, t.TempDir(), clock)
	a, b := n.keys.current(clock.Now()), n.keys.current(clock.Now().Add(time.Second))
	if len(a) != 32 || len(b) != 32 || a == b {
		t.Fatalf("%q and %q", a, b)
	}
	same := 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
	}
	if same > 10 {
		t.Errorf("%q and %q have %d places in common", a, b, same)
	}
}

// TestNonceKeysReplaced: where the storage comes to have other keys, a node's next
// nonces are theirs, and it knows them at once.
func TestNonceKeysReplaced(t *testing.T) {
	dir, clock := t.TempDir(), testkit.NewClock(time.Now())
	a := nonceNode(t, dir, clock)
	a.state(a.keys.current(clock.Now()), clock.Now())
	must(t, os.RemoveAll(dir))
	b := nonceNode(t, dir, clock)
	a.read(t)
	nonce := a.keys.current(clock.Now())
	if a.state(nonce, clock.Now()) != proof.NonceLive || b.state(nonce, clock.Now()) != proof.NonceLive {
		t.Error("a nonce that was just made is unknown")
	}
}

// TestNonceSkews: handlers share the keys, but each has a clock_skew of its own.
func TestNonceSkews(t *testing.T) {
	clock := testkit.NewClock(time.Now().Truncate(time.Second))
	wide := nonceNode(t, t.TempDir(), clock)
	narrow := &nonceChecker{keys: wide.keys, lifetime: time.Minute, skew: 0}
	now := clock.Now()
	ahead := wide.keys.current(now.Add(10 * time.Second))
	if got := wide.state(ahead, now); got != proof.NonceLive {
		t.Errorf("within the skew: %v", got)
	}
	if got := narrow.state(ahead, now); got != proof.NonceUnknown {
		t.Errorf("without skew: %v", got)
	}
	old := wide.keys.current(now.Add(-2 * time.Minute))
	if wide.state(old, now) != proof.NonceLive || narrow.state(old, now) != proof.NonceStale {
		t.Error("each has a lifetime of its own")
	}
}
