// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// serverInfo is what a connection has told about its server. What the server does not tell is empty.
type serverInfo struct {
	runID   string // new with every start of the server
	replID  string // new when it is promoted, so when it has been a replica in between
	version string
	policy  string // maxmemory-policy
	role    string // master or slave
}

// errSentinel: the connection leads to a Sentinel, which holds no data.
var errSentinel = errors.New("this is a Sentinel")

// readInfo asks for everything at once. A server may refuse to tell (an access list, a proxy, a managed service);
// an error is only returned when there was no answer.
func readInfo(ctx context.Context, cn *redis.Conn) (info serverInfo, err error) {
	pipe := cn.Pipeline()
	server, memory, replication := pipe.Info(ctx, "server"), pipe.Info(ctx, "memory"), pipe.Info(ctx, "replication")
	config := pipe.ConfigGet(ctx, "maxmemory-policy")
	_, _ = pipe.Exec(ctx)
	for _, cmd := range []redis.Cmder{server, memory, replication, config} {
		if err := cmd.Err(); err != nil && !isReply(err) {
			return serverInfo{}, err
		}
	}
	fields := make(map[string]string)
	for _, section := range []*redis.StringCmd{server, memory, replication} {
		for line := range strings.Lines(section.Val()) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				fields[name] = value
			}
		}
	}
	if fields["redis_mode"] == "sentinel" {
		return serverInfo{}, errSentinel
	}
	info = serverInfo{
		runID:   fields["run_id"],
		replID:  fields["master_replid"],
		version: fields["redis_version"],
		policy:  fields["maxmemory_policy"],
		role:    fields["role"],
	}
	if info.policy == "" {
		info.policy = config.Val()["maxmemory-policy"]
	}
	return info, nil
}

// name tells the history of the server's data apart from others.
func (i serverInfo) name() string {
	if i.runID == "" {
		return ""
	}
	return i.runID + "/" + i.replID
}

// demand says why the server cannot hold a replay store, and what to change.
func (i serverInfo) demand() error {
	switch {
	case i.policy != "" && i.policy != "noeviction":
		return fmt.Errorf("redis may evict entries (maxmemory-policy is %s), and an evicted entry is a proof that can be used again: set maxmemory-policy to noeviction", i.policy)
	case i.role == "slave":
		return errors.New("redis is a replica, whose data is behind: give the address of its primary, or use redis+sentinel")
	case tooOld(i.version):
		return fmt.Errorf("redis is version %s, and SET with PXAT needs 6.2 or later", i.version)
	}
	return nil
}

// untold lists what should be known and is not, for a warning.
func (i serverInfo) untold() []string {
	var list []string
	if i.runID == "" {
		list = append(list, "run_id: a restart is noticed only if it lost everything")
	}
	if i.policy == "" {
		list = append(list, "maxmemory-policy: make sure that it is noeviction")
	}
	return list
}

func tooOld(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	return err == nil && err2 == nil && (a < 6 || a == 6 && b < 2)
}

// isReply reports whether err is an answer of the server, so that the connection is in order.
func isReply(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok
}

func isMoved(err error) bool {
	return err != nil && isReply(err) && strings.HasPrefix(err.Error(), "MOVED ")
}

// isFull: the server has no memory left and evicts nothing.
func isFull(err error) bool {
	return err != nil && isReply(err) && strings.HasPrefix(err.Error(), "OOM ")
}
