// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// inspectToken looks at what a resource server wants of a JWT access token
// (RFC 9068, section 4; RFC 9449, section 6.1). It has no key of the issuer, so
// the signature stays open.
func inspectToken(j *jws, at time.Time, skew time.Duration) *inspection {
	i := &inspection{Kind: "token", Thumbprint: boundTo(j)}
	i.Checks = []tick{
		tokenTyp(j),
		tokenAlgorithm(j),
		{Title: "the signature is by the issuer", Result: resultOpen, Note: "needs the issuer's keys: caddy dpop request asks the API itself"},
		tokenPresent(j, "iss", "token_claims_invalid"),
		tokenPresent(j, "aud", "token_audience_mismatch"),
		tokenTime(j, "exp", at, skew),
		tokenTime(j, "nbf", at, skew),
		tokenBinding(j),
	}
	return i
}

// boundTo returns a token's cnf.jkt, or nothing.
func boundTo(j *jws) string {
	cnf, _ := j.claims["cnf"].(map[string]any)
	jkt, _ := cnf["jkt"].(string)
	return jkt
}

func tokenTyp(j *jws) tick {
	t := tick{Title: "typ is at+jwt", Result: resultPass}
	typ, present := j.header["typ"].(string)
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "at+jwt":
	case "jwt", "":
		t.Note = "accepted unless the server says typ at+jwt"
	default:
		t.Result, t.Reason = resultFail, "token_typ_invalid"
	}
	t.Seen = typ
	if !present {
		t.Seen = "nothing"
	}
	return t
}

func tokenAlgorithm(j *jws) tick {
	alg, _ := j.header["alg"].(string)
	return compare(tick{Title: "alg is an asymmetric signature algorithm", Reason: "token_alg_unsupported"},
		"one of "+strings.Join(everyAlgorithm, ", "), alg, slices.Contains(everyAlgorithm, alg))
}

func tokenPresent(j *jws, name, reason string) tick {
	t := tick{Title: name + " is there", Result: resultPass}
	b, _ := json.Marshal(j.claims[name])
	if t.Seen = strings.Trim(string(b), `"`); j.claims[name] == nil {
		t.Result, t.Reason, t.Seen = resultFail, reason, "nothing"
	}
	return t
}

// tokenTime checks exp, which must be there, and nbf, which may.
func tokenTime(j *jws, name string, at time.Time, skew time.Duration) tick {
	t := tick{Title: "exp is not over", Reason: "token_expired", Expected: "after " + at.UTC().Format(time.RFC3339)}
	if name == "nbf" {
		t = tick{Title: "nbf has come", Reason: "token_not_yet_valid", Expected: "not after " + at.UTC().Format(time.RFC3339)}
	}
	value, present := j.claims[name]
	if !present && name == "nbf" {
		return tick{Title: t.Title, Result: resultPass, Seen: "nothing, which is fine"}
	}
	n, _ := value.(json.Number)
	seconds, err := n.Float64()
	if err != nil {
		t.Result, t.Reason, t.Seen = resultFail, "token_claims_invalid", fmt.Sprint(value)
		if !present {
			t.Seen = "nothing"
		}
		return t
	}
	when := time.UnixMilli(int64(seconds * 1000)).UTC()
	ok := when.Add(skew).After(at)
	if name == "nbf" {
		ok = !when.Add(-skew).After(at)
	}
	return compare(t, t.Expected, fmt.Sprintf("%s, %s", when.Format(time.RFC3339), describeOffset(when.Sub(at).Round(time.Second))), ok)
}

func tokenBinding(j *jws) tick {
	t := tick{Title: "cnf.jkt names a key", Result: resultPass, Seen: boundTo(j)}
	cnf, present := j.claims["cnf"]
	switch {
	case t.Seen != "":
	case present:
		b, _ := json.Marshal(cnf)
		t.Result, t.Reason, t.Seen = resultFail, "token_cnf_invalid", string(b)
	default:
		t.Result, t.Reason, t.Seen, t.Note = resultFail, "token_unbound", "no cnf",
			"a plain bearer token: ask for one with a proof at the token endpoint"
	}
	return t
}
