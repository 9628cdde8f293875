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
	if !d.Args(to) {
		return d.ArgErr()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if *to == "" {
		return d.Err("the value is empty")
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
	if d.NextArg() {
		return d.ArgErr()
	}
	*to = true
	return nil
}

func duration(d *caddyfile.Dispenser, to **caddy.Duration) error {
	var text string
	if err := word(d, &text); err != nil {
		return err
	}
	value, err := caddy.ParseDuration(text)
	if err != nil {
		return d.Errf("%q is not a duration such as 90s, 5m or 1h: %v", text, err)
	}
	*to = (*caddy.Duration)(&value)
	return nil
}

func number(d *caddyfile.Dispenser, to *int) error {
	var text string
	if err := word(d, &text); err != nil {
		return err
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 0 {
		return d.Errf("%q is not a number from 0 up", text)
	}
	*to = value
	return nil
}

func positive(d *caddyfile.Dispenser, to *int) error {
	if err := number(d, to); err != nil {
		return err
	}
	if *to == 0 {
		return d.Err("0 is not accepted: it takes a number above 0")
	}
	return nil
}
