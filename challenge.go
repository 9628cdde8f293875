// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-dpop/caddy-dpop/proof"
	"github.com/caddy-dpop/caddy-dpop/token"
)

// The error codes of our challenges: RFC 6750, section 3.1, and RFC 9449,
// sections 7.1 and 9.
const (
	errInvalidRequest    = "invalid_request"
	errInvalidToken      = "invalid_token"
	errInsufficientScope = "insufficient_scope"
	errInvalidProof      = "invalid_dpop_proof"
	errUseNonce          = "use_dpop_nonce"
)

// Reason says what exactly was wrong with a request: one word of a closed
// list, the same in the log, the metrics, the placeholder
// `{http.dpop.reason}` and docs/troubleshooting.md.
type Reason string

// The reasons that neither package proof nor package token gives.
const (
	ReasonNoCredentials          Reason = "no_credentials"
	ReasonSchemeUnsupported      Reason = "scheme_unsupported"
	ReasonAuthorizationRepeated  Reason = "authorization_repeated"
	ReasonAuthorizationMalformed Reason = "authorization_malformed"
	ReasonProofMissing           Reason = "proof_missing"
	ReasonProofRepeated          Reason = "proof_repeated"
	ReasonBearerRefused          Reason = "bearer_refused"
	ReasonProofWithBearer        Reason = "proof_with_bearer"
	ReasonReplayed               Reason = "jti_replayed"
	ReasonIssuedBeforeStart      Reason = "issued_before_start"
	ReasonWindowRaised           Reason = "window_raised"
	ReasonKeyOverLimit           Reason = "key_over_limit"
	ReasonReplayUnavailable      Reason = "replay_unavailable"
	ReasonReplayFull             Reason = "replay_full"
	ReasonNonceUnavailable       Reason = "nonce_unavailable"
	ReasonHostUnknown            Reason = "host_unknown"
	ReasonEarlyData              Reason = "early_data"
)

// refusal is what a client is told for a reason.
type refusal struct {
	status int
	code   string // `error` of the challenge; "" where there is none

	// description is the `error_description`. Fixed words, never a value that
	// the client sent, and only letters, digits, spaces, commas, full stops and
	// hyphens: one client's parser knows no more.
	description string
}

// refusals is the one table from reason to answer. invalid_token makes
// clients throw a session away, so a bad proof, a bad clock or an outage of
// our own is never called that.
var refusals = map[Reason]refusal{
	ReasonNoCredentials:          {401, "", ""},
	ReasonSchemeUnsupported:      {401, "", ""},
	ReasonAuthorizationRepeated:  {400, errInvalidRequest, "More than one Authorization field"},
	ReasonAuthorizationMalformed: {400, errInvalidRequest, "The Authorization field cannot be parsed"},
	ReasonProofWithBearer:        {400, errInvalidRequest, "A DPoP proof was sent with a token in the Bearer scheme"},

	ReasonProofMissing:                   {401, errInvalidProof, "No DPoP proof was sent"},
	ReasonProofRepeated:                  {401, errInvalidProof, "More than one DPoP field"},
	ReasonReplayed:                       {401, errInvalidProof, "The proof was used before"},
	ReasonIssuedBeforeStart:              {401, errInvalidProof, "The proof is older than the memory of used proofs"},
	ReasonWindowRaised:                   {401, errInvalidProof, "The proof is older than the memory of used proofs reaches"},
	Reason(proof.ReasonTooLarge):         {401, errInvalidProof, "The proof is too large"},
	Reason(proof.ReasonMalformed):        {401, errInvalidProof, "The proof is not a compact JWS"},
	Reason(proof.ReasonHeaderInvalid):    {401, errInvalidProof, "The header of the proof is not valid"},
	Reason(proof.ReasonTypInvalid):       {401, errInvalidProof, "The typ of the proof is not that of a DPoP proof"},
	Reason(proof.ReasonAlgUnsupported):   {401, errInvalidProof, "The algorithm of the proof is not accepted here"},
	Reason(proof.ReasonCritUnsupported):  {401, errInvalidProof, "The proof has critical extensions that are not understood"},
	Reason(proof.ReasonJWKMissing):       {401, errInvalidProof, "The proof has no jwk"},
	Reason(proof.ReasonJWKInvalid):       {401, errInvalidProof, "The jwk of the proof is not valid"},
	Reason(proof.ReasonJWKPrivate):       {401, errInvalidProof, "The jwk of the proof holds a private or symmetric key"},
	Reason(proof.ReasonKeyMismatch):      {401, errInvalidProof, "The jwk of the proof does not fit its algorithm"},
	Reason(proof.ReasonKeyUnacceptable):  {401, errInvalidProof, "The key of the proof is not acceptable"},
	Reason(proof.ReasonClaimsInvalid):    {401, errInvalidProof, "The claims of the proof are not valid"},
	Reason(proof.ReasonHTMMissing):       {401, errInvalidProof, "The proof has no htm"},
	Reason(proof.ReasonHTMMismatch):      {401, errInvalidProof, "The htm of the proof is not the method of the request"},
	Reason(proof.ReasonHTUMissing):       {401, errInvalidProof, "The proof has no htu"},
	Reason(proof.ReasonHTUInvalid):       {401, errInvalidProof, "The htu of the proof is not an absolute http or https URI"},
	Reason(proof.ReasonHTUMismatch):      {401, errInvalidProof, "The htu of the proof is not the URI of the request"},
	Reason(proof.ReasonIATMissing):       {401, errInvalidProof, "The proof has no iat"},
	Reason(proof.ReasonIATInvalid):       {401, errInvalidProof, "The iat of the proof is not a number in range"},
	Reason(proof.ReasonIATTooOld):        {401, errInvalidProof, "The proof is too old, check the clock"},
	Reason(proof.ReasonIATInFuture):      {401, errInvalidProof, "The proof is from the future, check the clock"},
	Reason(proof.ReasonExpPassed):        {401, errInvalidProof, "The exp of the proof has passed"},
	Reason(proof.ReasonNbfInFuture):      {401, errInvalidProof, "The nbf of the proof is in the future"},
	Reason(proof.ReasonJTIMissing):       {401, errInvalidProof, "The proof has no jti"},
	Reason(proof.ReasonJTIInvalid):       {401, errInvalidProof, "The jti of the proof is not valid"},
	Reason(proof.ReasonJTITooLong):       {401, errInvalidProof, "The jti of the proof is too long"},
	Reason(proof.ReasonATHMissing):       {401, errInvalidProof, "The proof has no ath"},
	Reason(proof.ReasonATHMismatch):      {401, errInvalidProof, "The ath of the proof is not the hash of the access token"},
	Reason(proof.ReasonSignatureInvalid): {401, errInvalidProof, "The signature of the proof does not hold"},
	Reason(proof.ReasonNonceInvalid):     {401, errInvalidProof, "The nonce of the proof is not valid"},
	Reason(proof.ReasonNonceMissing):     {401, errUseNonce, "The proof needs the nonce of this answer"},
	Reason(proof.ReasonNonceUnknown):     {401, errUseNonce, "The nonce of the proof is not ours, use that of this answer"},
	Reason(proof.ReasonNonceStale):       {401, errUseNonce, "The nonce of the proof is no longer good, use that of this answer"},
	Reason(proof.ReasonIATChallenged):    {401, errUseNonce, "The clock is off, use the nonce of this answer"},
	ReasonBearerRefused:                  {401, errInvalidToken, "The access token must be used with a DPoP proof"},
	Reason(token.TooLarge):               {401, errInvalidToken, "The access token is too large"},
	Reason(token.Malformed):              {401, errInvalidToken, "The access token cannot be read"},
	Reason(token.TypInvalid):             {401, errInvalidToken, "The typ of the access token is not accepted"},
	Reason(token.AlgUnsupported):         {401, errInvalidToken, "The algorithm of the access token is not accepted"},
	Reason(token.IssuerUnknown):          {401, errInvalidToken, "The issuer of the access token is not trusted"},
	Reason(token.KeyUnknown):             {401, errInvalidToken, "The access token is signed by an unknown key"},
	Reason(token.SignatureInvalid):       {401, errInvalidToken, "The signature of the access token does not hold"},
	Reason(token.ClaimsInvalid):          {401, errInvalidToken, "The claims of the access token are not valid"},
	Reason(token.Expired):                {401, errInvalidToken, "The access token has expired"},
	Reason(token.NotYetValid):            {401, errInvalidToken, "The access token is not valid yet"},
	Reason(token.AudienceMismatch):       {401, errInvalidToken, "The access token is for another audience"},
	Reason(token.Inactive):               {401, errInvalidToken, "The access token is not active"},
	Reason(token.CnfInvalid):             {401, errInvalidToken, "The confirmation of the access token cannot be read"},
	Reason(token.Unbound):                {401, errInvalidToken, "The access token is not bound to a key"},
	Reason(token.JKTMismatch):            {401, errInvalidToken, "The access token is bound to another key"},
	Reason(token.BearerBound):            {401, errInvalidToken, "The access token is bound to a key and cannot be used as a bearer token"},
	Reason(token.CertificateMissing):     {401, errInvalidToken, "The access token is bound to a client certificate and none was presented"},
	Reason(token.CertificateMismatch):    {401, errInvalidToken, "The access token is bound to another client certificate"},

	Reason(token.ScopeMissing): {403, errInsufficientScope, "The access token lacks a scope"},

	ReasonEarlyData:    {http.StatusTooEarly, "", ""},
	ReasonHostUnknown:  {http.StatusMisdirectedRequest, "", ""},
	ReasonKeyOverLimit: {http.StatusTooManyRequests, "", ""},

	ReasonReplayUnavailable:                {503, "", ""},
	ReasonReplayFull:                       {503, "", ""},
	ReasonNonceUnavailable:                 {503, "", ""},
	Reason(token.KeysUnavailable):          {503, "", ""},
	Reason(token.KeysNotRefreshed):         {503, "", ""},
	Reason(token.IntrospectionUnavailable): {503, "", ""},
	Reason(token.IntrospectionInvalid):     {503, "", ""},
}

// nonceRefusals stand in for the table where nonces are on: a client whose
// proof was issued too early for us heals itself with one.
var nonceRefusals = map[Reason]refusal{
	ReasonIssuedBeforeStart: {401, errUseNonce, "The proof is older than the memory of used proofs, use the nonce of this answer"},
	ReasonWindowRaised:      {401, errUseNonce, "The proof is older than the memory of used proofs reaches, use the nonce of this answer"},
}

// challenges are a handler's WWW-Authenticate values by reason, made once: a
// refusal before the signature should cost next to nothing.
type challenges struct {
	dpop   map[Reason]string
	bearer map[Reason]string // nil unless the scheme Bearer is accepted, too
}

// newChallenges makes the challenges of one public URL, whose metadata they
// name; nil where there is none.
func newChallenges(h *Handler, metadata *document) *challenges {
	parameters := []string{quoted("algs", strings.Join(h.algorithms(), " "))}
	var shared []string
	if h.Realm != "" {
		shared = append(shared, quoted("realm", h.Realm))
	}
	if metadata != nil {
		shared = append(shared, quoted("resource_metadata", metadata.url))
	}
	scope := strings.Join(h.Scope, " ")

	c := &challenges{dpop: make(map[Reason]string)}
	if h.acceptsBearer() {
		c.bearer = make(map[Reason]string)
	}
	for reason := range refusals {
		r := h.answer(reason)
		c.dpop[reason] = challenge("DPoP", r, scope, append(parameters, shared...))
		if c.bearer != nil {
			c.bearer[reason] = challenge("Bearer", r, scope, shared)
		}
	}
	return c
}

// provisionChallenges makes one set for each public URL that has metadata, or
// one for all.
func (h *Handler) provisionChallenges(caddy.Context) error {
	h.requests = newRequestCounters()
	if h.meta == nil {
		h.challenges = []*challenges{newChallenges(h, nil)}
		return nil
	}
	for _, d := range h.meta.documents {
		h.challenges = append(h.challenges, newChallenges(h, d))
	}
	return nil
}

// challengesFor are those of the public URL that the request came by.
func (h *Handler) challengesFor(r *http.Request) *challenges {
	if len(h.challenges) == 1 {
		return h.challenges[0]
	}
	return h.challenges[max(h.endpointOf(connection(r)), 0)]
}

// challenge writes one challenge: `error` directly behind the scheme, since
// there are clients that look for just that text.
func challenge(scheme string, r refusal, scope string, parameters []string) string {
	var all []string
	if r.code != "" {
		all = append(all, quoted("error", r.code), quoted("error_description", r.description))
	}
	if r.code == errInsufficientScope && scope != "" {
		all = append(all, quoted("scope", scope))
	}
	all = append(all, parameters...)
	if len(all) == 0 {
		return scheme
	}
	return scheme + " " + strings.Join(all, ", ")
}

func quoted(name, value string) string { return name + `="` + value + `"` }

// set writes the challenges of a refusal. The DPoP challenge is the first
// field of that name, and `error` stands in the challenge of the scheme that
// was tried (RFC 9449, section 7.2).
func (c *challenges) set(header http.Header, reason Reason, triedBearer bool) {
	const plain = ReasonNoCredentials // which has no `error`
	if c.bearer == nil {
		header["Www-Authenticate"] = []string{c.dpop[reason]}
		return
	}
	if triedBearer {
		header["Www-Authenticate"] = []string{c.dpop[plain], c.bearer[reason]}
		return
	}
	header["Www-Authenticate"] = []string{c.dpop[reason], c.bearer[plain]}
}

// retryAfter formats a duration as whole seconds, at least one (RFC 9110,
// section 10.2.3).
func retryAfter(d time.Duration) string {
	seconds := int64((d + time.Second - 1) / time.Second)
	return strconv.FormatInt(max(seconds, 1), 10)
}
