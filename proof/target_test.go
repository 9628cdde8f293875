// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

func TestParseOrigin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, uri, want, scheme, host, path, err string
	}{
		{name: "plain", uri: "https://api.example.com", want: "https://api.example.com", scheme: "https", host: "api.example.com"},
		{name: "slash", uri: "https://api.example.com/", want: "https://api.example.com", scheme: "https", host: "api.example.com"},
		{name: "case", uri: "HTTP://API.example.COM", want: "http://api.example.com", scheme: "http", host: "api.example.com"},
		{name: "default port", uri: "https://api.example.com:443", want: "https://api.example.com", scheme: "https", host: "api.example.com"},
		{name: "empty port", uri: "http://api.example.com:", want: "http://api.example.com", scheme: "http", host: "api.example.com"},
		{name: "port", uri: "http://LocalHost:8080", want: "http://localhost:8080", scheme: "http", host: "localhost:8080"},
		{name: "base", uri: "https://a.example/v1", want: "https://a.example/v1", scheme: "https", host: "a.example", path: "/v1"},
		{name: "base with slash", uri: "https://a.example/v1/x/", want: "https://a.example/v1/x", scheme: "https", host: "a.example", path: "/v1/x"},
		{name: "base with dots", uri: "https://a.example/v1/../x", want: "https://a.example/x", scheme: "https", host: "a.example", path: "/x"},
		{name: "IPv6", uri: "https://[0:0::1]:8443", want: "https://[::1]:8443", scheme: "https", host: "[::1]:8443"},
		{name: "query", uri: "https://a.example?x", err: "query or fragment after an origin"},
		{name: "fragment", uri: "https://a.example/#x", err: "query or fragment after an origin"},
		{name: "userinfo", uri: "https://u@a.example", err: "user information in a URI"},
		{name: "no scheme", uri: "a.example", err: "not an absolute http or https URI"},
		{name: "other scheme", uri: "ftp://a.example", err: "not an absolute http or https URI"},
		{name: "no host", uri: "https://", err: "malformed host"},
		{name: "port out of range", uri: "https://a.example:65536", err: "malformed port"},
		{name: "blank", uri: "https://a.example /", err: "character that a URI cannot have"},
		{name: "comma", uri: "https://a.example,b.example", err: "malformed host"},
		{name: "bad escape", uri: "https://a.example/%zz", err: "malformed percent-encoding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := proof.ParseOrigin(c.uri)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("got %v, %v, want %s", o, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := []string{o.String(), o.Scheme(), o.Host(), o.Path()}
			if want := []string{c.want, c.scheme, c.host, c.path}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestOriginTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, origin, path, want string }{
		{"plain", "https://a.example", "/items", "https://a.example/items"},
		{"empty", "https://a.example", "", "https://a.example/"},
		{"root", "https://a.example", "/", "https://a.example/"},
		{"query", "https://a.example", "/items?x=/..", "https://a.example/items"},
		{"base", "https://a.example/v1", "/items", "https://a.example/v1/items"},
		{"base and root", "https://a.example/v1/", "/", "https://a.example/v1/"},
		{"dots stay below the base", "https://a.example/v1", "/../../items", "https://a.example/v1/items"},
		{"authority in the path", "https://a.example", "//evil.example/x", "https://a.example//evil.example/x"},
		{"escapes", "https://a.example", "/%7e%c3%a9%2f|", "https://a.example/~%C3%A9%2F%7C"},
		{"asterisk", "https://a.example", "*", ""},
		{"absolute", "https://a.example", "https://evil.example/", ""},
		{"bad escape", "https://a.example", "/%", ""},
		{"hash", "https://a.example", "/a#b", ""},
		{"backslash", "https://a.example", `/a\b`, ""},
		{"blank", "https://a.example", "/a b", ""},
		{"not ASCII", "https://a.example", "/é", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mustOrigin(t, c.origin).Target(c.path).String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := (proof.Origin{}).Target("/").String(); got != "" {
		t.Errorf("the zero origin has the target %q", got)
	}
}

func TestZeroTargetMatchesNothing(t *testing.T) {
	t.Parallel()
	v := mustVerifier(t, proof.Config{})
	for _, uri := range []string{"", "/", "https://", "https:///", "https://a.example", "https://a.example/"} {
		p := &proof.Proof{URI: uri}
		if got := proof.ReasonOf(v.Match(p, &proof.Request{})); got != proof.ReasonHTUInvalid && got != proof.ReasonHTUMismatch {
			t.Errorf("%q against the zero target: %q", uri, got)
		}
	}
}

func TestTargetAllocates(t *testing.T) {
	o := mustOrigin(t, "https://api.example.com/v1")
	if n := testing.AllocsPerRun(100, func() { o.Target("/accounts/4711/items;a=b/~x") }); n != 0 {
		t.Errorf("a path in normal form costs %v allocations", n)
	}
}

// FuzzTarget compares with a slower reading of RFC 3986: two URIs have one normal
// form exactly when their parts are the same, and the normal form is its own.
func FuzzTarget(f *testing.F) {
	for _, set := range loadVectors(f) {
		for _, c := range set {
			if p, err := c.verifier(f).Parse(c.Proof, nil); err == nil {
				f.Add(p.URI, c.Request.URI)
			}
		}
	}
	f.Add("https://a/%2e%2e/b", "https://a/../b")
	f.Add("https://a/b/..//c", "https://a//c")
	f.Add("http://[::]:1//%5b", "HTTP://[0::0]:1//[")
	f.Fuzz(func(t *testing.T, a, b string) {
		ta, ea := proof.ParseTarget(a)
		tb, eb := proof.ParseTarget(b)
		partsA, okA := takeApart(a)
		partsB, okB := takeApart(b)
		if (ea == nil) != okA || (eb == nil) != okB {
			t.Fatalf("%q: %v, reference %v; %q: %v, reference %v", a, ea, okA, b, eb, okB)
		}
		for _, target := range []proof.Target{ta, tb} {
			if target.String() == "" {
				continue
			}
			again, err := proof.ParseTarget(target.String())
			if err != nil || again.String() != target.String() {
				t.Fatalf("normal form %q becomes %q, %v", target, again, err)
			}
			u, err := url.Parse(target.String())
			if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
				t.Fatalf("net/url reads %q as %v, %v", target, u, err)
			}
			o, err := proof.ParseOrigin(u.Scheme + "://" + u.Host)
			if err != nil || o.Target(target.String()[len(o.String()):]).String() != target.String() {
				t.Fatalf("origin and path of %q give another target", target)
			}
		}
		if okA && okB && (ta.String() == tb.String()) != slices.Equal(partsA, partsB) {
			t.Fatalf("%q and %q have the normal forms %q and %q but the parts %q and %q", a, b, ta, tb, partsA, partsB)
		}
	})
}

// takeApart returns scheme, host, port and the segments of the path as RFC 3986 has
// them equal or not, and whether there is anything in them that we refuse.
func takeApart(uri string) ([]string, bool) {
	if strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, false
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return nil, false
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	host, port, ok := takeHost(strings.ToLower(authority))
	if !ok {
		return nil, false
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	parts := []string{scheme, host, port}
	segments := strings.Split(path, "/")
	var resolved []string
	for i, s := range segments {
		s, ok := takeSegment(s)
		if !ok {
			return nil, false
		}
		last := i == len(segments)-1
		switch s {
		case "..":
			resolved = resolved[:max(0, len(resolved)-1)]
			fallthrough
		case ".":
			if last {
				resolved = append(resolved, "")
			}
		default:
			resolved = append(resolved, s)
		}
	}
	return append(parts, resolved...), true
}

func takeHost(authority string) (host, port string, ok bool) {
	if strings.HasPrefix(authority, "[") {
		inside, after, ok := strings.Cut(authority[1:], "]")
		address, err := netip.ParseAddr(inside)
		if !ok || err != nil || !address.Is6() || address.Zone() != "" || after != "" && after[0] != ':' {
			return "", "", false
		}
		host, port = address.String(), strings.TrimPrefix(after, ":")
	} else {
		host, port, _ = strings.Cut(authority, ":")
		if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
			return "", "", false
		}
		for _, c := range host {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-._", c) {
				return "", "", false
			}
		}
	}
	if strings.HasPrefix(port, "0") || len(port) > 5 || len(port) == 5 && port > "65535" {
		return "", "", false
	}
	return host, port, strings.Trim(port, "0123456789") == "" && !strings.ContainsAny(port, ":]")
}

// takeSegment writes each character of a segment that has one meaning in one way.
func takeSegment(segment string) (string, bool) {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		escaped := c == '%'
		if escaped {
			if i+2 >= len(segment) {
				return "", false
			}
			high := strings.IndexByte(hex, strings.ToUpper(segment[i+1 : i+2])[0])
			low := strings.IndexByte(hex, strings.ToUpper(segment[i+2 : i+3])[0])
			if high < 0 || low < 0 {
				return "", false
			}
			c = byte(high<<4 + low)
			i += 2
		}
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
		reserved := strings.IndexByte("!$&'()*+,;=:@", c) >= 0
		switch {
		case plain, reserved && !escaped:
			b.WriteByte(c)
		case c == '\\' && !escaped:
			return "", false
		default:
			b.WriteString("<" + string(hex[c>>4]) + string(hex[c&15]) + ">")
		}
	}
	return b.String(), true
}
