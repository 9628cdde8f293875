// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// peersDir has the verifiers of the Node world; `npm ci --prefix` installs them.
const peersDir = "internal/bench/peers"

// startPeers starts other verifiers, each with the same server without one
// before it, of which it is reckoned from. What is not installed is left out with
// a word. None of them refuses every replay, so theirs are counted only.
func startPeers(ctx context.Context, dir string, i *issuer) (servers []*server) {
	pairs := [][2]func() (*server, error){
		{nodeServer(ctx, i, "node"), nodeServer(ctx, i, "oauth4webapi")},
		{nodeServer(ctx, i, "express"), nodeServer(ctx, i, "express-oauth2-jwt-bearer")},
		{apache(ctx, dir, "apache", ""), apache(ctx, dir, "apache mod_oauth2", `
	AuthType oauth2
	Require valid-user
	OAuth2TokenVerify jwk '`+i.key.JWK("k1").String()+`' type=dpop
	OAuth2AcceptTokenIn header type=DPoP`)},
	}
	for _, pair := range pairs {
		var base *server
		for _, start := range pair {
			s, err := start()
			if err != nil {
				fmt.Fprintln(os.Stderr, "a peer is left out:", err)
				break
			}
			s.peer, s.base = true, base
			base = s
			servers = append(servers, s)
		}
	}
	return servers
}

func nodeServer(ctx context.Context, i *issuer, kind string) func() (*server, error) {
	return func() (*server, error) {
		if _, err := os.Stat(filepath.Join(peersDir, "node_modules")); err != nil {
			return nil, fmt.Errorf("%s: run npm ci --prefix %s first: %w", kind, peersDir, err)
		}
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		s := &server{
			name: kind, address: "127.0.0.1:" + port, resource: resource,
			command: exec.CommandContext(ctx, "node", filepath.Join(peersDir, "server.mjs"), kind, port, i.keyFile, issuerName, audience),
		}
		s.command.Stderr = os.Stderr
		s.command.Env = append(os.Environ(), "NODE_ENV=production")
		if err := s.command.Start(); err != nil {
			return nil, err
		}
		return s, awaitPort(ctx, s.address)
	}
}

// apache starts an Apache whose module looks at the port that was connected
// to, whatever Host says.
func apache(ctx context.Context, dir, name, options string) func() (*server, error) {
	return func() (*server, error) {
		const modules = "/usr/lib/apache2/modules/"
		if _, err := os.Stat(modules + "mod_oauth2.so"); err != nil {
			return nil, err
		}
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		home := filepath.Join(dir, "apache-"+port)
		document := filepath.Join(home, "www", path)
		if err := os.MkdirAll(filepath.Dir(document), 0o755); err != nil { //nolint:gosec // Apache changes its user
			return nil, err
		}
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as above
			return nil, err
		}
		if err := os.WriteFile(document, []byte("hello"), 0o644); err != nil { //nolint:gosec // as above
			return nil, err
		}
		config := filepath.Join(home, "httpd.conf")
		err = os.WriteFile(config, []byte(fmt.Sprintf(`ServerRoot %[1]s
ServerName %[2]s
Listen 127.0.0.1:%[3]s
PidFile %[1]s/pid
ErrorLog %[1]s/error.log
LoadModule mpm_event_module %[4]smod_mpm_event.so
LoadModule authn_core_module %[4]smod_authn_core.so
LoadModule authz_core_module %[4]smod_authz_core.so
LoadModule authz_user_module %[4]smod_authz_user.so
LoadModule oauth2_module %[4]smod_oauth2.so
User www-data
Group www-data
StartServers 1
ServerLimit 1
ThreadLimit 256
ThreadsPerChild 256
MinSpareThreads 1
MaxSpareThreads 256
MaxRequestWorkers 256
MaxKeepAliveRequests 0
KeepAliveTimeout 60
DocumentRoot %[1]s/www
<Location /v1>%[5]s
</Location>
`, home, host, port, modules, options)), 0o600)
		if err != nil {
			return nil, err
		}
		s := &server{
			name: name, address: "127.0.0.1:" + port, resource: "http://" + host + ":" + port + path,
			command: exec.CommandContext(ctx, "apache2", "-f", config, "-DFOREGROUND"),
		}
		s.command.Stderr = os.Stderr
		if err := s.command.Start(); err != nil {
			return nil, err
		}
		return s, awaitPort(ctx, s.address)
	}
}
