// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package attacks

// decisions says, for each case where our answer is not the catalogue's first, what we
// chose and why. The vector file carries the same words for readers of other languages.
var decisions = map[string]string{
	// Which error comes first.
	"B09": "Bearer on a route that demands proofs is a downgrade: invalid_token, so that a client with a bound token learns that this way never works.",
	"B27": "The proof is read before the token (cheap before dear), so a token in the DPoP field is a bad proof.",
	"I40": "Thumbprints are compared before the signature is checked: the token is not bound to the key that the proof names.",
	"S11": "Thumbprints are compared before the signature is checked, so a foreign key costs no signature check, whatever its kind.",
	"S18": "How long the comparison takes tells nothing: it is constant-time by construction (house.TestConstantTime reads the source), which no statistics on a shared machine can prove. Another jkt is the fault of the token.",
	"S12": "Thumbprints are compared before the signature is checked: cheap before dear. The token stays good for its owner.",
	"I31": "As I40 for the variant in which the key that the proof names is not the token's.",
	"M18": "A nonce is judged before the signature, so the client is told what it has to change in any case.",
	"M19": "Where nonces are on, a clock that is off is healed by a nonce instead of being refused.",
	"L28": "Scope is judged before the proof is used up (policy before replay), so the same request meets the same 403; it reaches nothing.",

	// Tolerance where nothing can be gained by it.
	"B21": "Tokens are read from the Authorization field only. A parameter of that name belongs to the application.",
	"E14": "TRACE is the upstream's to answer, as any other method with a proof; Caddy itself echoes nothing.",
	"D24": "Caddy hands paths on as they came, and its path matcher sees through dot segments, so the guard stands. htu is compared in normal form, so 200 needs a proof for the path that the guard saw.",
	"D75": "Caddy hands such paths on as they came; htu must name the very same path, and nothing is decoded on the way.",
	"G12": "Nothing that the client chose becomes a key or a command: entries are hashes.",
	"L32": "Several dpop on one request all apply, on the credentials as received; the second does not count the first's claim as a replay.",
	"K33": "Members that we do not read may hold any JSON number.",
	"M09": "Nonce keys belong to the installation, not to a host: nonces bound the age of proofs, and htu already binds them to a host.",
	"M25": "Nonce keys are kept in Caddy's storage, so that a restart costs no client a round trip.",
	"N14": "typ is at+jwt, application/at+jwt, JWT or absent, since many issuers do not follow RFC 9068; typ at+jwt demands it.",
	"N16": "Media types compare without case.",
	"N55": "Claims that RFC 9068 requires and that we do not need may be missing; typ at+jwt demands them.",

	// Strictness where tolerance could be used.
	"K26": "A claim name in another case is read as the claim by parsers that ignore case, so it is refused wherever it stands.",
	"U11": "Entries are (thumbprint, jti), without htu: a client that uses a jti twice is refused, as in G20.",
	"L17": "The other spelling is refused before the replay is noticed: base64url has one spelling here.",

	"S02": "As a token it is a malformed token, as a proof a malformed proof; neither is decrypted.",
	"S03": "As a token it is a malformed token, as a proof a malformed proof; neither is inflated.",
	"S04": "As a token it is a malformed token, as a proof a malformed proof; neither is decrypted.",
	"S05": "As a token it is too large a token, as a proof too large a proof; sizes come before everything else.",
	"S08": "A header section beyond the limit of Caddy is its own 431; what is within is too large a proof.",

	// Who answers.
	"A28": "The verifier has let the head pass before the body is read; the proxy then cannot read it to its end and says 502. What hides in the framing is not served.",
	"D63": "The origin is fixed by configuration; where Host has to choose among several, 421.",
	"R13": "A blank in :path is read as %20, which the proof does not name.",
	"R92": "What is no host and port is none of our public URLs; net/http refuses the rest before us.",
	"R50": "Such a name is none of our public URLs. With one public URL, Host is not looked at.",
	"E13": "CONNECT in authority form has no path; htu of the proof cannot name it.",
	"R08": "Of a list the value of the nearest proxy counts, as in reverse_proxy; a proof for another host is refused.",
	"R43": "dpop stands in the proxy itself. Method and URI are always the request's own, so nobody can lend it another's by header.",
	"R44": "A configuration with a fault is not loaded, and the one before goes on: the request meets the guard as before.",
	"U05": "A configuration with a fault is not loaded, and the one before goes on: the request meets the guard as before.",
	"U13": "The admin API and metrics are on Caddy's admin endpoint, off here. On a public site these paths are the application's and guarded like any other.",

	// What the cases numbered 80 and up came upon, where the RFCs leave room. Most of the
	// answers are the first that the case names.
	"A81": "A folded line is read as one with a blank, as RFC 9112 allows; inside a proof that makes it malformed.",
	"A90": "net/http goes by Transfer-Encoding; what comes behind the body is a request of its own, and judged as one.",
	"D89": "A request line has no bytes above ASCII, so no htu names such a path; with escapes it has one.",
	"D90": "htu is a URI, not an IRI: its characters above ASCII are escaped.",
	"D92": "Dot segments are resolved on both sides as RFC 3986 says, also beyond the root, which they do not leave.",
	"D94": "The spellings of one IPv6 address are one address.",
	"E84": "net/http answers OPTIONS * itself, before every handler; over HTTP/2 in clear text it is refused here. It reaches no application.",
	"E88": "Caddy refuses methods of more than 32 characters with 405.",
	"E89": "A tunnel is no resource that a proof could name, whatever origin its htu has.",
	"F83": "Numbers that are read have up to 32 bytes: more than any time needs.",
	"G85": "A jti is any text but a blank one and one with NUL: it is only ever hashed.",
	"H82": "It says what is so anyway.",
	"H85": "Parameters that name other keys are not read, whatever they hold.",
	"J84": "Members that belong to another kind of key are not read. Private ones are refused all the same.",
	"J85": "null is a value, and none that use, key_ops or alg can have.",
	"K90": "Sixty-four members at one time are more than any client sends, and few enough to find duplicates among without a table.",
	"L81": "A handler that only watches uses proofs up as well, so that what it counts is true; copies do not pass where it counts.",
	"L83": "The token endpoint's table is its own, since strangers can fill it. htu keeps the two apart unless they have one URL.",
	"L97": "storage and memory share this process's table. In the other order other nodes would not have been asked, so it is a fault of the configuration: 503.",
	"M81": "A claim of the wrong type is a malformed proof, also where nonces are off.",
	"M83": "Where nonces are optional a dead one is challenged: the client believes that it has one.",
	"M86": "A live nonce proves when the proof was made, whatever the client's clock wrote into iat, exp and nbf.",
	"M97": "A client would send the upstream's nonce here and be challenged every time; so where nonces are on, ours are the only ones.",
	"N87": "A token from the future is not one to wait for: one of the two clocks cannot be relied on for exp either.",
	"O86": "A 400 with an error code of OAuth is the endpoint's word about the token.",
	"O88": "A 400 without one is not: most likely a proxy before the endpoint. 503, so that nobody throws a session away over it.",
	"O94": "token_type is compared where it contradicts cnf; what it says otherwise decides nothing.",
	"P81": "A private key that was published is nobody's secret any more: the key counts as not there.",
	"P83": "A token that names a key is verified by the key of that name only.",
	"P91": "A key that says it is for something else counts as not there, so a token by it names an unknown key.",
	"R83": "The public URL's path and that path with a slash are two resources; the request's root is the one with a slash.",
	"R97": "As E89.",
	"S80": "A proof whose htu has eight kilobytes is too large; one with the normal form passes.",

	// Outages of the issuer.
	"N43": "A kid not seen yet while the key set may not be fetched again: 503, nothing is known against the token.",
	"P19": "While the key set cannot be fetched nothing is known against an unknown kid: 503.",
	"D65": "The request line rules over Host. 200 only where it names one of our public URLs and htu names the same; another name is 421.",
	"M14": "A nonce of that kind is simply not one of ours: it is challenged, and never repeated in an answer.",
}

// outside are the cases that are not run against this server, and why. Where a test of
// another package covers one, it is named.
var outside = map[string]string{
	"M31": "Needs a clock that steps back: dpop.TestNonceClockStepsBack has one. What has expired is challenged with use_dpop_nonce; once the clock is back within its life it is live again, and a proof that was used with it stays used.",
	"P22": "Needs a clock a day ahead: dpop.TestKeySetStaleForLong has one, and gets 503.",
	"T19": "Response types are the authorization server's, at an endpoint that browsers visit without proof.",
	"T20": "The introspection endpoint is the authorization server's. interop.TestIntrospection asks that of oidc-provider, and no token passes there unless its answer shows the binding.",
	"V01": "HTTP message signatures (RFC 9421) are out of scope. V08 shows that they reach the application as they were sent.",
	"V05": "As V01.",
	"V06": "As V01.",
	"V07": "As V01.",
}
