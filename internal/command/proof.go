// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

type proofOptions struct {
	key, algorithm, token, nonce, id, at string
	header                               bool
}

func proofCommand(e *env) *cobra.Command {
	var o proofOptions
	cmd := &cobra.Command{
		Use:   "proof <method> <url> [--key <file>] [--token <token>] [--nonce <nonce>]",
		Short: "Signs a proof for a method and a URL",
		Long: `
Signs a DPoP proof and prints it. Query and fragment of the URL are left out,
as RFC 9449 demands.

Without --key a key is made for this one proof and forgotten, and its
thumbprint goes to the standard error: enough to try a token endpoint, which
binds a token to any key.

--token is the access token that will go with the request. Write "@file" to read
it from a file or "-" to read it from the standard input, where no other user
of this machine sees it.`,
		Example: `  caddy dpop key --out client.pem
  curl -H "$(caddy dpop proof POST https://auth.example.com/token --key client.pem --header)" \
       -u ID:SECRET -d grant_type=client_credentials https://auth.example.com/token
  curl -H "$(caddy dpop proof GET https://api.example.com/ --key client.pem --token @token.jwt --header)" \
       -H "Authorization: DPoP $(cat token.jwt)" https://api.example.com/`,
		Args: cobra.ExactArgs(2),
		RunE: e.run(func(_ context.Context, args []string) error { return e.makeProof(o, args[0], args[1]) }),
	}
	f := cmd.Flags()
	f.StringVarP(&o.key, "key", "k", "", "Private key, PEM or JWK (default: one made for this proof)")
	f.StringVarP(&o.algorithm, "algorithm", "a", "", "Signature algorithm (default: by the kind of the key)")
	f.StringVarP(&o.token, "token", "t", "", "Access token, @file or -")
	f.StringVarP(&o.nonce, "nonce", "n", "", "Nonce that the server gave")
	f.StringVar(&o.id, "jti", "", "Identifier of the proof (default: random)")
	f.StringVar(&o.at, "at", "", "Time to write into it: RFC 3339, Unix seconds, or an offset such as -2m (default: now)")
	f.BoolVar(&o.header, "header", false, `Print it as a header field, "DPoP: ..."`)
	return cmd
}

func (e *env) makeProof(o proofOptions, method, url string) error {
	token, err := e.readValue(o.token)
	if err != nil {
		return fmt.Errorf("--token: %w", err)
	}
	at, err := e.readTime(o.at)
	if err != nil {
		return err
	}
	key, err := openKey(o.key, o.algorithm)
	if err != nil {
		return err
	}
	signed, err := key.Sign(proof.SignRequest{
		Method: method, URI: url, AccessToken: token, Nonce: o.nonce, ID: o.id, Now: at,
	})
	if err != nil {
		return err
	}
	if o.key == "" {
		printf(e.err, "signed with a key made for this proof, thumbprint %s\n", key.Thumbprint())
	}
	if o.header {
		signed = "DPoP: " + signed
	}
	printLine(e.out, signed)
	return nil
}

// maxValue bounds what is read from a file or the standard input in place of an
// argument. 64 KiB.
const maxValue = 1 << 16

// readValue returns an argument's value, which may be "@file" or "-": what
// stands on a command line can be seen by every user of a machine.
func (e *env) readValue(s string) (string, error) {
	source := e.in
	switch {
	case s == "-":
	case strings.HasPrefix(s, "@"):
		f, err := os.Open(s[1:])
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		source = f
	default:
		return s, nil
	}
	b, err := io.ReadAll(io.LimitReader(source, maxValue+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxValue {
		return "", fmt.Errorf("longer than %d bytes", maxValue)
	}
	value := strings.TrimSpace(string(b))
	if value == "" {
		return "", errors.New("it is empty")
	}
	return value, nil
}

// readTime understands RFC 3339, Unix seconds, and an offset from now.
func (e *env) readTime(s string) (time.Time, error) {
	if s == "" {
		return e.now(), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if seconds, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return e.now().Add(d), nil
	}
	return time.Time{}, fmt.Errorf("--at %q: neither a time (RFC 3339), nor Unix seconds, nor an offset such as -2m", s)
}
