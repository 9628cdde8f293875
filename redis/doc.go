// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package redis is the replay store on Redis or Valkey, as the Caddy module http.dpop.replay.redis. It is a
// package of its own so that only who wants it compiles the client:
//
//	xcaddy build --with github.com/caddy-dpop/caddy-dpop --with github.com/caddy-dpop/caddy-dpop/redis
//
// # The model
//
// A used proof is a key that expires: the prefix and the hexadecimal digits of its [replay.ID]. SET with NX says
// in one round trip, for any number of nodes, whether a claim is the first. Everything else makes sure that the
// key cannot have been forgotten:
//
//   - The key expires at a time by the clock of Redis (PXAT), and TIME is asked in the same round trip, after it. A
//     claim passes only if that clock has not reached the time at which an earlier key of the same proof would
//     have gone. So one clock decides, that of Redis; those of the nodes may differ or step.
//   - A mark, one more key that never expires, says since when entries are remembered and for how long. It is
//     read in the same round trip, after SET. Whatever empties the database takes the mark with it, so a claim
//     never passes on what a deletion has hit. A new mark carries a cut-off: proofs issued until then are refused.
//   - The mark names the server that it was made on by its run_id and replication ID. A server with others, restarted or
//     promoted, may have lost the newest keys, whatever its persistence: it gets a new mark. Each new connection asks.
//   - A server that evicts keys is refused, and so is a replica.
//   - No command is sent twice. When an answer is lost, the claim cannot be decided: the error is
//     [replay.ErrUnavailable], never [replay.ErrReplayed].
//
// # What remains
//
// Replication of Redis is asynchronous. While a fail-over is under way two servers can accept writes; a proof can
// then pass once at each. After it, the cut-off holds: what was issued before is refused. A clock of Redis that
// jumps ahead and back again forgets keys; a process notices if it made a claim in between.
package redis
