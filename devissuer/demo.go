// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package devissuer

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"time"
)

// demoCSP lets the page load its own files and call its own site, and nothing
// else: no inline script or style, no other origin, no frame around it.
const demoCSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

//go:embed demo
var demoFiles embed.FS

// demoAssets are the files of the demonstration page by the path below the
// issuer's. The page itself is at the empty one.
var demoAssets = loadDemo()

// demoAsset is one embedded file.
type demoAsset struct {
	contentType string
	etag        string
	body        []byte
}

func loadDemo() map[string]demoAsset {
	assets := make(map[string]demoAsset)
	entries, err := demoFiles.ReadDir("demo")
	if err != nil {
		panic(err) // the compiler put it there
	}
	for _, e := range entries {
		body, err := demoFiles.ReadFile(path.Join("demo", e.Name()))
		if err != nil {
			panic(err)
		}
		name := e.Name()
		if name == "index.html" {
			name = ""
		}
		sum := sha256.Sum256(body)
		assets[name] = demoAsset{contentType: contentTypes[path.Ext(e.Name())], etag: `"` + hex.EncodeToString(sum[:8]) + `"`, body: body}
	}
	return assets
}

// contentTypes does not leave to the machine's MIME table what a browser with
// nosniff depends on.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

func (a demoAsset) serve(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Security-Policy", demoCSP)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
	return nil
}
