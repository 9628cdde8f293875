// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package interop lets real software talk to the built binary: an authorization
// server, OAuth clients and JOSE libraries in several languages, a browser, an MCP
// server, a second Caddy in front.
//
// Each client is a program that is told what to call and what to spoil, and reports the
// answers (call_test.go); what the answers must be stands in the tests. What a client
// did and what its proofs look like becomes a row of docs/interop.md; the run fails
// when that table is stale, and `go test ./integration/interop -update` rewrites it.
//
// CADDY_DPOP_BINARY names a Caddy to test in place of one built from this checkout.
//
// With nothing but Go installed the tests whose peers are missing are skipped, and each
// says what to install.
package interop
