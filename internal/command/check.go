// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

type checkOptions struct {
	access
	method, origin string
	originGiven    bool // so its pages have to get in
	json           bool
}

func checkCommand(e *env) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check <url> [--issuer <url>] [--key <file> --token <token>]",
		Short: "Tries a running deployment from outside",
		Long: `
Sends good and deliberately bad requests to a URL that is protected with DPoP,
and prints what was accepted and what was refused: replays, the token as Bearer,
proofs for another method, URL, token, key or time, two proofs, broken
signatures, and what browsers and clients need besides.

It gets its token as "caddy dpop request" does. About forty requests are sent,
and at least three of them reach the API, so choose a URL and a method that do
no harm. Try only what is yours.

Exit codes: 0 when everything that must be refused is, 3 when something is
accepted that must not be, 4 when it cannot be told, as the good request is
refused or the server answers neither yes nor no, 2 when there was no token to be
had, 1 for everything else.`,
		Example: `  caddy dpop check https://api.example.com/items
  caddy dpop check --json https://api.example.com/items | jq -r '.findings[] | select(.verdict == "fail").id'`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = e.run(func(ctx context.Context, args []string) error {
		o.originGiven = cmd.Flags().Changed("origin")
		return e.check(ctx, &o, args[0])
	})
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.method, "method", "X", http.MethodGet, "Method, one that does no harm")
	f.StringVar(&o.origin, "origin", "https://app.example", "Origin of a page, for the CORS probe; one that you name has to be allowed")
	f.BoolVar(&o.json, "json", false, "Print the result as JSON")
	return cmd
}

// report is the result of check.
type report struct {
	URL      string    `json:"url"`
	Issuer   string    `json:"issuer,omitempty"`
	JKT      string    `json:"jkt"`
	Findings []finding `json:"findings"`
	Failed   []string  `json:"failed"` // IDs
	Unclear  []string  `json:"unclear"`
	Warned   []string  `json:"warned"`
}

func (e *env) check(ctx context.Context, o *checkOptions, rawURL string) error {
	target, err := parseTarget(rawURL)
	if err != nil {
		return err
	}
	if !validOrigin(o.origin) {
		return fmt.Errorf("--origin %q: not an origin such as https://app.example", o.origin)
	}
	c := newClient(e, o.timeout, o.insecure, o.verbose, o.show)
	show := startProgress(e.err, e.ticker)
	defer show.stop()

	show.now("getting a token ...")
	cr, err := o.open(ctx, e, c, target)
	if err != nil {
		return err
	}
	p := &prober{credentials: cr, client: c, method: o.method, target: target, origin: o.origin, originGiven: o.originGiven, now: e.now}

	show.now("sending a good request ...")
	good, err := p.calibrate(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	r := &report{URL: target.String(), Issuer: cr.issuer, JKT: cr.key.Thumbprint(), Failed: []string{}, Unclear: []string{}, Warned: []string{}}
	r.add(judgeGood(good))
	if r.Findings[0].Verdict == verdictFail {
		return e.finish(r, o.json, exitUnclear)
	}

	total := len(refusals) + len(surroundings)
	for i, probe := range refusals {
		show.now("%d of %d: %s ...", i+1, total, probe.title)
		f, err := probe.run(ctx, p)
		if err != nil {
			return err
		}
		r.add(f)
	}
	for i, look := range surroundings {
		show.now("%d of %d: what clients need besides ...", len(refusals)+i+1, total)
		for _, f := range look(ctx, p) {
			r.add(f)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	code := 0
	switch {
	case len(r.Failed) > 0:
		code = exitRefused
	case len(r.Unclear) > 0:
		code = exitUnclear
	}
	return e.finish(r, o.json, code)
}

// judgeGood looks at the answer to the good request.
func judgeGood(a *answer) finding {
	f := finding{ID: "good", Title: "a good request", Clause: "RFC 9449, 7.1", Want: "accepted", Verdict: verdictOK, Answer: a.String()}
	switch {
	case a.refused():
		return problem(f, verdictFail, "refused (%s): what else is refused says nothing", a.description)
	case a.status >= 500:
		return problem(f, verdictFail, "no answer from the API: whether it was let in cannot be told")
	case a.header.Get("WWW-Authenticate") != "":
		return problem(f, verdictWarn, "a WWW-Authenticate on a success makes clients fail")
	}
	return f
}

// run sends a probe that must be refused and judges the answer.
func (pr *probe) run(ctx context.Context, p *prober) (finding, error) {
	f := finding{ID: pr.id, Title: pr.title, Clause: pr.clause, Want: "refused", Verdict: verdictOK}
	a, err := pr.send(ctx, p)
	if err == nil && a.err == "use_dpop_nonce" {
		// Perhaps it was only the nonce that had become stale. With the new one
		// nothing but the probe's own fault is left.
		a, err = pr.send(ctx, p)
	}
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	if err != nil {
		return problem(f, verdictUnclear, "%v", err), nil
	}
	f.Answer = a.String()
	switch {
	case a.status >= 500:
		return problem(f, verdictUnclear, "neither accepted nor refused"), nil
	case !a.refused():
		return problem(f, verdictFail, "accepted"), nil
	case a.status == http.StatusBadRequest && a.err == "": // not a matter of credentials: no challenge is due
	case !slices.Contains(pr.errors, a.err):
		return problem(f, verdictWarn, "refused, but clients expect the error %s", strings.Join(pr.errors, " or ")), nil
	}
	return f, nil
}

func (r *report) add(f finding) {
	r.Findings = append(r.Findings, f)
	switch f.Verdict {
	case verdictFail:
		r.Failed = append(r.Failed, f.ID)
	case verdictUnclear:
		r.Unclear = append(r.Unclear, f.ID)
	case verdictWarn:
		r.Warned = append(r.Warned, f.ID)
	}
}

func (e *env) finish(r *report, asJSON bool, code int) error {
	if asJSON {
		if err := e.writeJSON(r); err != nil {
			return err
		}
	} else {
		e.printReport(r, code)
	}
	if code != 0 {
		return exitWith(code, nil)
	}
	return nil
}

func (e *env) printReport(r *report, code int) {
	width := 0
	for _, f := range r.Findings {
		width = max(width, len([]rune(f.Title)))
	}
	colors := map[string]string{verdictOK: green, verdictFail: red, verdictUnclear: yellow, verdictWarn: yellow, verdictInfo: grey}
	for _, f := range r.Findings {
		label := f.Verdict
		switch label {
		case verdictFail:
			label = "FAIL" // to be found without colours
		case verdictUnclear:
			label = "?"
		}
		mark := e.paint(colors[f.Verdict], fmt.Sprintf("%-4s", label))
		line := fmt.Sprintf("  %s  %-*s  %s", mark, width, f.Title, f.Answer)
		printLine(e.out, strings.TrimRight(line, " "))
		if f.Note != "" {
			printf(e.out, "        %s (%s)\n", f.Note, f.Clause)
		}
	}
	printLine(e.out)
	switch {
	case code == exitUnclear && len(r.Failed) > 0:
		printLine(e.out, e.paint(red, "The good request is not answered as it should be. Try caddy dpop request -v with the same flags."))
	case len(r.Failed) > 0:
		printLine(e.out, e.paint(red, fmt.Sprintf("%d of %d failed: %s", len(r.Failed), len(r.Findings), strings.Join(r.Failed, ", "))))
	case len(r.Unclear) > 0:
		printLine(e.out, e.paint(yellow, fmt.Sprintf("%d of %d cannot be told: %s", len(r.Unclear), len(r.Findings), strings.Join(r.Unclear, ", "))))
	default:
		printLine(e.out, e.paint(green, fmt.Sprintf("Nothing is accepted that must not be (%d checks, %d warnings).", len(r.Findings), len(r.Warned))))
	}
}
