// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package secrecy

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// secrets are texts that must be nowhere, with what each of them is.
type secrets map[string]string

// shortest is the least length of a text that cannot be there by chance.
const shortest = 20

// proof remembers a proof. Its header holds a public key only and its beginning is
// common to all; payload and signature are its own.
func (s secrets) proof(compact string) {
	parts := strings.Split(compact, ".")
	for _, part := range parts[min(1, len(parts)-1):] {
		if len(part) >= shortest {
			s[part[:shortest]] = "a proof"
		}
	}
	if len(parts) == 3 {
		s[parts[0]] = "the header of a proof"
		s[parts[1]] = "the payload of a proof"
	}
}

// token remembers an access token or an assertion, opaque or a JWT.
func (s secrets) token(text string) {
	parts := strings.Split(text, ".")
	for i, part := range parts {
		if len(part) >= shortest && (len(parts) == 1 || i == 2) {
			s[part[:shortest]] = "a token"
		}
	}
	s[text] = "a token"
	s[url.QueryEscape(text)] = "a token"
	if len(parts) == 3 {
		s[parts[1]] = "the payload of a token"
	}
}

// bytes remembers a secret of bytes in the spellings in which Go writes bytes.
func (s secrets) bytes(what string, b []byte) {
	list, _ := json.Marshal(ints(b))
	for _, spelled := range []string{
		base64.StdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b), hex.EncodeToString(b), string(b),
		strings.Trim(fmt.Sprint(ints(b)), "[]"), strings.Trim(string(list), "[]"), strconv.Quote(string(b)), url.QueryEscape(string(b)),
	} {
		s[strings.TrimRight(spelled, "=")] = what
	}
}

// password remembers a client's secret, alone and as Basic credentials carry it.
func (s secrets) password(client, secret string) {
	s.bytes("a client secret", []byte(secret))
	basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(client) + ":" + url.QueryEscape(secret)))
	s[basic] = "the credentials of a client"
}

func ints(b []byte) []int {
	list := make([]int, len(b))
	for i, v := range b {
		list[i] = int(v)
	}
	return list
}

// find reports each secret that a text holds.
func (s secrets) find(t testing.TB, where, text string) {
	t.Helper()
	for secret, what := range s {
		if before, after, found := strings.Cut(text, secret); found {
			end, _, _ := strings.Cut(after, "\n")
			t.Errorf("%s holds %s: %.600s", where, what, before[strings.LastIndexByte(before, '\n')+1:]+secret+end)
		}
	}
}

// counter is a testing.TB that only counts.
type counter struct {
	testing.TB
	n int
}

func (c *counter) Helper()               {}
func (c *counter) Errorf(string, ...any) { c.n++ }

// TestFind shows that the search finds what it is for.
func TestFind(t *testing.T) {
	s := secrets{}
	s.proof("eyJ0eXAiOiJkcG9wK2p3dCJ9.eyJqdGkiOiJzb21ldGhpbmcgbmV3In0.c2lnbmF0dXJlIG9mIHNvbWUgcHJvb2Y")
	s.token("opaque-token-of-more-than-twenty")
	s.password("rs", "a secret/of more than 20")
	s.bytes("a key", []byte("0123456789abcdefghijklmnopqrstuv"))
	for _, text := range []string{
		"eyJqdGkiOiJzb21ldGhpbmcgbmV3In0", "x c2lnbmF0dXJlIG9mIHNvbWUgcHJvb2Y", "?token=opaque-token-of-more-than-twenty", "opaque-token-of-more",
		"a secret/of more than 20", "a+secret%2Fof+more+than+20", hex.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv")),
		"Basic " + base64.StdEncoding.EncodeToString([]byte("rs:a+secret%2Fof+more+than+20")), fmt.Sprint(ints([]byte("0123456789abcdefghijklmnopqrstuv"))),
	} {
		found := &counter{TB: t}
		if s.find(found, "it", text); found.n == 0 {
			t.Errorf("nothing found in %q", text)
		}
	}
	s.find(t, "a plain line", `{"msg":"request refused","reason":"htu_mismatch","jkt":"zrJIE_2mGudQM3U0cL6x7NCDkFJB_1j4N1GxaUbavCw"}`)
}
