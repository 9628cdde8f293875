// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package recipes runs the configurations of docs/recipes, word for word but for the
// addresses of what stands around them: each Caddyfile is given to a Caddy process,
// which has to accept a good request and refuse a bad one, as the page says.
//
// The process is this test binary, told to be Caddy. Every page and every block of it
// has to have a test.
package recipes
