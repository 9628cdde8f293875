// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// configProfile has an admin API for configurations in JSON.
func configProfile(b *builder) {
	i := testkit.NewIssuer("config")
	b.admin = process.FreeAddress()
	b.site(site{name: "ref", issuer: i, tokens: true}, dpop("", reference(i)), toUpstream())
}

// configuring is held by the case that changes the configuration.
var configuring sync.Mutex

// object is a JSON object of a configuration.
type object = map[string]any

// ask sends a request to the admin API and returns the status with the body.
func (c *run) ask(s *server, method, path, body string) (int, string) {
	c.Helper()
	for range 5 { // each load replaces the listener, and what waits there is reset
		r, err := http.NewRequest(method, "http://"+s.Admin+path, strings.NewReader(body))
		c.ok(err)
		r.Close = true
		r.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		return res.StatusCode, string(text)
	}
	c.Fatalf("%s %s: no answer", method, path)
	return 0, ""
}

// find looks for the handler in a configuration, and says where it is.
func find(v any, path string) (object, string) {
	switch v := v.(type) {
	case object:
		if v["handler"] == "dpop" {
			return v, path
		}
		for name, member := range v {
			if h, at := find(member, path+"/"+name); h != nil {
				return h, at
			}
		}
	case []any:
		for i, element := range v {
			if h, at := find(element, fmt.Sprint(path, "/", i)); h != nil {
				return h, at
			}
		}
	}
	return nil, ""
}

// config is the running configuration, its handler, and where that is.
func (c *run) config(s *server) (config, handler object, path string) {
	c.Helper()
	_, text := c.ask(s, "GET", "/config/", "")
	c.ok(json.Unmarshal([]byte(text), &config))
	if handler, path = find(config, "/config"); handler == nil {
		c.Fatalf("no handler in %s", text)
	}
	return config, handler, path
}

// badConfig is a change to a good configuration, and what the error must say.
type badConfig struct {
	change func(handler, config object)
	says   []string
}

// member sets members of the handler, given as JSON; a null removes one.
func members(text string) func(handler, config object) {
	return func(h, _ object) {
		var more object
		d := json.NewDecoder(strings.NewReader(text))
		if err := d.Decode(&more); err != nil {
			panic(text + ": " + err.Error())
		}
		for name, v := range more {
			if v == nil {
				delete(h, name)
			} else {
				h[name] = v
			}
		}
	}
}

// apps sets the dpop app.
func apps(text string) func(handler, config object) {
	return func(_, config object) { config["apps"].(object)["dpop"] = json.RawMessage(text) }
}

// configs loads each bad configuration, wants its error, and that the one before goes on.
func configs(bad map[string]badConfig) test {
	return at("config/ref", func(c *run) {
		s := c.site(c.on)
		configuring.Lock()
		defer configuring.Unlock()
		for _, name := range sortedKeys(bad) {
			config, handler, _ := c.config(s.server)
			bad[name].change(handler, config)
			text, err := json.Marshal(config)
			c.ok(err)
			c.refusesLoad(s, name, string(text), bad[name].says)
		}
		c.stillGuarded(s)
	})
}

func (c *run) refusesLoad(s *site, name, text string, says []string) {
	c.Helper()
	before := s.server.Text
	code, answer := c.ask(s.server, "POST", "/load", text)
	if code == 200 {
		c.Errorf("%s: the configuration was loaded", name)
		c.ok(s.server.Reload(before))
		return
	}
	var failure struct{ Error string }
	if json.Unmarshal([]byte(answer), &failure) != nil {
		c.Errorf("%s: %d %s", name, code, answer)
	}
	for _, word := range says {
		if !strings.Contains(failure.Error, word) {
			c.Errorf("%s: the error does not say %q:\n%s", name, word, failure.Error)
		}
	}
}

// stillGuarded: without credentials nobody passes, with them everybody does.
func (c *run) stillGuarded(s *site) {
	c.Helper()
	c.answered(noCredentials)
	c.afterReload(func() *attempt {
		a := newAttempt(s)
		a.anonymous()
		return a
	}, noCredentials)
	c.ok(warm(s))
}

func says(words ...string) []string { return words }

// wrong is one bad configuration.
func wrong(members_ string, words ...string) badConfig { return badConfig{members(members_), words} }

// Group U, further: configurations.
var _ = add(cases{
	"U80": configs(map[string]badConfig{
		"bearer": wrong(`{"bearer":"maybe"}`, "bearer", `"maybe"`, "reject", "allow"), "mode": wrong(`{"mode":"off"}`, "mode", `"off"`, "enforce", "monitor"), "forward_as": wrong(`{"forward_as":"Bearer"}`, "forward_as", `"Bearer"`, "dpop", "bearer", "none"),
		"nonce": wrong(`{"nonce":{"mode":"on"}}`, "nonce", `"on"`, "off", "optional", "required"), "typ": {func(h, _ object) { h["issuers"].([]any)[0].(object)["typ"] = "jwt" }, says("typ", `"jwt"`, "at+jwt", "any")},
		"auth_method": wrong(`{"introspection":{"url":"https://as.example.test/introspect","client_id":"a","client_secret":"b","auth_method":"basic"}}`, "auth_method", `"basic"`, "client_secret_basic", "client_secret_post", "private_key_jwt"),
		"replay":      wrong(`{"replay":{"store":"disk"}}`, "replay", `"disk"`, "storage", "memory", "redis", "off"), "replay off": wrong(`{"replay":{"store":"OFF"}}`, "replay", `"OFF"`, "storage", "memory"),
		"algorithms": wrong(`{"algorithms":["ES257"]}`, "algorithms", `"ES257"`, "ES256", "RS512"), "symmetric": wrong(`{"algorithms":["ES256","HS256"]}`, "algorithms", `"HS256"`, "ES256"), "none": wrong(`{"algorithms":["none"]}`, "algorithms", `"none"`, "ES256"),
		"case":             wrong(`{"algorithms":["es256"]}`, "algorithms", `"es256"`, "ES256"),
		"token algorithms": {func(h, _ object) { h["issuers"].([]any)[0].(object)["algorithms"] = []string{"HS256"} }, says("algorithms", `"HS256"`, "ES256", "RS256")},
	}),
	"U81": configs(map[string]badConfig{
		"handler": wrong(`{"audiences":["x"]}`, "audiences"), "issuer": {func(h, _ object) { h["issuers"].([]any)[0].(object)["audiences"] = []string{"x"} }, says("audiences")}, "nonce": wrong(`{"nonce":{"mode":"required","ttl":"5m"}}`, "ttl"),
		"introspection": wrong(`{"introspection":{"url":"https://as.example.test/","client_id":"a","client_secret":"b","endpoint":"x"}}`, "endpoint"), "replay": wrong(`{"replay":{"store":"memory","max_entries":1}}`, "max_entries"),
		"metadata": wrong(`{"metadata":{"resource":"x"}}`, "resource"), "app": {apps(`{"max_entry":1}`), says("max_entry")}, "defaults": {apps(`{"defaults":{"public_url":"https://api.example.test"}}`), says("public_url")}, "case": wrong(`{"proofOnly":true}`, "proofOnly"),
		"storage": wrong(`{"replay":{"store":"storage","storage":{"module":"file_system","roots":"x"}}}`, "roots"), "singular": wrong(`{"issuer":"https://as.example.test"}`, "issuer"),
	}),
	"U82": configs(map[string]badConfig{
		"audience": wrong(`{"audience":"x"}`, "audience"), "realm": wrong(`{"realm":["x"]}`, "realm"), "bearer": wrong(`{"bearer":true}`, "bearer"), "scope": wrong(`{"scope":[1]}`, "scope"), "proof_only": wrong(`{"proof_only":"true"}`, "proof_only"),
		"issuers": wrong(`{"issuers":[]}`, "issuer", "introspection", "proof_only"), "null issuer": wrong(`{"issuers":[{"issuer":"https://a.example.test"},null]}`, "issuers", "null"), "max_age": wrong(`{"max_age":"soon"}`, "soon"), "nonce": wrong(`{"nonce":"required"}`, "nonce"),
		"cors": wrong(`{"cors":"*"}`, "cors"), "app": {apps(`{"max_entries":"many"}`), says("max_entries")}, "algorithms": wrong(`{"algorithms":"ES256"}`, "algorithms"), "url": wrong(`{"public_urls":[["x"]]}`, "public_urls"), "mtls": wrong(`{"mtls":1}`, "mtls"),
	}),
	"U83": configs(map[string]badConfig{
		"age 0": wrong(`{"max_age":0}`, "max_age", "0s", "1h"), "age below": wrong(`{"max_age":-1}`, "max_age", "-1ns", "1h"), "age above": wrong(`{"max_age":"61m"}`, "max_age", "1h1m0s", "1h"), "skew below": wrong(`{"clock_skew":"-1s"}`, "clock_skew", "-1s", "60s"),
		"skew above": wrong(`{"clock_skew":"61s"}`, "clock_skew", "1m1s", "60s"), "lifetime below": wrong(`{"nonce":{"mode":"required","lifetime":"9s"}}`, "lifetime", "9s", "10s"), "lifetime above": wrong(`{"nonce":{"mode":"required","lifetime":"61m"}}`, "lifetime", "1h1m0s", "1h"),
		"ttl":     wrong(`{"introspection":{"url":"https://as.example.test/","client_id":"a","client_secret":"b","cache_ttl":"-1s"}}`, "cache_ttl", "-1s"),
		"timeout": {apps(`{"replay_timeout":"61s"}`), says("replay_timeout", "1m1s", "1m")}, "timeout below": {apps(`{"replay_timeout":-5}`), says("replay_timeout", "-5ns", "1m")},
		"entries": {apps(`{"max_entries":-1}`), says("max_entries", "-1")}, "per key": {apps(`{"max_per_key":-1}`), says("max_per_key", "-1")}, "cache": {apps(`{"token_cache":-1}`), says("token_cache", "-1")},
	}),
	"U84": configs(map[string]badConfig{
		"issuer relative": wrong(`{"issuers":[{"issuer":"auth.example.test"}]}`, "issuer", "auth.example.test", "https"), "issuer http": wrong(`{"issuers":[{"issuer":"http://auth.example.test"}]}`, "issuer", "http://auth.example.test", "https"),
		"issuer query": wrong(`{"issuers":[{"issuer":"https://auth.example.test/?x=1"}]}`, "issuer", "?x=1", "query"), "issuer fragment": wrong(`{"issuers":[{"issuer":"https://auth.example.test/#x"}]}`, "issuer", "#x", "fragment"),
		"issuer user": wrong(`{"issuers":[{"issuer":"https://u:secretword@auth.example.test"}]}`, "issuer", "https"), "issuer file": wrong(`{"issuers":[{"issuer":"file:///etc"}]}`, "issuer", "file:///etc", "https"), "issuer blank": wrong(`{"issuers":[{"issuer":" https://auth.example.test"}]}`, "issuer"),
		"jwks": wrong(`{"issuers":[{"issuer":"https://auth.example.test","jwks_uri":"http://keys.example.test/"}]}`, "jwks_uri", "http://keys.example.test/", "https"), "jwks relative": wrong(`{"issuers":[{"issuer":"https://auth.example.test","jwks_uri":"/jwks"}]}`, "jwks_uri", "/jwks", "https"),
		"introspection": wrong(`{"introspection":{"url":"http://as.example.test/","client_id":"a","client_secret":"b"}}`, "introspection", "http://as.example.test/", "https"), "introspection host": wrong(`{"introspection":{"url":"https:///x","client_id":"a","client_secret":"b"}}`, "introspection", "https:///x"),
		"introspection issuer": wrong(`{"introspection":{"url":"https://as.example.test/","issuer":"https://as.example.test/?x","client_id":"a","client_secret":"b"}}`, "issuer", "?x"),
		"public relative":      wrong(`{"public_urls":["api.example.test"]}`, "public_url", "api.example.test", "https://"), "public query": wrong(`{"public_urls":["https://api.example.test/?x"]}`, "public_url", "?x"), "public scheme": wrong(`{"public_urls":["ftp://api.example.test"]}`, "public_url", "ftp://api.example.test"),
		"public user": wrong(`{"public_urls":["https://u@api.example.test"]}`, "public_url", "u@api.example.test"), "public port": wrong(`{"public_urls":["https://api.example.test:0443"]}`, "public_url", ":0443"), "public wildcard": wrong(`{"public_urls":["https://*.example.test"]}`, "public_url", "*.example.test"),
		"public blank": wrong(`{"public_urls":["https://api.example.test "]}`, "public_url"), "public two": wrong(`{"public_urls":["https://api.example.test","https://API.example.test:443/x"]}`, "public_url", "same host"),
		"cors path": wrong(`{"cors":["https://app.example.test/"]}`, "cors", "https://app.example.test/", "https://app.example.com"), "cors upper": wrong(`{"cors":["https://App.example.test"]}`, "cors", "https://App.example.test"), "cors port": wrong(`{"cors":["https://app.example.test:443"]}`, "cors", ":443"),
		"cors wildcard": wrong(`{"cors":["https://*.example.test"]}`, "cors", "*.example.test"), "cors null": wrong(`{"cors":["null"]}`, "cors", "null"),
	}),
	"U85": configs(map[string]badConfig{
		"audience empty": wrong(`{"audience":[]}`, "audience"), "audience twice": wrong(`{"audience":["a","a"]}`, "audience", `"a"`, "twice"), "audience blank": wrong(`{"audience":[" "]}`, "audience"), "audience any": wrong(`{"audience":["any","a"]}`, "audience", `"any"`, "alone"),
		"audience none": wrong(`{"audience":null}`, "audience"), "scope empty": wrong(`{"scope":[]}`, "scope", "empty"), "scope blank": wrong(`{"scope":["a b"]}`, "scope", `"a b"`), "scope quote": wrong(`{"scope":["a\"b"]}`, "scope"), "scope twice": wrong(`{"scope":["a","a"]}`, "scope", "twice"),
		"algorithms empty": wrong(`{"algorithms":[]}`, "algorithms", "empty"), "algorithms twice": wrong(`{"algorithms":["ES256","ES256"]}`, "algorithms", "twice"), "cors empty": wrong(`{"cors":[]}`, "cors", "empty"), "cors mixed": wrong(`{"cors":["*","https://a.example.test"]}`, "cors", "alone"),
		"urls empty": wrong(`{"public_urls":[]}`, "public_url", "empty"), "urls mixed": wrong(`{"public_urls":["any","https://api.example.test"]}`, "public_url", `"any"`, "alone"), "urls twice": wrong(`{"public_urls":["https://api.example.test","https://api.example.test"]}`, "public_url", "twice"),
		"issuers twice": wrong(`{"issuers":[{"issuer":"https://a.example.test"},{"issuer":"https://a.example.test"}]}`, "issuer", "twice"), "issuer algorithms": wrong(`{"issuers":[{"issuer":"https://a.example.test","algorithms":[]}]}`, "algorithms", "empty"), "issuer audience": wrong(`{"issuers":[{"issuer":"https://a.example.test","audience":[]}]}`, "audience"),
		"realm": wrong(`{"realm":"a\"b"}`, "realm"),
	}),
	"U86": configs(map[string]badConfig{
		"proof_only": wrong(`{"proof_only":true}`, "proof_only"), "proof_only scope": wrong(`{"proof_only":true,"issuers":null,"audience":null,"scope":["a"]}`, "proof_only", "scope"), "proof_only bearer": wrong(`{"proof_only":true,"issuers":null,"audience":null,"bearer":"reject"}`, "proof_only", "bearer"),
		"proof_only mtls": wrong(`{"proof_only":true,"issuers":null,"audience":null,"mtls":true}`, "proof_only", "mtls"), "proof_only forward": wrong(`{"proof_only":true,"issuers":null,"audience":null,"forward_as":"none"}`, "proof_only", "forward_as"),
		"proof_only metadata": wrong(`{"proof_only":true,"issuers":null,"audience":null,"metadata":{}}`, "proof_only", "metadata"), "proof_only audience": wrong(`{"proof_only":true,"issuers":null}`, "proof_only", "audience"),
		"keys": wrong(`{"issuers":[{"issuer":"https://a.example.test","jwks_uri":"https://a.example.test/x","jwks_file":"x"}]}`, "jwks_uri", "jwks_file"), "secret": wrong(`{"introspection":{"url":"https://as.example.test/","client_id":"a","client_secret":"b","private_key":"c"}}`, "client_secret", "private_key"),
		"no client": wrong(`{"introspection":{"url":"https://as.example.test/","client_secret":"b"}}`, "client_id"), "no secret": wrong(`{"introspection":{"url":"https://as.example.test/","client_id":"b"}}`, "client_secret"), "key method": wrong(`{"introspection":{"url":"https://as.example.test/","client_id":"b","client_secret":"x","auth_method":"private_key_jwt"}}`, "private_key"),
		"no key": wrong(`{"introspection":{"url":"https://as.example.test/","client_id":"b","private_key":"nowhere.pem"}}`, "private_key", "nowhere.pem"), "metadata of nobody": wrong(`{"metadata":{},"public_urls":["any"]}`, "metadata", "public_url"),
		"metadata member": wrong(`{"metadata":{"fields":{"resource":"x"}}}`, "resource"), "metadata path": wrong(`{"metadata":{"path":"x"}}`, "metadata", `"x"`, "slash"), "metadata path 2": wrong(`{"metadata":{"path":"/a/../b"}}`, "metadata", "/a/../b"),
		"two documents": {func(h, config object) {
			h["metadata"] = object{}
			server := config["apps"].(object)["http"].(object)["servers"].(object)
			for _, s := range server {
				routes := s.(object)["routes"].([]any)
				other := object{}
				text, _ := json.Marshal(h)
				_ = json.Unmarshal(text, &other)
				other["scope"] = []string{"other"}
				s.(object)["routes"] = append(routes, object{"match": []any{object{"path": []string{"/other/*"}}}, "handle": []any{other}})
			}
		}, says("metadata", "two different documents")},
	}),
	"U87": configs(map[string]badConfig{
		"any host": {sites(nil), says("public_url")}, "wildcard": {sites([]any{object{"host": []string{"*.example.test"}}}), says("public_url")}, "placeholder": {sites([]any{object{"host": []string{"{http.request.header.X-Host}"}}}), nil},
		"one of two": {sites([]any{object{"host": []string{"api.example.test"}}, object{"path": []string{"/x"}}}), says("public_url")}, "not": {sites([]any{object{"not": []any{object{"host": []string{"api.example.test"}}}}}), says("public_url")},
		"one name of two": {sites([]any{object{"host": []string{"api.example.test", "*.example.test"}}}), says("public_url")}, "empty": {sites([]any{object{"host": []string{}}}), nil}, "path": {sites([]any{object{"path": []string{"/api/*"}}}), says("public_url")},
		"expression": {sites([]any{object{"expression": "{http.request.host} == 'api.example.test'"}}), says("public_url")}, "regexp": {sites([]any{object{"header_regexp": object{"Host": object{"pattern": "^api"}}}}), says("public_url")},
	}),
	"U88": at("config/ref", singleOptions),
	"U89": configs(map[string]badConfig{
		"unknown": wrong(`{"audience":["{env.NOBODY_SET_THIS}"]}`, "audience"), "no placeholder": wrong(`{"audience":["{nothing.known}"]}`, "audience", "nothing.known"), "issuer": wrong(`{"issuers":[{"issuer":"{env.NOBODY_SET_THIS}"}]}`, "issuer"),
		"secret": wrong(`{"introspection":{"url":"https://as.example.test/","client_id":"a","client_secret":"{env.NOBODY_SET_THIS}"}}`, "client_secret"), "secret file": wrong(`{"introspection":{"url":"https://as.example.test/","client_id":"a","client_secret":"{file./nowhere/at/all}"}}`, "client_secret"),
		"secret blank": wrong(`{"introspection":{"url":"https://as.example.test/","client_id":"a","client_secret":"  "}}`, "client_secret"), "url": wrong(`{"public_urls":["{env.NOBODY_SET_THIS}"]}`, "public_url"), "realm": wrong(`{"realm":"{env.NOBODY_SET_THIS}"}`, "realm"),
		"client": wrong(`{"introspection":{"url":"https://as.example.test/","client_id":"{env.NOBODY_SET_THIS}","client_secret":"x"}}`, "client_id"), "scope": wrong(`{"scope":["{env.NOBODY_SET_THIS}"]}`, "scope"), "jwks": wrong(`{"issuers":[{"issuer":"https://a.example.test","jwks_uri":"{env.NOBODY_SET_THIS}"}]}`, "jwks_uri"),
	}),
	"U90": smallestJSON,
})

// sites removes public_urls and puts these matchers before the handler.
func sites(match []any) func(handler, config object) {
	return func(h, config object) {
		delete(h, "public_urls")
		for _, s := range config["apps"].(object)["http"].(object)["servers"].(object) {
			route := object{"handle": []any{h}}
			if match != nil {
				route["match"] = match
			}
			s.(object)["routes"] = []any{route}
			delete(s.(object), "errors")
		}
	}
}

// singleOptions changes options by their path: bad ones are refused, good ones count at
// once.
func singleOptions(c *run) {
	s := c.site(c.on)
	configuring.Lock()
	defer configuring.Unlock()
	_, _, path := c.config(s.server)
	for _, bad := range [][3]string{
		{"PATCH", "/public_urls", `["nowhere"]`},
		{"PATCH", "/issuers/0/issuer", `"http://auth.example.test"`},
		{"PATCH", "/max_age", `"2h"`},
		{"PUT", "/bearer", `"perhaps"`},
		{"PUT", "/unknown", `1`},
		{"DELETE", "/audience", ``},
		{"DELETE", "/issuers/0", ``},
		{"DELETE", "/issuers", ``},
		{"PATCH", "/replay/store", `"nowhere"`},
		{"POST", "/algorithms", `"HS512"`},
		{"PUT", "/mode", `"disabled"`},
		{"PATCH", "/audience", `[]`},
		{"PUT", "/proof_only", `true`},
		{"POST", "/audience", `"any"`},
		{"PATCH", "", `{"handler":"dpop"}`},
		{"DELETE", "/public_urls", ``},
	} {
		code, answer := c.ask(s.server, bad[0], path+bad[1], bad[2])
		if code == 200 {
			c.Errorf("%s %s %s was accepted", bad[0], bad[1], bad[2])
			c.ok(s.server.Reload(s.server.Text))
		} else if !strings.Contains(answer, "error") {
			c.Errorf("%s %s: %d %s", bad[0], bad[1], code, answer)
		}
	}
	c.stillGuarded(s)
	if code, answer := c.ask(s.server, "PUT", path+"/scope", `["admin"]`); code != 200 {
		c.Fatalf("a good option: %d %s", code, answer)
	}
	c.afterReload(c.attempt, noScope)
	if code, answer := c.ask(s.server, "DELETE", path+"/scope", ""); code != 200 {
		c.Fatalf("a good option: %d %s", code, answer)
	}
	c.ok(warm(s))
}

// smallestJSON loads the configuration of the README, with the addresses of this test.
func smallestJSON(c *run) {
	i := testkit.NewIssuer("smallest")
	defer i.Close()
	address, admin := process.FreeAddress(), process.FreeAddress()
	p := &profile{build: func(b *builder) {
		b.admin = admin
		b.global = "order respond first"
		fmt.Fprintf(&b.text, "http://127.0.0.1:%s {\n\tbind 127.0.0.1\n\trespond nothing\n}\n", strings.Split(process.FreeAddress(), ":")[1])
	}}
	c.ok(p.start("smallest"))
	defer p.server.Stop()
	var config bytes.Buffer
	_, port, _ := strings.Cut(address, ":")
	_, storage := c.ask(p.server, "GET", "/config/storage", "")
	fmt.Fprintf(&config, `{"admin":{"listen":%q},"storage":%s,"apps":{"http":{"servers":{"api":{"listen":[%q],"automatic_https":{"disable":true},"routes":[{
		"match":[{"host":["api.example.test"]}],
		"handle":[
			{"handler":"dpop","issuers":[{"issuer":%q}],"audience":[%q]},
			{"handler":"reverse_proxy","upstreams":[{"dial":%q}]}
		]}]}}}}}`, admin, storage, address, i.URL, audience, backend.address)
	if code, answer := c.ask(p.server, "POST", "/load", config.String()); code != 200 {
		c.Fatalf("%d %s", code, answer)
	}
	s := &site{name: "smallest", address: address, origin: "http://api.example.test:" + port, audience: audience, issuer: i, tokens: true, silent: true, server: p.server}
	c.ok(warm(s))
	a := newAttempt(s)
	c.expect(a, accepted)
	a.again().send().check(c, replayed)
	b := newAttempt(s)
	b.anonymous()
	b.send().check(c, noCredentials)
	for _, l := range append(p.server.log.leaks, p.server.log.bad...) {
		c.Error(l)
	}
}

// Group U, further: metadata.
var _ = add(cases{
	"U91": at("meta/ref", func(c *run) {
		const path = "/.well-known/oauth-protected-resource"
		ask := func(method, target string) *result {
			c.Helper()
			a := c.attempt()
			a.request(method, target)
			a.anonymous()
			r := a.send()
			if r.err != nil || len(r.hits) != 0 {
				c.Errorf("%s %s: %v, the upstream was reached %d times", method, target, r.err, len(r.hits))
			}
			return r
		}
		c.answered(accepted)
		get := ask("GET", path+"?x=1")
		get.check(c, accepted)
		head := ask("HEAD", path)
		head.check(c, accepted)
		if len(head.Body) != 0 || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			c.Errorf("HEAD: %q, %v", head.Body, head.Header)
		}
		if r := ask("OPTIONS", path); r.Status != 204 || r.Header.Get("Access-Control-Allow-Origin") != "*" {
			c.Errorf("OPTIONS: %d", r.Status)
		}
		for _, method := range []string{"POST", "DELETE", "get"} {
			if r := ask(method, path); r.Status != 405 || r.Header.Get("Allow") == "" {
				c.Errorf("%s: %d %v", method, r.Status, r.Header)
			}
		}
	}),
	"U92": at("meta/ref", func(c *run) {
		var first []byte
		for _, host := range []string{"api.example.test", "evil.example", "API.EXAMPLE.TEST:443", "127.0.0.1"} {
			a := c.attempt()
			a.request("GET", "/.well-known/oauth-protected-resource")
			a.anonymous()
			a.host = host
			spoofed(forwarded("evil.example", "/x", "GET")...)(a)
			r := a.send()
			c.answered(accepted)
			r.check(c, accepted)
			if first == nil {
				first = r.Body
			}
			if !bytes.Equal(first, r.Body) || bytes.Contains(r.Body, []byte("evil")) {
				c.Errorf("%s: %s", host, r.Body)
			}
		}
	}),
	"U93": at("meta/ref", func(c *run) {
		const path = "/.well-known/oauth-protected-resource"
		for _, target := range []string{path + "/", path + "/other", strings.ToUpper(path), path + "x", "/.well-known", path + "/..", "/x" + path, path + "%20", path + ";x", path + "/../../api/items"} {
			a := c.attempt()
			a.request("GET", target)
			a.anonymous()
			c.expect(a, noCredentials)
		}
	}),
})
