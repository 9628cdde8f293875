// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// TestLimits sends what is exactly at a limit, which passes, and what is one beyond,
// which does not.
func TestLimits(t *testing.T) {
	t.Parallel()
	c := &run{T: t, id: "limits", on: "ref"}
	// grow lengthens a member until the whole has the size; base64 grows in steps, so
	// the signature's neighbour is chosen among three lengths.
	proofOf := func(size int) func(*attempt) {
		return func(a *attempt) {
			for n := range size {
				j := a.proof.Clone()
				j.Claims.Add("filler", strings.Repeat("x", n))
				if h, p, s := j.Segments(); len(h)+len(p)+len(s)+2 >= size {
					a.proof = j
					break
				}
				if n == 0 { // the rest of the way in one step, then by single bytes
					a.proof.Claims.Add("bulk", strings.Repeat("x", (size-1200)*3/4))
				}
			}
		}
	}
	for _, tt := range []struct {
		name   string
		want   want
		change func(*attempt)
	}{
		{"proof 8192", accepted, proofOf(8192)},
		{"proof 8194", badProof("proof_too_large"), proofOf(8194)},
		{"header 4096", accepted, headerOf(4096)},
		{"header 4097", badProof("proof_too_large"), headerOf(4097)},
		{"jti 256", accepted, func(a *attempt) { a.claim("jti", testkit.NewID()+strings.Repeat("j", 234)) }},
		{"jti 257", badProof("jti_too_long"), func(a *attempt) { a.claim("jti", testkit.NewID()+strings.Repeat("j", 235)) }},
		{"token 16384", accepted, tokenOf(16384)},
		{"token 16385", badToken("token_too_large"), tokenOf(16385)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &run{T: t, id: c.id, on: c.on}
			a := c.attempt()
			tt.change(a)
			c.must(a, tt.want)
		})
	}
}

// headerOf gives the proof a header of exactly that many bytes.
func headerOf(size int) func(*attempt) {
	return func(a *attempt) {
		a.head("filler", "")
		a.head("filler", strings.Repeat("x", size-len(a.proof.Header.JSON())))
	}
}

// tokenOf gives the token that many characters. Base64 leaves out every fourth length;
// where that hits, a longer claim elsewhere shifts it by one.
func tokenOf(size int) func(*attempt) {
	return func(a *attempt) {
		for _, kid := range []string{"", "x", "xx"} { // an unknown parameter in the header
			for filler := (size - 1300) * 3 / 4; len(a.accessToken) < size; filler += max((size-len(a.accessToken))*3/4, 1) {
				a.useToken(a.newToken(func(t *testkit.JWS) { t.Head("x-pad", kid).Set("filler", strings.Repeat("x", filler)) }))
			}
			if len(a.accessToken) == size {
				return
			}
			a.accessToken = ""
		}
		panic("no token of that size")
	}
}

// TestAdminTellsNoSecrets: the admin API, with metrics and the configuration, holds no
// token, proof or client secret, whatever was sent before.
func TestAdminTellsNoSecrets(t *testing.T) {
	t.Parallel()
	c := &run{T: t, id: "secrecy", on: "admin/opaque"}
	c.must(c.attempt(), accepted)
	bad := c.attempt()
	bad.htu(evil)
	c.must(bad, htuMismatch)
	unknown := c.attempt()
	unknown.useToken(testkit.NewID() + testkit.NewID())
	c.must(unknown, inactive)
	nonced := newAttempt(c.site("admin/nonce"))
	c.must(nonced, needNonce("nonce_missing"))
	for _, path := range []string{"/config/", "/metrics", "/dpop/status", "/reverse_proxy/upstreams", "/debug/vars", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=1"} {
		body := adminGet(c, c.site(c.on).server, path)
		if len(body) == 0 {
			t.Errorf("%s is empty", path)
		}
		if leak := secrets.find(body); leak != "" {
			t.Errorf("%s holds %s", path, leak)
		}
		if strings.Contains(string(body), clientSecret) {
			t.Errorf("%s holds the client secret", path)
		}
	}
}

func adminProfile(b *builder) {
	i := testkit.NewIssuer("admin")
	b.admin = process.FreeAddress()
	b.site(site{name: "opaque", issuer: i, tokens: true, opaque: true, scope: "read"}, dpop("", introspection(i, "30s", "")), toUpstream())
	b.site(site{name: "nonce", issuer: i, tokens: true}, dpop("", reference(i)+"\n\t\tnonce required"), toUpstream())
	secrets.add(clientSecret)
}
