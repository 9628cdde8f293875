// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestLogFilter: with the filter of docs/operations.md the access log shows no
// token that a client sends in a wrong place; without it, it does.
func TestLogFilter(t *testing.T) {
	const secret = "a-token-in-the-wrong-place"
	text, err := os.ReadFile("docs/operations.md")
	must(t, err)
	block := regexp.MustCompile("(?s)```caddyfile\napi.example.com \\{\n\tlog \\{\n([^`]*access_token.*?)\t\\}\n\\}\n```").FindSubmatch(text)
	if block == nil {
		t.Fatal("docs/operations.md has no such filter")
	}
	for name, test := range map[string]struct {
		filter string
		shown  int
	}{
		"with":    {string(block[1]), 0},
		"without": {"", 3},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, "http://api.test:$PORT {\n\tlog {\n\t\toutput dpop_test\n\t\t"+test.filter+"\n\t}\n\tdpop {"+oneIssuer+"}\n\trespond ok\n"+echo+"}\n")
			n.send("GET", n.url("/socket?access_token="+secret+"&page=1"),
				"Sec-WebSocket-Protocol", "bearer, "+secret,
				"Referer", "https://app.test/?access_token="+secret).refusedFor("no_credentials")
			var lines []string
			eventually(t, "the access log", func() bool {
				lines = nil
				for line := range strings.Lines(n.log.String()) {
					if strings.Contains(line, `"logger":"http.log.access`) {
						lines = append(lines, line)
					}
				}
				return len(lines) > 0
			})
			if len(lines) != 1 || strings.Count(lines[0], secret) != test.shown || !strings.Contains(lines[0], "page=1") {
				t.Errorf("want the secret %d times in one line, have\n%s", test.shown, lines)
			}
		})
	}
}
