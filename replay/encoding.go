// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Heads and seals are binary, little-endian, each ending in a CRC-32C of all before it:
//
//	head: "dpophead" version:u16 spans:u16 seals:u32 entries:u32 name:16 number:u64 base:u64 mark:i64 proof:i64 nonce:i64
//	      spans x (proof:i64 nonce:i64 until:i64)   seals x (number:u64 end:u64 latest:i64)   entries x entry   crc:u32
//	seal: "dpopseal" version:u16 0:u16 0:u32 entries:u32 name:16 number:u64   entries x entry   crc:u32
//	entry: id:16 expiry:u32 (Unix seconds)
//
// The decoders accept exactly what the encoders write, under the name it was stored under.
const (
	headMagic     = "dpophead"
	sealMagic     = "dpopseal"
	formatVersion = 1

	entrySize = 20
	spanSize  = 24
	sealSize  = 24
	headFixed = 8 + 2 + 2 + 4 + 4 + 16 + 5*8
	sealFixed = 8 + 2 + 2 + 4 + 4 + 16 + 8
	sumSize   = 4

	maxHeadEntries = 1 << 16
	maxSealEntries = 1 << 16
	maxSeals       = 1 << 16
)

var (
	errCorrupt = errors.New("replay record is corrupt")
	errVersion = errors.New("replay record was written by a newer version")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// head is the mutable record of a name.
type head struct {
	number uint64 // grows with each Store
	base   uint64 // how many entries were written under this name before the first one in here
	mark   int64  // latest expiry among all that its writer has dropped or swept
	window limits // in force at the writer
	past   []span // earlier ones that the writer knows of
	seals  []sealInfo
	packed []byte // entries, encoded, in the order they came
}

// sealInfo is what a head says of a live seal.
type sealInfo struct {
	number uint64
	end    uint64 // how many entries were written under this name up to its last one
	latest int64  // latest expiry in it
}

func appendEntry(b []byte, id ID, expiry int64) []byte {
	b = append(b, id[:]...)
	return binary.LittleEndian.AppendUint32(b, uint32(min(max(expiry, 0), 1<<32-1)))
}

func entryAt(packed []byte, i int) entry {
	b := packed[i*entrySize : (i+1)*entrySize]
	return entry{id: ID(b[:16]), expiry: int64(binary.LittleEndian.Uint32(b[16:]))}
}

// encode returns a fresh slice: a storage may still be reading the last one.
func (h *head) encode(name string) []byte {
	size := headFixed + len(h.past)*spanSize + len(h.seals)*sealSize + len(h.packed) + sumSize
	b := appendPreamble(make([]byte, 0, size), headMagic, len(h.past), len(h.seals), len(h.packed)/entrySize, name)
	le := binary.LittleEndian
	b = le.AppendUint64(b, h.number)
	b = le.AppendUint64(b, h.base)
	b = le.AppendUint64(b, uint64(h.mark))
	b = appendLimits(b, h.window)
	for _, s := range h.past {
		b = le.AppendUint64(appendLimits(b, s.limits), uint64(s.until))
	}
	for _, s := range h.seals {
		b = le.AppendUint64(b, s.number)
		b = le.AppendUint64(b, s.end)
		b = le.AppendUint64(b, uint64(s.latest))
	}
	return appendSum(append(b, h.packed...))
}

func decodeHead(name string, b []byte) (*head, error) {
	spans, seals, entries, body, err := openRecord(headMagic, name, b)
	if err != nil {
		return nil, err
	}
	if spans > maxSpans || seals > maxSeals || entries > maxHeadEntries {
		return nil, fmt.Errorf("%w: head with %d windows, %d seals, %d entries", errCorrupt, spans, seals, entries)
	}
	if len(body) != 5*8+spans*spanSize+seals*sealSize+entries*entrySize {
		return nil, fmt.Errorf("%w: head of %d bytes", errCorrupt, len(b))
	}
	r := reader{body}
	h := &head{number: r.uint64(), base: r.uint64(), mark: r.int64(), window: r.limits()}
	for range spans {
		h.past = append(h.past, span{limits: r.limits(), until: r.int64()})
	}
	end := uint64(0)
	for range seals {
		s := sealInfo{number: r.uint64(), end: r.uint64(), latest: r.int64()}
		if s.end <= end || s.end > h.base {
			return nil, fmt.Errorf("%w: seals out of order", errCorrupt)
		}
		end = s.end
		h.seals = append(h.seals, s)
	}
	h.packed = r.rest
	return h, nil
}

func encodeSeal(name string, number uint64, packed []byte) []byte {
	b := make([]byte, 0, sealFixed+len(packed)+sumSize)
	b = appendPreamble(b, sealMagic, 0, 0, len(packed)/entrySize, name)
	b = binary.LittleEndian.AppendUint64(b, number)
	return appendSum(append(b, packed...))
}

// decodeSeal returns the seal's packed entries.
func decodeSeal(name string, number uint64, b []byte) ([]byte, error) {
	spans, seals, entries, body, err := openRecord(sealMagic, name, b)
	if err != nil {
		return nil, err
	}
	if spans != 0 || seals != 0 || entries > maxSealEntries || len(body) != 8+entries*entrySize {
		return nil, fmt.Errorf("%w: seal of %d bytes with %d entries", errCorrupt, len(b), entries)
	}
	r := reader{body}
	if r.uint64() != number {
		return nil, fmt.Errorf("%w: seal of another number", errCorrupt)
	}
	return r.rest, nil
}

func appendPreamble(b []byte, magic string, spans, seals, entries int, name string) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, formatVersion)
	b = binary.LittleEndian.AppendUint16(b, uint16(spans))
	b = binary.LittleEndian.AppendUint32(b, uint32(seals))
	b = binary.LittleEndian.AppendUint32(b, uint32(entries))
	raw := nameBytes(name)
	return append(b, raw[:]...)
}

func appendLimits(b []byte, l limits) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(l.proof))
	return binary.LittleEndian.AppendUint64(b, uint64(l.nonce))
}

func appendSum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// openRecord checks what heads and seals have in common and returns the counts and what follows the name.
func openRecord(magic, name string, b []byte) (spans, seals, entries int, body []byte, err error) {
	const preamble = 8 + 2 + 2 + 4 + 4 + 16
	fail := func(err error, why string) (int, int, int, []byte, error) {
		return 0, 0, 0, nil, fmt.Errorf("%w: %s", err, why)
	}
	if len(b) < preamble+sumSize || string(b[:8]) != magic {
		return fail(errCorrupt, "no "+magic)
	}
	le := binary.LittleEndian
	body, sum := b[:len(b)-sumSize], b[len(b)-sumSize:]
	if crc32.Checksum(body, castagnoli) != le.Uint32(sum) {
		return fail(errCorrupt, "checksum")
	}
	if version := le.Uint16(b[8:]); version != formatVersion {
		return fail(errVersion, fmt.Sprintf("version %d", version))
	}
	if raw := nameBytes(name); string(b[20:36]) != string(raw[:]) {
		return fail(errCorrupt, "written under another name")
	}
	// Each count is bounded by its caller before it is multiplied.
	spans, seals, entries = int(le.Uint16(b[10:])), int(le.Uint32(b[12:])), int(le.Uint32(b[16:]))
	return spans, seals, entries, body[preamble:], nil
}

// reader takes fields off the front of a slice whose length has been checked.
type reader struct{ rest []byte }

func (r *reader) uint64() uint64 {
	v := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return v
}

func (r *reader) int64() int64   { return int64(r.uint64()) }
func (r *reader) limits() limits { return limits{proof: r.int64(), nonce: r.int64()} }
