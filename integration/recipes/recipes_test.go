// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// recipes are the tests of each page's Caddyfiles, in their order.
var recipes = map[string][]func(*kitchen){
	"spa":               {spa},
	"mcp":               {mcp},
	"fapi2":             {fapi2},
	"atproto":           {atproto},
	"legacy-upstream":   {forwardBearer, forwardNone},
	"opaque-tokens":     {opaque, opaqueAndJWT},
	"two-nodes-redis":   {twoNodesRedis},
	"two-nodes-storage": {twoNodesStorage},
	"kubernetes":        {kubernetes, kubernetesByHost},
	"roll-out":          {monitor, enforce},
	"migration":         {migration},
	"token-endpoint":    {tokenEndpoint},
	"beside-others":     {besideOthers},
}

const (
	api    = "https://api.example.com"
	hello  = api + "/hello"
	nonced = "use_dpop_nonce"
)

func spa(k *kitchen) {
	n := k.start()
	c := k.client(api, "")
	n.send("OPTIONS", hello, "", "Origin", "https://app.example.com", "Access-Control-Request-Method", "GET",
		"Access-Control-Request-Headers", "authorization,dpop").
		has("Access-Control-Allow-Origin", "https://app.example.com").
		has("Access-Control-Allow-Headers", "dpop")
	origin := []string{"Origin", "https://app.example.com"}
	c.get(n, hello, origin...).refused(401, "nonce_missing").has("Www-Authenticate", nonced).
		has("Access-Control-Expose-Headers", "DPoP-Nonce").has("Access-Control-Allow-Origin", "https://app.example.com")
	c.warm(n, hello)
	proof := c.proof("GET", hello).String()
	c.present(n, "GET", hello, proof, origin...).passed()
	c.present(n, "GET", hello, proof, origin...).refused(401, "jti_replayed")
	if a := c.get(n, hello, "Origin", "https://evil.example"); a.header.Get("Access-Control-Allow-Origin") != "" {
		k.Error("a page of another origin may read the answer")
	}
}

func mcp(k *kitchen) {
	n := k.start()
	const resource = "https://mcp.example.com/mcp"
	const document = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
	n.send("POST", resource, "{}").refused(401, "no_credentials").has("Www-Authenticate", `resource_metadata="`+document+`"`)
	var metadata struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
		Bound    bool     `json:"dpop_bound_access_tokens_required"`
		Name     string   `json:"resource_name"`
		Scopes   []string `json:"scopes_supported"`
	}
	if err := json.Unmarshal([]byte(n.send("GET", document, "").body), &metadata); err != nil {
		k.Fatal(err)
	}
	if metadata.Resource != resource || metadata.Servers[0] != k.issuer.URL || !metadata.Bound || metadata.Name != "Example tools" || metadata.Scopes[0] != "mcp" {
		k.Errorf("metadata %+v", metadata)
	}
	c := k.client(resource, "mcp")
	c.warm(n, resource)
	c.present(n, "POST", resource, c.proof("POST", resource).String()).passed()
	k.client("https://other.example.com", "mcp").get(n, resource).refused(401, "token_audience_mismatch")
	k.client(resource, "mail").get(n, resource).refused(403, "scope_missing")
}

func fapi2(k *kitchen) {
	n := k.start()
	c := k.client(api, "accounts")
	c.warm(n, hello)
	c.get(n, hello).passed()

	rsa := &client{k: k, key: testkit.RSA(2048, "client"), nonce: c.nonce}
	rsa.token = k.issuer.Token(testkit.TokenClaims{
		Audience: api, Subject: "alice", ClientID: "app", Scope: "accounts", Thumbprint: rsa.key.Thumbprint(),
	}, time.Now()).String()
	rsa.get(n, hello).passed() // PS256
	rsa.present(n, "GET", hello, rsa.proof("GET", hello).Head("alg", "RS256").String()).refused(401, "alg_unsupported")

	id := k.issuer.Token(testkit.TokenClaims{Audience: api, Subject: "alice", ClientID: "app", Scope: "accounts", Thumbprint: c.key.Thumbprint()}, time.Now())
	(&client{k: k, key: c.key, nonce: c.nonce, token: id.Head("typ", "JWT").String()}).get(n, hello).refused(401, "token_typ_invalid")
	c.present(n, "GET", hello+"?access_token="+c.token, "").refused(401, "proof_missing")
	n.send("GET", hello+"?access_token="+c.token, "").refused(401, "no_credentials")
}

func atproto(k *kitchen) {
	n := k.start()
	const url = "https://pds.example.com/xrpc/app.bsky.actor.getPreferences"
	c := k.client("https://pds.example.com", "atproto")
	a := c.get(n, url).refused(401, "nonce_missing")
	if got := a.header["Www-Authenticate"]; len(got) != 1 || !strings.HasPrefix(got[0], `DPoP error="use_dpop_nonce"`) {
		k.Errorf("challenge %q", got)
	}
	c.warm(n, url)
	c.get(n, url).passed()
	stranger := &client{k: k, key: testkit.Ed25519("client"), token: c.token, nonce: c.nonce}
	stranger.get(n, url).refused(401, "alg_unsupported")
}

func forwardBearer(k *kitchen) {
	n := k.start()
	c := k.client(api, "")
	c.warm(n, hello)
	c.get(n, hello).passed()
	got := k.backend.last(k).Header
	if got.Get("Authorization") != "Bearer "+c.token || got["Dpop"] != nil {
		k.Errorf("the backend got %q", got)
	}
	n.send("GET", hello, "", "Authorization", "Bearer "+c.token).refused(401, "bearer_refused")
}

func forwardNone(k *kitchen) {
	n := k.start()
	c := k.client(api, "read write")
	c.warm(n, hello)
	c.get(n, hello, "X-User", "root", "X-Scope", "admin").passed()
	got := k.backend.last(k).Header
	if got["Authorization"] != nil || got["Dpop"] != nil || got.Get("X-User") != "alice" || got.Get("X-Scope") != "read write" || len(got["X-User"]) != 1 {
		k.Errorf("the backend got %q", got)
	}
	n.send("GET", hello, "", "X-User", "root").refused(401, "no_credentials")
}

// opaqueClient has a token that means something only to the authorization server.
func opaqueClient(k *kitchen) *client {
	c := &client{k: k, key: testkit.P256("client"), token: "opaque-" + testkit.NewID()}
	k.issuer.Introspects(c.token, map[string]any{
		"active": true, "sub": "alice", "client_id": "app", "aud": api, "exp": time.Now().Add(time.Hour).Unix(),
		"cnf": map[string]string{"jkt": c.key.Thumbprint()},
	})
	return c
}

func opaque(k *kitchen) {
	k.env = []string{"INTROSPECTION_SECRET=a secret"}
	n := k.start()
	c := opaqueClient(k)
	c.warm(n, hello)
	c.get(n, hello).passed()
	if got := k.issuer.Count(testkit.PathIntrospect); got != 1 {
		k.Errorf("asked %d times", got)
	}
	if got := k.issuer.Requests()[0].Authorization; !strings.HasPrefix(got, "Basic ") {
		k.Errorf("authenticated as %q", got)
	}
	unknown := &client{k: k, key: c.key, token: "unknown"}
	unknown.get(n, hello).refused(401, "token_inactive")
}

func opaqueAndJWT(k *kitchen) {
	k.env = []string{"INTROSPECTION_SECRET=a secret"}
	n := k.start()
	opaqueClient(k).warm(n, hello)
	k.client(api, "").get(n, hello).passed()
	stranger := k.client(api, "")
	stranger.key = testkit.P256("thief")
	stranger.get(n, hello).refused(401, "jkt_mismatch")
}

// twice sends one proof to two nodes: the second has to refuse it.
func (c *client) twice(one, two *node) {
	c.k.Helper()
	proof := c.proof("GET", hello).String()
	c.present(one, "GET", hello, proof).passed()
	c.present(two, "GET", hello, proof).refused(401, "jti_replayed")
	c.present(one, "GET", hello, proof).refused(401, "jti_replayed")
}

func twoNodesRedis(k *kitchen) {
	redis := miniredis.RunT(k)
	redis.RequireAuth("a password")
	k.env = []string{"REDIS_PASSWORD=a password"}
	k.replace("redis://redis:6379", "redis://"+redis.Addr())
	one, two := k.start(), k.start()
	c := k.client(api, "")
	c.warm(one, hello)
	c.twice(one, two)
	c.twice(two, one)
	redis.Close()
	a := c.get(one, hello).refused(503, "replay_unavailable")
	if a.header.Get("Retry-After") == "" || a.header.Get("Www-Authenticate") != "" {
		k.Errorf("an outage answers %v", a.header)
	}
}

func twoNodesStorage(k *kitchen) {
	k.replace("/srv/caddy", filepath.Join(k.dir, "shared"))
	one, two := k.start(), k.start()
	c := k.client(api, "")
	c.warm(one, hello)
	c.get(two, hello).passed() // with the nonce of the other
	c.twice(one, two)
	c.twice(two, one)
	stranger := k.client(api, "")
	stranger.nonce = "bm90IG9uZSBvZiBvdXJzIG5vdCBvbmUg"
	stranger.get(two, hello).refused(401, "nonce_unknown")
}

func kubernetes(k *kitchen) {
	redis := miniredis.RunT(k)
	k.replace("redis://redis:6379", "redis://"+redis.Addr())
	n := k.start()
	if a := n.send("GET", "http://10.1.2.3/healthz", ""); a.status != 200 || a.body != "ok" {
		k.Errorf("the probe got %d %q", a.status, a.body)
	}
	c := k.client(api, "")
	balanced := []string{"via", "http", "X-Forwarded-Proto", "https", "X-Forwarded-For", "192.0.2.7"}
	k.untilPassed(func() *answer { return c.get(n, hello, balanced...) })
	c.get(n, hello, balanced...).passed()
	const evil = "https://evil.example/hello"
	c.present(n, "GET", evil, c.proof("GET", evil).String(), append(balanced, "X-Forwarded-Host", "evil.example")...).refused(401, "htu_mismatch")
	last := n.refusals()
	if got := last[len(last)-1]["client_ip"]; got != "192.0.2.7" {
		k.Errorf("client_ip %v", got)
	}
}

func kubernetesByHost(k *kitchen) {
	n := k.start()
	c := k.client(api, "")
	balanced := []string{"via", "http", "X-Forwarded-Proto", "https"}
	k.untilPassed(func() *answer { return c.get(n, hello, balanced...) })
	c.get(n, hello, balanced...).passed()
	// Without the header it is what it is: http.
	c.get(n, hello, "via", "http").refused(401, "htu_mismatch")
}

// untilPassed is [client.warm] for other kinds of requests.
func (k *kitchen) untilPassed(send func() *answer) *answer {
	k.Helper()
	a := send()
	for deadline := time.Now().Add(15 * time.Second); a.status != http.StatusOK; a = send() {
		if time.Now().After(deadline) {
			k.Fatalf("%d %q\n%s", a.status, a.body, a.n.Log())
		}
		time.Sleep(100 * time.Millisecond)
	}
	return a
}

func monitor(k *kitchen) {
	n := k.start()
	c := k.client(api, "")
	c.get(n, hello).passed()
	a := n.send("GET", hello, "").passed()
	if got := a.reason(); got != "no_credentials" {
		k.Errorf("reason %q", got)
	}
	all := n.refusals()
	if all[len(all)-1]["monitor"] != true {
		k.Errorf("log line %v", all[len(all)-1])
	}
}

func enforce(k *kitchen) {
	n := k.start()
	c := k.client(api, "")
	c.warm(n, hello)
	c.get(n, hello).passed()
	n.send("GET", hello, "").refused(401, "no_credentials")
}

func migration(k *kitchen) {
	n := k.start()
	c := k.client(api, "")
	c.warm(n, hello)
	c.get(n, hello).passed()
	unbound := k.issuer.Token(testkit.TokenClaims{Audience: api, Subject: "bob", ClientID: "old"}, time.Now()).String()
	n.send("GET", hello, "", "Authorization", "Bearer "+unbound).passed()
	n.send("GET", hello, "", "Authorization", "Bearer "+c.token).refused(401, "bearer_bound").has("Www-Authenticate", "invalid_token")
	(&client{k: k, key: c.key, token: unbound}).get(n, hello).refused(401, "token_unbound").has("Www-Authenticate", "invalid_token")
}

func tokenEndpoint(k *kitchen) {
	n := k.start()
	const url = "https://login.example.com/token"
	c := &client{k: k, key: testkit.P256("client")}
	post := func(proof string, fields ...string) *answer {
		if proof != "" {
			fields = append(fields, "DPoP", proof)
		}
		return n.send("POST", url, "grant_type=client_credentials", append(fields, "Authorization", "Basic YTpi")...)
	}
	a := post(c.proof("POST", url).String()).refused(400, "nonce_missing")
	if !strings.Contains(a.body, `"error":"use_dpop_nonce"`) {
		k.Errorf("body %s", a.body)
	}
	k.untilPassed(func() *answer {
		a := post(c.proof("POST", url).String(), "X-DPoP-JKT", "forged")
		if nonce := a.header.Get("DPoP-Nonce"); nonce != "" {
			c.nonce = nonce
		}
		return a
	})
	if got := k.backend.last(k).Header; len(got["X-Dpop-Jkt"]) != 1 || got.Get("X-Dpop-Jkt") != c.key.Thumbprint() || got.Get("Authorization") == "" {
		k.Errorf("the server got %q", got)
	}
	if a := post("").refused(400, "proof_missing"); !strings.Contains(a.body, `"error":"invalid_dpop_proof"`) {
		k.Errorf("body %s", a.body)
	}
	n.send("GET", "https://login.example.com/authorize", "", "X-DPoP-JKT", "forged").passed()
	if got := k.backend.last(k).Header["X-Dpop-Jkt"]; got != nil {
		k.Errorf("a forged header reached the server: %q", got)
	}
}

func besideOthers(k *kitchen) {
	sso := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "session=good" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Remote-User", "carol")
	}))
	k.Cleanup(sso.Close)
	k.replace("sso:9091", strings.TrimPrefix(sso.URL, "http://"))
	n := k.start()
	const url = "https://example.com/api/hello"
	c := k.client("https://example.com/api", "")
	c.warm(n, url)
	c.get(n, url).passed()
	n.send("GET", url, "", "Authorization", "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==").refused(401, "scheme_unsupported")

	const admin = "https://example.com/admin/"
	n.send("GET", admin, "", "Authorization", "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==").passed()
	if a := c.present(n, "GET", admin, c.proof("GET", admin).String()); a.status != 401 || a.hits != 0 {
		k.Errorf("a token at /admin: %d", a.status)
	}
	n.send("GET", "https://example.com/", "", "Cookie", "session=good").passed()
	if got := k.backend.last(k).Header.Get("Remote-User"); got != "carol" {
		k.Errorf("Remote-User %q", got)
	}
	if a := n.send("GET", "https://example.com/", "", "Remote-User", "carol"); a.status != 401 || a.hits != 0 {
		k.Errorf("without a session: %d", a.status)
	}
}
