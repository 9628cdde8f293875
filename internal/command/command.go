// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package command is `caddy dpop`: tools to make keys and proofs, to call a
// protected API, to see what is wrong with a proof and to try a deployment from
// outside. It registers itself with Caddy when imported.
//
// A file holds one command; what several share has a file of its own. No command
// writes a private key, a token or a client secret to its output unless it was
// asked for exactly that.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// Exit codes. Caddy's own commands use 1 for a failure, so scripts can tell an
// answer that was no from no answer.
const (
	exitFailed  = 1 // the command could not do what it was asked
	exitIssuer  = 2 // request, check: the authorization server gave no token
	exitRefused = 3 // request: 4xx; inspect: a check failed; check: something is accepted that must not be
	exitUnclear = 4 // request: 5xx; check: what must be accepted is not, so that refusals say nothing
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "dpop",
		Usage: "<key|proof|request|inspect|check> ...",
		Short: "Makes and inspects DPoP proofs, calls and checks protected APIs",
		Long: `
Tools for OAuth 2.0 DPoP (RFC 9449), for people who build or run an API
that takes DPoP tokens.

  key       makes a private key
  proof     signs a proof for a method and a URL
  request   gets a token, signs, calls a URL, answers a nonce challenge
  inspect   decodes a proof or a token and ticks every check of the RFC
  check     tries a running deployment from outside: what does it accept?

None of them needs a configuration or a running Caddy.`,
		CobraFunc: func(cmd *cobra.Command) { addCommands(cmd, newEnv()) },
	})
}

func addCommands(parent *cobra.Command, e *env) {
	// Without this a misspelt command prints the help and is a success.
	parent.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		}
		return nil
	}
	parent.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	parent.AddCommand(keyCommand(e), proofCommand(e), requestCommand(e), inspectCommand(e), checkCommand(e))
}

// env is what a command gets from outside, so that tests can give it.
type env struct {
	in       io.Reader
	out, err io.Writer
	now      func() time.Time
	color    bool
	// ticker is where the progress display gets its time from.
	ticker func() (ticks <-chan time.Time, stop func())
	// code is the exit code of the command that ran last.
	code int
}

func newEnv() *env {
	return &env{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		now:   time.Now,
		color: os.Getenv("NO_COLOR") == "" && isTerminal(os.Stdout),
		ticker: func() (<-chan time.Time, func()) {
			t := time.NewTicker(time.Second)
			return t.C, t.Stop
		},
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// exitError is an error with an exit code. An empty text means that the command
// has already said everything.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func exitWith(code int, err error) error { return &exitError{code, err} }

// run turns a function into what cobra calls: interruptible, its error on the
// standard error in one line, and its exit code handed to Caddy.
func (e *env) run(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
		defer stop()

		err := f(ctx, args)
		if err == nil {
			e.code = 0
			return nil
		}
		e.code = exitFailed
		silent := false
		if ee, ok := errors.AsType[*exitError](err); ok {
			e.code, silent = ee.code, ee.err == nil
		}
		if !silent {
			printf(e.err, "%s: %v\n", cmd.CommandPath(), err)
		}
		if e.code == exitFailed {
			return err
		}
		// Only Caddy's own wrapper can hand a code above one to its main function.
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return e.code, nil })(cmd, args)
	}
}

// printf and printLine write for a person. Whether they can still read it is not
// the command's business.
func printf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

func printLine(w io.Writer, args ...any) { _, _ = fmt.Fprintln(w, args...) }

// The colours of a terminal, none where the output is not one.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	grey   = "\x1b[90m"
	plain  = "\x1b[0m"
)

func (e *env) paint(color, text string) string {
	if !e.color {
		return text
	}
	return color + text + plain
}
