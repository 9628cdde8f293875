// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// FuzzCaddyfile: whatever stands in a Caddyfile, the parser ends with an error
// that says where, or with options that survive being written as JSON.
func FuzzCaddyfile(f *testing.F) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		config, _, _ := strings.Cut(string(content), fixtureDivider)
		if i := strings.Index(config, "dpop"); i >= 0 {
			f.Add(config[i:])
		}
	}
	f.Add("dpop {\n\tissuer \"\" {\n")
	f.Add("dpop { issuer { } }")
	f.Add("dpop {\n\tmetadata {\n\t\tx\n\t}\n}")
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil || len(tokens) == 0 {
			return
		}
		h := new(Handler)
		if err := h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			if !strings.Contains(err.Error(), "Caddyfile:") {
				t.Errorf("an error without a place: %v", err)
			}
		} else {
			sameAsJSON(t, h)
		}
		if value, err := parseApp(caddyfile.NewDispenser(tokens), nil); err == nil && value == nil {
			t.Error("neither app nor error")
		}
	})
}

func sameAsJSON(t *testing.T, h *Handler) {
	t.Helper()
	first, err := json.Marshal(h)
	if err != nil {
		t.Fatalf("options that are no JSON: %v", err)
	}
	again := new(Handler)
	if err := caddy.StrictUnmarshalJSON(first, again); err != nil {
		t.Fatalf("options that cannot be read again: %v\n%s", err, first)
	}
	second, err := json.Marshal(again)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("written twice:\n%s\n%s\n%v", first, second, err)
	}
}

// FuzzCredentials: what is taken for credentials is what was sent, once, and
// within its limits; everything else is a reason of the table.
func FuzzCredentials(f *testing.F) {
	for _, authorization := range []string{
		"DPoP a.b.c", "dpop  a.b.c", "Bearer a.b.c", "bEARER x==", "DPoP", "DPoP ", " DPoP x", "DPoP x,DPoP y", "DPoP x y", "DPoP\tx",
		"Basic x", "DPoP =", "DPoP x=y", "DPoP \"x\"", "D\x00oP x", "", "Digest username=\"x\"", "DPoP ünïcode",
	} {
		f.Add(authorization, "", "a.b.c", "", byte(1))
		f.Add(authorization, "DPoP second", "a.b.c", "d.e.f", byte(15))
	}
	handlers := []*Handler{
		{Options: Options{Bearer: wordReject}},
		{Options: Options{Bearer: wordAllow}},
		{Options: Options{Bearer: wordReject, MTLS: true}},
		{Options: Options{ProofOnly: true}},
	}
	f.Fuzz(func(t *testing.T, a1, a2, p1, p2 string, present byte) {
		x := new(exchange)
		for i, field := range []struct {
			value string
			to    *[]string
		}{{a1, &x.authorization}, {a2, &x.authorization}, {p1, &x.proofs}, {p2, &x.proofs}} {
			if present&(1<<i) != 0 {
				*field.to = append(*field.to, field.value)
			}
		}
		for _, h := range handlers {
			c, err := h.credentials(x)
			if err != nil {
				if _, ok := refusals[reasonOf(err)]; !ok || reasonOf(err) == ReasonReplayUnavailable {
					t.Errorf("refused for %q", reasonOf(err))
				}
				continue
			}
			h.holdCredentials(t, c, x)
		}
	})
}

// holdCredentials checks what was accepted against what was received.
func (h *Handler) holdCredentials(t *testing.T, c credentials, x *exchange) {
	t.Helper()
	switch {
	case c.bearer:
		if !h.acceptsBearer() || len(x.proofs) != 0 || c.proof != "" {
			t.Errorf("Bearer with %d proofs", len(x.proofs))
		}
	case len(x.proofs) != 1 || c.proof != x.proofs[0] || c.proof == "" || len(c.proof) > maxProofSize:
		t.Errorf("proof %q of %q", c.proof, x.proofs)
	}
	if h.ProofOnly {
		if c.token != "" {
			t.Error("a token with proof_only")
		}
		return
	}
	if len(x.authorization) != 1 || c.token == "" || len(c.token) > maxTokenSize {
		t.Fatalf("token %q of %q", c.token, x.authorization)
	}
	scheme := "DPoP"
	if c.bearer {
		scheme = "Bearer"
	}
	sent, found := strings.CutSuffix(x.authorization[0], c.token)
	if !found || !strings.EqualFold(strings.TrimRight(sent, " "), scheme) || strings.TrimRight(sent, " ") == sent {
		t.Errorf("token %q of %q", c.token, x.authorization)
	}
	if strings.ContainsAny(c.token, " ,;\"\\\t\r\n\x00") {
		t.Errorf("token %q", c.token)
	}
}
