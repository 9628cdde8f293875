//go:build !unix

// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import "errors"

// stall needs named pipes.
func stall(string, string) (func() error, error) {
	return nil, errors.New("no named pipes on this system")
}
