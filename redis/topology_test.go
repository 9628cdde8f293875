// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

// nextSecond waits until proofs issued now are later than a cut-off set before.
func nextSecond() { time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) }

func (s *realServer) field(section, name string) string {
	info, _ := s.admin.InfoMap(context.Background(), strings.ToLower(section)).Result()
	return info[section][name]
}

func (s *realServer) replicaOf(t testing.TB, primary *realServer) {
	t.Helper()
	s.do("REPLICAOF", "127.0.0.1", primary.port)
	eventually(t, func() bool { return s.field("Replication", "master_link_status") == "up" })
}

// TestRealPromotion: a replica that has not got the newest entries becomes primary, and later the old one again,
// which has never been restarted.
func TestRealPromotion(t *testing.T) {
	a, b := startRedis(t), startRedis(t)
	p := newProxy(t, a.addr()) // the address that leads to the primary
	s := openStore(t, "redis://"+p.addr(), time.Now, replay.Params{})
	s.SetWindow(replaytest.Window)
	_ = s.Claim(t.Context(), soon("before all"))
	nextSecond()
	b.replicaOf(t, a)
	b.do("REPLICAOF", "NO", "ONE") // from here on nothing arrives

	move := func(to *realServer) {
		p.set(func() { p.target = to.addr() })
		p.cut()
	}
	lost := replaytest.Proof("lost", time.Now())
	wantError(t, "first use", s.Claim(t.Context(), lost), nil)
	// Connections may be found cut only by using them.
	until := func(what string, claim replay.Claim, done func(error) bool) {
		t.Helper()
		eventually(t, func() bool {
			err := s.Claim(t.Context(), claim)
			if !done(err) && !errors.Is(err, replay.ErrUnavailable) {
				t.Fatalf("%s: %v", what, err)
			}
			return done(err)
		})
	}
	early := func(err error) bool { return errors.Is(err, replay.ErrTooEarly) }
	move(b)
	until("at the promoted replica", lost, early)
	nextSecond()
	wantError(t, "issued after", s.Claim(t.Context(), replaytest.Proof("after", time.Now())), nil)

	a.replicaOf(t, b)
	a.do("REPLICAOF", "NO", "ONE")
	lost = replaytest.Proof("lost too", time.Now())
	wantError(t, "first use", s.Claim(t.Context(), lost), nil)
	move(a)
	until("back at the first", lost, early)

	a.do("REPLICAOF", "127.0.0.1", b.port)
	p.cut()
	until("at a replica", soon("x"), func(err error) bool { return err != nil && strings.Contains(err.Error(), "is a replica") })
	a.do("REPLICAOF", "NO", "ONE")
}

func TestRealSentinel(t *testing.T) {
	a := startRedis(t)
	b := startRedis(t)
	b.replicaOf(t, a)
	port := freePort(t)
	config := tempFile(t, "sentinel.conf", fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor primary 127.0.0.1 %d 1\nsentinel down-after-milliseconds primary 1000\nsentinel failover-timeout primary 10000\n", port, a.port))
	cmd := exec.Command("redis-server", config, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(port), DisableIdentity: true})
	defer sentinel.Close()
	eventually(t, func() bool {
		replicas, err := sentinel.Replicas(t.Context(), "primary").Result()
		return err == nil && len(replicas) == 1 && replicas[0]["flags"] == "slave" && replicas[0]["master-link-status"] == "ok"
	})

	s := openStore(t, fmt.Sprintf("redis+sentinel://127.0.0.1:%d/primary", port), time.Now, replay.Params{Timeout: 2 * time.Second})
	s.SetWindow(replaytest.Window)
	_ = s.Claim(t.Context(), soon("before all"))
	nextSecond()
	used := replaytest.Proof("used", time.Now())
	wantError(t, "first use", s.Claim(t.Context(), used), nil)
	wantError(t, "replay", s.Claim(t.Context(), used), replay.ErrReplayed)
	a.kill()
	// Nothing but 503 until the Sentinel has promoted the replica, then nothing from before.
	eventually(t, func() bool {
		err := s.Claim(t.Context(), used)
		if !errors.Is(err, replay.ErrUnavailable) && !errors.Is(err, replay.ErrTooEarly) {
			t.Fatalf("a proof from before: %v", err)
		}
		return errors.Is(err, replay.ErrTooEarly)
	})
	nextSecond()
	wantError(t, "issued after", s.Claim(t.Context(), replaytest.Proof("after", time.Now())), nil)
	if b.field("Replication", "role") != "master" {
		t.Fatal("nobody was promoted")
	}
}

// startCluster starts three nodes that share the slots.
func startCluster(t testing.TB) []*realServer {
	t.Helper()
	nodes, buses := make([]*realServer, 3), make([]int, 3)
	for i := range nodes {
		buses[i] = freePort(t) // where the nodes speak with each other
		nodes[i] = startRedis(t, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(buses[i]), "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no")
		first, last := i*16384/3, (i+1)*16384/3-1
		nodes[i].do("CLUSTER", "ADDSLOTSRANGE", first, last)
		nodes[i].do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for _, n := range nodes[1:] {
		n.do("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, buses[0])
	}
	eventually(t, func() bool {
		for _, n := range nodes {
			info, err := n.admin.ClusterInfo(t.Context()).Result()
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") || !strings.Contains(info, "cluster_known_nodes:3") {
				return false
			}
		}
		return true
	})
	return nodes
}

func TestRealCluster(t *testing.T) {
	nodes := startCluster(t)
	open := func() *store {
		s := openStore(t, fmt.Sprintf("redis+cluster://%s,%s", nodes[0].addr(), nodes[1].addr()), time.Now, replay.Params{Timeout: 2 * time.Second})
		s.SetWindow(replaytest.Window)
		return s
	}
	s, other := open(), open()
	each := func(s *store, issued time.Time, name string, check func(part int, err error)) {
		t.Helper()
		for i := range partitions {
			claim := replaytest.Proof(name, issued)
			claim.ID[0] = byte(i)
			check(i, s.Claim(t.Context(), claim))
		}
	}
	want := func(wanted error) func(int, error) {
		return func(part int, err error) {
			t.Helper()
			if !errors.Is(err, wanted) {
				t.Fatalf("part %d: got %v, want %v", part, err, wanted)
			}
		}
	}
	each(s, time.Now(), "before all", want(replay.ErrTooEarly))
	nextSecond()
	issued := time.Now()
	each(s, issued, "a", want(nil))
	each(other, issued, "a", want(replay.ErrReplayed))
	for i, n := range nodes {
		if size := n.admin.DBSize(t.Context()).Val(); size < 20 {
			t.Fatalf("node %d has %d keys", i, size)
		}
	}
	tally := replaytest.Race(t.Context(), []replay.Store{s, other}, time.Now().Add(20*time.Second), 1000, 4)
	if tally.Doubles != 0 || tally.Refused != 0 || tally.Err != nil {
		t.Fatalf("%+v", tally)
	}

	t.Run("a node restarts", func(t *testing.T) {
		nodes[1].kill()
		nodes[1].start()
		eventually(t, func() bool { return nodes[1].admin.Set(t.Context(), "x", "1", 0).Err() != nil })
		early, replayed := 0, 0
		eventually(t, func() bool {
			early, replayed = 0, 0
			each(s, issued, "a", func(part int, err error) {
				switch {
				case errors.Is(err, replay.ErrTooEarly):
					early++
				case errors.Is(err, replay.ErrReplayed):
					replayed++
				case !errors.Is(err, replay.ErrUnavailable):
					t.Fatalf("part %d: %v", part, err)
				}
			})
			return early+replayed == partitions
		})
		if early < 15 || replayed < 35 {
			t.Fatalf("%d parts cut off, %d not", early, replayed)
		}
		nextSecond()
		each(s, time.Now(), "b", want(nil))
	})

	t.Run("a slot moves", func(t *testing.T) {
		// Part 0 goes to whoever has not got it.
		slot := int(nodes[0].admin.ClusterKeySlot(t.Context(), s.parts[0].key).Val())
		from := nodes[slot*3/16384]
		to := nodes[(slot*3/16384+1)%3]
		id := func(n *realServer) string { return n.admin.Do(t.Context(), "CLUSTER", "MYID").Val().(string) }
		claim := func(jti string) error {
			c := replaytest.Proof(jti, time.Now())
			c.ID[0] = 0
			return s.Claim(t.Context(), c)
		}
		wantError(t, "before", claim("before"), nil)
		to.do("CLUSTER", "SETSLOT", slot, "IMPORTING", id(from))
		from.do("CLUSTER", "SETSLOT", slot, "MIGRATING", id(to))
		wantUnavailable(t, "while it moves", claim("while it moves"), "ASK")
		keys := from.admin.ClusterGetKeysInSlot(t.Context(), slot, 10000).Val()
		args := []any{"MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS"}
		for _, key := range keys {
			args = append(args, key)
		}
		from.do(args...)
		wantUnavailable(t, "when all but the slot has moved", claim("while it moves"), "ASK")
		for _, n := range []*realServer{to, from} {
			n.do("CLUSTER", "SETSLOT", slot, "NODE", id(to))
		}
		err := claim("after")
		if err != nil && !errors.Is(err, replay.ErrTooEarly) {
			t.Fatalf("after it has moved: %v", err)
		}
		nextSecond()
		wantError(t, "after it has moved", claim("later"), nil)
	})
}
