// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// workDir holds the binary, the processes' directories and the certificate.
var workDir string

// A profile is one Caddy process with several sites, described by a Caddyfile that its
// function builds. Sites are asked for as "profile/site"; "ref" is "main/ref", the
// reference profile of the catalogue.
type profile struct {
	build  func(b *builder)
	once   sync.Once
	err    error
	sites  map[string]*site
	server *server
}

var profiles = newProfiles()

// newProfiles makes them all, none of them started.
func newProfiles() map[string]*profile {
	return map[string]*profile{
		"main":       {build: mainProfile},
		"mixed":      {build: mixedProfile},
		"proxy":      {build: proxyProfile},
		"tls":        {build: tlsProfile},
		"short":      {build: shortProfile},
		"nonce":      {build: nonceProfile},
		"dying":      {build: dyingNonceProfile},
		"endpoint":   {build: endpointProfile},
		"introspect": {build: introspectProfile},
		"jwks":       {build: jwksProfile},
		"cors":       {build: corsProfile},
		"meta":       {build: metaProfile},
		"small":      {build: smallProfile},
		"node1":      {build: func(b *builder) { nodeProfile(b) }},
		"node2":      {build: func(b *builder) { nodeProfile(b) }},
		"restart":    {build: restartProfile},
		"nonces":     {build: restartProfile},
		"memory":     {build: memoryRestartProfile},
		"reload":     {build: reloadProfile},
		"admin":      {build: adminProfile},
		"further":    {build: furtherProfile},
		"names":      {build: namesProfile},
		"keysets":    {build: keySetsProfile},
		"as":         {build: tokenEndpointProfile},
		"replays":    {build: replaysProfile},
		"config":     {build: configProfile},
	}
}

// findSite starts the profile's process when it is the first to ask.
func findSite(name string) (*site, error) {
	if name == "ref" {
		name = "main/ref"
	}
	pn, sn, _ := strings.Cut(name, "/")
	p := profiles[pn]
	if p == nil {
		return nil, fmt.Errorf("no profile %q", pn)
	}
	p.once.Do(func() { p.err = p.start(pn) })
	if p.err != nil {
		return nil, p.err
	}
	s := p.sites[sn]
	if s == nil {
		return nil, fmt.Errorf("no site %q in profile %q", sn, pn)
	}
	return s, nil
}

func (p *profile) start(name string) error {
	if strings.HasPrefix(name, "node") {
		// Caddy makes its local CA in two steps: a second process on the same storage
		// that starts in between finds one half and ends.
		cluster.starting.Lock()
		defer cluster.starting.Unlock()
	}
	var err error
	for range 3 { // a port may be gone between finding and binding it
		b := &builder{profile: name, sites: map[string]*site{}}
		p.build(b)
		if p.server, err = newServer(name, b.caddyfile(), b.admin); err != nil {
			return err
		}
		for _, s := range b.sites {
			s.server = p.server
		}
		p.sites = b.sites
		if err = p.server.start(); err == nil {
			return warm(b.warm)
		}
		if !strings.Contains(err.Error(), "address already in use") {
			return err
		}
	}
	return err
}

// warm sends good requests until one is accepted. A store refuses what was issued
// before it was made, in the same second too, so the first ones may be refused.
func warm(s *site) error {
	if s == nil {
		return nil
	}
	deadline := time.Now().Add(20 * time.Second)
	nonce := ""
	for {
		a := newAttempt(s)
		if nonce != "" {
			a.claim("nonce", nonce)
		}
		r := a.send()
		nonce = cmp.Or(r.Header.Get("Dpop-Nonce"), nonce)
		if r.err == nil && r.Status == 200 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s/%s accepts no good request: %d %q %w\n%s", s.profile, s.name, r.Status, r.reason(),
				errors.Join(r.err), s.server.log.tail(6))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// builder writes a profile's Caddyfile.
type builder struct {
	profile string
	admin   string
	global  string // lines of the global options
	dpop    string // lines of the global dpop option
	storage string // storage directory; empty: the process's own
	text    strings.Builder
	sites   map[string]*site
	warm    *site // the site that must accept a request before cases run
}

// Reference options (attacks.md): the largest age is max_age and clock_skew together.
const (
	origin   = "https://api.example.test"
	audience = "https://api.example.test"

	referenceProofs = `
		algorithms ES256 PS256 EdDSA Ed25519
		max_age 50s
		clock_skew 10s`
	memoryReplay = `
		replay memory`
)

// reference is the reference profile's dpop block for an issuer.
func reference(i *testkit.Issuer) string {
	return "issuer " + i.URL + "\n\t\taudience " + audience + "\n\t\tpublic_url " + origin + referenceProofs + memoryReplay
}

// dpop wraps options in a directive with a matcher (or none).
func dpop(matcher, options string) string {
	if matcher != "" {
		matcher += " "
	}
	return "dpop " + matcher + "{\n\t\t" + strings.TrimSpace(options) + "\n\t}"
}

// toUpstream is the last directive of most sites. It tells the upstream what the
// verifier found, so that tests see what an application would.
func toUpstream() string {
	return `reverse_proxy ` + backend.address + ` {
		header_up X-Auth-Subject {http.auth.user.id}
		header_up X-Dpop-Jkt {http.dpop.jkt}
	}`
}

const sayReason = `
	handle_errors {
		header X-Dpop-Reason {http.dpop.reason}
		header X-Dpop-Error {http.dpop.error}
		respond "refused" {err.status_code}
	}`

// site adds a site that says its reasons.
func (b *builder) site(s site, directives ...string) *site {
	return b.add(&s, "http://", append([]string{
		"header >X-Dpop-Reason {http.dpop.reason}", "header >X-Dpop-Error {http.dpop.error}",
	}, append(directives, strings.TrimSpace(sayReason))...))
}

// bare adds a site without error route, as most users have it.
func (b *builder) bare(s site, directives ...string) *site {
	s.silent = true
	return b.add(&s, "http://", directives)
}

func (b *builder) add(s *site, scheme string, directives []string) *site {
	s.profile = b.profile
	if s.address == "" {
		s.address = process.FreeAddress()
	}
	if s.origin == "" {
		s.origin = origin
	}
	if s.audience == "" {
		s.audience = audience
	}
	_, port, _ := strings.Cut(s.address, ":")
	host := ""
	if scheme == "https://" {
		host = strings.SplitN(s.origin, "/", 4)[2]
	}
	fmt.Fprintf(&b.text, "%s%s:%s {\n\tbind 127.0.0.1\n\tlog\n\t%s\n}\n", scheme, host, port, strings.Join(directives, "\n\t"))
	b.sites[s.name] = s
	if b.warm == nil {
		b.warm = s
	}
	return s
}

// caddyfile is the whole file. Everything is logged at debug level, with the filter
// that the README recommends, and searched for secrets.
func (b *builder) caddyfile() string {
	admin := "off"
	if b.admin != "" {
		admin = b.admin
	}
	storage := b.storage
	if storage == "" {
		storage = filepath.Join(workDir, "storage-"+b.profile+"-"+testkit.NewID()[:6])
	}
	dpop := ""
	if b.dpop != "" {
		dpop = "\tdpop {\n\t\t" + b.dpop + "\n\t}\n"
	}
	return `{
	admin ` + admin + `
	persist_config off
	debug
	auto_https disable_redirects
	skip_install_trust
	grace_period 2s
	storage file_system ` + storage + `
	log {
		output stderr
		format filter {
			wrap json
			fields {
				request>headers>Dpop delete
				request>headers>D-Pop delete
				request>headers>Dpop_ delete
				request>headers>X-Dpop delete
				request>headers>Dpop-Proof delete
				request>headers>Http_dpop delete
				request>headers>Authorization delete
				request>headers>Cookie delete
				request>headers>Sec-Websocket-Protocol delete
				request>headers>X-Forwarded-Uri delete
				request>uri query {
					replace access_token REDACTED
					replace dpop REDACTED
				}
			}
		}
	}
	` + strings.TrimSpace(b.global) + "\n" + dpop + "}\n" + b.text.String()
}

// problems are what logs held that they should not, of processes that were stopped.
var problems []string

// stopAll ends every process and looks what their logs should not hold.
func stopAll() {
	for _, name := range sortedKeys(profiles) {
		s := profiles[name].server
		if s == nil {
			continue
		}
		s.Stop()
		s.log.mu.Lock()
		for _, l := range s.log.leaks {
			problems = append(problems, fmt.Sprintf("the log of %s holds %s", name, l))
		}
		for _, l := range s.log.bad {
			problems = append(problems, fmt.Sprintf("the log of %s: %s", name, l))
		}
		s.log.mu.Unlock()
		if profiles[name].err == nil && keepLogs != "" {
			_ = os.WriteFile(filepath.Join(keepLogs, name+".log"), []byte(s.log.tail(keptLines)), 0o600)
		}
	}
	profiles = newProfiles()
}

// keepLogs names a directory to leave the logs in, for whoever looks for a fault.
var keepLogs = os.Getenv("CADDY_DPOP_KEEP_LOGS")
