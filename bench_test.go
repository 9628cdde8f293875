// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build unix

package dpop

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/token"
)

// BenchmarkHandler has the signature check alone (raw) beside what the whole
// handler does with one request. For profiles:
//
//	go test -run '^$' -bench 'Handler$/accepted' -cpuprofile cpu.out .
func BenchmarkHandler(b *testing.B) {
	bed := newBenchBed(b, benchChunk, 0)
	for _, c := range bed.cases() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.StopTimer()
			for left := b.N; left > 0; left -= benchChunk {
				run := c.prepare(min(left, benchChunk))
				b.StartTimer()
				run()
				b.StopTimer()
			}
		})
	}
}

// BenchmarkHandlerRatio prints what a request costs as a multiple of the
// signature check alone, in CPU time of the process (garbage collection
// included, other programs not) and in allocations beyond those of the
// check: medians over interleaved rounds, each against the raw check of its own
// round, so that a busy machine disturbs all alike.
//
//	go test -run '^$' -bench HandlerRatio -benchtime 1x .
func BenchmarkHandlerRatio(b *testing.B) {
	const rounds, chunks = 11, 4
	bed := newBenchBed(b, benchChunk, 0)
	cases := bed.cases()
	cost := make([][]benchCost, len(cases))
	for b.Loop() {
		for range rounds {
			for i, c := range cases {
				var own benchCost
				for range chunks {
					run := c.prepare(benchChunk)
					runtime.GC() // of what the preparation left
					own.add(measure(run))
				}
				own.divide(chunks * benchChunk)
				cost[i] = append(cost[i], own)
			}
		}
	}
	for i, c := range cases {
		var ratios, micros, allocs, bytes []float64
		for round, own := range cost[i] {
			raw := cost[0][round]
			ratios = append(ratios, own.cpu/raw.cpu)
			micros = append(micros, own.cpu)
			allocs = append(allocs, own.allocs-raw.allocs)
			bytes = append(bytes, own.bytes-raw.bytes)
		}
		slices.Sort(ratios)
		n := len(ratios)
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() { // all is measured already
			}
			b.ReportMetric(ratios[n/2], "x/raw")
			b.ReportMetric(ratios[n/4], "x/p25")
			b.ReportMetric(ratios[n-1-n/4], "x/p75")
			b.ReportMetric(median(micros), "cpu-us")
			b.ReportMetric(median(allocs), "allocs-beyond")
			b.ReportMetric(median(bytes), "B-beyond")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// benchChunk is how many requests are prepared, then measured, at a time: one of
// each client, and few enough to be still in the processor's cache, as what
// has just been read from a connection is.
const benchChunk = 256

// benchCost is what one operation cost.
type benchCost struct{ cpu, allocs, bytes float64 }

func (c *benchCost) add(o benchCost) {
	c.cpu, c.allocs, c.bytes = c.cpu+o.cpu, c.allocs+o.allocs, c.bytes+o.bytes
}

func (c *benchCost) divide(n float64) { c.cpu, c.allocs, c.bytes = c.cpu/n, c.allocs/n, c.bytes/n }

func measure(run func()) benchCost {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := processTime()
	run()
	used := processTime() - begin
	runtime.ReadMemStats(&after)
	return benchCost{
		cpu:    float64(used.Nanoseconds()) / 1000,
		allocs: float64(after.Mallocs - before.Mallocs),
		bytes:  float64(after.TotalAlloc - before.TotalAlloc),
	}
}

// processTime is the CPU time of this process. Unlike time on the clock it
// does not count what other programs on the machine take.
func processTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// benchBed is a handler as a Caddyfile makes it, and clients of it.
type benchBed struct {
	tb      testing.TB
	handler *Handler
	issuer  *testkit.Key
	server  *caddyhttp.Server
	clients []*benchClient
	records []*token.Record // of the clients' tokens
}

type benchClient struct {
	key   *testkit.Key
	token string
}

const benchURL = "https://api.test/v1/accounts/4711/items"

// newBenchBed makes clients with a token each; its size is that of common
// tokens, some 550 bytes, unless more is asked for.
func newBenchBed(tb testing.TB, clients, tokenSize int) *benchBed {
	tb.Helper()
	bed := &benchBed{tb: tb, issuer: testkit.P256("issuer"), server: new(caddyhttp.Server)}
	dir := tb.TempDir()
	keys := filepath.Join(dir, "keys.json")
	set, err := json.Marshal(map[string]any{"keys": []any{bed.issuer.JWK("k1")}})
	if err == nil {
		err = os.WriteFile(keys, set, 0o600)
	}
	benchMust(tb, err)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(`{
			admin off
			storage file_system `+dir+`
			log {
				output discard
			}
			dpop {
				max_per_key 1000000000
				max_entries 10000000
			}
		}
		api.test {
			dpop {
				issuer https://issuer.test {
					jwks_file `+keys+`
				}
				audience https://api.test
				replay memory
			}
		}`), nil)
	benchMust(tb, err)
	var parsed caddy.Config
	benchMust(tb, json.Unmarshal(config, &parsed))
	ctx, err := caddy.ProvisionContext(&parsed)
	benchMust(tb, err)
	app, err := ctx.App("dpop")
	benchMust(tb, err)
	benchMust(tb, app.(*App).checkHosts())
	bed.handler = app.(*App).handlers[0]
	bed.join(clients, tokenSize)
	bed.requests("", func(*testkit.JWS) {})(clients)()
	return bed
}

// join adds clients whose token, but not whose header, is in the cache.
func (bed *benchBed) join(n, tokenSize int) {
	bed.tb.Helper()
	source := bed.handler.sources[0]
	for range n {
		key := testkit.P256(fmt.Sprint("client ", len(bed.clients)))
		j := testkit.NewToken(bed.issuer, "k1", testkit.TokenClaims{
			Issuer: "https://issuer.test", Audience: "https://api.test", Subject: "alice", ClientID: "app",
			Scope: "accounts:read payments:write", Thumbprint: key.Thumbprint(),
		}, time.Now())
		if more := (tokenSize - 550) * 3 / 4; more > 0 {
			j.Set("groups", strings.Repeat("g", more))
		}
		c := &benchClient{key, j.String()}
		claims, err := source.Verify(bed.tb.Context(), c.token)
		benchMust(bed.tb, err)
		bed.clients = append(bed.clients, c)
		bed.records = append(bed.records, bed.handler.app.tokens.Put(sha256.Sum256([]byte(c.token)), source.ID(), claims))
	}
}

func benchMust(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// benchCase prepares n operations and returns what does them.
type benchCase struct {
	name    string
	prepare func(n int) func()
}

func (bed *benchBed) cases() []benchCase {
	good, stranger := func(*testkit.JWS) {}, testkit.P256("stranger")
	cases := []benchCase{
		{"raw", bed.raw},
		{"accepted", bed.requests("", good)},
		{"first-proof", func(n int) func() {
			bed.forgetHeaders()
			return bed.requests("", good)(n)
		}},
		{"new-token", func(n int) func() {
			bed.forgetTokens()
			return bed.requests("", good)(n)
		}},
	}
	for _, refusal := range []struct {
		reason Reason
		change func(*testkit.JWS)
	}{
		{"typ_invalid", func(j *testkit.JWS) { j.Head("typ", "JWT") }},
		{"alg_unsupported", func(j *testkit.JWS) { j.Head("alg", "none") }},
		{"htm_mismatch", func(j *testkit.JWS) { j.Set("htm", "POST") }},
		{"htu_mismatch", func(j *testkit.JWS) { j.Set("htu", benchURL+"/x") }},
		{"iat_too_old", func(j *testkit.JWS) { j.Set("iat", time.Now().Unix()-3600) }},
		{"ath_mismatch", func(j *testkit.JWS) { j.Set("ath", testkit.ATH("other")) }},
		{"jkt_mismatch", func(j *testkit.JWS) { j.Key = stranger; j.Head("jwk", stranger.Public) }},
		{"proof_too_large", func(j *testkit.JWS) { j.Set("x", strings.Repeat("x", 8192)) }},
		{"signature_invalid", func(j *testkit.JWS) { j.Assemble = foreignSignature }},
	} {
		cases = append(cases, benchCase{"refused/" + string(refusal.reason), bed.requests(refusal.reason, refusal.change)})
	}
	return cases
}

// foreignSignature puts a signature of the right form on a proof.
func foreignSignature(header, claims, signature string) string {
	return header + "." + claims + "." + testkit.WithSignature("."+"."+signature, func(s []byte) []byte {
		slices.Reverse(s)
		return s
	})[2:]
}

// raw is the floor: the signatures of as many proofs, checked by the standard
// library with everything prepared.
func (bed *benchBed) raw(n int) func() {
	type signed struct {
		key    *ecdsa.PublicKey
		digest [sha256.Size]byte
		der    []byte
	}
	checks := make([]signed, n)
	for i := range checks {
		key := bed.clients[i%len(bed.clients)].key.Private.(*ecdsa.PrivateKey)
		digest := sha256.Sum256(fmt.Append(nil, time.Now(), i))
		der, err := ecdsa.SignASN1(nil, key, digest[:])
		benchMust(bed.tb, err)
		checks[i] = signed{&key.PublicKey, digest, der}
	}
	return func() {
		for i := range checks {
			if !ecdsa.VerifyASN1(checks[i].key, checks[i].digest[:], checks[i].der) {
				bed.tb.Fatal("signature does not verify")
			}
		}
	}
}

// requests prepares requests that are refused for a reason; for "" they pass.
func (bed *benchBed) requests(want Reason, change func(*testkit.JWS)) func(n int) func() {
	return func(n int) func() {
		requests := make([]*http.Request, n)
		writers := make([]benchWriter, n)
		for i := range requests {
			c := bed.clients[(i+1)%len(bed.clients)]
			writers[i] = make(benchWriter)
			// A moment ahead: a table refuses what was issued in its first second.
			proof := testkit.NewProof(c.key, "GET", benchURL, c.token, time.Now().Add(2*time.Second))
			change(proof)
			requests[i] = bed.request(c.token, proof.String(), writers[i])
		}
		next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
		return func() {
			for i, r := range requests {
				err := bed.handler.ServeHTTP(writers[i], r, next)
				if got := reasonFor(err); got != want {
					bed.tb.Fatalf("reason %q, want %q", got, want)
				}
			}
		}
	}
}

func reasonFor(err error) Reason {
	if err == nil {
		return ""
	}
	return reasonOf(err)
}

// request is one as Caddy's server hands it to its handlers.
func (bed *benchBed) request(token, proof string, w http.ResponseWriter) *http.Request {
	r, err := http.NewRequest("GET", benchURL, nil)
	benchMust(bed.tb, err)
	r.Header["Authorization"] = []string{"DPoP " + token}
	r.Header["Dpop"] = []string{proof}
	r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, bed.server)
}

// forgetHeaders makes the next proof of every client its first.
func (bed *benchBed) forgetHeaders() {
	cache := token.NewCache(defaultTokenCache, time.Now)
	for i, c := range bed.clients {
		claims := bed.records[i].Claims
		cache.Put(sha256.Sum256([]byte(c.token)), bed.handler.sources[0].ID(), claims)
	}
	bed.handler.app.tokens = cache
}

// forgetTokens makes every token new.
func (bed *benchBed) forgetTokens() {
	bed.handler.app.tokens = token.NewCache(defaultTokenCache, time.Now)
}

// benchWriter is a response that goes nowhere.
type benchWriter http.Header

func (w benchWriter) Header() http.Header         { return http.Header(w) }
func (w benchWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w benchWriter) WriteHeader(int)             {}
