// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

// accessList is the line of docs/operations.md, in words.
func accessList(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ACL SETUSER caddy on >password .*$`).Find(text)
	if line == nil {
		t.Fatal("docs/operations.md has no access list")
	}
	return strings.Fields(string(line))
}

// allow gives the user caddy exactly these rights, on a server that has forgotten everything.
func (s *realServer) allow(list []string) {
	s.t.Helper()
	s.do("FLUSHALL")
	s.do("ACL", "LOG", "RESET")
	s.do("ACL", "SETUSER", "caddy", "reset")
	words := make([]any, len(list))
	for i, word := range list {
		words[i] = word
	}
	s.do(words...)
}

// refused returns the commands that the access list has refused.
func (s *realServer) refused() []string {
	s.t.Helper()
	log, err := s.admin.ACLLog(s.t.Context(), 100).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	var commands []string
	for _, entry := range log {
		commands = append(commands, entry.Object)
	}
	return commands
}

// everyCommand makes a store do everything that takes a command of its own, and returns what it decided.
func everyCommand(t *testing.T, url string) (verdicts []error) {
	t.Helper()
	params := replay.Params{Timeout: time.Second, MaxPerKey: 1}
	s := openStore(t, url, time.Now, params)
	s.SetWindow(replaytest.Window)
	claim := func(s *store, jti string) {
		c := soon(jti)
		c.Owner = replay.NewOwner(jti)
		verdicts = append(verdicts, s.Claim(t.Context(), c))
	}
	claim(s, "a")
	claim(s, "a") // over the limit of its key: is it at least known?

	other := openStore(t, url, time.Now, params)
	other.SetWindow(replay.Window{Proof: 2 * replaytest.Window.Proof, Nonce: replaytest.Window.Nonce})
	claim(other, "b")
	claim(s, "c") // is kept for as long as the other asks

	if v := s.parts[0].view.Load(); v != nil {
		if err := s.parts[0].write(t.Context(), v.node, "somebody else's", v.mark); !errors.Is(err, redis.TxFailedErr) {
			verdicts = append(verdicts, err)
		}
	}
	return verdicts
}

// TestRealRights: the access list of docs/operations.md has what the store needs, and nothing else.
func TestRealRights(t *testing.T) {
	server := startRedis(t)
	list := accessList(t)
	url := "redis://caddy:password@" + server.addr()
	decided := []error{nil, replay.ErrReplayed, nil, nil}
	check := func(t *testing.T, got []error) {
		t.Helper()
		if !slices.EqualFunc(got, decided, errors.Is) {
			t.Errorf("got %v, want %v", got, decided)
		}
	}
	t.Run("all", func(t *testing.T) {
		server.allow(list)
		check(t, everyCommand(t, url))
		if refused := server.refused(); refused != nil {
			t.Errorf("refused: %v", refused)
		}
		if mark, run := server.admin.Get(t.Context(), "dpop:mark").Val(), server.field("Server", "run_id"); run == "" || !strings.Contains(mark, run) {
			t.Errorf("the mark does not name the server: %s", mark)
		}
	})
	commands := 0
	for i, word := range list {
		command, ok := strings.CutPrefix(word, "+")
		if !ok {
			continue
		}
		commands++
		t.Run("without "+command, func(t *testing.T) {
			server.allow(slices.Delete(slices.Clone(list), i, i+1))
			got := everyCommand(t, url)
			if refused := server.refused(); !slices.Equal(refused, []string{command}) {
				t.Errorf("refused: %q", refused)
			}
			if command == "info" || command == "config|get" {
				check(t, got) // they only tell
			}
		})
	}
	if commands < 10 {
		t.Errorf("%q has only %d commands", list, commands)
	}
	t.Run("a database", func(t *testing.T) {
		server.allow(list)
		wantUnavailable(t, "without SELECT", everyCommand(t, url+"/1")[0], "'select'")
		server.allow(append(slices.Clone(list), "+select"))
		check(t, everyCommand(t, url+"/1"))
	})
	t.Run("wrong password", func(t *testing.T) {
		server.allow(list)
		wantUnavailable(t, "wrong password", everyCommand(t, "redis://caddy:wrong@"+server.addr())[0], "WRONGPASS")
	})
}

// TestRealRightsInCluster: a cluster has to be looked up as well.
func TestRealRightsInCluster(t *testing.T) {
	servers := startCluster(t)
	for _, s := range servers {
		s.allow(append(accessList(t), "+cluster|slots"))
	}
	s := openStore(t, fmt.Sprintf("redis+cluster://caddy:password@%s,%s", servers[0].addr(), servers[1].addr()), time.Now, replay.Params{Timeout: 2 * time.Second})
	s.SetWindow(replaytest.Window)
	wantError(t, "first use", s.Claim(t.Context(), soon("a")), nil)
	wantError(t, "replay", s.Claim(t.Context(), soon("a")), replay.ErrReplayed)
	for _, server := range servers {
		if refused := server.refused(); refused != nil {
			t.Errorf("refused: %v", refused)
		}
		server.do("ACL", "SETUSER", "caddy", "-cluster")
	}
	s = openStore(t, "redis+cluster://caddy:password@"+servers[0].addr(), time.Now, replay.Params{Timeout: time.Second})
	wantUnavailable(t, "without CLUSTER SLOTS", s.Claim(t.Context(), soon("b")), "'cluster|slots'")
}
