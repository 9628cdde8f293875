// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import "net/http"

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
		// An outer dpop may have changed them.
		r.Header["Authorization"] = c.x.authorization
		if len(c.x.proofs) > 0 {
			r.Header["Dpop"] = c.x.proofs
		}
	}
}
