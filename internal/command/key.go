// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

type keyOptions struct {
	algorithm, format, out, in string
	force, public              bool
}

func keyCommand(e *env) *cobra.Command {
	var o keyOptions
	cmd := &cobra.Command{
		Use:   "key [--out <file>] [--format pem|jwk] [--algorithm <alg>]",
		Short: "Makes a private key and prints its thumbprint",
		Long: `
Makes a private key, writes it to a file that only you can read, and prints
the thumbprint (RFC 7638) that an access token for it carries as cnf.jkt.

With --in it makes nothing and prints the thumbprint of a key that is there;
with --public also the public key as a JWK. "--out -" writes the private key
to the standard output and the thumbprint to the standard error.`,
		Example: `  caddy dpop key --out client.pem
  caddy dpop key --in client.pem --public`,
		Args: cobra.NoArgs,
		RunE: e.run(func(context.Context, []string) error { return e.makeKey(o) }),
	}
	f := cmd.Flags()
	f.StringVarP(&o.algorithm, "algorithm", "a", "ES256", "What the key is for: ES256, ES384, ES512, EdDSA, RS256 or PS256")
	f.StringVarP(&o.format, "format", "f", "pem", "pem (PKCS #8) or jwk")
	f.StringVarP(&o.out, "out", "o", "", "Where to write the key (default dpop-key.pem or dpop-key.jwk)")
	f.StringVarP(&o.in, "in", "i", "", "Show this key instead of making one")
	f.BoolVar(&o.force, "force", false, "Overwrite the file if there is one")
	f.BoolVar(&o.public, "public", false, "Print the public key as a JWK too")
	return cmd
}

func (e *env) makeKey(o keyOptions) error {
	if o.in != "" {
		if o.out != "" {
			return errors.New("--in shows a key and --out makes one: give one of the two")
		}
		key, err := readKey(o.in)
		if err != nil {
			return err
		}
		return e.describeKey(key.Public(), o.public)
	}

	key, err := newKey(o.algorithm)
	if err != nil {
		return err
	}
	b, err := encodeKey(key, o.format)
	if err != nil {
		return err
	}
	if o.out == "-" {
		if _, err := e.out.Write(b); err != nil {
			return err
		}
		jkt, err := proof.Thumbprint(key.Public())
		printLine(e.err, jkt)
		return err
	}
	if o.out == "" {
		o.out = "dpop-key." + o.format
	}
	if err := writeSecret(o.out, b, o.force); err != nil {
		return err
	}
	printf(e.err, "wrote %s\n", o.out)
	return e.describeKey(key.Public(), o.public)
}

// describeKey prints a public key's thumbprint, and the key itself on request.
func (e *env) describeKey(public any, withJWK bool) error {
	jkt, err := proof.Thumbprint(public)
	if err != nil {
		return err
	}
	printLine(e.out, jkt)
	if !withJWK {
		return nil
	}
	b, err := json.MarshalIndent(jose.JSONWebKey{Key: public}, "", "  ")
	if err != nil {
		return err
	}
	printLine(e.out, string(b))
	return nil
}

// writeSecret writes a file that nobody else can read. It does not follow what
// is already there: an existing file would keep its permissions.
func writeSecret(path string, b []byte, force bool) error {
	if force {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("writing the key: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the user names the file
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; give another name with --out, or --force", path)
	}
	if err != nil {
		return fmt.Errorf("writing the key: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the key: %w", err)
	}
	return nil
}
