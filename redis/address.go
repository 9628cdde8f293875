// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

const defaultURL = "redis://localhost:6379"

// schemes are the accepted forms of a URL, as error messages show them.
const schemes = "redis://host:port/db, redis+sentinel://host:port,host:port/master/db, redis+cluster://host:port,host:port, the same with rediss for TLS, or unix:///path"

// parseURL fills in where Redis is. Nothing in the URL is passed over: what would be ignored is an error. Errors
// never show the URL, since it may hold a password.
func (o *options) parseURL(text string) (secure bool, err error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return false, fmt.Errorf("url: no scheme: it takes %s", schemes)
	}
	if scheme == "unix" {
		if !strings.HasPrefix(rest, "/") || strings.ContainsAny(rest, "?#") {
			return false, errors.New("url: unix:// takes an absolute path and nothing else")
		}
		o.network, o.address = "unix", rest
		return false, nil
	}
	transport, kind, _ := strings.Cut(scheme, "+")
	if (transport != "redis" && transport != "rediss") || (strings.Contains(scheme, "+") && kind != "sentinel" && kind != "cluster") {
		return false, fmt.Errorf("url: %q is not accepted: it takes %s", scheme, schemes)
	}
	if strings.ContainsAny(rest, "?#") {
		return false, errors.New("url: a query or fragment is not accepted: use the options of the block")
	}

	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if err := o.parseUser(authority[:i]); err != nil {
			return false, err
		}
		authority = authority[i+1:]
	}
	defaultPort := "6379"
	if kind == "sentinel" {
		defaultPort = "26379"
	}
	var hosts []string
	for host := range strings.SplitSeq(authority, ",") {
		h, err := hostPort(host, defaultPort)
		if err != nil {
			return false, err
		}
		hosts = append(hosts, h)
	}

	switch kind {
	case "cluster":
		if path != "" {
			return false, errors.New("url: a cluster has no database to choose: leave the path out")
		}
		o.cluster = hosts
	case "sentinel":
		master, db, _ := strings.Cut(path, "/")
		if master == "" {
			return false, errors.New("url: redis+sentinel takes the name of the master as path")
		}
		o.master, o.sentry = master, hosts
		if err := o.parseDB(db); err != nil {
			return false, err
		}
	default:
		if len(hosts) != 1 {
			return false, fmt.Errorf("url: %s takes one host; several are for %[1]s+sentinel or %[1]s+cluster", transport)
		}
		o.network, o.address = "tcp", hosts[0]
		if err := o.parseDB(path); err != nil {
			return false, err
		}
	}
	return transport == "rediss", nil
}

func (o *options) parseUser(text string) error {
	name, secret, _ := strings.Cut(text, ":")
	username, err := url.PathUnescape(name)
	password, err2 := url.PathUnescape(secret)
	if err != nil || err2 != nil {
		return errors.New("url: the user part has a percent sign that is none: use the options username and password")
	}
	if password == "" {
		return errors.New("url: a user name without a password")
	}
	o.username, o.password = username, password
	return nil
}

func (o *options) parseDB(text string) error {
	if text == "" {
		return nil
	}
	db, err := strconv.Atoi(text)
	if err != nil || db < 0 {
		return fmt.Errorf("url: database %q is not accepted: it takes a number", text)
	}
	o.db = db
	return nil
}

func hostPort(text, defaultPort string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.Trim(text, "[]"), defaultPort
	}
	if host == "" || strings.ContainsAny(host, "[]/ ") || (strings.Contains(host, ":") && !strings.HasPrefix(text, "[")) {
		return "", fmt.Errorf("url: %q is not accepted: it takes host or host:port", text)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("url: port %q is not accepted: it takes a number from 1 to 65535", port)
	}
	return net.JoinHostPort(host, port), nil
}
