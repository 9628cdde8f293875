// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

type requestOptions struct {
	access
	method, data string
	headers      []string
	json         bool
}

func requestCommand(e *env) *cobra.Command {
	var o requestOptions
	cmd := &cobra.Command{
		Use:   "request <url> [--method <method>] [--data <data>] [--header <field>]...",
		Short: "Gets a token, signs a proof and calls a URL",
		Long: `
Calls an API that is protected with DPoP, from nothing: makes a key, finds the
authorization server, gets an access token for the key with the client
credentials grant, signs a proof and sends the request. When the authorization
server or the API asks for a nonce, it tries once more with it.

The status goes to the standard error, the body to the standard output.

Exit codes: 0 for an answer below 400, 2 when there was no token to be had, 3 for
a 4xx answer, 4 for a 5xx answer, 1 for everything else.`,
		Example: `  caddy dpop request https://api.example.com/items
  caddy dpop request -v -X POST --data @order.json -H "Content-Type: application/json" https://api.example.com/orders
  caddy dpop request --key client.pem --token @token.jwt https://api.example.com/items`,
		Args: cobra.ExactArgs(1),
		RunE: e.run(func(ctx context.Context, args []string) error { return e.request(ctx, &o, args[0]) }),
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.method, "method", "X", "", "Method (default GET, POST with --data)")
	f.StringVarP(&o.data, "data", "d", "", "Body, or @file")
	f.StringArrayVarP(&o.headers, "header", "H", nil, `Header field, "Name: value"; can be repeated`)
	f.BoolVar(&o.json, "json", false, "Print status, header, body and thumbprint as JSON")
	return cmd
}

func (e *env) request(ctx context.Context, o *requestOptions, rawURL string) error {
	target, err := parseTarget(rawURL)
	if err != nil {
		return err
	}
	header, err := parseHeaders(o.headers)
	if err != nil {
		return err
	}
	body, err := readData(o.data)
	if err != nil {
		return err
	}
	if o.method == "" {
		o.method = http.MethodGet
		if o.data != "" {
			o.method = http.MethodPost
		}
	}
	c := newClient(e, o.timeout, o.insecure, o.verbose, o.show)
	cr, err := o.open(ctx, e, c, target)
	if err != nil {
		return err
	}

	answer, err := e.call(ctx, c, cr, o.method, target, header, body, "")
	if err != nil {
		return err
	}
	if nonce := nonceChallenge(answer); nonce != "" {
		_ = answer.Body.Close()
		c.say("the API wants a nonce in the proof: once more")
		if answer, err = e.call(ctx, c, cr, o.method, target, header, body, nonce); err != nil {
			return err
		}
	}
	defer func() { _ = answer.Body.Close() }()
	if o.json {
		err = e.printJSON(answer, cr)
	} else {
		err = e.printAnswer(answer, cr.token)
	}
	if err != nil {
		return err
	}
	switch {
	case answer.StatusCode >= 500:
		return exitWith(exitUnclear, nil)
	case answer.StatusCode >= 400:
		return exitWith(exitRefused, nil)
	}
	return nil
}

// call sends one request with a fresh proof.
func (e *env) call(ctx context.Context, c *client, cr *credentials, method string, target *url.URL, header http.Header, body []byte, nonce string) (*http.Response, error) {
	signed, err := cr.key.Sign(proof.SignRequest{
		Method: method, URI: target.String(), AccessToken: cr.token, Nonce: nonce, Now: e.now(),
	})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body == nil {
		r.Body, r.GetBody, r.ContentLength = nil, nil, 0
	}
	r.Header = header.Clone()
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
		r.Header.Del("Host")
	}
	r.Header.Set("Authorization", "DPoP "+cr.token)
	r.Header.Set("DPoP", signed)
	answer, err := c.do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	return answer, nil
}

// nonceChallenge returns the nonce that an answer asks for (RFC 9449, section 9),
// or nothing.
func nonceChallenge(answer *http.Response) string {
	if answer.StatusCode != http.StatusUnauthorized {
		return ""
	}
	params, _ := findChallenge(answer.Header.Values("WWW-Authenticate"), "DPoP")
	if params["error"] != "use_dpop_nonce" {
		return ""
	}
	return answer.Header.Get("DPoP-Nonce")
}

func (e *env) printAnswer(answer *http.Response, token string) error {
	color := green
	if answer.StatusCode >= 400 {
		color = red
	}
	printLine(e.err, e.paint(color, answer.Status))
	e.explain(answer, token)
	_, err := io.Copy(e.out, answer.Body)
	return err
}

// explain says why a request was refused, as far as the answer tells.
func (e *env) explain(answer *http.Response, token string) {
	for _, c := range parseChallenges(answer.Header.Values("WWW-Authenticate")) {
		if c.params["error"] == "" {
			continue
		}
		printf(e.err, "%s: %s", c.scheme, c.params["error"])
		if d := c.params["error_description"]; d != "" {
			printf(e.err, " (%s)", d)
		}
		printLine(e.err)
		if c.params["error"] == "invalid_token" {
			e.explainToken(token)
		}
	}
	// A wrong clock is the commonest reason of all, and the answer's date shows it.
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil && answer.StatusCode == http.StatusUnauthorized {
		if off := date.Sub(e.now()).Round(time.Second); off > 10*time.Second || off < -10*time.Second {
			printf(e.err, "the server's clock and ours differ by %s\n", off.Abs())
		}
	}
}

// explainToken shows what a server's configuration has to have word for word.
func (e *env) explainToken(token string) {
	j, err := decodeJWS(token)
	if err != nil {
		return // opaque
	}
	for _, name := range []string{"iss", "aud"} {
		if value, err := json.Marshal(j.claims[name]); err == nil {
			printf(e.err, "the token's %s is %s\n", name, clean(string(value)))
		}
	}
}

func (e *env) printJSON(answer *http.Response, cr *credentials) error {
	body, err := readBody(answer)
	if err != nil {
		return err
	}
	result := map[string]any{"status": answer.StatusCode, "header": answer.Header, "jkt": cr.key.Thumbprint()}
	if json.Valid(body) {
		result["body"] = json.RawMessage(body)
	} else {
		result["body"] = string(body)
	}
	return e.writeJSON(result)
}

func (e *env) writeJSON(v any) error {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func parseHeaders(fields []string) (http.Header, error) {
	h := make(http.Header)
	for _, f := range fields {
		name, value, ok := strings.Cut(f, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf(`--header %q: want "Name: value"`, f)
		}
		switch name = http.CanonicalHeaderKey(name); name {
		case "Authorization", "Dpop":
			return nil, fmt.Errorf("--header %s: this command sets it itself", name)
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h, nil
}

func readData(data string) ([]byte, error) {
	if data == "" {
		return nil, nil
	}
	if path, ok := strings.CutPrefix(data, "@"); ok {
		b, err := os.ReadFile(path) //nolint:gosec // the user names the file
		if err != nil {
			return nil, fmt.Errorf("--data: %w", err)
		}
		if b == nil {
			return nil, errors.New("--data: the file is empty")
		}
		return b, nil
	}
	return []byte(data), nil
}
