//go:build unix

// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"os"
	"path/filepath"
	"syscall"
)

// stall makes a node beside an existing one whose head is a named pipe. Reading it
// blocks until heal has it opened for writing once.
func stall(name, like string) (heal func() error, err error) {
	if err := os.MkdirAll(name, 0o700); err != nil {
		return nil, err
	}
	pass, err := filepath.Glob(like + ".*")
	if err != nil {
		return nil, err
	}
	for _, p := range pass { // the pass beside the directory, whatever its ending
		if err := os.WriteFile(name+filepath.Ext(p), nil, 0o600); err != nil {
			return nil, err
		}
	}
	head := filepath.Join(name, "head")
	if err := syscall.Mkfifo(head, 0o600); err != nil {
		return nil, err
	}
	return func() error {
		f, err := os.OpenFile(head, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			_ = f.Close()
		}
		for _, p := range pass {
			_ = os.Remove(name + filepath.Ext(p))
		}
		return os.RemoveAll(name)
	}, nil
}
