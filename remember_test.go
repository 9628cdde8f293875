// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build unix

package dpop

import (
	"crypto/sha256"
	"net/http"
	"runtime"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
	"github.com/caddy-dpop/caddy-dpop/proof"
)

// What is remembered of a client for its next proof does not keep its request.
func TestRememberedHeaderLetsTheRequestGo(t *testing.T) {
	bed := newBenchBed(t, 1, 0)
	bed.forgetHeaders()
	client := bed.clients[0]
	send := func() weak.Pointer[byte] {
		text := testkit.NewProof(client.key, "GET", benchURL, client.token, time.Now().Add(2*time.Second)).String()
		w := make(benchWriter)
		next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
		if err := bed.handler.ServeHTTP(w, bed.request(client.token, text, w), next); err != nil {
			t.Fatal(err)
		}
		return weak.Make(unsafe.StringData(text))
	}
	sent := send()
	runtime.GC()
	if sent.Value() != nil {
		t.Error("the proof is still in memory")
	}
	hash := sha256.Sum256([]byte(client.token))
	_, record := bed.handler.cached(&hash)
	if _, ok := record.Header.Load().(*proof.Header); !ok {
		t.Error("the header of its client is not remembered")
	}
}
