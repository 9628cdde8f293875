// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"fmt"
	"strings"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// Profiles of the cases numbered 80 and up, which vary what the others began.

const allAlgorithms = "ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA Ed25519"

// furtherProfile has one option of each kind that the main profile lacks.
func furtherProfile(b *builder) {
	i := testkit.NewIssuer("further")
	b.global = "servers {\n\t\tprotocols h1 h2c\n\t}"
	ref := reference(i)
	swap := func(from, to string) string { return strings.Replace(ref, from, to, 1) }
	add := func(options ...string) string { return dpop("", ref+"\n\t\t"+strings.Join(options, "\n\t\t")) }

	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", ref), toUpstream())
	b.site(site{name: "all", issuer: i, tokens: true}, dpop("", swap("algorithms ES256 PS256 EdDSA Ed25519", "algorithms "+allAlgorithms)), toUpstream())
	b.site(site{name: "base", issuer: i, tokens: true, origin: origin + "/v1"}, dpop("", swap("public_url "+origin, "public_url "+origin+"/v1")), toUpstream())
	b.site(site{name: "bearer", issuer: i, tokens: true}, add("forward_as bearer"), toUpstream())
	b.site(site{name: "none", issuer: i, tokens: true}, add("forward_as none"), toUpstream())
	b.site(site{name: "mixed", issuer: i, tokens: true, scope: "read"}, add("bearer allow", "realm \"Example API\"", "scope read"), toUpstream())
	b.site(site{name: "audience", issuer: i, tokens: true}, dpop("", swap("audience "+audience, "audience https://another.example.test")), toUpstream())
	b.site(site{name: "scoped", issuer: i, tokens: true}, add("scope read"), toUpstream())
	b.site(site{name: "everyone", issuer: i, tokens: true}, add("cors *"), toUpstream())
	b.site(site{name: "cors", issuer: i, tokens: true}, add("cors "+app), toUpstream())
	b.site(site{name: "monitor", issuer: i, tokens: true}, add("mode monitor"), toUpstream())
	two := swap("public_url "+origin, "public_url "+origin+" "+originB)
	b.site(site{name: "hosts", issuer: i, tokens: true}, dpop("", two), toUpstream())
	b.site(site{name: "corshosts", issuer: i, tokens: true}, dpop("", two+"\n\t\tcors "+app), toUpstream())
	b.site(site{name: "corsdown", issuer: i, tokens: true}, add("cors "+app), "reverse_proxy "+deadAddress+" {\n\t\tlb_try_duration 0s\n\t}")
}

// namesProfile has sites whose exact name counts: without public_url.
func namesProfile(b *builder) {
	i := testkit.NewIssuer("names")
	behind := process.FreeAddress()
	b.global = "servers " + behind + " {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}"
	options := strings.Replace(reference(i), "\n\t\tpublic_url "+origin, "", 1)
	b.named(site{name: "exact", issuer: i, tokens: true}, dpop("", options), toUpstream())
	b.named(site{name: "literal", issuer: i, tokens: true, origin: "http://[::1]"}, dpop("", options), toUpstream())
	b.named(site{name: "behind", issuer: i, tokens: true, address: behind}, dpop("", options), toUpstream())
}

// named adds a site that answers to one name alone, api.example.test if no other is
// given.
func (b *builder) named(s site, directives ...string) {
	if s.address == "" {
		s.address = process.FreeAddress()
	}
	_, port, _ := strings.Cut(s.address, ":")
	if s.origin == "" {
		s.origin = "http://api.example.test"
	}
	s.profile, s.audience, s.origin = b.profile, audience, s.origin+":"+port
	fmt.Fprintf(&b.text, "%s {\n\tbind 127.0.0.1\n\tlog\n\theader >X-Dpop-Reason {http.dpop.reason}\n\theader >X-Dpop-Error {http.dpop.error}\n\t%s\n\t%s\n}\n",
		s.origin, strings.Join(directives, "\n\t"), strings.TrimSpace(sayReason))
	b.sites[s.name] = &s
	if b.warm == nil {
		b.warm = &s
	}
}

// tokenEndpointProfile are token endpoints with more than a proof.
func tokenEndpointProfile(b *builder) {
	const as = "https://as.example.test"
	options := "proof_only\n\t\tpublic_url " + as + referenceProofs + memoryReplay
	b.global = "servers {\n\t\tprotocols h1 h2c\n\t}"
	i := testkit.NewIssuer("as")
	endpoint := func(name, options string) {
		b.site(site{name: name, issuer: i, origin: as}, dpop("", options), toUpstream())
	}
	endpoint("plain", options)
	endpoint("nonce", options+"\n\t\tnonce required")
	endpoint("cors", options+"\n\t\tcors "+app)
	endpoint("hosts", strings.Replace(options, "public_url "+as, "public_url "+as+" https://login.example.test", 1))
}

// replaysProfile has handlers of one public URL that remember in different ways.
func replaysProfile(b *builder) {
	i := testkit.NewIssuer("replays")
	b.global = "servers {\n\t\tprotocols h1 h2c\n\t}"
	ref := reference(i)
	swap := func(to string) string { return strings.Replace(ref, "replay memory", to, 1) }
	b.site(site{name: "stored", issuer: i, tokens: true}, dpop("", swap("replay storage")), toUpstream())
	b.site(site{name: "memory", issuer: i, tokens: true}, dpop("", ref), toUpstream())
	b.site(site{name: "off", issuer: i, tokens: true}, dpop("", swap("replay off")), toUpstream())
	b.site(site{name: "monitor", issuer: i, tokens: true}, dpop("", ref+"\n\t\tmode monitor"), toUpstream())
	chain := func(first, second string) string {
		return "route {\n\t" + dpop("", first) + "\n\t" + dpop("", second) + "\n\t" + toUpstream() + "\n\t}"
	}
	b.site(site{name: "two stores", issuer: i, tokens: true}, chain(swap("replay storage"), ref))
	b.site(site{name: "wrong order", issuer: i, tokens: true}, chain(ref, swap("replay storage")))
	b.site(site{name: "watched", issuer: i, tokens: true}, chain(ref+"\n\t\tmode monitor", ref))
	b.site(site{name: "forgetful", issuer: i, tokens: true}, chain(swap("replay off"), ref))
	b.site(site{name: "endpoint", issuer: i}, dpop("", "proof_only\n\t\tpublic_url "+origin+referenceProofs+memoryReplay), toUpstream())
	b.site(site{name: "required", issuer: i, tokens: true}, dpop("", ref+"\n\t\tnonce required"), toUpstream())
	b.site(site{name: "optional", issuer: i, tokens: true}, dpop("", ref+"\n\t\tnonce optional"), toUpstream())
}
