// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"path/filepath"
	"strings"
	"sync"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// nonceProfile has sites that require nonces, take them, and a second host.
func nonceProfile(b *builder) {
	i := testkit.NewIssuer("nonce")
	ref := reference(i)
	b.site(site{name: "required", issuer: i, tokens: true}, dpop("", ref+"\n\t\tnonce required"), toUpstream())
	b.site(site{name: "optional", issuer: i, tokens: true}, dpop("", ref+"\n\t\tnonce optional"), toUpstream())
	b.site(site{name: "b", issuer: i, tokens: true, origin: originB},
		dpop("", strings.Replace(ref, "public_url "+origin, "public_url "+originB, 1)+"\n\t\tnonce required"), toUpstream())
	b.site(site{name: "mixed", issuer: i, tokens: true}, dpop("", ref+"\n\t\tnonce required\n\t\tbearer allow"), toUpstream())
}

// dyingNonceProfile has nonces of the shortest life.
func dyingNonceProfile(b *builder) {
	i := testkit.NewIssuer("dying")
	ref := strings.Replace(reference(i), "clock_skew 10s", "clock_skew 1s", 1)
	b.site(site{name: "nonce", issuer: i, tokens: true}, dpop("", ref+"\n\t\tnonce required {\n\t\t\tlifetime 10s\n\t\t}"), toUpstream())
}

// endpointProfile is a token endpoint behind Caddy: proofs without tokens.
func endpointProfile(b *builder) {
	i := testkit.NewIssuer("endpoint")
	options := "proof_only\n\t\tpublic_url https://as.example.test" + referenceProofs + memoryReplay
	b.site(site{name: "token", issuer: i, origin: "https://as.example.test"}, dpop("", options), toUpstream())
}

// clientSecret is given to the processes in their environment, as the documentation
// says, so that it stands in no configuration.
const clientSecret = "a-client-secret-that-must-stay-secret"

// introspection is a dpop block that introspects tokens at an issuer.
func introspection(i *testkit.Issuer, ttl, more string) string {
	return "introspection " + i.URL + testkit.PathIntrospect + " {\n\t\t\tissuer " + i.URL + "\n\t\t\taudience " + audience +
		"\n\t\t\tclient_id rs\n\t\t\tclient_secret {env.DPOP_TEST_SECRET}\n\t\t\tcache_ttl " + ttl + more + "\n\t\t}\n\t\tpublic_url " +
		origin + referenceProofs + memoryReplay
}

// introspectProfile has opaque tokens: cached for a second, for long, not at all; with
// another scope, Bearer allowed, and endpoints that cannot be trusted or reached.
func introspectProfile(b *builder) {
	i := testkit.NewIssuer("introspection")
	opaque := func(name string) site { return site{name: name, issuer: i, tokens: true, opaque: true, scope: "read"} }
	b.site(opaque("opaque"), dpop("", introspection(i, "30s", "")), toUpstream())
	b.site(opaque("brief"), dpop("", introspection(i, "2s", "")), toUpstream())
	b.site(opaque("uncached"), dpop("", introspection(i, "0s", "")), toUpstream())
	b.site(opaque("scoped"), dpop("", introspection(i, "30s", "")+"\n\t\tscope admin"), toUpstream())
	b.site(opaque("mixed"), dpop("", introspection(i, "30s", "")+"\n\t\tbearer allow"), toUpstream())
	b.site(site{name: "jwt", issuer: i, tokens: true}, dpop("", reference(i)+"\n\t\t"+strings.Split(introspection(i, "30s", ""), "\n\t\tpublic_url")[0]), toUpstream())

	closed := testkit.NewIssuer("closed")
	closed.Close()
	gone := opaque("closed")
	gone.issuer = closed
	b.site(gone, dpop("", introspection(closed, "30s", "")), toUpstream())
	untrusted := opaque("untrusted")
	untrusted.issuer = testkit.NewTLSIssuer("untrusted")
	b.site(untrusted, dpop("", introspection(untrusted.issuer, "30s", "")), toUpstream())
	secrets.add(clientSecret)
}

// jwksProfile has one issuer per fault, each broken before the server starts.
func jwksProfile(b *builder) {
	for _, name := range []string{
		"good", "down", "slow", "rotate", "removed", "samekid", "empty", "enc", "weak", "html", "redirect",
		"flood", "lockout", "failing", "case", "twice", "kidless",
	} {
		i := testkit.NewIssuer("jwks " + name)
		spoil(name, i)
		b.site(site{name: name, issuer: i, tokens: true}, dpop("", reference(i)), toUpstream())
	}
	i := testkit.NewTLSIssuer("jwks tls")
	b.site(site{name: "tls", issuer: i, tokens: true}, dpop("", reference(i)), toUpstream())
}

func corsProfile(b *builder) {
	i := testkit.NewIssuer("cors")
	ref := reference(i) + "\n\t\tcors https://app.example.test"
	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", ref), toUpstream())
	b.site(site{name: "nonce", issuer: i, tokens: true}, dpop("", ref+"\n\t\tnonce required"), toUpstream())
}

func metaProfile(b *builder) {
	i := testkit.NewIssuer("meta")
	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", reference(i)+"\n\t\tmetadata"), toUpstream())
	b.site(site{name: "path", issuer: i, tokens: true}, "dpop_metadata", "handle /api/* {\n\t"+
		dpop("", strings.Replace(reference(i), "public_url "+origin, "public_url https://p.example.test", 1)+
			"\n\t\tmetadata /api")+"\n\t"+toUpstream()+"\n\t}").origin = "https://p.example.test"
}

// smallProfile has a store that is soon full.
func smallProfile(b *builder) {
	i := testkit.NewIssuer("small")
	b.dpop = "max_entries 64\n\t\tmax_per_key 40"
	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", reference(i)), toUpstream())
}

// cluster is what two nodes share.
var cluster = struct {
	issuer   *testkit.Issuer
	storage  func() string
	starting sync.Mutex // held by the node that starts
}{
	issuer:  testkit.NewIssuer("cluster"),
	storage: func() string { return filepath.Join(workDir, "storage-cluster") },
}

// nodeProfile is one of two nodes on one storage.
func nodeProfile(b *builder) {
	b.storage = cluster.storage()
	ref := strings.Replace(reference(cluster.issuer), "replay memory", "replay storage", 1)
	b.site(site{name: "ref", issuer: cluster.issuer, tokens: true}, dpop("", ref), toUpstream())
	b.site(site{name: "nonce", issuer: cluster.issuer, tokens: true}, dpop("", ref+"\n\t\tnonce required"), toUpstream())
}

// restartProfile and memoryRestartProfile are stopped and started by cases.
func restartProfile(b *builder) {
	i := testkit.NewIssuer("restart")
	ref := strings.Replace(reference(i), "replay memory", "replay storage", 1)
	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", ref), toUpstream())
	b.site(site{name: "nonce", issuer: i, tokens: true}, dpop("", ref+"\n\t\tnonce required"), toUpstream())
}

func memoryRestartProfile(b *builder) {
	i := testkit.NewIssuer("memory restart")
	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", reference(i)), toUpstream())
}

// reloadProfile has an admin API, for reloads under load.
func reloadProfile(b *builder) {
	i := testkit.NewIssuer("reload")
	b.admin = process.FreeAddress()
	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", reference(i)), toUpstream())
	b.site(site{name: "stored", issuer: i, tokens: true}, dpop("", strings.Replace(reference(i), "replay memory", "replay storage", 1)), toUpstream())
}
