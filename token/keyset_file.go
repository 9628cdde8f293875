// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// pollInterval is how often a key set file is looked at while it is in use.
const pollInterval = time.Second

// file is a key set on disk. It is looked at when a token needs it and at most once
// per pollInterval, and read when it has changed: another size or time of change, or
// another file under that name.
type file struct {
	path   string
	polled atomic.Int64 // nanoseconds since 1970

	mu   sync.Mutex // guards what follows
	seen os.FileInfo
	err  error // of the last look
}

func (f *file) uri() string { return f.path }

func (f *file) fetch(context.Context) ([]byte, error) {
	r, err := os.Open(f.path) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(io.LimitReader(r, maxKeySetSize+1))
}

// changed reports whether the file differs from what was last read.
func (f *file) changed(now os.FileInfo) bool {
	return f.seen == nil || !os.SameFile(f.seen, now) || f.seen.Size() != now.Size() || !f.seen.ModTime().Equal(now.ModTime())
}

// recent reports whether the file was looked at within the interval.
func (f *file) recent(now time.Time, interval time.Duration) bool {
	since := now.Sub(time.Unix(0, f.polled.Load()))
	return since >= 0 && since < interval
}

// poll looks at the file unless that was done within the interval, and puts its keys
// to use when it has changed. A file that is gone or broken leaves the last good
// copy in use. The error is that of the last look.
func (s *KeySet) poll(f *file, interval time.Duration) error {
	now := s.cfg.Now()
	if f.recent(now, interval) && s.current.Load() != nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.recent(now, interval) {
		return f.err
	}
	f.polled.Store(now.UnixNano())
	last := f.err
	f.err = s.look(f, now)
	if f.err != nil && (last == nil || last.Error() != f.err.Error()) {
		s.log.Load().Warn("key set file not read", zap.Error(f.err))
	}
	return f.err
}

// look reads the file if it has changed. The caller holds f.mu.
func (s *KeySet) look(f *file, now time.Time) error {
	info, err := os.Stat(f.path)
	if err == nil && !f.changed(info) {
		return s.looked(nil, now, f.err)
	}
	f.seen = nil // nothing is known of the file until it has been read
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.path)
	}
	var data []byte
	if err == nil {
		data, err = f.fetch(context.Background())
	}
	if err != nil {
		return s.looked(nil, now, err)
	}
	f.seen = info // from before the reading: a change meanwhile is seen next time
	keys, ignored, err := s.parseKeySet(data)
	if err == nil {
		s.log.Load().Info("key set file read", zap.Int("keys", len(keys)), zap.Int("ignored", ignored))
	}
	return s.looked(keys, now, err)
}

// looked puts the outcome of a look to use: new keys, or the same for longer.
func (s *KeySet) looked(keys []*key, now time.Time, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := s.current.Load()
	s.status.Attempted = now.Round(0)
	switch {
	case err != nil:
		s.status.LastError = err.Error()
		s.status.Failures++
		return err
	case keys != nil:
		s.status.Fetches++
		s.useLocked(&snapshot{keys: keys, fetched: now.Round(0)})
	case copied != nil:
		s.current.Store(&snapshot{keys: copied.keys, fetched: now.Round(0)})
	}
	s.status.LastError = ""
	return nil
}
