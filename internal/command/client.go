// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"
)

// maxDocument bounds metadata and token answers. 1 MiB.
const maxDocument = 1 << 20

// client is an HTTP client that tells what it does when asked to. It follows no
// redirects: a proof is for one URL.
type client struct {
	http    *http.Client
	verbose io.Writer // nil: silent
	reveal  bool      // write tokens and proofs in full
}

func newClient(e *env, timeout time.Duration, insecure, verbose, reveal bool) *client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if insecure {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // --insecure asks for it
	}
	c := &client{
		http: &http.Client{
			Transport:     transport,
			Timeout:       timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		reveal: reveal,
	}
	if verbose {
		c.verbose = e.err
	}
	return c
}

func (c *client) say(format string, args ...any) {
	if c.verbose != nil {
		printf(c.verbose, "* "+format+"\n", args...)
	}
}

func (c *client) do(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", "caddy-dpop")
	if c.verbose != nil {
		printf(c.verbose, "> %s %s\n", r.Method, r.URL.RequestURI())
		printf(c.verbose, "> Host: %s\n", r.URL.Host)
		c.writeHeader("> ", r.Header)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // without the URL, which the caller names
		}
		return nil, err
	}
	if c.verbose != nil {
		printf(c.verbose, "< %s %s\n", answer.Proto, answer.Status)
		c.writeHeader("< ", answer.Header)
	}
	return answer, nil
}

func (c *client) writeHeader(prefix string, h http.Header) {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range h[name] {
			if !c.reveal {
				value = redact(name, value)
			}
			printf(c.verbose, "%s%s: %s\n", prefix, spell(name), value)
		}
	}
}

// spell writes the names of our field as the RFC does, which Go does not.
func spell(name string) string {
	switch name {
	case "Dpop":
		return "DPoP"
	case "Dpop-Nonce":
		return "DPoP-Nonce"
	case "Www-Authenticate":
		return "WWW-Authenticate"
	}
	return name
}

// redact shortens what could be used by somebody who reads it.
func redact(name, value string) string {
	switch name {
	case "Dpop", "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie":
	default:
		return value
	}
	scheme := ""
	if name == "Authorization" || name == "Proxy-Authorization" {
		if s, rest, ok := strings.Cut(value, " "); ok {
			scheme, value = s+" ", rest
		}
	}
	shown := ""
	if strings.HasPrefix(value, "eyJ") { // the start of a JWT says nothing
		shown = "eyJ"
	}
	return fmt.Sprintf("%s%s… (%d bytes, --show-secrets shows them)", scheme, shown, len(value))
}

// readBody reads a document whole, up to a limit. The caller closes it.
func readBody(answer *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxDocument {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxDocument)
	}
	return b, nil
}
