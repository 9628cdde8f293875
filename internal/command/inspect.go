// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type inspectOptions struct {
	method, url, token, nonce, at string
	maxAge, skew                  time.Duration
	json                          bool
}

func inspectCommand(e *env) *cobra.Command {
	var o inspectOptions
	cmd := &cobra.Command{
		Use:   "inspect [<proof or token>] [--method <method>] [--url <url>] [--token <token>]",
		Short: "Decodes a proof or a token and ticks every check",
		Long: `
Decodes a DPoP proof or an access token, from the argument or the standard
input, and goes through the checks of RFC 9449, section 4.3, one by one, with
the value expected and the value seen. A check that needs to know the request is
left open until you say what it was: --method, --url, --token.

The argument may be a whole header field, "DPoP: ..." or "Authorization: ...".
Nothing is sent anywhere.

Exit codes: 0 when no check failed, 3 when one did, 1 when there was nothing that
could be decoded.`,
		Example: `  caddy dpop inspect eyJ0eXAiOiJkcG9wK2p3dCIs... --method GET --url https://api.example.com/items
  pbpaste | caddy dpop inspect --token @token.jwt --at 2026-01-31T12:00:00Z`,
		Args: cobra.MaximumNArgs(1),
		RunE: e.run(func(_ context.Context, args []string) error { return e.inspect(o, args) }),
	}
	f := cmd.Flags()
	f.StringVarP(&o.method, "method", "X", "", "Method of the request that the proof came with")
	f.StringVarP(&o.url, "url", "u", "", "URL of that request, as the client sees it")
	f.StringVarP(&o.token, "token", "t", "", "Access token of that request, or @file")
	f.StringVarP(&o.nonce, "nonce", "n", "", "Nonce that the server gave")
	f.StringVar(&o.at, "at", "", "Time of the request: RFC 3339, Unix seconds, or an offset such as -2m (default: now)")
	f.DurationVar(&o.maxAge, "max-age", 60*time.Second, "How old a proof may be")
	f.DurationVar(&o.skew, "clock-skew", 30*time.Second, "How much clocks may differ")
	f.BoolVar(&o.json, "json", false, "Print the result as JSON")
	return cmd
}

// tick is the outcome of one check.
type tick struct {
	Check    string `json:"check"`            // number in RFC 9449, section 4.3; "" for tokens
	Title    string `json:"title"`            // what must hold
	Result   string `json:"result"`           // pass, fail or open
	Reason   string `json:"reason,omitempty"` // the plugin's word for it, as in its log
	Expected string `json:"expected,omitempty"`
	Seen     string `json:"seen,omitempty"`
	Note     string `json:"note,omitempty"`
}

const (
	resultPass = "pass"
	resultFail = "fail"
	resultOpen = "open"
)

// inspection is all that inspect found.
type inspection struct {
	Kind       string         `json:"kind"` // proof or token
	Bytes      int            `json:"bytes"`
	Header     map[string]any `json:"header"`
	Claims     map[string]any `json:"claims"`
	Thumbprint string         `json:"jkt,omitempty"` // of the proof's key, or what the token is bound to
	Checks     []tick         `json:"checks"`
	Verdict    string         `json:"verdict,omitempty"` // what this plugin's verifier says: accepted or a reason
	Failed     int            `json:"failed"`
	decoded    *jws
}

func (e *env) inspect(o inspectOptions, args []string) error {
	text := "-"
	if len(args) > 0 {
		text = args[0]
	}
	fromInput := text == "-"
	if fromInput && o.token == "-" {
		return errors.New("proof and token cannot both come from the standard input")
	}
	text, err := e.readValue(text)
	if err != nil {
		return fmt.Errorf("reading what to inspect: %w", err)
	}
	if o.token, err = e.readValue(o.token); err != nil {
		return fmt.Errorf("--token: %w", err)
	}
	at, err := e.readTime(o.at)
	if err != nil {
		return err
	}
	compact := stripField(text)
	j, err := decodeJWS(compact)
	if err != nil {
		return fmt.Errorf("neither a proof nor a JWT: %w", err)
	}

	var i *inspection
	if looksLikeProof(j) {
		if i, err = inspectProof(j, o, at); err != nil {
			return err
		}
	} else {
		i = inspectToken(j, at, o.skew)
	}
	i.decoded, i.Bytes, i.Header, i.Claims = j, len(compact), j.header, j.claims
	for _, t := range i.Checks {
		if t.Result == resultFail {
			i.Failed++
		}
	}
	if o.json {
		err = e.writeJSON(i)
	} else {
		e.printInspection(i)
	}
	if err != nil {
		return err
	}
	if i.Failed > 0 {
		return exitWith(exitRefused, nil)
	}
	return nil
}

// stripField leaves the value of a header field that was pasted whole.
func stripField(s string) string {
	if name, value, ok := strings.Cut(s, ":"); ok && !strings.ContainsAny(name, ". ") {
		s = strings.TrimSpace(value)
	}
	if scheme, value, ok := strings.Cut(s, " "); ok {
		switch strings.ToLower(scheme) {
		case "dpop", "bearer":
			s = strings.TrimSpace(value)
		}
	}
	return s
}

func looksLikeProof(j *jws) bool {
	if typ, _ := j.header["typ"].(string); strings.Contains(strings.ToLower(typ), "dpop") {
		return true
	}
	_, hasKey := j.header["jwk"]
	_, hasMethod := j.claims["htm"]
	return hasKey || hasMethod
}

func (e *env) printInspection(i *inspection) {
	title := "Access token"
	if i.Kind == "proof" {
		title = "DPoP proof"
	}
	printf(e.out, "%s, %d bytes", title, i.Bytes)
	if i.Thumbprint != "" {
		printf(e.out, ", jkt %s", i.Thumbprint)
	}
	printf(e.out, "\n\nheader %s\nclaims %s\n\n", indent(i.decoded.rawHeader), indent(i.decoded.rawClaims))
	if i.Kind == "proof" {
		printLine(e.out, "The checks of RFC 9449, section 4.3:")
	}
	for _, t := range i.Checks {
		e.printTick(t)
	}
	printLine(e.out)
	verdict := i.Verdict
	if i.Kind == "token" { // nobody but its issuer's keys can say that it is accepted
		if n := slices.IndexFunc(i.Checks, func(t tick) bool { return t.Result == resultFail }); n >= 0 {
			verdict = i.Checks[n].Reason
		}
	}
	switch verdict {
	case "":
		printLine(e.out, e.paint(green, "Good, as far as it can be told without the issuer's keys."))
	case "accepted":
		printLine(e.out, e.paint(green, "Good, as far as it can be told from what was given."))
	default:
		printLine(e.out, e.paint(red, "This plugin would refuse it: "+verdict))
	}
}

func (e *env) printTick(t tick) {
	mark, color := "✓", green
	switch t.Result {
	case resultFail:
		mark, color = "✗", red
	case resultOpen:
		mark, color = "·", grey
	}
	line := fmt.Sprintf("  %s %3s  %s", e.paint(color, mark), t.Check, t.Title)
	if t.Reason != "" && t.Result == resultFail {
		line += "  [" + t.Reason + "]"
	}
	printLine(e.out, line)
	for _, detail := range []struct{ name, value string }{{"expected", t.Expected}, {"seen", t.Seen}, {"", t.Note}} {
		if detail.value == "" || (t.Result == resultPass && detail.name == "expected") {
			continue
		}
		name := detail.name
		if name != "" {
			name += ": "
		}
		printf(e.out, "         %s%s\n", e.paint(grey, name), clean(detail.value))
	}
}

// clean makes what somebody else wrote safe to print on a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// indent prints JSON in the order in which it was written.
func indent(raw []byte) string {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return clean(string(raw))
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return []rune(clean(string(r)))[0]
	}, b.String())
}
