// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build linux

// Command http measures what `dpop` costs a running Caddy:
//
//	go run ./internal/bench/http
//
// It builds Caddy without and with this plugin, starts one of the former and one
// of the latter for each replay store, and puts them under the same load in
// turn, round after round. Reported are medians over the rounds:
//
//   - the server's CPU time per request at full speed, and how much of it is due
//     to dpop, as a multiple of one bare P-256 signature check that was
//     measured in the same round;
//   - the median latency that dpop adds at a fixed rate, counted from the moment
//     at which a request was due;
//   - how many proofs were accepted more than once when some were sent again
//     and some twice at the same moment. It must be none.
//
// Everything runs on this machine, the generator too. CPU time does not count
// what other programs take from it, but they do slow caches and clock down, so
// look at the ratios and at the spread, not at microseconds.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"
)

type options struct {
	rounds, requests, connections, clients int
	rate                                   int
	paced                                  time.Duration
	stores                                 string
	peers                                  bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 7, "rounds, in each of which every server has its turn")
	flag.IntVar(&o.requests, "n", 20000, "requests in a turn at full speed")
	flag.IntVar(&o.connections, "c", 64, "connections, each with one request in flight")
	flag.IntVar(&o.clients, "clients", 100, "clients, each with a key and a token of its own")
	flag.IntVar(&o.rate, "rate", 2000, "requests per second in a turn at a fixed rate; 0 leaves it out")
	flag.DurationVar(&o.paced, "paced", 3*time.Second, "length of a turn at a fixed rate")
	flag.StringVar(&o.stores, "stores", "memory,storage,redis", "replay stores")
	flag.BoolVar(&o.peers, "peers", false, "measure other verifiers, too: those of "+peersDir+" and Apache with mod_oauth2")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	twice, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if twice > 0 {
		fmt.Fprintln(os.Stderr, "proofs were accepted twice")
		os.Exit(2)
	}
}

// series are the measurements of one server, a value for each round.
type series struct {
	cpu, net, multiple, rate []float64 // full speed
	latency, added, late     []float64 // fixed rate
	mixed, refused, twice    int
}

func run(ctx context.Context, o options) (twice int, err error) {
	dir, err := os.MkdirTemp("", "dpop-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	issuer, err := newIssuer(dir)
	if err != nil {
		return 0, err
	}
	servers, err := startServers(ctx, dir, issuer, strings.Split(o.stores, ","))
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	if err != nil {
		return 0, err
	}
	if o.peers {
		servers = append(servers, startPeers(ctx, dir, issuer)...)
	}
	clients := issuer.clients(o.clients)
	results := make(map[*server]*series)
	for _, s := range servers {
		results[s] = new(series)
		// Not measured: connections, caches, and the second in which a store was made.
		time.Sleep(1100 * time.Millisecond)
		if _, err := s.flood(ctx, s.fresh(clients, o.requests/10), o.connections); err != nil {
			return 0, err
		}
	}
	var raws []float64
	for round := range o.rounds {
		raw := rawVerify(2000)
		raws = append(raws, raw)
		if err := takeTurns(ctx, o, servers, clients, results, raw); err != nil {
			return 0, err
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
	}
	for s, r := range results {
		if !s.peer {
			twice += r.twice
		}
	}
	report(o, servers, results, raws)
	return twice, nil
}

// takeTurns gives every server its turn at each kind of load.
func takeTurns(ctx context.Context, o options, servers []*server, clients []*client, results map[*server]*series, raw float64) error {
	for _, s := range servers {
		out, err := s.flood(ctx, s.fresh(clients, o.requests), o.connections)
		if err != nil {
			return err
		}
		r := results[s]
		r.cpu = append(r.cpu, out.cpu)
		r.rate = append(r.rate, out.perSecond)
		r.net = append(r.net, out.cpu-results[s.origin()].cpu[len(r.cpu)-1])
		r.multiple = append(r.multiple, r.net[len(r.net)-1]/raw)
	}
	for _, s := range servers {
		if o.rate == 0 {
			break
		}
		out, err := s.pace(ctx, s.fresh(clients, int(float64(o.rate)*o.paced.Seconds())), o.connections, o.rate)
		if err != nil {
			return err
		}
		r := results[s]
		r.latency = append(r.latency, out.latency)
		r.late = append(r.late, out.late)
		r.added = append(r.added, out.latency-results[s.origin()].latency[len(r.latency)-1])
	}
	for _, s := range servers {
		if s.base == nil {
			continue
		}
		jobs := s.mixed(clients, o.requests/4)
		out, err := s.flood(ctx, jobs, o.connections)
		if err != nil {
			return err
		}
		r := results[s]
		r.mixed += len(jobs)
		r.refused += out.refused
		r.twice += acceptedTwice(jobs)
	}
	return nil
}

// origin is the server that this one is reckoned from, maybe itself.
func (s *server) origin() *server {
	if s.base != nil {
		return s.base
	}
	return s
}

func report(o options, servers []*server, results map[*server]*series, raws []float64) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Medians of %d rounds [quartiles]. One raw P-256 verify: %s us of CPU.\n", o.rounds, spread(raws, 1))
	fmt.Fprintf(w, "\nfull speed, %d connections\tserver CPU us/request\tnet us\tnet, x raw verify\trequests/s\n", o.connections)
	for _, s := range servers {
		r := results[s]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.name, spread(r.cpu, 1), spread(r.net, 1), spread(r.multiple, 2), spread(r.rate, 0))
	}
	if o.rate > 0 {
		fmt.Fprintf(w, "\nat %d requests/s\tmedian latency us\tadded us\tgenerator late by us\n", o.rate)
		for _, s := range servers {
			r := results[s]
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.name, spread(r.latency, 0), spread(r.added, 0), spread(r.late, 0))
		}
	}
	fmt.Fprintf(w, "\nreplays and duplicates\trequests\trefused\taccepted twice\n")
	for _, s := range servers {
		if s.base == nil {
			continue
		}
		r := results[s]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", s.name, r.mixed, r.refused, r.twice)
	}
	_ = w.Flush()
}
