// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"bytes"
	"errors"
	"testing"
)

// TestLargestRecords: a head and a seal with as many entries as are allowed are read,
// and with one more they are refused, although everything else about them is right.
func TestLargestRecords(t *testing.T) {
	t.Parallel()
	entry := testHead().packed[:entrySize]
	for _, test := range []struct {
		name    string
		entries int
		want    error
	}{
		{"as many as are allowed", maxHeadEntries, nil},
		{"one more", maxHeadEntries + 1, errCorrupt},
	} {
		record := (&head{packed: bytes.Repeat(entry, test.entries)}).encode(testName)
		if _, err := decodeHead(testName, record); !errors.Is(err, test.want) {
			t.Errorf("head with %s: %v, want %v", test.name, err, test.want)
		}
	}
	for _, test := range []struct {
		name    string
		entries int
		want    error
	}{
		{"as many as are allowed", maxSealEntries, nil},
		{"one more", maxSealEntries + 1, errCorrupt},
	} {
		record := encodeSeal(testName, 9, bytes.Repeat(entry, test.entries))
		if _, err := decodeSeal(testName, 9, record); !errors.Is(err, test.want) {
			t.Errorf("seal with %s: %v, want %v", test.name, err, test.want)
		}
	}
}

// TestReady: a batch takes as many claims as are allowed and no more, and with too many
// storage calls hanging nothing more is tried.
func TestReady(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		claims, stuck int
		want          error
	}{
		{"room for one more", maxBatch - 1, maxStuck - 1, nil},
		{"a full batch", maxBatch, 0, errOverloaded},
		{"too many calls hang", 0, maxStuck, errStuck},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := &Log{stuck: test.stuck, next: &batch{claims: make([]announced, test.claims)}}
			err := l.ready()
			if !errors.Is(err, test.want) || test.want != nil && !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}
