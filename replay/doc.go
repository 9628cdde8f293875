// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package replay remembers which DPoP proofs have been used (RFC 9449, section 11.1), so that each is
// accepted at most once: within a process ([Table]) or on any number of nodes that share a storage ([Log]).
//
// # The model
//
// What is remembered is an entry: an [ID], which stands for a key and a jti, and an expiry, the second from
// which on no handler would pass a proof with that ID any more. [Store.Claim] is the whole of the interface: it
// answers nil exactly once per live entry. Everything that makes this hard is forgetting. An entry may only go
// when its proof can no longer be accepted, and clocks, which say when that is, step and differ. Four rules
// keep that exact, the same ones in memory and on storage:
//
//   - A store never forgets for want of room. It refuses ([ErrFull], [ErrOwnerFull]).
//   - Whoever forgets leaves a mark: the latest expiry among what was dropped. A claim that expires no later
//     than the mark is refused ([ErrTooOld]), since it could be one of those. A clock may therefore step
//     forward and back again without bringing a used proof back to life.
//   - Whoever starts with nothing, starts with a cut-off: a claim issued no later than that is refused
//     ([ErrTooEarly]), since it may have been used before.
//   - A window that is raised applies to proofs issued later ([Window]).
//
// Time decides only what is refused and when memory is given back, never whether something is accepted twice.
package replay
