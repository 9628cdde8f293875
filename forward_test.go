// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import "testing"

// TestMethodOverrides: the client signed its method, so no upstream is talked into
// another one by a header field.
func TestMethodOverrides(t *testing.T) {
	n := start(t, site(oneIssuer))
	n.client().get("/", "X-HTTP-Method", "DELETE", "X-HTTP-Method-Override", "DELETE", "X-Method-Override", "DELETE", "X-Other", "kept").passed()
	got := n.upstream.last(t)
	for _, name := range methodOverrides {
		if got.Header.Get(name) != "" {
			t.Errorf("%s reaches the upstream", name)
		}
	}
	if got.Header.Get("X-Other") != "kept" {
		t.Error("X-Other does not reach the upstream")
	}
}
