// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"testing"
)

func TestAccepted(t *testing.T) {
	n := start(t, site(oneIssuer))
	c := n.client()
	a := c.get("/hello?x=1").passed()
	if a.body != "from the upstream" {
		t.Errorf("body %q", a.body)
	}
	// Again: now the token and the header of the proof are known.
	c.get("/hello").passed()
	c.send("POST", n.url("/a%2Fb")).passed()
}
