// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"path/filepath"
	"strings"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// Public URLs of sites whose names are the point.
const (
	originB    = "https://b.example.test"
	originIDN  = "https://xn--bcher-kva.example.test"
	originIPv6 = "https://[::1]:8443"
	originLink = "https://[fe80::a]"
	originIPv4 = "https://127.0.0.1"
)

// mainProfile is the reference profile and everything that differs from it in one
// option only.
func mainProfile(b *builder) {
	i := testkit.NewIssuer("main")
	j := testkit.NewIssuer("tenant b")
	b.global = "servers {\n\t\tprotocols h1 h2c\n\t}"
	ref := reference(i)
	swap := func(from, to string) string { return strings.Replace(ref, from, to, 1) }
	called := func(o string) string { return swap("public_url "+origin, "public_url "+o) }

	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", ref), toUpstream())
	b.bare(site{name: "bare", issuer: i, tokens: true}, dpop("", ref), toUpstream())
	b.site(site{name: "hosts", issuer: i, tokens: true}, dpop("", called(origin+" "+originB)), toUpstream())
	b.site(site{name: "any", issuer: i, tokens: true, origin: "http://api.example.test"}, dpop("", called("any")), toUpstream())
	b.site(site{name: "idn", issuer: i, tokens: true, origin: originIDN}, dpop("", called(originIDN)), toUpstream())
	b.site(site{name: "ipv6", issuer: i, tokens: true, origin: originIPv6}, dpop("", called(originIPv6)), toUpstream())
	b.site(site{name: "linklocal", issuer: i, tokens: true, origin: originLink}, dpop("", called(originLink)), toUpstream())
	b.site(site{name: "ipv4", issuer: i, tokens: true, origin: originIPv4}, dpop("", called(originIPv4)), toUpstream())
	b.site(site{name: "off", issuer: i, tokens: true}, dpop("", swap("replay memory", "replay off")), toUpstream())
	b.site(site{name: "defaults", issuer: i, tokens: true}, dpop("", ref), toUpstream())

	// What stands between the client's request and the upstream's.
	b.site(site{name: "stripped", issuer: i, tokens: true}, "handle_path /api/* {\n\t"+dpop("", ref)+"\n\t"+toUpstream()+"\n\t}")
	b.site(site{name: "rewritten", issuer: i, tokens: true}, "rewrite * /internal{uri}\n\tmethod PUT", dpop("", ref), toUpstream())
	b.site(site{name: "chained", issuer: i, tokens: true}, "route {\n\t"+dpop("", ref)+"\n\t"+dpop("/api/*", ref)+"\n\t"+toUpstream()+"\n\t}")
	b.site(site{name: "guarded", issuer: i, tokens: true}, dpop("/admin*", ref), toUpstream())
	b.site(site{name: "nested", issuer: i, tokens: true, scope: "read"},
		"handle /api/admin/* {\n\t"+dpop("", ref+"\n\t\tscope admin")+"\n\t"+toUpstream()+"\n\t}\n\thandle /api/* {\n\t"+
			dpop("", ref+"\n\t\tscope read")+"\n\t"+toUpstream()+"\n\t}\n\thandle {\n\trespond \"public\"\n\t}")
	b.site(site{name: "getonly", issuer: i, tokens: true},
		"route {\n\t"+dpop("", ref)+"\n\t@other not method GET\n\trespond @other 405\n\t"+toUpstream()+"\n\t}")
	b.site(site{name: "cgi", issuer: i, tokens: true}, dpop("", ref),
		"reverse_proxy "+backend.address+" {\n\t\theader_up X-Auth-Subject {http.auth.user.id}\n\t}")

	// Policies.
	b.site(site{name: "scoped", issuer: i, tokens: true, scope: "read"}, dpop("", ref+"\n\t\tscope admin"), toUpstream())
	b.site(site{name: "tenantb", issuer: j, tokens: true, origin: originB, audience: audience},
		dpop("", strings.Replace(reference(j), "public_url "+origin, "public_url "+originB, 1)), toUpstream())
	b.site(site{name: "two", issuer: i, tokens: true}, dpop("", "issuer "+j.URL+"\n\t\t"+ref), toUpstream())
	b.site(site{name: "tight", issuer: i, tokens: true}, dpop("", strings.Replace(swap("clock_skew 10s", "clock_skew 0s"), "replay memory", "replay off", 1)), toUpstream())
	b.site(site{name: "strict", issuer: i, tokens: true},
		dpop("", swap("issuer "+i.URL, "issuer "+i.URL+" {\n\t\t\ttyp at+jwt\n\t\t}")), toUpstream())

	// Upstreams that fail.
	b.site(site{name: "down", issuer: i, tokens: true, audience: audience}, dpop("", ref), "reverse_proxy "+lateAddress+" {\n\t\tlb_try_duration 0s\n\t}")
	b.site(site{name: "flaky", issuer: i, tokens: true}, dpop("", ref), "reverse_proxy "+deadAddress+" "+backend.address+
		" {\n\t\tlb_policy first\n\t\tfail_duration 5s\n\t\tlb_try_duration 3s\n\t\tlb_try_interval 10ms\n\t}")
	b.site(site{name: "redirect", issuer: i, tokens: true}, "redir https://api.example.test{path} 308")
}

// Addresses of upstreams that are not there: one never, one until a case starts it.
var (
	deadAddress = process.FreeAddress()
	lateAddress = process.FreeAddress()
)

func mixedProfile(b *builder) {
	i := testkit.NewIssuer("mixed")
	b.site(site{name: "bearer", issuer: i, tokens: true}, dpop("", reference(i)+"\n\t\tbearer allow"), toUpstream())
	b.site(site{name: "only", issuer: i, tokens: true}, dpop("", reference(i)), toUpstream())
}

// proxyProfile stands behind front proxies: one site trusts the loopback network, one
// trusts a neighbour that nobody is.
func proxyProfile(b *builder) {
	i := testkit.NewIssuer("proxy")
	trusted, neighbour := process.FreeAddress(), process.FreeAddress()
	b.global = "servers " + trusted + " {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}\n\tservers " + neighbour +
		" {\n\t\ttrusted_proxies static 127.0.0.2/32\n\t}"
	options := strings.Replace(reference(i), "public_url "+origin, "public_url "+origin+" "+originB, 1)
	b.site(site{name: "trusted", issuer: i, tokens: true, address: trusted}, dpop("", options), toUpstream())
	b.site(site{name: "neighbour", issuer: i, tokens: true, address: neighbour}, dpop("", options), toUpstream())
}

// tlsProfile serves HTTP/1.1, HTTP/2 and HTTP/3 with the test's own certificate, and a
// second host without guard on the same listener.
func tlsProfile(b *builder) {
	i := testkit.NewIssuer("tls")
	address := process.FreeAddress()
	b.global = "servers {\n\t\tprotocols h1 h2 h3\n\t\tstrict_sni_host on\n\t}"
	certificate := "tls " + filepath.Join(workDir, "cert.pem") + " " + filepath.Join(workDir, "key.pem")
	b.add(&site{name: "api", issuer: i, tokens: true, tls: true, address: address}, "https://",
		[]string{
			certificate, "header >X-Dpop-Reason {http.dpop.reason}", "header >X-Dpop-Error {http.dpop.error}",
			dpop("", reference(i)), toUpstream(), strings.TrimSpace(sayReason),
		})
	b.add(&site{name: "open", issuer: i, tls: true, address: address, origin: "https://open.example.test", silent: true}, "https://",
		[]string{certificate, toUpstream()})
}

// shortProfile has windows of seconds, for cases about time: a proof is accepted from
// two seconds before to two seconds after its iat.
func shortProfile(b *builder) {
	i := testkit.NewIssuer("short")
	options := strings.NewReplacer("max_age 50s", "max_age 1s", "clock_skew 10s", "clock_skew 1s").Replace(reference(i))
	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", options), toUpstream())
}
