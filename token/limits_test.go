// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// TestLargestAnswers: what an authorization server sends is read up to its limit, and
// not one byte beyond, whether or not it says how long it is.
func TestLargestAnswers(t *testing.T) {
	t.Parallel()
	const perAnswer = 1000
	for _, test := range []struct {
		name, length string
		size         int
		ok           bool
	}{
		{"at the limit", "", perAnswer, true},
		{"one over", "", perAnswer + 1, false},
		{"at the limit, with its length", "yes", perAnswer, true},
		{"one over, with its length", "yes", perAnswer + 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.length != "" {
					w.Header().Set("Content-Length", strconv.Itoa(test.size))
				}
				_, _ = w.Write(bytes.Repeat([]byte(" "), test.size/2))
				if test.length == "" {
					w.(http.Flusher).Flush()
				}
				_, _ = w.Write(bytes.Repeat([]byte(" "), test.size-test.size/2))
			}))
			t.Cleanup(server.Close)
			body, err := get(context.Background(), newClient(nil), server.URL, "application/json", perAnswer)
			if (err == nil) != test.ok || test.ok && len(body) != test.size {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		})
	}
}

// TestLargestDocuments: a key set and a metadata document of exactly the size that is
// allowed count; one byte more, and they do not.
func TestLargestDocuments(t *testing.T) {
	t.Parallel()
	key := testkit.P256("limits").JWK("k1")
	keys := string(testkit.Object{{Name: "keys", Value: []any{key}}}.JSON())
	for over := range 2 {
		data := keys + strings.Repeat(" ", maxKeySetSize-len(keys)+over)
		if _, _, err := new(KeySet).parseKeySet([]byte(data)); (err == nil) != (over == 0) {
			t.Errorf("key set, %d over: %v", over, err)
		}

		var document string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(document))
		}))
		t.Cleanup(server.Close)
		metadata := `{"issuer":"` + server.URL + `","jwks_uri":"` + server.URL + `/jwks"}`
		document = metadata + strings.Repeat(" ", maxMetadataSize-len(metadata)+over)
		_, err := get(context.Background(), newClient(nil), server.URL, "application/json", maxMetadataSize)
		if (err == nil) != (over == 0) {
			t.Errorf("metadata, %d over: %v", over, err)
		}
	}
}

// TestLargestResponseHeader: header fields of an answer are bounded too. The limit is
// net/http's to keep, which allows for a few bytes of its own.
func TestLargestResponseHeader(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		size int
		ok   bool
	}{{maxResponseHeader - 1024, true}, {maxResponseHeader + 8192, false}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Filler", strings.Repeat("x", test.size))
			_, _ = w.Write([]byte("{}"))
		}))
		t.Cleanup(server.Close)
		if _, err := get(context.Background(), newClient(nil), server.URL, "application/json", 1000); (err == nil) != test.ok {
			t.Errorf("a header of %d bytes: %v", test.size, err)
		}
	}
}
