// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-dpop/caddy-dpop/token"
)

// TestNullIssuer: a list of issuers in JSON can hold null, which is a load
// error and no panic, in a handler and in the defaults.
func TestNullIssuer(t *testing.T) {
	n := prepare(t)
	for name, apps := range map[string]string{
		"handler":  `"http":{"servers":{"a":{"listen":["127.0.0.1:0"],"routes":[{"handle":[{"handler":"dpop","issuers":[null]}]}]}}}`,
		"defaults": `"dpop":{"defaults":{"issuers":[null]}},"http":{"servers":{"a":{"listen":["127.0.0.1:0"],"routes":[{"handle":[{"handler":"dpop"}]}]}}}`,
	} {
		err := n.loadJSON([]byte(`{"admin":{"disabled":true},"apps":{` + apps + `}}`))
		if err == nil || !strings.Contains(err.Error(), "null is not an issuer") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSharedKeySet: issuers that publish one key set under one address, such as
// the tenants of a provider, share it; each still speaks for itself only, and
// the metrics can be gathered.
func TestSharedKeySet(t *testing.T) {
	n := start(t, site(`
		issuer $ISSUER {
			jwks_uri $ISSUER/jwks
		}
		issuer https://tenant.example {
			jwks_uri $ISSUER/jwks
		}
		audience https://api.test
		replay memory
`))
	n.client().get("/").passed()
	if got := len(n.app.keySets()); got != 1 {
		t.Errorf("%d key sets, want 1", got)
	}
	registry := prometheus.NewPedanticRegistry()
	must(t, registry.Register(state))
	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
}

// TestIntrospectionKeys: an endpoint whose signed answers are to be verified by
// other keys than before is not the one in the pool, which has the old ones.
func TestIntrospectionKeys(t *testing.T) {
	names := make(map[string]bool)
	for _, uri := range []string{"https://auth.example/keys", "https://auth.example/other"} {
		keys, err := token.NewKeySet(token.KeySetConfig{URI: uri})
		must(t, err)
		cfg := token.IntrospectionConfig{Endpoint: "https://auth.example/introspect", Keys: keys, CacheTTL: new(token.DefaultCacheTTL)}
		names[introspectionName(cfg, nil)] = true
	}
	if len(names) != 2 {
		t.Error("one name for two sets of keys")
	}
}

// TestKeyWithdrawnWhileAway: the token cache outlives the key set of an issuer that
// one configuration leaves out. When the issuer is back, what its old key had
// signed is not good any more if the issuer has withdrawn that key.
func TestKeyWithdrawnWhileAway(t *testing.T) {
	n := start(t, site(oneIssuer))
	c := n.client()
	c.get("/").passed()
	n.reload(site("\nissuer https://other.example\naudience https://api.test\nreplay memory\n"))
	n.issuer.Rotate("2", true)
	n.reload(site(oneIssuer))
	// Until it was fetched again the copy in the storage counts, as after a restart.
	must(t, n.app.sets[0].Refresh(t.Context()))
	c.get("/").refusedFor("token_key_unknown")
}
