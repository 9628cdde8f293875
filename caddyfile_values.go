// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Values of options. Missing and surplus arguments are errors, with file and
// line; what a value means is checked when the module is provisioned, so that
// JSON is held to the same.

func word(d *caddyfile.Dispenser, to *string) error {
	option := d.Val()
	if !d.Args(to) {
		return d.ArgErr()
	}
	if d.NextArg() {
		return surplus(d, option)
	}
	if *to == "" {
		return refused(d, option, *to, "a value that is not empty")
	}
	return nil
}

func list(d *caddyfile.Dispenser, to *[]string) error {
	if *to = d.RemainingArgs(); len(*to) == 0 {
		return d.ArgErr()
	}
	return nil
}

func flag(d *caddyfile.Dispenser, to *bool) error {
	option := d.Val()
	if d.NextArg() {
		return surplus(d, option)
	}
	*to = true
	return nil
}

func duration(d *caddyfile.Dispenser, to **caddy.Duration) error {
	option := d.Val()
	var text string
	if err := word(d, &text); err != nil {
		return err
	}
	value, err := caddy.ParseDuration(text)
	if err != nil {
		return refused(d, option, text, "a duration such as 90s, 5m or 1h")
	}
	*to = (*caddy.Duration)(&value)
	return nil
}

// number reads a number that is at least the given one.
func number(d *caddyfile.Dispenser, to *int, least int) error {
	option := d.Val()
	var text string
	if err := word(d, &text); err != nil {
		return err
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < least {
		return refused(d, option, text, "a number from "+strconv.Itoa(least)+" up")
	}
	*to = value
	return nil
}

// surplus is the error for an argument too many, which is the current token.
func surplus(d *caddyfile.Dispenser, option string) error {
	return d.Errf("%s: there is no place for %q", option, d.Val())
}

// refused is optionError with file and line.
func refused(d *caddyfile.Dispenser, option, seen, accepted string) error {
	return d.WrapErr(optionError(option, seen, accepted))
}

// unrecognized is the error for an option that does not exist.
func unrecognized(d *caddyfile.Dispenser, of string, options []string) error {
	return d.Errf("unrecognized option %q of %s: it takes %s", d.Val(), of, oneOf(options))
}
