// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replaytest

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
)

// ErrFault is what a faulty storage fails with.
var ErrFault = errors.New("simulated storage fault")

// FailBefore fails every call of the method before it has any effect.
func FailBefore(method string) Handler {
	return func(_ context.Context, c *Call) error {
		if c.Method == method {
			return ErrFault
		}
		return c.Do()
	}
}

// FailAfter carries calls of the method out and then fails them: the answer was lost.
func FailAfter(method string) Handler {
	return func(_ context.Context, c *Call) error {
		err := c.Do()
		if c.Method == method {
			return ErrFault
		}
		return err
	}
}

// Stall holds calls of the method until release is closed, whatever their context says, and then carries them
// out. A Store that its caller has given up long ago then lands late.
func Stall(method string, release <-chan struct{}) Handler {
	return func(_ context.Context, c *Call) error {
		if c.Method == method {
			<-release
		}
		return c.Do()
	}
}

// HideOwn leaves out of every listing what was stored through this handler: a List that does not see the Store
// before it, as on a replica.
func HideOwn() Handler {
	own := map[string]bool{}
	return func(_ context.Context, c *Call) error {
		err := c.Do()
		switch c.Method {
		case "Store":
			own[c.Key] = true
		case "List":
			c.Keys = slices.DeleteFunc(c.Keys, func(key string) bool {
				if own[key] {
					return true
				}
				for stored := range own {
					if strings.HasPrefix(stored, key+"/") {
						return true
					}
				}
				return false
			})
		}
		return err
	}
}

// StaleList answers every List as it would have been answered when the first was asked.
func StaleList() Handler {
	var first map[string][]string
	return func(_ context.Context, c *Call) error {
		if c.Method != "List" {
			return c.Do()
		}
		if keys, ok := first[c.Key]; ok {
			c.Keys = slices.Clone(keys)
			return nil
		}
		err := c.Do()
		if first == nil {
			first = map[string][]string{}
		}
		first[c.Key] = slices.Clone(c.Keys)
		return err
	}
}

// ObjectsOnly answers every List as a table of keys does that is asked for those that begin with the path: with
// every object below it, but no directory, and with what lies beside it under a longer name.
func ObjectsOnly(s *Storage) Handler {
	return func(_ context.Context, c *Call) error {
		if c.Method != "List" {
			return c.Do()
		}
		c.Keys = s.Keys(c.Key)
		return nil
	}
}

// TemporaryNames adds to every listing what a storage or its user may leave lying about.
func TemporaryNames() Handler {
	return func(_ context.Context, c *Call) error {
		err := c.Do()
		if c.Method == "List" {
			for _, name := range []string{
				"725161756", ".tmp-head", "head", "since.", "since.-5", "since.1e9", "README",
				strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("G", 32), strings.Repeat("A", 32) + ".pass", ".pass",
			} {
				c.Keys = append(c.Keys, path.Join(c.Key, name))
			}
			c.Keys = append(c.Keys, c.Key, "")
		}
		return err
	}
}
