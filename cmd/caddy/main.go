// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Command caddy is Caddy with everything of this repository, for
// `go run ./cmd/caddy`, the demo and the end-to-end tests. Production
// builds use xcaddy and contain only what they ask for.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-dpop/caddy-dpop"
	_ "github.com/caddy-dpop/caddy-dpop/devissuer"
	_ "github.com/caddy-dpop/caddy-dpop/redis"
)

func main() {
	caddycmd.Main()
}
