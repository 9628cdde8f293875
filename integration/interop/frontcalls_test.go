// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// frontCall is a request through the Caddy in front: what is signed, what is sent.
type frontCall struct {
	name         string
	method, path string // as signed; "{A}" is /arrangement, an absolute URL is taken as it is
	sendMethod   string // "" is the same
	sendPath     string
	twice        bool
	want         []string
}

var frontCalls = []frontCall{
	{name: "good", method: "GET", path: "{A}/things?q=a%20b", want: []string{"200"}},
	{name: "escaped path", method: "GET", path: "{A}/caf%C3%A9/a%2Fb", want: []string{"200"}},
	{name: "good POST", method: "POST", path: "{A}/things", want: []string{"200"}},
	{name: "replay", method: "GET", path: "{A}/again", twice: true, want: []string{"200", "401 jti_replayed"}},
	{name: "wrong method", method: "GET", path: "{A}/method", sendMethod: "PUT", want: []string{"401 htm_mismatch"}},
	{name: "other path", method: "GET", path: "{A}/signed", sendPath: "{A}/sent", want: []string{"401 htu_mismatch"}},
	{name: "path as the backend sees it", method: "GET", path: "{INTERNAL}inside", sendPath: "{A}/inside", want: []string{"401 htu_mismatch"}},
	{name: "other host", method: "GET", path: "https://other.example{A}/host", sendPath: "{A}/host", want: []string{"401 htu_mismatch"}},
	{name: "other scheme", method: "GET", path: "http{HOST}{A}/scheme", sendPath: "{A}/scheme", want: []string{"401 htu_mismatch"}},
	{name: "origin of the Caddy behind", method: "GET", path: "http://{BEHIND}{A}/origin", sendPath: "{A}/origin", want: []string{"401 htu_mismatch"}},
}

// TestFrontProxy: behind a Caddy that terminates TLS the same rules hold, whatever the two
// do with the path and whichever HTTP the client speaks.
func TestFrontProxy(t *testing.T) {
	f := startFront(t)
	clients := f.protocols(t)
	signer := newSigner(t)
	token := f.token(signer)
	f.await(t, clients, signer, token)
	for _, a := range arrangements {
		t.Run(a.slug, func(t *testing.T) {
			row := []string{a.name}
			for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"} {
				t.Run(protocol, func(t *testing.T) {
					for _, c := range frontCalls {
						f.try(t, a, c, clients[protocol], protocol, signer, token)
					}
					row = append(row, done)
				})
			}
			if len(row) == 4 {
				record("proxies", []string{"between the client and `dpop`", "HTTP/1.1", "HTTP/2", "HTTP/3"}, row)
			}
		})
	}
	t.Run("forwarded fields that nobody vouches for", func(t *testing.T) { f.tryForgedFields(t, signer, token) })
}

// await waits until both Caddys behind accept proofs and the one in front has its
// certificate, over each protocol.
func (f *front) await(t *testing.T, clients map[string]*http.Client, signer *proof.Signer, token string) {
	t.Helper()
	for _, client := range clients {
		for _, slug := range []string{"plain", "public"} {
			for deadline := time.Now().Add(30 * time.Second); ; {
				url := public + "/" + slug + "/ready"
				res, err := signedGet(t, client, signer, token, url, url)
				if err == nil && res.StatusCode == http.StatusOK {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s does not get ready: %v %v", url, statusOf(res), err)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
}

func (f *front) try(t *testing.T, a arrangement, c frontCall, client *http.Client, protocol string, signer *proof.Signer, token string) {
	t.Helper()
	internal := a.internal
	if internal == "" {
		if strings.Contains(c.path, "{INTERNAL}") {
			return // the backend sees what the client sees
		}
		internal = "/" + a.slug + "/"
	}
	fill := strings.NewReplacer("{A}", "/"+a.slug, "{INTERNAL}", internal, "{BEHIND}", f.behind(a), "{HOST}", strings.TrimPrefix(public, "https"))
	signed := absolute(public, fill.Replace(c.path))
	sent, method := signed, c.method
	if c.sendPath != "" {
		sent = public + fill.Replace(c.sendPath)
	}
	if c.sendMethod != "" {
		method = c.sendMethod
	}
	p, err := signer.Sign(proof.SignRequest{Method: c.method, URI: signed, AccessToken: token})
	if err != nil {
		t.Fatal(err)
	}
	arrived := internal + strings.TrimPrefix(sent, public+"/"+a.slug+"/")
	if a.slug == "rewrite" {
		arrived = strings.ReplaceAll(arrived, "%2F", "/") // rewrite's own doing
	}
	before := len(f.backend.of(method, arrived))
	times := 1
	if c.twice {
		times = 2
	}
	good := 0
	for i := range times {
		got := f.send(t, client, protocol, method, sent, token, p)
		if got != c.want[i] {
			t.Errorf("%s: %s, want %s", c.name, got, c.want[i])
		}
		if c.want[i] == "200" {
			good++
		}
	}
	if n := len(f.backend.of(method, arrived)) - before; n != good {
		t.Errorf("%s: %d requests reached the backend as %s %s, want %d", c.name, n, method, arrived, good)
	}
}

func (f *front) send(t *testing.T, client *http.Client, protocol, method, url, token, p string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+token)
	req.Header.Set("DPoP", p)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	if res.Proto != protocol {
		t.Fatalf("the answer came by %s, want %s", res.Proto, protocol)
	}
	if challenge := res.Header.Get("WWW-Authenticate"); (res.StatusCode == http.StatusUnauthorized) != (challenge != "") {
		t.Errorf("status %d with the challenge %q", res.StatusCode, challenge)
	}
	return strings.TrimSpace(res.Status[:3] + " " + res.Header.Get("X-Reason"))
}

// tryForgedFields: what X-Forwarded-* say counts only when a trusted proxy says it.
func (f *front) tryForgedFields(t *testing.T, signer *proof.Signer, token string) {
	real := "http://localhost:" + strings.TrimPrefix(f.other, "127.0.0.1:")
	const forged = "https://shop.example"
	for _, c := range []struct{ name, signed, want string }{
		{"a proof for what the fields say", forged + "/forged", "401 htu_mismatch"},
		{"a proof for what the connection says", real + "/real", "200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := signer.Sign(proof.SignRequest{Method: http.MethodGet, URI: c.signed, AccessToken: token})
			if err != nil {
				t.Fatal(err)
			}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, real+c.signed[strings.LastIndex(c.signed, "/"):], http.NoBody)
			req.Header = http.Header{
				"Authorization": {"DPoP " + token}, "Dpop": {p}, "Forwarded": {"proto=https;host=shop.example"},
				"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"shop.example"}, "X-Forwarded-Port": {"443"},
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if got := strings.TrimSpace(res.Status[:3] + " " + res.Header.Get("X-Reason")); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
