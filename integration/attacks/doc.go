// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package attacks runs the attack catalogue of testdata/vectors/attacks.json against
// the built binary: each case is one change to a request that would otherwise be
// accepted, sent over a real socket to a real Caddy in front of an upstream that
// remembers what reached it.
//
// The table of a group lives in the file of that name. An entry says what is changed
// (one or several variants) and the exact answer: status, error code and reason.
// The files whose names begin with further_ have the cases that were added to the
// catalogue later, predicted from the RFCs before they were run.
// Where the catalogue leaves a choice open, or where our answer is not its first,
// decisions_test.go says what we chose and why.
//
// What holds for every refusal is asserted for every refusal, in check_test.go: the
// upstream was not reached, the challenge parses by the grammar of RFC 9110, nothing
// secret is in the answer, nor ever in the log.
package attacks
