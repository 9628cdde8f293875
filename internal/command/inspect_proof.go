// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// everyAlgorithm is what the plugin can be configured to take. What it takes by
// default is proof's to say.
var everyAlgorithm = proof.SupportedAlgorithms()

// anyAge is a window that every proof falls into, for checks where the time is
// not the point.
const anyAge = 200 * 365 * 24 * time.Hour

// proofChecks holds what the checks look at.
type proofChecks struct {
	*jws
	o      inspectOptions
	at     time.Time
	parsed *proof.Proof // nil: could not be parsed
	reason proof.Reason // why not
}

// inspectProof goes through RFC 9449, section 4.3. Each check looks for itself,
// so that one that fails does not hide the next; the verdict at the end is that
// of the verifier which the plugin uses.
func inspectProof(j *jws, o inspectOptions, at time.Time) (*inspection, error) {
	lenient, err := proof.NewVerifier(proof.Config{Algorithms: everyAlgorithm, MaxAge: anyAge})
	if err != nil {
		return nil, err
	}
	c := &proofChecks{jws: j, o: o, at: at}
	parsed, err := lenient.Parse(j.compact, nil)
	if err != nil {
		c.reason = proof.ReasonOf(err)
	} else {
		c.parsed = parsed
	}

	i := &inspection{Kind: "proof"}
	if parsed != nil {
		i.Thumbprint = parsed.Header.Thumbprint()
	}
	i.Checks = []tick{
		{Check: "1", Title: "one DPoP header field", Result: resultOpen, Note: "one value was given here; see that the request has no second"},
		{Check: "2", Title: "a single, well-formed JWT", Result: resultPass},
		c.required(), c.typ(), c.algorithm(), c.signature(), c.private(),
		c.method(), c.target(), c.nonce(), c.time(), c.hash(), c.binding(),
	}
	i.Verdict, err = c.verdict()
	return i, err
}

func (c *proofChecks) text(name string) string {
	switch v := c.claims[name].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		b, _ := json.Marshal(v)
		return string(b)
	}
}

func (c *proofChecks) required() tick {
	t := tick{Check: "3", Title: "jti, htm, htu and iat are there", Result: resultPass}
	var missing []string
	for _, name := range []string{"jti", "htm", "htu", "iat"} {
		if c.claims[name] == nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		t.Result, t.Reason, t.Seen = resultFail, missing[0]+"_missing", "no "+strings.Join(missing, ", ")
	}
	return t
}

func (c *proofChecks) typ() tick {
	typ, _ := c.header["typ"].(string)
	return compare(tick{Check: "4", Title: "typ is dpop+jwt", Reason: string(proof.ReasonTypInvalid)}, "dpop+jwt", typ,
		strings.EqualFold(strings.TrimPrefix(strings.ToLower(typ), "application/"), "dpop+jwt"))
}

func (c *proofChecks) algorithm() tick {
	alg, _ := c.header["alg"].(string)
	t := compare(tick{Check: "5", Title: "alg is an asymmetric signature algorithm", Reason: string(proof.ReasonAlgUnsupported)},
		"one of "+strings.Join(everyAlgorithm, ", "), alg, slices.Contains(everyAlgorithm, alg))
	if t.Result == resultPass && !slices.Contains(proof.DefaultAlgorithms(), alg) {
		t.Note = "not among the defaults: the server must name it under algorithms"
	}
	return t
}

func (c *proofChecks) signature() tick {
	t := tick{Check: "6", Title: "the signature is by the key in jwk", Result: resultPass}
	if c.parsed == nil {
		t.Result, t.Note = resultOpen, "cannot be told while the proof does not parse: "+string(c.reason)
		if strings.HasPrefix(string(c.reason), "jwk_") || strings.HasPrefix(string(c.reason), "key_") {
			t.Result, t.Reason, t.Note = resultFail, string(c.reason), ""
		}
		return t
	}
	if err := c.parsed.VerifySignature(); err != nil {
		t.Result, t.Reason = resultFail, string(proof.ReasonOf(err))
	}
	return t
}

func (c *proofChecks) private() tick {
	t := tick{Check: "7", Title: "jwk holds no private key", Result: resultPass}
	jwk, _ := c.header["jwk"].(map[string]any)
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, ok := jwk[name]; ok {
			t.Result, t.Reason, t.Seen = resultFail, string(proof.ReasonJWKPrivate), "a member "+name+": this key is no secret any more"
		}
	}
	return t
}

func (c *proofChecks) method() tick {
	return compareGiven(tick{Check: "8", Title: "htm is the method", Reason: string(proof.ReasonHTMMismatch)},
		"--method", c.o.method, c.text("htm"), c.text("htm") == c.o.method)
}

func (c *proofChecks) target() tick {
	t := tick{Check: "9", Title: "htu is the URL without query and fragment", Reason: string(proof.ReasonHTUMismatch)}
	seen := c.text("htu")
	target, err := proof.ParseTarget(seen)
	if err != nil {
		t.Result, t.Reason, t.Seen, t.Note = resultFail, string(proof.ReasonHTUInvalid), seen, err.Error()
		return t
	}
	claimed := target.String()
	if c.o.url == "" {
		return compareGiven(t, "--url", "", seen, true)
	}
	wanted, err := proof.ParseTarget(c.o.url)
	if err != nil {
		t.Result, t.Note = resultOpen, "--url: "+err.Error()
		return t
	}
	return compareGiven(t, "--url", wanted.String(), claimed, wanted == target)
}

func (c *proofChecks) nonce() tick {
	return compareGiven(tick{Check: "10", Title: "nonce is the one that the server gave", Reason: string(proof.ReasonNonceUnknown)},
		"--nonce", c.o.nonce, c.text("nonce"), c.text("nonce") == c.o.nonce)
}

func (c *proofChecks) time() tick {
	t := tick{Check: "11", Title: "iat is recent"}
	n, ok := c.claims["iat"].(json.Number)
	seconds, err := n.Float64()
	if !ok || err != nil {
		t.Result, t.Reason, t.Seen = resultFail, string(proof.ReasonIATInvalid), c.text("iat")
		return t
	}
	issued := time.UnixMilli(int64(seconds * 1000)).UTC()
	offset := issued.Sub(c.at).Round(time.Second)
	t.Seen = fmt.Sprintf("%s, %s", issued.Format(time.RFC3339), describeOffset(offset))
	t.Expected = fmt.Sprintf("at most %s old and %s ahead", c.o.maxAge+c.o.skew, c.o.skew)
	switch {
	case offset < -(c.o.maxAge + c.o.skew):
		t.Result, t.Reason = resultFail, string(proof.ReasonIATTooOld)
	case offset > c.o.skew:
		t.Result, t.Reason = resultFail, string(proof.ReasonIATInFuture)
	default:
		t.Result = resultPass
	}
	return t
}

func describeOffset(d time.Duration) string {
	if d > 0 {
		return d.String() + " ahead"
	}
	return (-d).String() + " ago"
}

func (c *proofChecks) hash() tick {
	t := tick{Check: "12a", Title: "ath is the hash of the access token", Reason: string(proof.ReasonATHMismatch)}
	seen := c.text("ath")
	if c.o.token == "" {
		return compareGiven(t, "--token", "", seen, true)
	}
	if seen == "" {
		t.Reason = string(proof.ReasonATHMissing)
	}
	return compareGiven(t, "--token", tokenHash(c.o.token), seen, seen == tokenHash(c.o.token))
}

// binding compares the key with the token's, when the token is a JWT.
func (c *proofChecks) binding() tick {
	t := tick{Check: "12b", Title: "the access token is bound to this key", Result: resultOpen, Reason: "jkt_mismatch"}
	if c.o.token == "" {
		t.Note = "give --token"
		return t
	}
	token, err := decodeJWS(c.o.token)
	switch {
	case err != nil:
		t.Note = "the token is opaque: only its issuer can tell"
		return t
	case c.parsed == nil:
		t.Note = "cannot be told while the proof does not parse"
		return t
	}
	jkt := boundTo(token)
	if jkt == "" {
		t.Result, t.Reason, t.Seen = resultFail, "token_unbound", "a token without cnf.jkt"
		return t
	}
	return compareGiven(t, "", jkt, c.parsed.Header.Thumbprint(), jkt == c.parsed.Header.Thumbprint())
}

// verdict asks the plugin's own verifier. What was not given is taken from the
// proof, so that it cannot be the fault.
func (c *proofChecks) verdict() (string, error) {
	config := proof.Config{Algorithms: everyAlgorithm, MaxAge: c.o.maxAge, ClockSkew: &c.o.skew}
	verifier, err := proof.NewVerifier(config)
	if err != nil {
		return "", err
	}
	r := &proof.Request{Method: c.o.method, Now: c.at}
	if r.Method == "" {
		r.Method = c.text("htm")
	}
	url := c.o.url
	if url == "" {
		url = c.text("htu")
	}
	if r.Target, err = proof.ParseTarget(url); err != nil {
		return string(proof.ReasonHTUInvalid), nil
	}
	if c.o.token != "" {
		sum := sha256.Sum256([]byte(c.o.token))
		r.AccessTokenHash = &sum
	}
	if c.o.nonce != "" {
		r.Nonces, r.RequireNonce = onlyNonce(c.o.nonce), true
	}
	if _, err := verifier.Verify(c.compact, r); err != nil {
		return string(proof.ReasonOf(err)), nil
	}
	return "accepted", nil
}

// onlyNonce knows one nonce, just given out.
type onlyNonce string

func (n onlyNonce) CheckNonce(nonce string, now time.Time) (time.Time, proof.NonceState) {
	if nonce != string(n) {
		return time.Time{}, proof.NonceUnknown
	}
	return now, proof.NonceLive
}

// compare fills in a check whose expected value is known.
func compare(t tick, expected, seen string, ok bool) tick {
	t.Result, t.Expected, t.Seen = resultPass, expected, seen
	if !ok {
		t.Result = resultFail
	}
	if seen == "" {
		t.Seen = "nothing"
	}
	if t.Result == resultPass {
		t.Reason = ""
	}
	return t
}

// compareGiven is compare for a value that comes from a flag, and leaves the
// check open when there is none.
func compareGiven(t tick, flag, expected, seen string, ok bool) tick {
	if expected == "" {
		t.Result, t.Seen, t.Reason, t.Note = resultOpen, seen, "", "give "+flag
		return t
	}
	return compare(t, expected, seen, ok)
}
