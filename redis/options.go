// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"crypto/tls"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// options is how to reach Redis, checked and with its defaults.
type options struct {
	network string   // "tcp" or "unix"; one server
	address string   // one server
	cluster []string // some nodes of a cluster
	master  string   // name that the Sentinels know
	sentry  []string // Sentinels
	db      int

	username, password                 string
	sentinelUsername, sentinelPassword string

	tls         *tls.Config // nil: none
	poolSize    int
	dialTimeout time.Duration
	readTimeout time.Duration
	prefix      string
}

const (
	defaultPrefix      = "dpop:"
	defaultPoolSize    = 2
	maxPoolSize        = 1000
	defaultDialTimeout = 2 * time.Second
	maxTimeout         = time.Minute // the largest replay_timeout

	// defaultClusterPoolSize is larger since the parts of a cluster (see partitions) each make their own batches.
	defaultClusterPoolSize = 16
)

func (o *options) singleOptions() *redis.Options {
	c := &redis.Options{
		Network:   o.network,
		Addr:      o.address,
		Username:  o.username,
		Password:  o.password,
		DB:        o.db,
		TLSConfig: o.tls,
	}
	o.harden(c)
	return c
}

// harden sets what the store relies on. A command that is sent twice would find its own key: no retries anywhere.
func (o *options) harden(c *redis.Options) {
	c.MaxRetries = -1
	c.DialerRetries = 1
	c.Protocol = 2 // no pushes: nothing but answers comes in
	c.ContextTimeoutEnabled = true
	c.DialTimeout = o.dialTimeout
	c.ReadTimeout = o.readTimeout
	c.WriteTimeout = o.readTimeout
	c.PoolTimeout = o.readTimeout
	c.PoolSize = o.connections()
	c.PipelinePoolSize = -1 // there are only pipelines: one pool
	c.DisableIdentity = true
	c.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// connections is the number of connections to a server: one per batch under way, and one to look after the mark.
func (o *options) connections() int { return o.poolSize + 1 }

func (o *options) failoverOptions() *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName:       o.master,
		SentinelAddrs:    o.sentry,
		SentinelUsername: o.sentinelUsername,
		SentinelPassword: o.sentinelPassword,

		Username:  o.username,
		Password:  o.password,
		DB:        o.db,
		TLSConfig: o.tls,

		MaxRetries:            -1,
		DialerRetries:         1,
		Protocol:              2,
		ContextTimeoutEnabled: true,
		DialTimeout:           o.dialTimeout,
		ReadTimeout:           o.readTimeout,
		WriteTimeout:          o.readTimeout,
		PoolTimeout:           o.readTimeout,
		PoolSize:              o.connections(),
		PipelinePoolSize:      -1,
		DisableIdentity:       true,
	}
}

func (o *options) clusterOptions() *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs:     o.cluster,
		Username:  o.username,
		Password:  o.password,
		TLSConfig: o.tls,

		MaxRedirects:          -1, // a redirected command would be sent again after a network error too
		MaxRetries:            -1,
		DialerRetries:         1,
		Protocol:              2,
		ContextTimeoutEnabled: true,
		DialTimeout:           o.dialTimeout,
		ReadTimeout:           o.readTimeout,
		WriteTimeout:          o.readTimeout,
		PoolTimeout:           o.readTimeout,
		PoolSize:              o.connections(),
		PipelinePoolSize:      -1,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}
