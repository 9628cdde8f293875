// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package differential gives the same proofs to package proof and to other
// implementations. Wherever they disagree, docs/differential.md says why; a
// disagreement that it does not explain fails the test.
package differential
