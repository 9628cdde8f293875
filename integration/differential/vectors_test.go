// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package differential

import (
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// A vector is one case of testdata/vectors/proof, with the configuration filled in.
type vector struct {
	file string

	Name    string  `json:"name"`
	Proof   string  `json:"proof"`
	Request request `json:"request"`
	Config  struct {
		Algorithms []string `json:"algorithms"`
		MaxAge     *int     `json:"max_age"`
		ClockSkew  *int     `json:"clock_skew"`
		MaxSize    int      `json:"max_size"`
	} `json:"config"`
	Nonces json.RawMessage `json:"nonces"`

	Algorithms []string `json:"algorithms"`
	MaxAge     int      `json:"maxAge"`
	Skew       int      `json:"skew"`
}

type request struct {
	Method      string  `json:"method"`
	URI         string  `json:"uri"`
	AccessToken *string `json:"access_token"`
	Now         int64   `json:"now"`
}

// load reads the vectors in a fixed order. Those with nonces are left out: a nonce is
// the server's own, and the peers leave it to their caller.
func load(t *testing.T) []*vector {
	t.Helper()
	files, err := filepath.Glob("../../testdata/vectors/proof/*.json")
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(files)
	var all []*vector
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var set struct {
			Vectors []*vector `json:"vectors"`
		}
		if err := json.Unmarshal(text, &set); err != nil {
			t.Fatal(err)
		}
		for _, v := range set.Vectors {
			if v.Nonces != nil {
				continue
			}
			v.file = strings.TrimSuffix(filepath.Base(file), ".json")
			v.Algorithms, v.MaxAge, v.Skew = v.Config.Algorithms, 60, 30
			if v.Algorithms == nil {
				v.Algorithms = proof.DefaultAlgorithms()
			}
			if v.Config.MaxAge != nil {
				v.MaxAge = *v.Config.MaxAge
			}
			if v.Config.ClockSkew != nil {
				v.Skew = *v.Config.ClockSkew
			}
			all = append(all, v)
		}
	}
	if len(all) < 700 {
		t.Fatalf("only %d vectors", len(all))
	}
	return all
}

// ours is the verdict of package proof: accept or a reason.
func ours(t *testing.T, v *vector) string {
	t.Helper()
	skew := time.Duration(v.Skew) * time.Second
	verifier, err := proof.NewVerifier(proof.Config{
		Algorithms: v.Algorithms, MaxAge: time.Duration(v.MaxAge) * time.Second, ClockSkew: &skew, MaxSize: v.Config.MaxSize,
	})
	if err != nil {
		t.Fatal(err)
	}
	target, err := proof.ParseTarget(v.Request.URI)
	if err != nil {
		t.Fatal(err)
	}
	r := &proof.Request{Method: v.Request.Method, Target: target, Now: time.Unix(v.Request.Now, 0)}
	if v.Request.AccessToken != nil {
		hash := sha256.Sum256([]byte(*v.Request.AccessToken))
		r.AccessTokenHash = &hash
	}
	if _, err := verifier.Verify(v.Proof, r); err != nil {
		return string(proof.ReasonOf(err))
	}
	return accept
}
