// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-dpop/caddy-dpop/internal/strictjson"
)

// maxMetadataSize bounds a metadata document. Real ones have 2 to 10 KiB.
const maxMetadataSize = 256 << 10

// metadataLife is how long metadata is relied on while the key set that it names
// can be fetched. When it cannot, metadata is asked for each time.
const metadataLife = time.Hour

// remote is a key set at a known address.
type remote struct {
	client  *http.Client
	jwksURI string
}

func (r *remote) uri() string { return r.jwksURI }

func (r *remote) fetch(ctx context.Context) ([]byte, error) {
	return get(ctx, r.client, r.jwksURI, "application/jwk-set+json, application/json", maxKeySetSize)
}

// discovery is a key set whose address stands in the issuer's metadata.
type discovery struct {
	client *http.Client
	now    func() time.Time
	issuer string
	// addresses are where the metadata may be, in the order to try them.
	addresses []string
	// found is what the metadata said; nil when it has to be asked for. It changes in
	// fetch only, of which there is one at a time.
	found atomic.Pointer[foundURI]
}

type foundURI struct {
	jwksURI string
	at      time.Time
}

func newDiscovery(issuer string, client *http.Client, now func() time.Time) (*discovery, error) {
	if err := checkFetchable(issuer); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return nil, fmt.Errorf("issuer: %q must have no query", issuer) // RFC 8414, section 2
	}
	origin := u.Scheme + "://" + u.Host
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return &discovery{client: client, now: now, issuer: issuer, addresses: []string{
		origin + "/.well-known/oauth-authorization-server" + path, // RFC 8414, section 3.1
		origin + path + "/.well-known/openid-configuration",       // OpenID Connect Discovery 1.0, section 4.1
	}}, nil
}

func (d *discovery) uri() string {
	if found := d.found.Load(); found != nil {
		return found.jwksURI
	}
	return ""
}

func (d *discovery) fetch(ctx context.Context) ([]byte, error) {
	found := d.found.Load()
	if found == nil || d.now().Sub(found.at) >= metadataLife || d.now().Before(found.at) {
		jwksURI, err := d.discover(ctx)
		switch {
		case err == nil:
			found = &foundURI{jwksURI: jwksURI, at: d.now()}
			d.found.Store(found)
		case found == nil:
			return nil, err
		}
	}
	keys := remote{client: d.client, jwksURI: found.jwksURI}
	data, err := keys.fetch(ctx)
	if err != nil {
		d.found.Store(nil) // it may have moved
	}
	return data, err
}

func (d *discovery) discover(ctx context.Context) (string, error) {
	var failed []error
	for _, address := range d.addresses {
		data, err := get(ctx, d.client, address, "application/json", maxMetadataSize)
		if err == nil {
			var jwksURI string
			if jwksURI, err = d.read(data); err == nil {
				return jwksURI, nil
			}
			err = fmt.Errorf("%s: %w", address, err)
		}
		if failed = append(failed, err); ctx.Err() != nil {
			break
		}
	}
	return "", fmt.Errorf("discovery: %w", errors.Join(failed...))
}

// read takes the address of the key set from a metadata document.
func (d *discovery) read(data []byte) (string, error) {
	metadata, err := strictjson.Parse(data)
	if err != nil {
		return "", err
	}
	// RFC 8414, section 3.3: it must be the issuer that we asked for, or the keys of
	// one issuer would be taken for those of another.
	value, _ := metadata.Get("issuer")
	if issuer, ok := value.Text(); !ok || issuer != d.issuer {
		return "", fmt.Errorf("its issuer is not exactly %q", d.issuer)
	}
	value, _ = metadata.Get("jwks_uri")
	jwksURI, ok := value.Text()
	if !ok {
		return "", errors.New("it has no jwks_uri")
	}
	if err := checkFetchable(jwksURI); err != nil {
		return "", fmt.Errorf("jwks_uri: %w", err)
	}
	// An issuer elsewhere has nothing to fetch on our machine without TLS.
	if strings.HasPrefix(jwksURI, "http:") && !strings.HasPrefix(d.issuer, "http:") {
		return "", errors.New("jwks_uri is http although the issuer is https")
	}
	return jwksURI, nil
}
