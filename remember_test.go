// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"unsafe"
	"weak"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// What is remembered of a client for its next proof does not keep its request.
func TestRememberedHeaderLetsTheRequestGo(t *testing.T) {
	const url = "http://api.test/hello"
	n := start(t, site(oneIssuer))
	c, h := n.client(), runningApps.inForce().handlers[0]
	send := func() weak.Pointer[byte] {
		text := c.proof("GET", url).String()
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", url, nil)
		r.Header.Set("Authorization", "DPoP "+c.token)
		r.Header.Set("DPoP", text)
		next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
		must(t, h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server)), next))
		return weak.Make(unsafe.StringData(text))
	}
	sent := send()
	runtime.GC()
	if sent.Value() != nil {
		t.Error("the proof is still in memory")
	}
	hash := sha256.Sum256([]byte(c.token))
	_, record := h.cached(&hash)
	if _, ok := record.Header.Load().(*proof.Header); !ok {
		t.Error("the header of its client is not remembered")
	}
}
