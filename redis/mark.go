// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-dpop/caddy-dpop/replay"
)

// mark says what the keys beside it are worth. It lies in Redis, is immutable there but for a raised window, and
// is the same for all nodes. Values are compared by their text.
type mark struct {
	Version int `json:"version"`

	// Epoch is random, and new whenever entries may have been lost.
	Epoch string `json:"epoch"`

	// Server is the run_id and replication ID of the server that the mark was made on; empty when it does not tell.
	Server string `json:"server,omitempty"`

	// Since is the cut-off: proofs issued up to this second are refused.
	Since int64 `json:"since"`

	// The window that every node remembers entries for: the largest that any node of this epoch has asked for.
	limits

	// Past are the windows before it, oldest first.
	Past []span `json:"past,omitempty"`

	text string // as it stands in Redis
}

// limits is a [replay.Window] in whole seconds.
type limits struct {
	Proof int64 `json:"proof"`
	Nonce int64 `json:"nonce"`
}

// span is a window that was in force for proofs issued up to a second.
type span struct {
	limits
	Until int64 `json:"until"`
}

const (
	markVersion = 1

	// clockLead is how far a client's clock may run ahead of ours with its proofs still being accepted: the
	// largest clock_skew. A proof with this iat may have been issued that much earlier.
	clockLead = 60

	// maxSpans bounds the history. The two oldest are merged to the stricter of both.
	maxSpans = 8
)

func limitsOf(w replay.Window) limits {
	seconds := func(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
	return limits{Proof: seconds(w.Proof), Nonce: seconds(w.Nonce)}
}

func (l limits) expiry(c replay.Claim) int64 {
	return replay.Window{Proof: time.Duration(l.Proof) * time.Second, Nonce: time.Duration(l.Nonce) * time.Second}.Expiry(c)
}

func (l limits) largest(o limits) limits {
	return limits{Proof: max(l.Proof, o.Proof), Nonce: max(l.Nonce, o.Nonce)}
}

// covers reports whether every proof lives at least as long under l as under o.
func (l limits) covers(o limits) bool { return l.Proof >= o.Proof && l.Nonce >= o.Nonce }

// issued returns the second before which the proof cannot have been made.
func issued(c replay.Claim) int64 {
	if c.NonceAt != 0 {
		return c.NonceAt
	}
	return c.IssuedAt
}

// judge returns the second until which the claim is to be remembered, and the earliest second until which it can
// have been remembered if it was used before. The latter is what a clock is compared with.
func (m *mark) judge(c replay.Claim) (expiry, check int64) {
	expiry = m.expiry(c)
	check = expiry
	for _, s := range m.Past {
		if issued(c)-clockLead <= s.Until {
			check = min(check, s.expiry(c))
		}
	}
	return expiry, check
}

// newMark begins an epoch: nothing is known of what was issued up to the second since.
func newMark(epoch, server string, since int64, l limits) *mark {
	m := &mark{Version: markVersion, Epoch: epoch, Server: server, Since: since, limits: l}
	return m.seal()
}

// raised returns the mark with a window that covers l as well. Proofs issued up to the second until may be
// remembered for the window before only.
func (m *mark) raised(l limits, until int64) *mark {
	next := *m
	next.Past = append(slices.Clone(m.Past), span{limits: m.limits, Until: until})
	next.limits = m.largest(l)
	// A span says nothing any more once the proofs that it is about are refused for their age.
	over := until - clockLead - max(next.Proof, next.Nonce)
	next.Past = slices.DeleteFunc(next.Past, func(s span) bool { return s.Until < over })
	slices.SortStableFunc(next.Past, func(a, b span) int { return cmp.Compare(a.Until, b.Until) })
	if len(next.Past) > maxSpans {
		a, b := next.Past[0], next.Past[1]
		merged := span{limits: limits{Proof: min(a.Proof, b.Proof), Nonce: min(a.Nonce, b.Nonce)}, Until: b.Until}
		next.Past = append([]span{merged}, next.Past[2:]...)
	}
	return next.seal()
}

// extended returns the mark with its newest span lasting until a later second: raising took long.
func (m *mark) extended(until int64) *mark {
	next := *m
	next.Past = slices.Clone(m.Past)
	newest := &next.Past[len(next.Past)-1]
	newest.Until = max(newest.Until, until)
	return next.seal()
}

// seal fixes the text.
func (m *mark) seal() *mark {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers only
	}
	m.text = string(text)
	return m
}

func parseMark(text string) (*mark, error) {
	m := new(mark)
	if err := json.Unmarshal([]byte(text), m); err != nil {
		return nil, fmt.Errorf("it is not a mark: %w", err)
	}
	if m.Version != markVersion || m.Epoch == "" {
		return nil, fmt.Errorf("it is a mark of version %d, this is version %d", m.Version, markVersion)
	}
	m.text = text
	return m, nil
}
