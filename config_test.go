// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// minimalJSON is a handler that loads; members are added to it.
const minimalJSON = `"handler":"dpop","issuers":[{"issuer":"https://auth.example.com"}],"audience":["https://api.example.com"]`

func handlerJSON(members, app string) []byte {
	if app == "" {
		app = "{}"
	}
	return fmt.Appendf(nil, `{"apps":{"http":{"servers":{"srv0":{"listen":["127.0.0.1:0"],"routes":[{"match":[{"host":["api.example.com"]}],"handle":[{%s}]}]}}},"dpop":%s}}`,
		members, app)
}

// TestJSON holds JSON to what the Caddyfile is held to. What the fixtures of
// TestAdapt refuse when they are provisioned is JSON already; this is about
// what a Caddyfile cannot even say.
func TestJSON(t *testing.T) {
	for _, test := range []struct {
		members string // instead of minimalJSON when it begins with a quote and "handler"
		app     string
		want    string // "" loads
	}{
		{``, ``, ``},
		{`"clock_skew":0`, ``, ``},
		{`"clock_skew":"1d"`, ``, `clock_skew: "24h0m0s" is not accepted: it takes a duration from 0 to 60s`},
		{`"max_age":0`, ``, `max_age: "0s" is not accepted: it takes a duration above 0 and up to 1h`},
		{`"max_age":60`, ``, ``}, // nanoseconds, as everywhere in Caddy
		{`"max_ages":"1m"`, ``, `json: unknown field "max_ages"`},
		{`"public_url":"https://api.example.com"`, ``, `json: unknown field "public_url"`},
		{`"mode":"off"`, ``, `mode: "off" is not accepted: it takes enforce or monitor`},
		{`"mode":""`, ``, ``},
		{`"bearer":"ALLOW"`, ``, `bearer: "ALLOW" is not accepted: it takes reject or allow`},
		{`"algorithms":[]`, ``, `algorithms: the list is empty; leave the option out or name at least one value`},
		{`"algorithms":["none"]`, ``, `algorithms: unknown proof algorithm "none", must be one of `},
		{`"algorithms":[""]`, ``, `algorithms: "" is not accepted: it takes a value that is not empty`},
		{`"algorithms":"ES256"`, ``, `json: cannot unmarshal string`},
		{`"scope":[]`, ``, `scope: the list is empty`},
		{`"scope":["a b"]`, ``, `scope: "a b" is not accepted: it takes scope names`},
		{`"public_urls":[]`, ``, `public_url: the list is empty`},
		{`"public_urls":["https://u:hidden@api.example.com"]`, ``, `public_url: "https://u:xxxxx@api.example.com" is not accepted`},
		{`"cors":[]`, ``, `cors: the list is empty`},
		{`"nonce":{}`, ``, `nonce: mode is missing: it takes off, optional or required`},
		{`"nonce":{"mode":"on"}`, ``, `nonce: "on" is not accepted: it takes off, optional or required`},
		{`"nonce":{"mode":"required","lifetime":0}`, ``, `nonce lifetime: "0s" is not accepted: it takes a duration from 10s to 1h`},
		{`"replay":{"store":"disk"}`, ``, `replay: "disk" is not accepted: it takes storage, memory, redis or off`},
		{`"replay":{"store":"redis"}`, ``, "add `--with github.com/caddy-dpop/caddy-dpop/redis` to xcaddy build"},
		{`"replay":{}`, ``, `replay: "" is not accepted: it takes storage, memory, redis or off`},
		{`"replay":{"store":"memory","x":1}`, ``, `json: unknown field "x"`},
		{`"replay":null`, ``, `replay: "" is not accepted: it takes storage, memory, redis or off`},
		{`"replay":{"store":"OFF"}`, ``, `replay: "OFF" is not accepted: it takes storage, memory, redis or off`},
		{`"realm":"a\"b"`, ``, `realm: "a\"b" is not accepted`},
		{`"realm":"a\nb"`, ``, `realm: "a\nb" is not accepted`},
		{`"forward_as":"x"`, ``, `forward_as: "x" is not accepted: it takes dpop, bearer or none`},
		{`"metadata":{}`, ``, `metadata: add public_url`},
		{`"metadata":{"path":"//*"},"public_urls":["https://api.example.com"]`, ``, `metadata: "//*" is not accepted: it takes a path that begins with a slash`},
		{`"metadata":{"fields":{"resource":"x"}},"public_urls":["https://api.example.com"]`, ``, `metadata: "resource" follows from the configuration and cannot be set`},

		{`"handler":"dpop"`, ``, `no source of access tokens: add issuer, introspection or proof_only`},
		{`"handler":"dpop","issuers":[]`, ``, `no source of access tokens`},
		{`"handler":"dpop","issuers":[{}],"audience":["x"]`, ``, `issuer: "" is not accepted`},
		{`"handler":"dpop","issuers":[null],"audience":["x"]`, ``, `issuers: null is not an issuer`},
		{`"handler":"dpop","issuers":[{"issuer":"https://a.example"}]`, ``, `issuer "https://a.example" has no audience`},
		{`"handler":"dpop","issuers":[{"issuer":"https://a.example"}],"audience":[]`, ``, `audience`},
		{`"handler":"dpop","issuers":[{"issuer":"https://a.example","audience":[]}],"audience":["x"]`, ``, `issuer "https://a.example" has no audience`},
		{`"handler":"dpop","issuers":[{"issuer":"https://a.example"}],"audience":[""]`, ``, `audience: "" is not accepted`},
		{`"handler":"dpop","issuers":[{"issuer":"https://a.example","algorithms":[]}],"audience":["x"]`, ``, `algorithms: the list is empty`},
		{`"handler":"dpop","proof_only":true,"audience":[]`, ``, `proof_only: no access token is looked at, so audience cannot stand beside it`},
		{`"handler":"dpop","proof_only":true,"issuers":[{"issuer":"https://a.example"}]`, ``, `proof_only: no access token is looked at, so issuer cannot stand beside it`},
		{`"handler":"dpop","proof_only":false,"issuers":[{"issuer":"https://a.example"}],"audience":["x"]`, ``, ``},
		{`"handler":"dpop","introspection":{}`, ``, `introspection: "" is not accepted`},

		{``, `{"max_entries":-1}`, `max_entries: "-1" is not accepted: it takes a number above 0`},
		{``, `{"max_per_key":-1}`, `max_per_key: "-1" is not accepted: it takes a number above 0`},
		{``, `{"replay_timeout":-1}`, `replay_timeout: "-1ns" is not accepted: it takes a duration above 0 and up to 1m`},
		{``, `{"token_cache":-1}`, `token_cache: "-1" is not accepted: it takes 0 or a number above it`},
		{``, `{"token_cache":0}`, ``},
		{``, `{"clock":1}`, `json: unknown field "clock"`},
		{``, `{"defaults":{"mode":"off"}}`, `mode: "off" is not accepted: it takes enforce or monitor`},
		{`"handler":"dpop"`, `{"defaults":{` + strings.TrimPrefix(minimalJSON, `"handler":"dpop",`) + `}}`, ``},
		{`"handler":"dpop"`, `{"defaults":{"issuers":[null],"audience":["x"]}}`, `issuers: null is not an issuer`},
	} {
		t.Run(test.members+test.app, func(t *testing.T) {
			members := test.members
			if !strings.HasPrefix(members, `"handler"`) {
				members = strings.TrimSuffix(minimalJSON+","+members, ",")
			}
			err := provision(t, handlerJSON(members, test.app))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && err == nil:
				t.Errorf("loaded, want %s", test.want)
			case test.want != "" && !strings.Contains(err.Error(), test.want):
				t.Errorf("got %v\nwant %s", err, test.want)
			}
		})
	}
}

// TestInherit goes through what a handler takes from the defaults.
func TestInherit(t *testing.T) {
	var defaults Options
	must(t, json.Unmarshal([]byte(`{
		"issuers":[{"issuer":"https://default.example"}], "audience":["a"], "scope":["s"], "mtls":true, "algorithms":["ES256"],
		"max_age":"2m", "clock_skew":"0s", "public_urls":["https://d.example"], "nonce":{"mode":"required"}, "replay":{"store":"memory"},
		"bearer":"allow", "mode":"monitor", "realm":"r", "metadata":{}, "cors":["*"], "forward_as":"none"
	}`), &defaults))
	for name, test := range map[string]struct{ own, want string }{
		"nothing":                {`{}`, `{"issuers":[{"issuer":"https://default.example"}],"audience":["a"],"scope":["s"],"mtls":true,"algorithms":["ES256"],"max_age":120000000000,"clock_skew":0,"public_urls":["https://d.example"],"nonce":{"mode":"required"},"replay":{"store":"memory"},"bearer":"allow","mode":"monitor","realm":"r","metadata":{},"cors":["*"],"forward_as":"none"}`},
		"a source":               {`{"issuers":[{"issuer":"https://own.example"}]}`, `{"issuers":[{"issuer":"https://own.example"}],"audience":["a"],"scope":["s"],"mtls":true,"algorithms":["ES256"],"max_age":120000000000,"clock_skew":0,"public_urls":["https://d.example"],"nonce":{"mode":"required"},"replay":{"store":"memory"},"bearer":"allow","mode":"monitor","realm":"r","metadata":{},"cors":["*"],"forward_as":"none"}`},
		"another kind of source": {`{"introspection":{"url":"https://own.example"},"audience":["b","c"],"scope":["t"]}`, `{"introspection":{"url":"https://own.example"},"audience":["b","c"],"scope":["t"],"mtls":true,"algorithms":["ES256"],"max_age":120000000000,"clock_skew":0,"public_urls":["https://d.example"],"nonce":{"mode":"required"},"replay":{"store":"memory"},"bearer":"allow","mode":"monitor","realm":"r","metadata":{},"cors":["*"],"forward_as":"none"}`},
		"proof_only":             {`{"proof_only":true,"clock_skew":"5s"}`, `{"proof_only":true,"algorithms":["ES256"],"max_age":120000000000,"clock_skew":5000000000,"public_urls":["https://d.example"],"nonce":{"mode":"required"},"replay":{"store":"memory"},"mode":"monitor","realm":"r","cors":["*"]}`},
		"its own": {
			`{"issuers":[{"issuer":"https://own.example"}],"audience":["b"],"scope":["t"],"algorithms":["EdDSA"],"max_age":"1m","clock_skew":"1s","public_urls":["any"],"nonce":{"mode":"off"},"replay":{"store":"off"},"bearer":"reject","mode":"enforce","realm":"q","metadata":{"path":"/x"},"cors":["https://x.example"],"forward_as":"dpop"}`,
			`{"issuers":[{"issuer":"https://own.example"}],"audience":["b"],"scope":["t"],"mtls":true,"algorithms":["EdDSA"],"max_age":60000000000,"clock_skew":1000000000,"public_urls":["any"],"nonce":{"mode":"off"},"replay":{"store":"off"},"bearer":"reject","mode":"enforce","realm":"q","metadata":{"path":"/x"},"cors":["https://x.example"],"forward_as":"dpop"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var o Options
			must(t, json.Unmarshal([]byte(test.own), &o))
			o.inherit(&defaults)
			got, err := json.Marshal(o)
			must(t, err)
			if string(got) != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			// What is inherited is a copy: expanding placeholders in one
			// handler must not change another's.
			for i := range o.Audience {
				o.Audience[i] = "changed"
			}
			for _, issuer := range o.Issuers {
				issuer.Issuer = "changed"
			}
			if defaults.Audience[0] != "a" || defaults.Issuers[0].Issuer != "https://default.example" {
				t.Error("the defaults were changed")
			}
		})
	}
}
