// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Origin is where clients say that they send their requests: scheme and host as
// they know them, and a path when a proxy in front strips one. It is in the normal
// form of RFC 3986, sections 6.2.2 and 6.2.3.
type Origin struct {
	scheme string
	host   string
	prefix string // scheme://host/base, the base without its last slash
}

// Target is the URI a request is for, without query and fragment, in normal form.
// No htu matches the zero Target.
type Target struct {
	prefix string // up to the end of an origin's base
	path   string // begins with a slash
}

// Why a URI is not one that we compare. The words are fixed since such an error can
// be about something that a client sent.
var (
	errNotAbsolute = errors.New("not an absolute http or https URI")
	errCharacter   = errors.New("character that a URI cannot have")
	errUserinfo    = errors.New("user information in a URI")
	errHost        = errors.New("malformed host")
	errPort        = errors.New("malformed port")
	errEscape      = errors.New("malformed percent-encoding")
	errOriginRest  = errors.New("query or fragment after an origin")
)

// ParseOrigin reads an origin such as https://api.example.com, also with a port and
// with a base path. Scheme and host compare without case, a default port is
// dropped.
func ParseOrigin(uri string) (Origin, error) {
	scheme, host, path, rest, err := parseURI(uri)
	if err != nil {
		return Origin{}, err
	}
	if rest != "" {
		return Origin{}, errOriginRest
	}
	prefix := scheme + "://" + host
	return Origin{
		scheme: scheme,
		host:   host,
		prefix: prefix + strings.TrimSuffix(path, "/"),
	}, nil
}

// String returns the origin in normal form, without a slash at the end.
func (o Origin) String() string { return o.prefix }

// Scheme returns http or https.
func (o Origin) Scheme() string { return o.scheme }

// Host returns the host in lower case, with the port unless it is the scheme's own.
func (o Origin) Host() string { return o.host }

// Path returns the base path, "" when there is none.
func (o Origin) Path() string {
	if o.scheme == "" {
		return ""
	}
	return o.prefix[len(o.scheme)+len("://")+len(o.host):]
}

// Target returns the URI of a request below the origin. The path is that of the
// request line as it was sent, still escaped; from a query on it is ignored. (What
// url.URL.EscapedPath returns will do unless the path has both an escaped slash and a
// character that should have been escaped: then it no longer has the slash.)
//
// A path that is none, such as the asterisk of OPTIONS or one with a malformed
// escape, gives the zero Target, which nothing matches. Dots in it do not lead out
// of the origin's base.
func (o Origin) Target(escapedPath string) Target {
	if end := strings.IndexByte(escapedPath, '?'); end >= 0 {
		escapedPath = escapedPath[:end]
	}
	path, err := normalPath(escapedPath)
	if err != nil || o.prefix == "" {
		return Target{}
	}
	return Target{prefix: o.prefix, path: path}
}

// ParseTarget reads an absolute http or https URI. Query and fragment are dropped.
func ParseTarget(uri string) (Target, error) {
	scheme, host, path, _, err := parseURI(uri)
	if err != nil {
		return Target{}, err
	}
	return Target{prefix: scheme + "://" + host, path: path}, nil
}

// String returns the URI in normal form, or "" for the zero Target.
func (t Target) String() string { return t.prefix + t.path }

// equals reports whether uri is, byte by byte, the target in normal form. It saves
// nearly every request from taking a URI apart.
func (t Target) equals(uri string) bool {
	return t.path != "" && len(uri) == len(t.prefix)+len(t.path) &&
		uri[:len(t.prefix)] == t.prefix && uri[len(t.prefix):] == t.path
}

// parseURI takes an absolute URI apart, with scheme, host and path in normal form.
// The rest is query and fragment, as written.
func parseURI(uri string) (scheme, host, path, rest string, err error) {
	for i := range len(uri) {
		if uri[i] <= ' ' || uri[i] >= 0x7f {
			return "", "", "", "", errCharacter
		}
	}
	scheme, after, ok := strings.Cut(uri, "://")
	if !ok {
		return "", "", "", "", errNotAbsolute
	}
	// Neither word has a letter that something outside ASCII folds to but "https" has:
	// the loop above has excluded the long s.
	switch {
	case strings.EqualFold(scheme, "https"):
		scheme = "https"
	case strings.EqualFold(scheme, "http"):
		scheme = "http"
	default:
		return "", "", "", "", errNotAbsolute
	}
	if i := strings.IndexAny(after, "?#"); i >= 0 {
		after, rest = after[:i], after[i:]
	}
	authority := after
	if i := strings.IndexByte(after, '/'); i >= 0 {
		authority, path = after[:i], after[i:]
	}
	if host, err = normalHost(scheme, authority); err != nil {
		return "", "", "", "", err
	}
	if path, err = normalPath(path); err != nil {
		return "", "", "", "", err
	}
	return scheme, host, path, rest, nil
}

// normalHost returns host and port in normal form. Names compare as text: neither
// dots at the end nor the odd spellings of IPv4 addresses are taken away, since
// servers tell them apart.
func normalHost(scheme, authority string) (string, error) {
	if strings.IndexByte(authority, '@') >= 0 {
		return "", errUserinfo
	}
	name, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		name, port = authority[:i], authority[i+1:]
	}
	if strings.HasPrefix(name, "[") {
		// A zone means nothing to the other end (RFC 6874, section 4).
		address, err := netip.ParseAddr(strings.TrimSuffix(name[1:], "]"))
		if err != nil || !address.Is6() || address.Zone() != "" || !strings.HasSuffix(name, "]") {
			return "", errHost
		}
		name = "[" + address.String() + "]"
	} else if !isHostname(name) {
		return "", errHost
	}
	switch {
	case port == "", scheme == "https" && port == "443", scheme == "http" && port == "80":
		return strings.ToLower(name), nil
	case port[0] == '0':
		return "", errPort
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return "", errPort
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", errPort
	}
	return strings.ToLower(name) + ":" + port, nil
}

// isHostname reports whether name consists of what names in the DNS and IPv4
// addresses are written with. A URI could have more, escapes for one, but no
// certificate names such a host.
func isHostname(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !isAlphanumeric(c) && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return name != ""
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
