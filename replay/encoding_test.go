// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"testing"
)

const testName = "00112233445566778899aabbccddeeff"

func testHead() *head {
	h := &head{
		number: 7, base: 40, mark: testEpoch,
		window: limits{proof: 90, nonce: 330},
		past:   []span{{limits: limits{proof: 60, nonce: 60}, until: testEpoch}},
		seals:  []sealInfo{{number: 1, end: 20, latest: testEpoch + 5}, {number: 2, end: 40, latest: testEpoch + 9}},
	}
	for i := range uint64(3) {
		h.packed = appendEntry(h.packed, testID(i), testEpoch+int64(i))
	}
	return h
}

func TestHeadRoundTrip(t *testing.T) {
	t.Parallel()
	want := testHead()
	got, err := decodeHead(testName, want.encode(testName))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	if e := entryAt(got.packed, 2); e.id != testID(2) || e.expiry != testEpoch+2 {
		t.Fatalf("entry %+v", e)
	}
}

func TestSealRoundTrip(t *testing.T) {
	t.Parallel()
	want := testHead().packed
	got, err := decodeSeal(testName, 9, encodeSeal(testName, 9, want))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %x, %v; want %x", got, err, want)
	}
}

// reseal puts the right checksum under a changed record.
func reseal(b []byte) []byte {
	body := b[:len(b)-sumSize]
	return binary.LittleEndian.AppendUint32(bytes.Clone(body), crc32.Checksum(body, castagnoli))
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	good := testHead().encode(testName)
	change := func(at int, value ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], value)
		return reseal(b)
	}
	seals := headFixed + spanSize
	tests := []struct {
		name   string
		record []byte
		want   error
	}{
		{"empty", nil, errCorrupt},
		{"one byte short", good[:len(good)-1], errCorrupt},
		{"one byte long", append(bytes.Clone(good), 0), errCorrupt},
		{"a flipped bit", append(append(bytes.Clone(good[:50]), good[50]^1), good[51:]...), errCorrupt},
		{"a seal", encodeSeal(testName, 1, nil), errCorrupt},
		{"a newer version", change(8, 2), errVersion},
		{"another name", change(20, 1), errCorrupt},
		{"more windows than fit", change(10, 9), errCorrupt},
		{"more seals than there are", change(12, 3), errCorrupt},
		{"more seals than are allowed", change(12, 1, 0, 1, 0), errCorrupt},
		{"more entries than are allowed", change(16, 0xff, 0xff, 0xff, 0xff), errCorrupt},
		{"fewer entries than there are", change(16, 2), errCorrupt},
		{"seals out of order", change(seals+sealSize+8, 20), errCorrupt},
		{"a seal that ends after the base", change(seals+sealSize+8, 41), errCorrupt},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := decodeHead(testName, test.record); !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
		})
	}
	seal := encodeSeal(testName, 9, testHead().packed)
	if _, err := decodeSeal(testName, 8, seal); !errors.Is(err, errCorrupt) {
		t.Fatalf("a seal of another number: got %v, want %v", err, errCorrupt)
	}
	if _, err := decodeSeal(testName, 9, seal[:len(seal)-1]); !errors.Is(err, errCorrupt) {
		t.Fatalf("a seal cut short: got %v, want %v", err, errCorrupt)
	}
}

// FuzzDecodeHead: what is accepted is exactly what would be written.
func FuzzDecodeHead(f *testing.F) {
	f.Add(testHead().encode(testName))
	f.Add((&head{}).encode(testName))
	f.Add(encodeSeal(testName, 1, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= sumSize {
			b = reseal(b) // or the fuzzer would get no further than the checksum
		}
		h, err := decodeHead(testName, b)
		if err != nil {
			if !errors.Is(err, errCorrupt) && !errors.Is(err, errVersion) {
				t.Fatalf("unknown error %v", err)
			}
			return
		}
		if !bytes.Equal(h.encode(testName), b) {
			t.Fatal("accepted what is not written so")
		}
	})
}

// FuzzDecodeSeal: the same for seals.
func FuzzDecodeSeal(f *testing.F) {
	f.Add(encodeSeal(testName, 9, testHead().packed))
	f.Add(testHead().encode(testName))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= sumSize {
			b = reseal(b)
		}
		packed, err := decodeSeal(testName, 9, b)
		if err == nil && !bytes.Equal(encodeSeal(testName, 9, packed), b) {
			t.Fatal("accepted what is not written so")
		}
	})
}

func TestParseListing(t *testing.T) {
	t.Parallel()
	const other = "ffeeddccbbaa99887766554433221100"
	names := func(names ...string) map[string]bool {
		set := map[string]bool{}
		for _, name := range names {
			set[name] = true
		}
		return set
	}
	for _, test := range []struct {
		name string
		keys []string
		want listing
	}{
		{"directories", []string{
			"dpop/replay/" + testName, "dpop/replay/" + testName + ".pass", "dpop/replay/since.1800000000", "dpop/replay/since.1700000000",
		}, listing{names(testName), names(testName), []int64{1800000000, 1700000000}}},
		{"directories that end in a slash", []string{"dpop/replay/" + testName + "/"}, listing{names(testName), names(), nil}},
		{"objects only", []string{
			"dpop/replay/" + testName + "/head", "dpop/replay/" + testName + "/0000000000000001", "dpop/replay/" + testName + ".pass",
			"dpop/replay/" + other + "/0000000000000000", "dpop/replay/since.5",
		}, listing{names(testName, other), names(testName), []int64{5}}},
		{"behind a prefix of the storage", []string{"/caddy/dpop/replay/" + testName + "/head", "caddy/dpop/replay/" + other + ".pass"}, listing{names(testName), names(other), nil}},
		{"below the prefix", []string{testName, other + "/head", "/" + other + ".pass", "since.5"}, listing{names(testName, other), names(other), []int64{5}}},
		{"of another space", []string{
			"dpop/replay_proof_only/" + testName, "dpop/replay_proof_only/" + testName + "/head", "dpop/replay_proof_only/" + testName + ".pass",
			"dpop/replay_proof_only/since.5", "dpop/replay_proof_only", "dpop/replay2/" + testName,
		}, listing{names(), names(), nil}},
		{"not ours", []string{
			"dpop/replay", "", "/", "dpop/replay/725161756", "dpop/replay/since.", "dpop/replay/since.-1", "dpop/replay/since.007",
			"dpop/replay/since.99999999999999999999", "dpop/replay/.pass", "dpop/replay/00112233445566778899AABBCCDDEEFF",
			"dpop/replay/" + testName + "/.head.tmp", "dpop/replay/" + testName + "/000000000000000", "dpop/replay/" + testName + "/head/x",
			"dpop/replay/x/" + testName, "dpop/replay/x/since.5", "dpop/replay/" + testName + ".pass/x", "dpop/replay/since.5/x",
		}, listing{names(), names(), nil}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := layout("dpop/replay").parseListing(test.keys); !reflect.DeepEqual(got, test.want) {
				t.Fatalf("got %+v, want %+v", got, test.want)
			}
		})
	}
	if second, ok := (listing{since: []int64{5, 7, 6}}).cutoff(); !ok || second != 7 {
		t.Fatalf("cut-off %d, %t", second, ok)
	}
}
