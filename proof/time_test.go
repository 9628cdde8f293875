// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"testing"
	"time"
)

// A proof must not pass for longer than replay stores, which count whole seconds from
// that of iat, remember it.
func TestWindowCountsWholeSeconds(t *testing.T) {
	t.Parallel()
	v, err := NewVerifier(Config{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(seconds float64) time.Time {
		return time.Unix(1764000000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	for _, c := range []struct {
		name     string
		iat, now float64
		want     Reason
	}{
		{"last moment", 0, 90, ""},
		{"after it", 0, 90.2, ReasonIATTooOld},
		{"fraction, last moment", 0.9, 90, ""},
		{"fraction, after it", 0.9, 90.2, ReasonIATTooOld},
		{"first moment", 30, 0, ""},
		{"before it", 30.2, 0, ReasonIATInFuture},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ReasonOf(v.matchTime(&Proof{IssuedAt: at(c.iat)}, at(c.now))); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
