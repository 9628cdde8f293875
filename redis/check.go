// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// TLS refines how a server is authenticated, and we to it.
type TLS struct {
	// CA are files with the PEM certificates of the authorities to trust, instead of the system's. Default: the system's.
	CA []string `json:"ca,omitempty"`

	// Cert is a file with our client certificate and its chain in PEM. It needs `key`. Default: none.
	Cert string `json:"cert,omitempty"`

	// Key is a file with the private key of `cert` in PEM. Default: none.
	Key string `json:"key,omitempty"`

	// ServerName is the name that the server's certificate has to have. Default: the host that is dialled.
	ServerName string `json:"server_name,omitempty"`
}

// check turns the options, with their placeholders replaced, into what the client needs. It also returns the
// content of the files that they name.
func (r *Replay) check() (*options, []byte, error) {
	o := &options{
		prefix:      r.KeyPrefix,
		poolSize:    r.PoolSize,
		dialTimeout: time.Duration(r.DialTimeout),
		readTimeout: time.Duration(r.ReadTimeout),
	}
	text := r.URL
	if text == "" {
		text = defaultURL
	}
	secure, err := o.parseURL(text)
	if err != nil {
		return nil, nil, fmt.Errorf("replay redis: %w", err)
	}
	if err := r.checkUsers(o); err != nil {
		return nil, nil, fmt.Errorf("replay redis: %w", err)
	}
	if err := r.checkTunables(o); err != nil {
		return nil, nil, fmt.Errorf("replay redis: %w", err)
	}
	if !secure && r.TLS != nil {
		return nil, nil, errors.New("replay redis: tls: the url says that there is none: begin it with rediss")
	}
	var files []byte
	if secure {
		if o.tls, files, err = r.TLS.config(); err != nil {
			return nil, nil, fmt.Errorf("replay redis: tls: %w", err)
		}
	}
	return o, files, nil
}

func (r *Replay) checkUsers(o *options) error {
	if o.password != "" && (r.Username != "" || r.Password != "") {
		return errors.New("username and password: they are in the url already")
	}
	if o.password == "" {
		o.username, o.password = r.Username, r.Password
	}
	if o.username != "" && o.password == "" {
		return errors.New("username: it needs a password")
	}
	o.sentinelUsername, o.sentinelPassword = r.SentinelUsername, r.SentinelPassword
	if o.master == "" && (o.sentinelUsername != "" || o.sentinelPassword != "") {
		return errors.New("sentinel_username and sentinel_password: the url names no Sentinels: begin it with redis+sentinel")
	}
	if o.sentinelUsername != "" && o.sentinelPassword == "" {
		return errors.New("sentinel_username: it needs a sentinel_password")
	}
	return nil
}

func (r *Replay) checkTunables(o *options) error {
	if o.prefix == "" {
		o.prefix = defaultPrefix
	}
	unfit := func(c rune) bool { return c <= ' ' || c > '~' || c == '{' || c == '}' }
	if len(o.prefix) > 64 || strings.ContainsFunc(o.prefix, unfit) {
		return fmt.Errorf("key_prefix: %q is not accepted: it takes up to 64 printable characters without spaces and braces", o.prefix)
	}
	if o.poolSize == 0 {
		o.poolSize = defaultPoolSize
		if len(o.cluster) > 0 {
			o.poolSize = defaultClusterPoolSize
		}
	}
	if o.poolSize < 0 || o.poolSize > maxPoolSize {
		return fmt.Errorf("pool_size: \"%d\" is not accepted: it takes a number from 1 to %d", o.poolSize, maxPoolSize)
	}
	for _, d := range []struct {
		option   string
		value    *time.Duration
		fallback time.Duration
	}{
		{"dial_timeout", &o.dialTimeout, defaultDialTimeout},
		{"read_timeout", &o.readTimeout, maxTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
		if *d.value < 0 || *d.value > maxTimeout {
			return fmt.Errorf("%s: %q is not accepted: it takes a duration above 0 and up to %s", d.option, d.value.String(), maxTimeout)
		}
	}
	return nil
}

// config reads the files. A nil TLS is the default.
func (t *TLS) config() (*tls.Config, []byte, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t == nil {
		return config, nil, nil
	}
	config.ServerName = t.ServerName
	var files []byte
	if len(t.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
	}
	for _, path := range t.CA {
		pem, err := os.ReadFile(path) //nolint:gosec // the administrator names it
		if err != nil {
			return nil, nil, fmt.Errorf("ca: %w", err)
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("ca: %s has no certificate in PEM", path)
		}
		files = append(files, pem...)
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, nil, errors.New("cert and key: there must be both or none")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, nil, fmt.Errorf("cert and key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
		for _, c := range pair.Certificate {
			files = append(files, c...)
		}
	}
	return config, files, nil
}

// fingerprint is equal for configurations that mean the same connections, the content of files included.
func (r *Replay) fingerprint(files []byte) string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers only
	}
	h := sha256.New()
	h.Write(text)
	h.Write([]byte{0})
	h.Write(files)
	return string(h.Sum(nil))
}
