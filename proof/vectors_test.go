// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// A vector is one case of testdata/vectors/proof; the README there explains it.
type vector struct {
	Name    string `json:"name"`
	Proof   string `json:"proof"`
	Request struct {
		Method      string  `json:"method"`
		URI         string  `json:"uri"`
		AccessToken *string `json:"access_token"`
		Now         int64   `json:"now"`
	} `json:"request"`
	Config *struct {
		Algorithms []string `json:"algorithms"`
		MaxAge     *int     `json:"max_age"`
		ClockSkew  *int     `json:"clock_skew"`
		MaxSize    *int     `json:"max_size"`
	} `json:"config"`
	Nonces *vectorNonces `json:"nonces"`
	Expect string        `json:"expect"`
	JKT    string        `json:"jkt"`
}

type vectorNonces struct {
	Required bool             `json:"required"`
	Live     map[string]int64 `json:"live"`
	Stale    []string         `json:"stale"`
}

func (n *vectorNonces) CheckNonce(nonce string, _ time.Time) (time.Time, proof.NonceState) {
	if issued, ok := n.Live[nonce]; ok {
		return time.Unix(issued, 0), proof.NonceLive
	}
	if slices.Contains(n.Stale, nonce) {
		return time.Time{}, proof.NonceStale
	}
	return time.Time{}, proof.NonceUnknown
}

// loadVectors reads all vectors, by file.
func loadVectors(tb testing.TB) map[string][]vector {
	tb.Helper()
	files, err := filepath.Glob("../testdata/vectors/proof/*.json")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no vectors: %v", err)
	}
	sets := make(map[string][]vector)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		var set struct {
			Vectors []vector `json:"vectors"`
		}
		if err := json.Unmarshal(text, &set); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		sets[strings.TrimSuffix(filepath.Base(file), ".json")] = set.Vectors
	}
	return sets
}

func (c *vector) verifier(tb testing.TB) *proof.Verifier {
	tb.Helper()
	var config proof.Config
	if c.Config != nil {
		config.Algorithms = c.Config.Algorithms
		if c.Config.MaxAge != nil {
			config.MaxAge = time.Duration(*c.Config.MaxAge) * time.Second
		}
		if c.Config.ClockSkew != nil {
			skew := time.Duration(*c.Config.ClockSkew) * time.Second
			config.ClockSkew = &skew
		}
		if c.Config.MaxSize != nil {
			config.MaxSize = *c.Config.MaxSize
		}
	}
	return mustVerifier(tb, config)
}

func (c *vector) request(tb testing.TB) *proof.Request {
	tb.Helper()
	target, err := proof.ParseTarget(c.Request.URI)
	if err != nil {
		tb.Fatal(err)
	}
	r := &proof.Request{Method: c.Request.Method, Target: target, Now: time.Unix(c.Request.Now, 0)}
	if c.Request.AccessToken != nil {
		hash := sha256.Sum256([]byte(*c.Request.AccessToken))
		r.AccessTokenHash = &hash
	}
	if c.Nonces != nil {
		r.Nonces, r.RequireNonce = c.Nonces, c.Nonces.Required
	}
	return r
}

// outcome is a vector's expect for what Verify returned.
func outcome(err error) string {
	if err == nil {
		return "accept"
	}
	return string(proof.ReasonOf(err))
}

func TestVectors(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for name, set := range loadVectors(t) {
		for _, c := range set {
			seen[c.Expect] = true
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				p, err := c.verifier(t).Verify(c.Proof, c.request(t))
				if got := outcome(err); got != c.Expect {
					t.Fatalf("got %s (%v), want %s", got, err, c.Expect)
				}
				if err == nil && p.Header.Thumbprint() != c.JKT {
					t.Errorf("thumbprint is %s, want %s", p.Header.Thumbprint(), c.JKT)
				}
			})
		}
	}
	for _, reason := range append(proof.Reasons(), "accept") {
		if !seen[string(reason)] {
			t.Errorf("no vector for %s", reason)
		}
	}
}

// The header that passed before must change nothing but the time it takes, whether
// it is the proof's own or another.
func TestVectorsWithKnownHeader(t *testing.T) {
	t.Parallel()
	headers := knownHeaders(t)
	other, err := proof.NewSigner(keyFor(t, "EdDSA"), "")
	if err != nil {
		t.Fatal(err)
	}
	compact, err := other.Sign(proof.SignRequest{Method: "GET", URI: "https://api.example.test/"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := mustVerifier(t, proof.Config{}).Parse(compact, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, set := range loadVectors(t) {
		for _, c := range set {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				segment, _, _ := strings.Cut(c.Proof, ".")
				for which, known := range map[string]*proof.Header{"own": headers[segment], "other": p.Header} {
					if got := outcome(verifyKnown(c.verifier(t), c.Proof, known, c.request(t))); got != c.Expect {
						t.Errorf("with the %s header: got %s, want %s", which, got, c.Expect)
					}
				}
			})
		}
	}
}

// verifyKnown is Verify with a header that passed before.
func verifyKnown(v *proof.Verifier, compact string, known *proof.Header, r *proof.Request) error {
	p, err := v.Parse(compact, known)
	if err != nil {
		return err
	}
	if err := v.Match(p, r); err != nil {
		return err
	}
	return p.VerifySignature()
}

// knownHeaders returns the headers of the vectors that pass, one for each text.
func knownHeaders(tb testing.TB) map[string]*proof.Header {
	tb.Helper()
	headers := make(map[string]*proof.Header)
	for _, set := range loadVectors(tb) {
		for _, c := range set {
			segment, _, _ := strings.Cut(c.Proof, ".")
			if c.Expect != "accept" || headers[segment] != nil {
				continue
			}
			p, err := c.verifier(tb).Parse(c.Proof, nil)
			if err != nil {
				tb.Fatal(err)
			}
			headers[segment] = p.Header
		}
	}
	return headers
}
