// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

type fileFixture struct {
	*fixture
	path string
}

func newFileFixture(t *testing.T) *fileFixture {
	t.Helper()
	f := &fileFixture{
		fixture: &fixture{web: newWeb(), clock: testkit.NewClock(epoch), key: testkit.P256("issuer")},
		path:    filepath.Join(t.TempDir(), "keys.json"),
	}
	f.keys = newKeySet(t, KeySetConfig{File: f.path, Client: f.web.client(), Now: f.clock.Now})
	f.issuer = newIssuer(t, f.keys, f.clock.Now)
	return f
}

func (f *fileFixture) write(t *testing.T, data []byte) {
	t.Helper()
	if err := os.WriteFile(f.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeySetFile(t *testing.T) {
	t.Parallel()
	f := newFileFixture(t)
	next := testkit.P256("issuer 2")

	_, err := f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
	wantReason(t, err, KeysUnavailable)

	f.write(t, jwksBytes(f.key.JWK("k1")))
	_, err = f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
	wantReason(t, err, KeysUnavailable) // looked at a moment ago
	f.clock.Advance(pollInterval)
	claims, err := f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
	wantReason(t, err, "")

	// An unknown key makes us look at once, and a definite answer is possible.
	_, err = f.issuer.Verify(t.Context(), f.token(next, "k2").String())
	wantReason(t, err, KeyUnknown)
	f.write(t, jwksBytes(f.key.JWK("k1"), next.JWK("k2")))
	_, err = f.issuer.Verify(t.Context(), f.token(next, "k2").String())
	wantReason(t, err, "")

	// A broken or missing file leaves the last good copy.
	f.write(t, []byte(`{"keys":[`))
	f.clock.Advance(pollInterval)
	_, err = f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
	wantReason(t, err, "")
	_, err = f.issuer.Verify(t.Context(), f.token(next, "k3").String())
	wantReason(t, err, KeysNotRefreshed)
	if f.keys.Status().LastError == "" {
		t.Error("the status shows no error")
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(pollInterval)
	_, err = f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
	wantReason(t, err, "")
	if !claims.Live() {
		t.Error("claims are not live")
	}

	// Withdrawn: noticed by whoever asks, also of cached claims.
	f.write(t, jwksBytes(next.JWK("k2")))
	f.clock.Advance(pollInterval)
	if claims.Live() {
		t.Error("claims of a withdrawn key are live")
	}
	_, err = f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
	wantReason(t, err, KeyUnknown)
	if f.web.total() != 0 {
		t.Error("a file needs no network")
	}
}

func TestKeySetFileReplacedByRename(t *testing.T) {
	t.Parallel()
	f := newFileFixture(t)
	f.write(t, jwksBytes(f.key.JWK("k1")))
	stamp := time.Unix(1_700_000_000, 0)
	if err := os.Chtimes(f.path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	claims, err := f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
	wantReason(t, err, "")

	// Same size, same time, another file.
	temp := f.path + ".new"
	if err := os.WriteFile(temp, jwksBytes(testkit.P256("issuer 2").JWK("k1")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(temp, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, f.path); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(pollInterval)
	if claims.Live() {
		t.Error("claims of a withdrawn key are live")
	}
}

func TestKeySetFileGoneForAMoment(t *testing.T) {
	t.Parallel()
	f := newFileFixture(t)
	f.write(t, jwksBytes(f.key.JWK("k1")))
	other := testkit.P256("issuer 2")
	for _, step := range []struct {
		from, to string
		want     Reason
	}{
		{f.path, f.path, KeyUnknown},
		{f.path, f.path + ".away", KeysNotRefreshed},
		{f.path + ".away", f.path, KeyUnknown}, // the very same file, and no old error with it
	} {
		if err := os.Rename(step.from, step.to); err != nil {
			t.Fatal(err)
		}
		_, err := f.issuer.Verify(t.Context(), f.token(other, "k2").String())
		wantReason(t, err, step.want)
	}
}

func TestKeySetFileGrowsStale(t *testing.T) {
	t.Parallel()
	f := newFileFixture(t)
	f.write(t, jwksBytes(f.key.JWK("k1")))
	for range 3 { // unchanged is as good as new
		f.clock.Advance(DefaultMaxStale)
		_, err := f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
		wantReason(t, err, "")
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(DefaultMaxStale - time.Second)
	_, err := f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
	wantReason(t, err, "")
	f.clock.Advance(time.Second)
	_, err = f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
	wantReason(t, err, KeysUnavailable)
}

func TestKeySetFileThatIsNone(t *testing.T) {
	t.Parallel()
	f := newFileFixture(t)
	if err := os.Mkdir(f.path, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := f.issuer.Verify(t.Context(), f.token(f.key, "k1").String())
	wantReason(t, err, KeysUnavailable)
	f.keys.Start()
	defer f.keys.Close()
	if err := f.keys.Refresh(t.Context()); err == nil {
		t.Error("a directory is no key set")
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.write(t, jwksBytes(f.key.JWK("k1")))
	if err := f.keys.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	if st := f.keys.Status(); st.URI != f.path || len(st.Keys) != 1 || st.LastError != "" {
		t.Errorf("status %+v", st)
	}
}

// TestKeySetFileMissingAtStart: a path with a mistake in it is in the log before the first
// token comes.
func TestKeySetFileMissingAtStart(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	path := filepath.Join(t.TempDir(), "keys.json")
	keys := newKeySet(t, KeySetConfig{File: path, Logger: zap.New(core)})
	keys.Start()
	if logs.Len() != 1 || keys.Status().LastError == "" {
		t.Errorf("logged %v, status %+v", logs.All(), keys.Status())
	}
	if err := os.WriteFile(path, jwksBytes(testkit.P256("issuer").JWK("k1")), 0o600); err != nil {
		t.Fatal(err)
	}
	keys.Start() // as the next configuration does
	if logs.Len() != 1 || keys.Status().LastError != "" {
		t.Errorf("logged %v, status %+v", logs.All(), keys.Status())
	}
}
