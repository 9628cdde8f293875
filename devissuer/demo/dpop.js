// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// All that a browser needs for DPoP (RFC 9449): a key and a proof for each request.

const utf8 = new TextEncoder();

const base64url = (bytes) =>
	btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const sha256 = async (text) => base64url(await crypto.subtle.digest("SHA-256", utf8.encode(text)));

/** Makes a key pair whose private half cannot leave the browser. */
export const newKey = () => crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);

/** The public key as a JWK with the required members only, in the order of RFC 7638. */
export async function publicJwk(key) {
	const { crv, kty, x, y } = await crypto.subtle.exportKey("jwk", key.publicKey);
	return { crv, kty, x, y };
}

/** The thumbprint that the access token names as cnf.jkt (RFC 7638). */
export const thumbprint = async (key) => sha256(JSON.stringify(await publicJwk(key)));

/** Signs a proof for one request; accessToken and nonce only where there is one. */
export async function proof(key, { method, url, accessToken, nonce }) {
	const header = { typ: "dpop+jwt", alg: "ES256", jwk: await publicJwk(key) };
	const claims = {
		htm: method,
		htu: url.split(/[?#]/)[0],
		iat: Math.floor(Date.now() / 1000),
		jti: crypto.randomUUID(),
		ath: accessToken && (await sha256(accessToken)),
		nonce,
	};
	const input = [header, claims].map((part) => base64url(utf8.encode(JSON.stringify(part)))).join(".");
	const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key.privateKey, utf8.encode(input));
	return `${input}.${base64url(signature)}`;
}

/** Reads header and claims of a JWT, without checking anything. */
export const decode = (jwt) =>
	jwt.split(".", 2).map((part) => {
		const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
		return JSON.parse(new TextDecoder().decode(bytes));
	});
