// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/proof"
	"github.com/caddy-dpop/caddy-dpop/replay"
)

// Defaults and bounds of the options.
const (
	defaultMaxAge    = 60 * time.Second
	maxMaxAge        = time.Hour
	defaultClockSkew = 30 * time.Second

	// Nobody's clock should be off by more, and a proof from over a minute
	// ahead must not be accepted (FAPI 2.0 Security Profile, section 5.3.2.1).
	maxClockSkew = 60 * time.Second
)

// Words of the options that take one of a few.
const (
	wordAny     = "any"
	wordReject  = "reject"
	wordAllow   = "allow"
	wordEnforce = "enforce"
	wordMonitor = "monitor"
	wordDPoP    = "dpop"
	wordBearer  = "bearer"
	wordNone    = "none"
)

// optionError says which option is wrong, what was seen and what would be
// accepted, the same for Caddyfile and JSON.
func optionError(option string, seen any, accepted string) error {
	return fmt.Errorf("%s: %q is not accepted: it takes %s", option, fmt.Sprint(seen), accepted)
}

// oneOf lists words: "a", "a or b", "a, b or c".
func oneOf(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// expand replaces placeholders such as {env.ISSUER}. One that is unknown or
// empty is an error: it must never loosen a check.
func (h *Handler) expand() error {
	repl := caddy.NewReplacer()
	for _, list := range []struct {
		option string
		values []string
	}{
		{"audience", h.Audience},
		{"scope", h.Scope},
		{"algorithms", h.Algorithms},
		{"public_url", h.PublicURLs},
		{"cors", h.CORS},
	} {
		for i, value := range list.values {
			if err := expandText(repl, list.option, value, &list.values[i]); err != nil {
				return err
			}
		}
	}
	if h.Realm != "" {
		if err := expandText(repl, "realm", h.Realm, &h.Realm); err != nil {
			return err
		}
	}
	for _, issuer := range h.Issuers {
		if err := issuer.expand(repl); err != nil {
			return err
		}
	}
	if h.Introspection != nil {
		return h.Introspection.expand(repl)
	}
	return nil
}

func expandText(repl *caddy.Replacer, option, value string, to *string) error {
	expanded, err := repl.ReplaceOrErr(value, true, true)
	if err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	if strings.TrimSpace(expanded) == "" {
		return optionError(option, expanded, "a value that is not empty")
	}
	*to = expanded
	return nil
}

// check holds what makes sense on its own and together, for Caddyfile and
// JSON alike. Nothing unknown ever means off.
func (h *Handler) check() error {
	for _, check := range []func() error{
		h.checkSources,
		h.checkTimes,
		h.checkWords,
		h.checkLists,
		h.Nonce.check,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) checkSources() error {
	if h.ProofOnly {
		return h.checkProofOnly()
	}
	if len(h.Issuers) == 0 && h.Introspection == nil {
		return fmt.Errorf("no source of access tokens: add issuer, introspection or proof_only")
	}
	seen := make(map[string]bool, len(h.Issuers))
	for _, issuer := range h.Issuers {
		if seen[issuer.Issuer] {
			return fmt.Errorf("issuer: %q is there twice", issuer.Issuer)
		}
		seen[issuer.Issuer] = true
		if err := issuer.check(h.Audience); err != nil {
			return err
		}
	}
	if h.Introspection != nil {
		return h.Introspection.check(h.Audience)
	}
	return nil
}

// checkProofOnly refuses what would be silently without effect.
func (h *Handler) checkProofOnly() error {
	for _, useless := range []struct {
		option string
		set    bool
	}{
		{"issuer", len(h.Issuers) > 0},
		{"introspection", h.Introspection != nil},
		{"audience", h.Audience != nil},
		{"scope", h.Scope != nil},
		{"mtls", h.MTLS},
		{"bearer", h.Bearer != ""},
		{"forward_as", h.ForwardAs != ""},
		{"metadata", h.Metadata != nil},
	} {
		if useless.set {
			return fmt.Errorf("proof_only: no access token is looked at, so %s cannot stand beside it", useless.option)
		}
	}
	return nil
}

func (h *Handler) checkTimes() error {
	if age := h.maxAge(); age <= 0 || age > maxMaxAge {
		return optionError("max_age", age, "a duration above 0 and up to 1h")
	}
	if skew := h.clockSkew(); skew < 0 || skew > maxClockSkew {
		return optionError("clock_skew", skew, "a duration from 0 to 60s")
	}
	return nil
}

func (h *Handler) checkWords() error {
	for _, word := range []struct {
		option   string
		value    *string
		accepted []string // the first is the default
	}{
		{"bearer", &h.Bearer, []string{wordReject, wordAllow}},
		{"mode", &h.Mode, []string{wordEnforce, wordMonitor}},
		{"forward_as", &h.ForwardAs, []string{wordDPoP, wordBearer, wordNone}},
	} {
		if *word.value == "" {
			*word.value = word.accepted[0]
		}
		if !slices.Contains(word.accepted, *word.value) {
			return optionError(word.option, *word.value, oneOf(word.accepted))
		}
	}
	return nil
}

func (h *Handler) checkLists() error {
	if err := checkList("audience", h.Audience, wordAny); err != nil {
		return err
	}
	if err := checkList("scope", h.Scope, ""); err != nil {
		return err
	}
	for _, scope := range h.Scope {
		if !isScopeToken(scope) {
			return optionError("scope", scope, "scope names of RFC 6749, section 3.3, one word each")
		}
	}
	if strings.ContainsFunc(h.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return optionError("realm", h.Realm, "printable ASCII without quotes and backslashes")
	}
	return checkList("algorithms", h.Algorithms, "")
}

// checkList refuses lists that are there but empty, repeat a value, or mix
// the word that stands for everything with others.
func checkList(option string, values []string, alone string) error {
	if values != nil && len(values) == 0 {
		return fmt.Errorf("%s: the list is empty; leave the option out or name at least one value", option)
	}
	seen := make(map[string]bool, len(values))
	for _, value := range values {
		if value == "" {
			return optionError(option, value, "values that are not empty")
		}
		if alone != "" && value == alone && len(values) > 1 {
			return fmt.Errorf("%s: %q stands alone or not at all", option, alone)
		}
		if seen[value] {
			return fmt.Errorf("%s: %q is there twice", option, value)
		}
		seen[value] = true
	}
	return nil
}

// isScopeToken says whether s is a scope-token of RFC 6749, section 3.3.
func isScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < '!' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

func (h *Handler) maxAge() time.Duration {
	return durationOr(h.MaxAge, defaultMaxAge)
}

func (h *Handler) clockSkew() time.Duration {
	return durationOr(h.ClockSkew, defaultClockSkew)
}

func durationOr(d *caddy.Duration, fallback time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	return time.Duration(*d)
}

// window is how long this handler could still accept a proof.
func (h *Handler) window() replay.Window {
	w := replay.Window{Proof: h.maxAge() + h.clockSkew()}
	if h.Nonce.enabled() {
		w.Nonce = h.Nonce.lifetime() + h.clockSkew()
	}
	return w
}

// algorithms are those that this handler announces.
func (h *Handler) algorithms() []string {
	if len(h.Algorithms) > 0 {
		return h.Algorithms
	}
	return proof.DefaultAlgorithms()
}
