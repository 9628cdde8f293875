// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Command generate writes the proof vectors in testdata/vectors/proof. It makes
// proofs by hand from crypto/* and math/big and imports nothing of this module, so
// that the vectors do not share its mistakes. Keys and signatures are derived from
// fixed text: running it twice changes nothing.
//
//	go run ./testdata/vectors/generate
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The request that every vector is for unless it says otherwise.
const (
	now         = 1764000000
	method      = "GET"
	uri         = "https://api.example.test/api/items"
	accessToken = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
)

// The README beside this directory explains the members.
type vector struct {
	Name      string   `json:"name"`
	Catalogue []string `json:"catalogue,omitempty"`
	Comment   string   `json:"comment,omitempty"`
	Proof     string   `json:"proof"`
	Request   request  `json:"request"`
	Config    *config  `json:"config,omitempty"`
	Nonces    *nonces  `json:"nonces,omitempty"`
	Expect    string   `json:"expect"`
	JKT       string   `json:"jkt,omitempty"`
}

type request struct {
	Method      string  `json:"method"`
	URI         string  `json:"uri"`
	AccessToken *string `json:"access_token"`
	Now         int64   `json:"now"`
}

type config struct {
	Algorithms []string `json:"algorithms,omitempty"`
	MaxAge     *int     `json:"max_age,omitempty"`
	ClockSkew  *int     `json:"clock_skew,omitempty"`
	MaxSize    *int     `json:"max_size,omitempty"`
}

type nonces struct {
	Required bool             `json:"required"`
	Live     map[string]int64 `json:"live,omitempty"`
	Stale    []string         `json:"stale,omitempty"`
}

// A set is a file of vectors.
type set struct {
	Description string   `json:"description"`
	Vectors     []vector `json:"vectors"`
}

// add adds a vector for the draft and returns it for what is unusual about it.
func (s *set) add(name, expect, comment string, d draft, catalogue ...string) *vector {
	token := accessToken
	v := vector{
		Name: name, Catalogue: catalogue, Comment: comment, Proof: d.compact(), Expect: expect,
		Request: request{Method: method, URI: uri, AccessToken: &token, Now: now},
	}
	if expect == "accept" {
		v.JKT = d.key.thumbprint()
	}
	s.Vectors = append(s.Vectors, v)
	return &s.Vectors[len(s.Vectors)-1]
}

func main() {
	out := flag.String("out", filepath.Join("testdata", "vectors", "proof"), "directory to write to")
	flag.Parse()
	for name, s := range map[string]*set{
		"form":      formVectors(),
		"json":      jsonVectors(),
		"header":    headerVectors(),
		"algorithm": algorithmVectors(),
		"signature": signatureVectors(),
		"jwk":       jwkVectors(),
		"rsa":       rsaVectors(),
		"target":    targetVectors(),
		"claims":    claimVectors(),
		"time":      timeVectors(),
		"nonce":     nonceVectors(),
	} {
		slices.SortStableFunc(s.Vectors, func(a, b vector) int { return strings.Compare(a.Name, b.Name) })
		for i := range s.Vectors[1:] {
			if s.Vectors[i].Name == s.Vectors[i+1].Name {
				log.Fatalf("%s: two vectors are called %q", name, s.Vectors[i].Name)
			}
		}
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(s); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*out, name+".json"), text.Bytes(), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
