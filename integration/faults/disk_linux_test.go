// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestDiskFull fills the file system under the storage while requests come: 503, no
// pass that cannot be remembered, and recovery as soon as there is room again.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("this machine does not let root mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := newStand(t, filepath.Join(dir, "storage"), `respond "ok"`)
	base := s.base()
	token := s.token(s.jwt)
	l := s.load(s.jwt, token, 4)
	l.await(t, "200", 20)
	for range 2 {
		ballast := filepath.Join(dir, "ballast")
		fill(t, ballast)
		l.await(t, "503", 20)
		s.bad(s.jwt, token)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		l.await(t, "200", 20)
	}
	for status, n := range l.end() {
		if status != "200" && status != "503" {
			t.Errorf("%d requests were answered %s", n, status)
		}
	}
	s.sound()
	s.settles(base)
}

// fill writes until there is no room left.
func fill(t *testing.T, name string) {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, size := range []int{4096, 1} {
		for {
			if _, err := file.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}
