// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package secrecy looks for tokens, proofs, nonce keys, client secrets and private keys
// wherever a Caddy with debug logs writes anything: its log, its metrics, the admin API
// with the configuration, and every answer. The peers do their worst to get them there:
// an introspection endpoint repeats in its errors what it was sent.
package secrecy

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const (
	origin       = "https://api.example.test"
	clientSecret = "the client's secret, with a / and a : in it"
)

// stand is one Caddy with a site for each way to look at tokens, and its issuer.
type stand struct {
	*testing.T
	caddy   *process.Caddy
	issuer  *testkit.Issuer
	sites   map[string]string // name -> address
	secrets secrets
	key     *testkit.Key
	nonce   string
}

func newStand(t *testing.T) *stand {
	t.Helper()
	binary, err := process.Build(t.TempDir())
	check(t, err)
	s := &stand{T: t, issuer: testkit.NewIssuer("secrecy"), sites: map[string]string{}, secrets: secrets{}, key: testkit.P256("client of secrecy")}
	t.Cleanup(s.issuer.Close)
	dir := t.TempDir()
	s.caddy = &process.Caddy{Binary: binary, Dir: dir, Admin: process.FreeAddress(), Env: []string{"SECRECY_TEST=" + clientSecret}}
	for _, name := range []string{"jwt", "basic", "post", "signed"} {
		s.sites[name] = process.FreeAddress()
	}

	private := testkit.P256("resource server").Private.(*ecdsa.PrivateKey)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	encoded := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	file := filepath.Join(dir, "client.pem")
	check(t, os.WriteFile(file, encoded, 0o600))
	for line := range strings.Lines(string(encoded)) {
		if !strings.HasPrefix(line, "-----") && len(line) > shortest {
			s.secrets[strings.TrimSpace(line)] = "a line of the private key"
		}
	}
	scalar, err := private.Bytes()
	check(t, err)
	s.secrets.bytes("the private key", scalar)
	s.secrets[private.D.String()] = "the private key" //nolint:staticcheck // the number as fmt would write it
	s.secrets.password("rs", clientSecret)

	s.caddy.Text = s.configuration(dir, file)
	check(t, s.caddy.Start())
	t.Cleanup(s.caddy.Stop)
	return s
}

func (s *stand) configuration(dir, keyFile string) string {
	const answers = `
	handle_errors {
		header X-Reason {http.dpop.reason}
		respond "{http.dpop.reason} {http.dpop.error} {http.dpop.jkt} {err.status_code} {err.message}"
	}
	respond "{http.auth.user.id} {http.dpop.jkt} {http.dpop.claims.sub}"
	log
`
	text := fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	metrics
	debug
	storage file_system %s
	log {
		level DEBUG
		format filter {
			wrap json
			request>headers>Dpop delete
		}
	}
}
`, s.caddy.Admin, filepath.Join(dir, "storage"))
	introspection := func(lines string) string {
		return fmt.Sprintf("introspection %s {\n\t\t\tissuer %s\n\t\t\tclient_id rs\n\t\t\tcache_ttl 0\n\t\t\t%s\n\t\t}", s.issuer.URL+testkit.PathIntrospect, s.issuer.URL, lines)
	}
	for name, source := range map[string]string{
		"jwt":    "issuer " + s.issuer.URL + "\n\t\tnonce required",
		"basic":  introspection("client_secret {env.SECRECY_TEST}"),
		"post":   introspection("client_secret {env.SECRECY_TEST}\n\t\t\tauth_method client_secret_post"),
		"signed": introspection("private_key " + keyFile),
	} {
		text += fmt.Sprintf("http://%s {\n\tdpop {\n\t\t%s\n\t\taudience %s\n\t\tpublic_url %s\n\t}%s}\n", s.sites[name], source, origin, origin, answers)
	}
	return text
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// send presents token and proof under a scheme and searches the answer.
func (s *stand) send(site, scheme, token, proof string) (status int, reason string) {
	s.Helper()
	s.secrets.token(token)
	s.secrets.proof(proof)
	r, err := http.NewRequest(http.MethodGet, "http://"+s.sites[site]+"/items", nil)
	check(s, err)
	r.Header.Set("Authorization", scheme+" "+token)
	if proof != "" {
		r.Header.Set("DPoP", proof)
	}
	res, err := http.DefaultClient.Do(r)
	check(s, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	check(s, err)
	s.secrets.find(s, "an answer", fmt.Sprint(string(body), "\n", res.Header))
	if nonce := res.Header.Get("DPoP-Nonce"); nonce != "" {
		s.nonce = nonce
	}
	return res.StatusCode, res.Header.Get("X-Reason")
}

func (s *stand) expect(reason, site, scheme, token, proof string) {
	s.Helper()
	status, got := s.send(site, scheme, token, proof)
	if got != reason || (status == http.StatusOK) != (reason == "") {
		s.Errorf("%s: %d %q, want %q", site, status, got, reason)
	}
}

// proof makes a good proof; bend may spoil it.
func (s *stand) proof(token string, bend ...func(*testkit.JWS)) string {
	p := testkit.NewProof(s.key, http.MethodGet, origin+"/items", token, time.Now())
	if s.nonce != "" {
		p.Set("nonce", s.nonce)
	}
	for _, f := range bend {
		f(p)
	}
	return p.String()
}

func (s *stand) jwt() *testkit.JWS {
	return s.issuer.Token(testkit.TokenClaims{Audience: origin, Subject: "alice", Thumbprint: s.key.Thumbprint()}, time.Now())
}

// jwts sends JWTs, good and bad.
func (s *stand) jwts() {
	token := s.jwt().String()
	s.nonce = ""
	s.expect("nonce_missing", "jwt", "DPoP", token, s.proof(token))
	good := s.proof(token)
	for end := time.Now().Add(20 * time.Second); ; good = s.proof(token) {
		if status, reason := s.send("jwt", "DPoP", token, good); status == http.StatusOK {
			break
		} else if time.Now().After(end) { // a new store refuses what is as old as itself
			s.Fatalf("a good proof: %d %s", status, reason)
		}
		time.Sleep(200 * time.Millisecond)
	}
	s.expect("jti_replayed", "jwt", "DPoP", token, good)
	s.expect("htm_mismatch", "jwt", "DPoP", token, s.proof(token, func(p *testkit.JWS) { p.Set("htm", "POST") }))
	s.expect("htu_mismatch", "jwt", "DPoP", token, s.proof(token, func(p *testkit.JWS) { p.Set("htu", origin+"/other") }))
	s.expect("ath_mismatch", "jwt", "DPoP", token, s.proof("another"))
	s.expect("nonce_unknown", "jwt", "DPoP", token, s.proof(token, func(p *testkit.JWS) { p.Set("nonce", testkit.NewID()) }))
	s.expect("claims_invalid", "jwt", "DPoP", token, s.proof(token, func(p *testkit.JWS) { p.RawClaims = []byte(`{"jti":"a jti that nobody else has","htm":`) }))
	s.expect("signature_invalid", "jwt", "DPoP", token, s.proof(token, func(p *testkit.JWS) { p.Signature = func(_, b []byte) []byte { b[7] ^= 1; return b } }))
	s.expect("proof_malformed", "jwt", "DPoP", token, s.proof(token)+".AAAA")
	s.expect("bearer_refused", "jwt", "Bearer", token, "")
	s.expect("bearer_refused", "jwt", "Bearer", token, s.proof(token))
	s.expect("proof_missing", "jwt", "DPoP", token, "")
	for reason, bend := range map[string]func(*testkit.JWS){
		"token_expired":           func(j *testkit.JWS) { j.Set("exp", time.Now().Add(-time.Hour).Unix()) },
		"token_audience_mismatch": func(j *testkit.JWS) { j.Set("aud", "https://other.example.test") },
		"token_issuer_unknown":    func(j *testkit.JWS) { j.Set("iss", "https://other.example.test") },
		"token_signature_invalid": func(j *testkit.JWS) { j.Signature = func(_, b []byte) []byte { b[7] ^= 1; return b } },
		"token_claims_invalid":    func(j *testkit.JWS) { j.Set("exp", "tomorrow") },
		"token_unbound":           func(j *testkit.JWS) { j.Claims.Delete("cnf") },
		"jkt_mismatch": func(j *testkit.JWS) {
			j.Set("cnf", testkit.Object{{Name: "jkt", Value: testkit.P256("x").Thumbprint()}})
		},
	} {
		j := s.jwt()
		bend(j)
		bad := j.String()
		s.expect(reason, "jwt", "DPoP", bad, s.proof(bad))
	}
}

// opaque sends opaque tokens to an endpoint that is kind at first and then repeats what
// it is sent in every way that may end in a log.
func (s *stand) opaque(site string) {
	s.nonce = ""
	token := func() string { return "opaque-" + testkit.NewID() + testkit.NewID() }
	good := token()
	s.issuer.Introspects(good, testkit.Object{
		{Name: "active", Value: true},
		{Name: "iss", Value: s.issuer.URL},
		{Name: "aud", Value: origin},
		{Name: "sub", Value: "alice"},
		{Name: "exp", Value: time.Now().Add(time.Hour).Unix()},
		{Name: "cnf", Value: testkit.Object{{Name: "jkt", Value: s.key.Thumbprint()}}},
	})
	s.expect("", site, "DPoP", good, s.proof(good))
	unknown := token()
	s.expect("token_inactive", site, "DPoP", unknown, s.proof(unknown))
	told := func(r *http.Request) string { return r.Header.Get("Authorization") + " " + r.PostForm.Encode() }
	for name, f := range map[string]http.HandlerFunc{
		"error":    func(w http.ResponseWriter, r *http.Request) { http.Error(w, told(r), http.StatusInternalServerError) },
		"refusal":  func(w http.ResponseWriter, r *http.Request) { http.Error(w, told(r), http.StatusUnauthorized) },
		"no JSON":  func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, told(r)) },
		"a string": func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(told(r)) },
		"a member": func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"active": told(r)})
		},
		"members": func(w http.ResponseWriter, r *http.Request) {
			text := told(r)
			_ = json.NewEncoder(w).Encode(map[string]any{"active": true, "iss": text, "exp": text, text: text})
		},
		"away": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/?"+url.QueryEscape(told(r))+"&"+r.PostForm.Encode(), http.StatusFound)
		},
		"type": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", told(r))
			_, _ = io.WriteString(w, "{}")
		},
		"encoding": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", told(r))
			_, _ = io.WriteString(w, "{}")
		},
		"reset": testkit.Reset,
		"signed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/token-introspection+jwt")
			_, _ = io.WriteString(w, r.PostForm.Get("token"))
		},
	} {
		s.issuer.Fault(testkit.PathIntrospect, f)
		bad := token()
		if status, reason := s.send(site, "DPoP", bad, s.proof(bad)); status != http.StatusServiceUnavailable && status != http.StatusUnauthorized {
			s.Errorf("%s, %s: %d %q", site, name, status, reason)
		}
	}
	s.issuer.Fault(testkit.PathIntrospect, nil)
}

// surfaces searches the log and everything that the admin API tells.
func (s *stand) surfaces() {
	s.Helper()
	for _, q := range s.issuer.Requests() { // what Caddy itself made
		if a := q.Form["client_assertion"]; len(a) == 1 {
			s.secrets.token(a[0])
		}
		if _, credentials, ok := strings.Cut(q.Authorization, " "); ok {
			s.secrets[credentials] = "the credentials of a client"
		}
	}
	keys := 0
	check(s, filepath.WalkDir(filepath.Join(s.caddy.Dir, "storage", "dpop"), func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(file, "nonce") {
			return err
		}
		text, err := os.ReadFile(file)
		check(s, err)
		for _, key := range secretsIn(text) {
			s.secrets.bytes("a nonce key", key)
			keys++
		}
		return nil
	}))
	if keys == 0 {
		s.Error("no nonce key was found in the storage")
	}
	for _, path := range []string{
		"/config/", "/metrics", "/dpop/status", "/debug/vars", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1",
		"/reverse_proxy/upstreams", "/pki/ca/local",
	} {
		body, err := s.caddy.Ask(path)
		if body == "" && err != nil {
			s.Errorf("%s: %v", path, err)
		}
		s.secrets.find(s, path, body)
	}
	res, err := http.Post("http://"+s.caddy.Admin+"/adapt", "text/caddyfile", strings.NewReader(s.caddy.Text))
	check(s, err)
	defer res.Body.Close()
	adapted, err := io.ReadAll(res.Body)
	check(s, err)
	s.secrets.find(s, "/adapt", string(adapted))
	log := s.caddy.Log()
	if !strings.Contains(log, `"level":"debug"`) || !strings.Contains(log, "htu_mismatch") {
		s.Error("the log is not at debug level")
	}
	s.secrets.find(s, "the log", log)
}

// secretsIn returns the secrets of the nonce keys in a stored file.
func secretsIn(text []byte) (keys [][]byte) {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return nil
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, w := range v {
				walk(w)
			}
		case map[string]any:
			for name, w := range v {
				if secret, ok := w.(string); ok && name == "secret" {
					var key []byte
					if json.Unmarshal([]byte(`"`+secret+`"`), &key) == nil {
						keys = append(keys, key)
					}
				}
				walk(w)
			}
		}
	}
	walk(value)
	return keys
}

func TestSecrecy(t *testing.T) {
	s := newStand(t)
	for range 2 {
		s.jwts()
		for _, site := range []string{"basic", "post", "signed"} {
			s.opaque(site)
		}
		// Key sets that cannot be read, and what the admin API says of them.
		s.issuer.Fault(testkit.PathJWKS, testkit.Status(http.StatusOK, "application/json", `{"keys":[{"kty":"oct","k":"`+testkit.B64([]byte(clientSecret))+`"}]}`))
		res, err := http.Post("http://"+s.caddy.Admin+"/dpop/keys/refresh", "", nil)
		check(t, err)
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		s.secrets.find(t, "/dpop/keys/refresh", string(body))
		s.issuer.Fault(testkit.PathJWKS, nil)
		s.surfaces()
		check(t, s.caddy.Reload(s.caddy.Text))
	}
	// A configuration that does not load says why, without repeating the secret.
	broken := strings.Replace(s.caddy.Text, "client_secret {env.SECRECY_TEST}", "client_secret {env.SECRECY_TEST}\n\t\t\tclient_secret {env.SECRECY_TEST}", 1)
	if err := s.caddy.Reload(broken); err == nil {
		t.Error("a repeated client_secret was loaded")
	} else {
		s.secrets.find(t, "the error of a load", err.Error())
	}
	s.surfaces()
	s.caddy.Stop()
	s.secrets.find(t, "the log after the end", s.caddy.Log())
	t.Logf("searched for %d texts in %d bytes of log", len(s.secrets), len(s.caddy.Log()))
}
