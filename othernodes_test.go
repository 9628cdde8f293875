// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// oneValue is a storage that holds one value, or fails to show it.
type oneValue struct {
	value []byte
	err   error
}

func (v *oneValue) Load(context.Context, string) ([]byte, error) {
	if v.err != nil || v.value == nil {
		return nil, errors.Join(v.err, fs.ErrNotExist)
	}
	return v.value, nil
}

func (v *oneValue) Store(_ context.Context, _ string, value []byte) error {
	v.value = value
	return nil
}

// TestOtherNodes: what becomes of the copy between two of ours shows others, if
// it shows them twice in a row.
func TestOtherNodes(t *testing.T) {
	begin := time.Now()
	copied := func(minute int) []byte {
		return fmt.Appendf(nil, `{"fetched":%q,"keys":[]}`, begin.Add(time.Duration(minute)*time.Minute).Format(time.RFC3339Nano))
	}
	other := func(minute int) func(*oneValue) { return func(v *oneValue) { v.value = copied(minute) } }
	nobody := func(*oneValue) {}
	tests := map[string]struct {
		before  []byte
		between []func(*oneValue) // before our copies of minute 10, 20, ...
		want    int
	}{
		"nobody":                       {nil, []func(*oneValue){nobody, nobody, nobody, nobody}, 0},
		"the last run":                 {copied(-5), []func(*oneValue){nobody, nobody, nobody, nobody}, 0},
		"a clock ahead, the last run":  {copied(90), []func(*oneValue){nobody, nobody, nobody, nobody}, 0},
		"another":                      {nil, []func(*oneValue){other(3), other(13)}, 1},
		"another, told once":           {nil, []func(*oneValue){other(3), other(13), other(23), other(33)}, 1},
		"another, later":               {nil, []func(*oneValue){nobody, nobody, other(23), other(33)}, 1},
		"one that we took over from":   {copied(-5), []func(*oneValue){other(1), nobody, nobody, nobody}, 0},
		"twice, not in a row":          {nil, []func(*oneValue){other(3), nobody, other(23), nobody}, 0},
		"a cache that shows old ones":  {nil, []func(*oneValue){other(-5), other(0), other(10), other(20)}, 0},
		"emptied":                      {nil, []func(*oneValue){func(v *oneValue) { v.value = nil }, nobody, nobody}, 0},
		"nonsense":                     {nil, []func(*oneValue){func(v *oneValue) { v.value = []byte("{") }, func(v *oneValue) { v.value = []byte("[]") }}, 0},
		"a storage that does not show": {nil, []func(*oneValue){func(v *oneValue) { v.err = errors.New("down") }, other(13), other(23)}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			storage, told := &oneValue{value: test.before}, 0
			copies := &keyCopies{KeyCache: storage, found: func() { told++ }}
			must(t, copies.Store(t.Context(), "key", copied(0)))
			for i, happen := range test.between {
				happen(storage)
				ours := copied(10 * (i + 1))
				must(t, copies.Store(t.Context(), "key", ours))
				if string(storage.value) != string(ours) {
					t.Fatal("our copy was not stored")
				}
			}
			if told != test.want || copies.others.Load() != (test.want > 0) {
				t.Errorf("told %d times, want %d", told, test.want)
			}
		})
	}
}

// TestAdviseOtherNodes: with replay memory other nodes are told of once, when
// they are found, and once by each configuration after it.
func TestAdviseOtherNodes(t *testing.T) {
	const advice = "other nodes were seen on Caddy's storage"
	for _, test := range []struct {
		store string
		found int // lines when others are found
		again int // and with the next configuration
	}{{"memory", 1, 1}, {"storage", 0, 0}} {
		t.Run(test.store, func(t *testing.T) {
			config := site(strings.Replace(oneIssuer, "replay memory", "replay "+test.store, 1))
			n := start(t, config)
			set, rotations := n.app.sets[0], 0
			// stored waits for a copy with the issuer's key.
			stored := func() (key string, fetched time.Time) {
				eventually(t, "our copy", func() bool {
					files, err := filepath.Glob(n.dir + "/storage/dpop/keys/*")
					must(t, err)
					for _, file := range files {
						if value, err := os.ReadFile(file); err == nil && strings.Contains(string(value), `"`+n.issuer.KeyID+`"`) {
							key, fetched = "dpop/keys/"+filepath.Base(file), copyTime(value)
						}
					}
					return len(key) == len("dpop/keys/")+64 // not the storage's temporary file
				})
				return key, fetched
			}
			stored()
			ours := func() (key string, fetched time.Time) {
				rotations++
				n.issuer.Rotate(fmt.Sprint("rotation ", rotations), true) // what has changed is copied at once
				must(t, set.Refresh(t.Context()))
				return stored()
			}
			told := func(want int) {
				t.Helper()
				if got := strings.Count(n.log.String(), advice); got != want {
					t.Errorf("%d lines, want %d", got, want)
				}
			}
			for range 3 {
				key, fetched := ours()
				value, err := json.Marshal(map[string]any{"fetched": fetched.Add(time.Millisecond), "keys": []any{}})
				must(t, err)
				must(t, set.storage.Store(t.Context(), key, value))
			}
			ours()
			if !set.copies.others.Load() {
				t.Fatal("the other node was not seen")
			}
			told(test.found)
			n.reload(config)
			told(test.found + test.again)
		})
	}
}

// TestAdviseSharedStorage: at the first load only the kind of storage can be
// looked at. That of this test is not file_system.
func TestAdviseSharedStorage(t *testing.T) {
	for store, want := range map[string]int{"memory": 1, "storage": 0} {
		n := start(t, site(strings.Replace(oneIssuer, "replay memory", "replay "+store, 1)))
		if got := strings.Count(n.log.String(), "Caddy's storage looks shared by several nodes"); got != want {
			t.Errorf("replay %s: %d lines, want %d", store, got, want)
		}
	}
}
