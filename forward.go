// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"slices"
)

// methodOverrides are the fields that frameworks take for another method.
var methodOverrides = []string{"X-Http-Method", "X-Http-Method-Override", "X-Method-Override"}

// forward gives the upstream the credentials in the form it was promised.
// Whatever the client sent under these names is gone unless it passed.
func (h *Handler) forward(r *http.Request, c *check) {
	// The client signed its method: no upstream shall be talked into another.
	for _, override := range methodOverrides {
		delete(r.Header, override)
	}
	if h.ProofOnly {
		return
	}
	switch h.ForwardAs {
	case wordBearer:
		r.Header.Del("Dpop")
		r.Header["Authorization"] = []string{"Bearer " + c.credentials.token}
	case wordNone:
		r.Header.Del("Dpop")
		r.Header.Del("Authorization")
	default:
		restore(r.Header, "Authorization", c.x.authorization)
		restore(r.Header, "Dpop", c.x.proofs)
	}
}

// restore puts back what was received, which an outer dpop or request_header may
// have changed: a copy, since somebody may change it again.
func restore(header http.Header, name string, received []string) {
	if len(received) > 0 && !slices.Equal(header[name], received) {
		header[name] = slices.Clone(received)
	}
}
