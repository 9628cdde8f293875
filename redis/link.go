// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// link is a client all of whose connections to one address lead to one and the same run of a server. The first
// connection says which one that is; once a later one says something else, the link is stale, and the store makes
// another. So a claim knows which server has answered without asking for it each time.
type link struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // nil: not a cluster
	only    *node                // nil: a cluster
	nodes   sync.Map             // *redis.Client -> *node, of a cluster
	stale   atomic.Bool
}

// node is a server, as far as it is known.
type node struct {
	client *redis.Client
	link   *link

	gone atomic.Bool // another server has taken its address

	mu    sync.Mutex
	known bool
	info  serverInfo
}

// errServerChanged: nothing has been sent, since the address belongs to another server now. It wraps nothing: the
// client would hand on only what is inside.
var errServerChanged = errors.New("another redis server has taken the address")

// connect makes a link. It does not touch the network.
func (o *options) connect() *link {
	l := new(link)
	switch {
	case len(o.cluster) > 0:
		c := o.clusterOptions()
		c.NewClient = func(opt *redis.Options) *redis.Client {
			n := &node{link: l}
			o.harden(opt)
			opt.OnConnect = n.onConnect
			n.client = redis.NewClient(opt)
			l.nodes.Store(n.client, n)
			return n.client
		}
		l.cluster = redis.NewClusterClient(c)
		l.client = l.cluster
	case o.master != "":
		l.only = &node{link: l}
		f := o.failoverOptions()
		f.OnConnect = l.only.onConnect
		l.only.client = redis.NewFailoverClient(f)
		l.client = l.only.client
	default:
		l.only = &node{link: l}
		c := o.singleOptions()
		c.OnConnect = l.only.onConnect
		l.only.client = redis.NewClient(c)
		l.client = l.only.client
	}
	return l
}

// onConnect is called for each new connection, before its first use.
func (n *node) onConnect(ctx context.Context, cn *redis.Conn) error {
	info, err := readInfo(ctx, cn)
	if errors.Is(err, errSentinel) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking redis about itself: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.known {
		n.known, n.info = true, info
		return nil
	}
	if n.info == info {
		return nil
	}
	n.gone.Store(true)
	n.link.stale.Store(true)
	return errServerChanged
}

func (n *node) server() serverInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.info
}

// node returns the server that holds the key.
func (l *link) node(ctx context.Context, key string) (*node, error) {
	if l.cluster == nil {
		return l.only, nil
	}
	client, err := l.cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("looking up the cluster: %w", err)
	}
	n, ok := l.nodes.Load(client)
	if !ok {
		return nil, errors.New("looking up the cluster: unknown node")
	}
	return n.(*node), nil
}

// reload asks a cluster again who holds what.
func (l *link) reload(ctx context.Context) {
	if l.cluster != nil {
		_ = l.cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil })
	}
}

// distrust makes a cluster look again soon, after a server has not answered.
func (l *link) distrust(ctx context.Context) {
	if l.cluster != nil {
		l.cluster.ReloadState(ctx)
	}
}
