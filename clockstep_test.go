// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

// TestClockSteps has the clock step by an hour, forward and back, in any order, as on a
// machine whose time is corrected. What was used stays used at every step, nothing that
// is too old by then passes, and when the clock is right again everything works, without
// a restart.
func TestClockSteps(t *testing.T) {
	for _, test := range []struct{ name, options string }{
		{"memory", "replay memory"},
		{"storage", "replay storage"},
		{"nonces", "replay memory\nnonce required"},
		{"nonces, storage", "replay storage\nnonce optional"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := start(t, site("\nissuer $ISSUER\naudience https://api.test\n"+test.options+"\n"))
			n.clock.Set(time.Now().Truncate(time.Second).Add(10 * time.Second)) // past the cut-off of a new store
			right := n.clock.Now()
			var used []*stepProof
			for _, step := range []time.Duration{0, time.Hour, 0, -time.Hour, 0, time.Hour, -time.Hour, 0, 59 * time.Minute, 0} {
				n.clock.Set(right.Add(step))
				// A client whose own clock steps along, and one whose clock is right.
				for _, clientIsAt := range []time.Time{n.clock.Now(), right} {
					p := n.stepProof(clientIsAt)
					switch a := p.present(); {
					case a.status == 200:
						used = append(used, p)
						if off := clientIsAt.Sub(n.clock.Now()); p.nonce == "" && (off > 30*time.Second || off < -90*time.Second) {
							t.Errorf("clock at %v: a proof that is %v off passed", step, off)
						}
					case step < 0 && a.reason() == "replay_unavailable":
						// A nonce of an hour before the store began, and the clock cannot make a newer one.
					case a.status >= 500:
						t.Errorf("clock at %v: %d %s", step, a.status, a.reason())
					}
				}
				for i, p := range used {
					if a := p.present(); a.status == 200 {
						t.Errorf("clock at %v: proof %d passed again", step, i)
					}
				}
			}
			n.clock.Set(right)
			if p := n.stepProof(right); p.present().status != 200 {
				t.Error("the clock is right again, and a new proof does not pass")
			}
			if len(used) < 4 {
				t.Errorf("only %d proofs passed", len(used))
			}
		})
	}
}

// stepProof is a proof as text, with its token, so that it can be sent again as it is.
type stepProof struct {
	n            *node
	token, proof string
	nonce        string
}

// stepProof makes a proof of a client whose clock shows now; it asks for a nonce when it
// is told to.
func (n *node) stepProof(now time.Time) *stepProof {
	n.t.Helper()
	key := testkit.P256("client")
	p := &stepProof{n: n, token: n.issuer.Token(n.claims(key), n.clock.Now()).String()}
	make := func() {
		j := testkit.NewProof(key, "GET", n.url("/"), p.token, now)
		if p.nonce != "" {
			j.Set("nonce", p.nonce)
		}
		p.proof = j.String()
	}
	make()
	if n.nonces() {
		j := testkit.NewProof(key, "GET", n.url("/"), p.token, now.Add(-2*time.Hour)) // never passes without a nonce
		a := n.send("GET", n.url("/"), "Authorization", "DPoP "+p.token, "DPoP", j.String())
		p.nonce = a.header.Get("DPoP-Nonce")
		make()
	}
	return p
}

func (n *node) nonces() bool { return n.app.nonces != nil }

func (p *stepProof) present() answer {
	p.n.t.Helper()
	return p.n.send("GET", p.n.url("/"), "Authorization", "DPoP "+p.token, "DPoP", p.proof)
}
