// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAdvice: one clear line for what is seldom meant, none for what is.
func TestAdvice(t *testing.T) {
	const (
		rewritten  = "path that an earlier directive rewrites"
		clear      = "a public URL is http"
		monitoring = "dpop only monitors"
		off        = "replay is off"
	)
	for name, test := range map[string]struct {
		config string
		want   []string
	}{
		"nothing to say":  {site(oneIssuer), nil},
		"strip_prefix":    {"http://api.test:$PORT {\n\turi strip_prefix /api\n\tdpop /items* {" + oneIssuer + "}\n\trespond ok\n}\n", nil},
		"rewrite":         {"http://api.test:$PORT {\n\trewrite /old* /new\n\tdpop /new* {" + oneIssuer + "}\n\trespond ok\n}\n", []string{rewritten}},
		"rewrite and all": {"http://api.test:$PORT {\n\trewrite /old* /new\n\tdpop {" + oneIssuer + "}\n\trespond ok\n}\n", nil},
		"http":            {site(oneIssuer + "public_url http://api.test\n"), []string{clear}},
		"http, loopback":  {site(oneIssuer + "public_url http://localhost\n"), nil},
		"monitor":         {site(oneIssuer + "mode monitor\n"), []string{monitoring}},
		"off":             {site(strings.Replace(oneIssuer, "replay memory", "replay off", 1)), []string{off}},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, test.config)
			text := n.log.String()
			for _, advice := range []string{rewritten, clear, monitoring, off} {
				want := 0
				for _, w := range test.want {
					if w == advice {
						want = 1
					}
				}
				if got := strings.Count(text, advice); got != want {
					t.Errorf("%q is there %d times, want %d", advice, got, want)
				}
			}
		})
	}
}

// TestAdviseProxy: the first refusal that forwarded fields would explain says
// so, the next ones do not.
func TestAdviseProxy(t *testing.T) {
	n := start(t, site(oneIssuer))
	c := n.client()
	for range 3 {
		proof := c.proof(http.MethodGet, "https://api.test/")
		c.present(proof, http.MethodGet, n.url("/"), "X-Forwarded-Proto", "https").refusedFor("htu_mismatch")
	}
	if got := strings.Count(n.log.String(), "not among trusted_proxies"); got != 1 {
		t.Errorf("%d lines, want 1", got)
	}
}

func TestClockJumped(t *testing.T) {
	begin := time.Now()
	if jump := clockJumped(begin, begin.Add(time.Minute)); jump != 0 {
		t.Errorf("a minute that passed is a jump of %v", jump)
	}
	// Round strips the monotonic reading, which cannot be set by hand.
	stepped := begin.Round(0).Add(time.Hour)
	if jump := clockJumped(begin.Round(0), stepped); jump != 0 {
		t.Errorf("without monotonic readings nothing is known, got %v", jump)
	}
}
