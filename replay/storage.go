// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// Storage is what a [Log] needs of a storage: four methods of certmagic.Storage, with their meaning there.
// There is no Lock and no Exists, so that neither can become part of a decision: locks are not made for
// short-lived, contended use, and most backends' Exists is false on an error.
//
// A Load or List begun after a Store has returned must see it, from any node. Load and List of what is not
// there fail with fs.ErrNotExist; List may also return nothing.
type Storage interface {
	Store(ctx context.Context, key string, value []byte) error
	Load(ctx context.Context, key string) ([]byte, error)
	List(ctx context.Context, path string, recursive bool) ([]string, error)
	Delete(ctx context.Context, key string) error
}

// The keys of a log, all in lower-case hexadecimal, so that no backend can mix them up, below one prefix:
//
//	<name>/head      the newest entries of a process
//	<name>/<seal>    older ones, immutable
//	<name>.pass      empty; while it is there, the name is open
//	since.<seconds>  the cut-off
//
// One non-recursive listing of the prefix shows names, passes and the cut-off. A storage that has no directories
// may show what is below the names in their place.
type layout string

const (
	headKey     = "head"
	passSuffix  = ".pass"
	sincePrefix = "since."
	nameLength  = 32 // 16 random bytes
	sealLength  = 16 // a number of 64 bits
)

func (l layout) dir(name string) string  { return path.Join(string(l), name) }
func (l layout) head(name string) string { return path.Join(string(l), name, headKey) }
func (l layout) pass(name string) string { return path.Join(string(l), name+passSuffix) }

func (l layout) seal(name string, number uint64) string {
	digits := strconv.FormatUint(number, 16)
	return path.Join(string(l), name, strings.Repeat("0", sealLength-len(digits))+digits)
}

func (l layout) since(second int64) string {
	return path.Join(string(l), sincePrefix+strconv.FormatInt(second, 10))
}

// listing is what one List of the prefix has shown.
type listing struct {
	dirs   map[string]bool
	passes map[string]bool
	since  []int64 // cut-offs, in no order
}

// parseListing reads the answer of a List. What is not ours, or is a temporary file of the storage, is passed over.
func (l layout) parseListing(keys []string) listing {
	shown := listing{dirs: make(map[string]bool, len(keys)), passes: make(map[string]bool, len(keys))}
	for _, key := range keys {
		base, below, _ := strings.Cut(l.relative(key), "/")
		switch {
		case isHex(base, nameLength) && (below == "" || below == headKey || isHex(below, sealLength)):
			shown.dirs[base] = true
			continue
		case below != "":
			continue
		}
		if name, ok := strings.CutSuffix(base, passSuffix); ok && isHex(name, nameLength) {
			shown.passes[name] = true
			continue
		}
		if digits, ok := strings.CutPrefix(base, sincePrefix); ok {
			if second, err := strconv.ParseInt(digits, 10, 64); err == nil && second > 0 && strconv.FormatInt(second, 10) == digits {
				shown.since = append(shown.since, second)
			}
		}
	}
	return shown
}

// relative returns the part of a key below the prefix. A storage may put something of its own before the prefix,
// or leave it out; one that only compares strings also shows keys of which it is but the beginning, and they stay
// whole, so that nothing in them is taken for ours.
func (l layout) relative(key string) string {
	key = strings.TrimPrefix(key, "/")
	dir := "/" + string(l) + "/"
	if at := strings.LastIndex("/"+key, dir); at >= 0 {
		return key[at+len(dir)-1:]
	}
	return key
}

// cutoff returns the newest cut-off; false: there is none.
func (l listing) cutoff() (second int64, ok bool) {
	for _, s := range l.since {
		second = max(second, s)
	}
	return second, len(l.since) > 0
}

func isHex(s string, length int) bool {
	if len(s) != length {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// newName is a name that nobody else has.
func newName(random io.Reader) (string, error) {
	var raw [nameLength / 2]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return "", fmt.Errorf("random name: %w", err)
	}
	return hex.EncodeToString(raw[:]), nil
}

func nameBytes(name string) (raw [16]byte) {
	_, _ = hex.Decode(raw[:], []byte(name)) // a name is 32 hexadecimal digits
	return raw
}
