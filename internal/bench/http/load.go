// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// outcome of one turn.
type outcome struct {
	cpu       float64 // server's microseconds per request
	perSecond float64
	refused   int
	latency   float64 // median in microseconds, from when a request was due
	late      float64 // of which the generator itself was late
}

// flood sends the jobs as fast as they are answered.
func (s *server) flood(ctx context.Context, jobs []job, connections int) (outcome, error) {
	var next atomic.Int64
	return s.drive(ctx, jobs, connections, func(int, int) (int, time.Time, bool) {
		i := int(next.Add(1)) - 1
		return i, time.Time{}, i < len(jobs)
	})
}

// pace sends the jobs at a fixed rate, whether earlier ones have been answered
// or not, as long as there is a connection free.
func (s *server) pace(ctx context.Context, jobs []job, connections, rate int) (outcome, error) {
	begin := time.Now().Add(10 * time.Millisecond)
	return s.drive(ctx, jobs, connections, func(worker, turn int) (int, time.Time, bool) {
		i := worker + turn*connections
		return i, begin.Add(time.Duration(i) * time.Second / time.Duration(rate)), i < len(jobs)
	})
}

// drive has each connection take one job after the other.
func (s *server) drive(ctx context.Context, jobs []job, connections int, take func(worker, turn int) (int, time.Time, bool)) (outcome, error) {
	conns := make([]*conn, connections)
	for i := range conns {
		c, err := dial(ctx, s.address)
		if err != nil {
			return outcome{}, err
		}
		defer c.Close()
		conns[i] = c
	}
	before, err := processCPU(s.pid())
	if err != nil {
		return outcome{}, err
	}
	begin := time.Now()
	var wait sync.WaitGroup
	errs := make([]error, connections)
	latencies, lates := make([][]float64, connections), make([][]float64, connections)
	for worker, c := range conns {
		wait.Go(func() {
			for turn := 0; errs[worker] == nil; turn++ {
				i, due, ok := take(worker, turn)
				if !ok || ctx.Err() != nil {
					return
				}
				if !due.IsZero() {
					time.Sleep(time.Until(due))
					lates[worker] = append(lates[worker], micros(time.Since(due)))
				}
				errs[worker] = c.do(&jobs[i])
				if !due.IsZero() {
					latencies[worker] = append(latencies[worker], micros(time.Since(due)))
				}
			}
		})
	}
	wait.Wait()
	took := time.Since(begin)
	after, err := processCPU(s.pid())
	if err := errors.Join(append(errs, err, ctx.Err())...); err != nil {
		return outcome{}, fmt.Errorf("%s: %w", s.name, err)
	}
	out := outcome{
		cpu:       (after - before) / float64(len(jobs)),
		perSecond: float64(len(jobs)) / took.Seconds(),
		latency:   quantile(join(latencies), .5),
		late:      quantile(join(lates), .5),
	}
	for _, c := range conns {
		out.refused += c.refused
	}
	return out, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func join(lists [][]float64) (all []float64) {
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// conn is a connection with one request in flight. It reads no more of HTTP
// than the servers here write, so that the generator takes little of the machine.
type conn struct {
	net.Conn
	r       *bufio.Reader
	refused int
}

func dial(ctx context.Context, address string) (*conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, r: bufio.NewReader(c)}, nil
}

func (c *conn) do(j *job) error {
	for j.after != nil && !j.after.answered.Load() {
		time.Sleep(50 * time.Microsecond)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(j.wire); err != nil {
		return err
	}
	status, err := c.answer()
	if err != nil {
		return err
	}
	switch status {
	case 200:
		j.accepted.Add(1)
	case 401:
		c.refused++
	default:
		return fmt.Errorf("status %d", status)
	}
	j.answered.Store(true)
	return nil
}

// answer reads one response and returns its status.
func (c *conn) answer() (status int, err error) {
	length := 0
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case status == 0:
			if len(line) < len("HTTP/1.1 200") {
				return 0, fmt.Errorf("status line %q", line)
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, err
			}
		case len(line) == 0:
			_, err := c.r.Discard(length)
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return status, err
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, err
			}
		}
	}
}
