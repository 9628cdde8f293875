// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-dpop/caddy-dpop/replay"
	"github.com/caddy-dpop/caddy-dpop/replay/replaytest"
)

func TestUnmarshalCaddyfile(t *testing.T) {
	tests := []struct {
		name, text, json, err string
	}{
		{"bare", `redis`, `{}`, ""},
		{"url", `redis redis://h:1/2`, `{"url":"redis://h:1/2"}`, ""},
		{"everything", `redis {
			url rediss+sentinel://a,b/m
			username u
			password {env.P}
			sentinel_username su
			sentinel_password sp
			key_prefix x:
			pool_size 7
			dial_timeout 1s
			read_timeout 500ms
			tls {
				ca a.pem b.pem
				cert c.pem
				key k.pem
				server_name n
			}
		}`, `{"url":"rediss+sentinel://a,b/m","username":"u","password":"{env.P}","sentinel_username":"su","sentinel_password":"sp",` +
			`"tls":{"ca":["a.pem","b.pem"],"cert":"c.pem","key":"k.pem","server_name":"n"},` +
			`"key_prefix":"x:","pool_size":7,"dial_timeout":1000000000,"read_timeout":500000000}`, ""},
		{"two urls", `redis redis://a redis://b`, "", `"redis://b" is not accepted`},
		{"url twice", "redis redis://a {\n url redis://b\n}", "", "url: given twice"},
		{"option twice", "redis {\n password a\n password b\n}", "", "password: given twice"},
		{"misspelt", "redis {\n pasword a\n}", "", `unrecognized option "pasword": it takes url, username`},
		{"empty value", "redis {\n password \"\"\n}", "", "password: the value is empty"},
		{"empty url", `redis ""`, "", "the url is empty"},
		{"surplus", "redis {\n password a b\n}", "", "wrong argument count"},
		{"pool size", "redis {\n pool_size 0\n}", "", `pool_size: "0" is not accepted: it takes a number from 1 to 1000`},
		{"no number", "redis {\n pool_size many\n}", "", `"many" is not accepted`},
		{"duration", "redis {\n read_timeout 2h\n}", "", `read_timeout: "2h" is not accepted: it takes a duration above 0 and up to 1m0s`},
		{"tls argument", "redis {\n tls on\n}", "", `tls: "on" is not accepted: it takes a block`},
		{"tls misspelt", "redis {\n tls {\n  insecure\n }\n}", "", `tls: unrecognized option "insecure": it takes ca`},
		{"tls twice", "redis {\n tls {\n  cert a\n  cert b\n }\n}", "", "tls: cert: given twice"},
		{"tls without files", "redis {\n tls {\n  ca\n }\n}", "", "wrong argument count"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := new(Replay)
			err := r.UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.text))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), "Testfile:") {
					t.Fatalf("got %v, want something with %q and the line", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := json.Marshal(r); err != nil || string(got) != test.json {
				t.Fatalf("got %s, %v\nwant %s", got, err, test.json)
			}
		})
	}
}

func TestProvisionErrors(t *testing.T) {
	t.Setenv("DPOP_TEST_EMPTY", "")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, json, err string
	}{
		{"no scheme", `{"url":"localhost:6379"}`, "no scheme: it takes redis://"},
		{"unknown scheme", `{"url":"http://localhost"}`, `"http" is not accepted`},
		{"unknown kind", `{"url":"redis+ring://localhost"}`, `"redis+ring" is not accepted`},
		{"trailing plus", `{"url":"redis+://localhost"}`, `"redis+" is not accepted`},
		{"no host", `{"url":"redis://"}`, `"" is not accepted: it takes host`},
		{"port", `{"url":"redis://h:65536"}`, `port "65536" is not accepted`},
		{"bare IPv6", `{"url":"redis://::1"}`, "it takes host or host:port"},
		{"database", `{"url":"redis://h/x"}`, `database "x" is not accepted`},
		{"negative database", `{"url":"redis://h/-1"}`, `database "-1" is not accepted`},
		{"query", `{"url":"redis://h?db=1"}`, "a query or fragment is not accepted"},
		{"several hosts", `{"url":"redis://a,b"}`, "redis takes one host; several are for redis+sentinel or redis+cluster"},
		{"no master", `{"url":"redis+sentinel://a,b"}`, "takes the name of the master"},
		{"database of a cluster", `{"url":"redis+cluster://a,b/1"}`, "a cluster has no database"},
		{"relative socket", `{"url":"unix://redis.sock"}`, "absolute path"},
		{"user only", `{"url":"redis://u@h"}`, "a user name without a password"},
		{"percent", `{"url":"redis://u:100%@h"}`, "percent sign"},
		{"password twice", `{"url":"redis://:p@h","password":"q"}`, "they are in the url already"},
		{"user without password", `{"username":"u"}`, "username: it needs a password"},
		{"sentinel password without", `{"sentinel_password":"p"}`, "the url names no Sentinels"},
		{"sentinel user without password", `{"url":"redis+sentinel://a/m","sentinel_username":"u"}`, "it needs a sentinel_password"},
		{"empty placeholder", `{"password":"{env.DPOP_TEST_EMPTY}"}`, "password: evaluated placeholder {env.DPOP_TEST_EMPTY} is empty"},
		{"unset placeholder", `{"password":"{env.DPOP_TEST_UNSET}"}`, "password: "},
		{"missing file", `{"password":"{file./does/not/exist}"}`, "password: "},
		{"unknown placeholder", `{"url":"redis://{nowhere}"}`, "url: unrecognized placeholder {nowhere}"},
		{"prefix with braces", `{"key_prefix":"{a}"}`, "key_prefix: "},
		{"prefix with a space", `{"key_prefix":"a b"}`, `"a b" is not accepted`},
		{"pool size", `{"pool_size":-1}`, `pool_size: "-1" is not accepted`},
		{"dial time-out", `{"dial_timeout":-1}`, "dial_timeout: "},
		{"read time-out", `{"read_timeout":61000000000}`, `read_timeout: "1m1s" is not accepted`},
		{"tls without", `{"tls":{}}`, "begin it with rediss"},
		{"certificate without key", `{"url":"rediss://h","tls":{"cert":"c"}}`, "there must be both or none"},
		{"no such authority", `{"url":"rediss://h","tls":{"ca":["/does/not/exist"]}}`, "ca: open /does/not/exist"},
		{"no authority", `{"url":"rediss://h","tls":{"ca":["` + empty + `"]}}`, "has no certificate in PEM"},
		{"no such key", `{"url":"rediss://h","tls":{"cert":"/no/c","key":"/no/k"}}`, "cert and key: open /no/c"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := provision(t, test.json, nil)
			if err == nil || !strings.HasPrefix(err.Error(), "replay redis: ") || !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got %v, want something with %q", err, test.err)
			}
		})
	}
	t.Run("unknown field", func(t *testing.T) {
		if err := caddy.StrictUnmarshalJSON([]byte(`{"addresses":"h"}`), new(Replay)); err == nil {
			t.Fatal("accepted")
		}
	})
}

func provision(t *testing.T, text string, r *Replay) error {
	t.Helper()
	if r == nil {
		r = new(Replay)
	}
	if err := json.Unmarshal([]byte(text), r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Cleanup() })
	return r.Provision(caddy.Context{Context: t.Context()})
}

func TestAddresses(t *testing.T) {
	t.Setenv("DPOP_TEST_PASSWORD", "p@ss:w/rd")
	tests := []struct {
		json string
		want options
	}{
		{`{}`, options{network: "tcp", address: "localhost:6379"}},
		{`{"url":"redis://h"}`, options{network: "tcp", address: "h:6379"}},
		{`{"url":"redis://[::1]:7/3"}`, options{network: "tcp", address: "[::1]:7", db: 3}},
		{`{"url":"redis://[::1]"}`, options{network: "tcp", address: "[::1]:6379"}},
		{`{"url":"redis://u:a%40b@h"}`, options{network: "tcp", address: "h:6379", username: "u", password: "a@b"}},
		{`{"url":"redis://:p@h"}`, options{network: "tcp", address: "h:6379", password: "p"}},
		{`{"password":"{env.DPOP_TEST_PASSWORD}"}`, options{network: "tcp", address: "localhost:6379", password: "p@ss:w/rd"}},
		{`{"url":"unix:///run/redis.sock"}`, options{network: "unix", address: "/run/redis.sock"}},
		{`{"url":"redis+sentinel://a,b:2/mymaster/1","sentinel_password":"s"}`, options{master: "mymaster", sentry: []string{"a:26379", "b:2"}, db: 1, sentinelPassword: "s"}},
		{`{"url":"redis+cluster://a,b:2"}`, options{cluster: []string{"a:6379", "b:2"}, poolSize: 16}},
	}
	for _, test := range tests {
		t.Run(test.json, func(t *testing.T) {
			r := new(Replay)
			if err := provision(t, test.json, r); err != nil {
				t.Fatal(err)
			}
			want := test.want
			want.prefix, want.dialTimeout, want.readTimeout = defaultPrefix, defaultDialTimeout, maxTimeout
			if want.poolSize == 0 {
				want.poolSize = defaultPoolSize
			}
			if !reflect.DeepEqual(*r.options, want) {
				t.Fatalf("got %+v\nwant %+v", *r.options, want)
			}
			if strings.Contains(r.Password, "p@ss") {
				t.Fatal("the configuration shows the password")
			}
		})
	}
}

// TestReload: generations overlap. What means the same shares a store, also after its first user is gone.
func TestReload(t *testing.T) {
	b := newBed(t)
	open := func(text, space string) (*Replay, replay.Store) {
		r := new(Replay)
		if err := provision(t, text, r); err != nil {
			t.Fatal(err)
		}
		s, err := r.OpenReplay(replay.Params{Space: space})
		if err != nil {
			t.Fatal(err)
		}
		s.SetWindow(replaytest.Window)
		return r, s
	}
	config := `{"url":"redis://` + b.Addr() + `"}`
	old, first := open(config, "")
	_, second := open(config, "")
	_, other := open(`{"url":"redis://`+b.Addr()+`","pool_size":3}`, "")
	_, proofOnly := open(config, "proof_only")
	if first != second || first == other || first == proofOnly {
		t.Fatal("stores are shared wrongly")
	}
	now := time.Now()
	b.SetTime(now)
	ahead := replaytest.Proof("a", now.Add(30*time.Second)) // later than the cut-off
	wantError(t, "first use", first.Claim(t.Context(), ahead), nil)
	wantError(t, "clean up", old.Cleanup(), nil)
	wantError(t, "twice", old.Cleanup(), nil)
	wantError(t, "the newer generation", second.Claim(t.Context(), ahead), replay.ErrReplayed)
	wantError(t, "another configuration of the same Redis", other.Claim(t.Context(), ahead), replay.ErrReplayed)

	// A store that was never used ends at once, one that was lets requests in flight finish.
	unused, idle := open(`{"key_prefix":"unused:"}`, "")
	wantError(t, "clean up", unused.Cleanup(), nil)
	wantUnavailable(t, "ended", idle.Claim(t.Context(), ahead), "closed")
	last, busy := open(`{"url":"redis://`+b.Addr()+`","pool_size":4}`, "")
	wantError(t, "replay", busy.Claim(t.Context(), ahead), replay.ErrReplayed)
	wantError(t, "clean up", last.Cleanup(), nil)
	wantError(t, "a request in flight", busy.Claim(t.Context(), ahead), replay.ErrReplayed)
	wantError(t, "close", busy.Close(t.Context()), nil)
}

func TestModuleIsRegistered(t *testing.T) {
	info, err := caddy.GetModule("http.dpop.replay.redis")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := info.New().(replay.Provider); !ok {
		t.Fatalf("%T is no replay.Provider", info.New())
	}
}

// TestTLS: both sides authenticate; a password; a name that is not the address.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, DNSNames: []string{"redis.internal"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := newBed(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(must(x509.ParseCertificate(der)))
	b.Miniredis.Close()
	if err := b.StartTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}); err != nil {
		t.Fatal(err)
	}
	b.Server().SetPreHook(b.answer)
	b.RequireUserAuth("caddy", "secret")
	_, port, _ := net.SplitHostPort(b.Addr())

	claim := func(text string) error {
		r := new(Replay)
		if err := provision(t, text, r); err != nil {
			t.Fatal(err)
		}
		s := newStore(r.options, "", b.clock.Now)
		s.SetWindow(replaytest.Window)
		defer s.Close(t.Context())
		return s.Claim(t.Context(), replaytest.Proof("a", b.clock.Now().Add(20*time.Second)))
	}
	files := `"cert":"` + certFile + `","key":"` + keyFile + `"`
	url := `"url":"rediss://caddy:secret@127.0.0.1:` + port + `"`
	wantUnavailable(t, "authority unknown", claim(`{`+url+`,"tls":{"server_name":"redis.internal",`+files+`}}`), "unknown authority")
	wantUnavailable(t, "name wrong", claim(`{`+url+`,"tls":{"ca":["`+certFile+`"],`+files+`}}`), "127.0.0.1")
	wantUnavailable(t, "no certificate", claim(`{`+url+`,"tls":{"ca":["`+certFile+`"],"server_name":"redis.internal"}}`), "")
	wantUnavailable(t, "wrong password", claim(strings.Replace(`{`+url+`,"tls":{"ca":["`+certFile+`"],"server_name":"redis.internal",`+files+`}}`, "secret", "wrong", 1)), "WRONGPASS")
	wantError(t, "right", claim(`{`+url+`,"tls":{"ca":["`+certFile+`"],"server_name":"redis.internal",`+files+`}}`), nil)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// TestAdopt: the limits of a configuration that shares the store hold from when it takes over, and not before.
func TestAdopt(t *testing.T) {
	open := func(p replay.Params) *pooledStore {
		r := new(Replay)
		if err := provision(t, `{"key_prefix":"adopt:"}`, r); err != nil {
			t.Fatal(err)
		}
		s, err := r.OpenReplay(p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { wantError(t, "clean up", r.Cleanup(), nil) })
		return s.(*pooledStore)
	}
	first := replay.Params{MaxEntries: 10, MaxPerKey: 5, Timeout: time.Second, Logger: zap.NewExample()}
	next := replay.Params{MaxEntries: 20, MaxPerKey: 2, Timeout: 2 * time.Second, Logger: zap.NewExample()}
	store := open(first)
	inForce := func(p replay.Params) {
		t.Helper()
		got := replay.Params{
			MaxEntries: int(store.bounds.maxEntries.Load()), MaxPerKey: int(store.bounds.maxPerKey.Load()),
			Timeout: store.patience(), Logger: store.log(),
		}
		if !reflect.DeepEqual(got, p) || got.Logger != p.Logger {
			t.Errorf("in force: %+v, want %+v", got, p)
		}
	}
	inForce(first)
	if open(next) != store {
		t.Fatal("another store")
	}
	inForce(first)
	store.Adopt(next)
	inForce(next)
}
