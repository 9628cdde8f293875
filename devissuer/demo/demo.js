// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// What the page does: a key, a token, a proof, four requests.

import { decode, newKey, proof, thumbprint } from "./dpop.js";
import { watchMetrics, readMetrics } from "./metrics.js";

const $ = (id) => document.getElementById(id);
const api = new URL("/api/hello", location.href).href;

/** Makes an element with text; everything from the network goes in as text. */
function element(tag, text, className) {
	const e = document.createElement(tag);
	if (text !== undefined) e.textContent = text;
	if (className) e.className = className;
	return e;
}

const short = (text) => (text.length > 30 ? `${text.slice(0, 12)}…${text.slice(-6)}` : text);

function facts(list, rows) {
	list.replaceChildren();
	for (const [name, value, note] of rows) {
		const dd = element("dd");
		dd.append(element("code", value));
		if (note) dd.append(" ", element("span", note, "note"));
		list.append(element("dt", name), dd);
	}
}

function showJwt(name, jwt) {
	const raw = $(`${name}-raw`);
	raw.replaceChildren();
	jwt.split(".").forEach((part, i) => {
		if (i) raw.append(".");
		raw.append(element("span", part, `part${i}`));
	});
	$(`${name}-decoded`).textContent = decode(jwt).map((part) => JSON.stringify(part, null, 2)).join("\n.\n");
}

async function makeKey() {
	const key = await newKey();
	let answer = "the key came out, which must not be";
	try {
		await crypto.subtle.exportKey("jwk", key.privateKey);
	} catch (e) {
		answer = `refused: ${e.name}`;
	}
	const jkt = await thumbprint(key);
	facts($("key-facts"), [
		["kind", "ECDSA P-256"],
		["asked to export it", answer],
		["thumbprint", jkt, "the SHA-256 of its public half"],
	]);
	return { key, jkt };
}

async function getToken({ key, jkt }) {
	const metadata = await (await fetch("/.well-known/oauth-authorization-server")).json();
	const url = metadata.token_endpoint;
	const ask = async (nonce) =>
		fetch(url, {
			method: "POST",
			headers: { DPoP: await proof(key, { method: "POST", url, nonce }) },
			body: new URLSearchParams({ grant_type: "client_credentials", client_id: "browser" }),
		});
	let answer = await ask();
	if (answer.headers.has("DPoP-Nonce") && !answer.ok) answer = await ask(answer.headers.get("DPoP-Nonce"));
	const body = await answer.json();
	if (!answer.ok) throw new Error(`no token: ${body.error_description ?? body.error}`);

	const [, claims] = decode(body.access_token);
	facts($("token-facts"), [
		["token_type", body.token_type],
		["cnf.jkt", claims.cnf.jkt, claims.cnf.jkt === jkt ? "the thumbprint from above" : "not the thumbprint from above"],
		["valid for", `${body.expires_in} seconds`],
	]);
	showJwt("token", body.access_token);
	return body.access_token;
}

async function signProof(key, accessToken) {
	const jwt = await proof(key, { method: "GET", url: api, accessToken });
	const [header, claims] = decode(jwt);
	const rows = [
		["jwk", `${header.jwk.kty} ${header.jwk.crv} ${short(header.jwk.x)}`, "the server can check the signature and compare with cnf.jkt"],
		["htm", claims.htm, "it is no use for another method"],
		["htu", claims.htu, "it is no use for another URL"],
		["iat", `${claims.iat}`, "it is no use tomorrow"],
		["jti", short(claims.jti), "it is no use twice"],
		["ath", short(claims.ath), "it is no use with another token"],
	];
	$("proof-claims").replaceChildren(
		...rows.map(([claim, value, why]) => {
			const tr = element("tr");
			const th = element("th");
			th.scope = "row";
			th.append(element("code", claim));
			const td = element("td");
			td.append(element("code", value));
			tr.append(th, td, element("td", why));
			return tr;
		}),
	);
	showJwt("proof", jwt);
	return jwt;
}

/** The four requests. `why` is what a listener hopes for. */
const scenarios = [
	{
		id: "good",
		title: "A good proof",
		why: "The owner of the key calls the API.",
		expect: 200,
		headers: ({ token, good }) => ({ Authorization: `DPoP ${token}`, DPoP: good }),
	},
	{
		id: "replay",
		title: "The same proof again",
		why: "Somebody recorded that request and sends it once more.",
		expect: 401,
		headers: ({ token, good }) => ({ Authorization: `DPoP ${token}`, DPoP: good }),
	},
	{
		id: "bearer",
		title: "The token as a Bearer token",
		why: "Somebody stole the token and tries it without any proof.",
		expect: 401,
		headers: ({ token }) => ({ Authorization: `Bearer ${token}` }),
	},
	{
		id: "other-url",
		title: "A proof for another URL",
		why: "Somebody got hold of a proof that was meant for /api/other.",
		expect: 401,
		headers: async ({ token, key }) => ({
			Authorization: `DPoP ${token}`,
			DPoP: await proof(key, { method: "GET", url: api.replace("hello", "other"), accessToken: token }),
		}),
	},
];

function card({ id, title, why }) {
	const article = element("article", undefined, "request");
	article.id = `request-${id}`;
	const head = element("div", undefined, "request-head");
	head.append(element("h4", title), element("span", "…", "verdict"));
	article.append(head, element("p", why), element("pre"));
	article.querySelector("pre").tabIndex = 0;
	article.querySelector("pre").setAttribute("aria-label", `Request and answer: ${title}`);
	return article;
}

/** The challenge as it is, with the words marked that say why. */
function showChallenge(challenge) {
	const [, before, why, after] = /^(.*?)(error="[^"]*"(?:, error_description="[^"]*")?)(.*)$/.exec(challenge) ?? ["", challenge, "", ""];
	return [`WWW-Authenticate: ${before}`, element("mark", why), element("span", after, "note")];
}

async function send(scenario, context) {
	const headers = await scenario.headers(context);
	const answer = await fetch(api, { headers, cache: "no-store" });
	const body = await answer.text();

	const article = $(`request-${scenario.id}`);
	const asExpected = answer.status === scenario.expect;
	article.dataset.status = answer.status;
	const badge = article.querySelector(".verdict");
	badge.className = `verdict ${asExpected ? "good" : "bad"}`;
	badge.textContent = `${answer.status} ${answer.ok ? "let in" : "refused"}`;
	if (!asExpected) badge.textContent += `, expected ${scenario.expect}`;

	const pre = article.querySelector("pre");
	pre.replaceChildren(element("b", `GET ${new URL(api).pathname}\n`));
	for (const [name, value] of Object.entries(headers)) {
		const [scheme, credential] = value.includes(" ") ? value.split(" ") : ["", value];
		pre.append(`${name}: ${scheme}${scheme && " "}${short(credential)}\n`);
	}
	pre.append("\n", element("b", `${answer.status} ${answer.statusText}\n`));
	const challenge = answer.headers.get("WWW-Authenticate");
	if (challenge) pre.append(...showChallenge(challenge), "\n");
	if (body.trim()) pre.append(body.trim(), "\n");
	return asExpected;
}

async function run() {
	const button = $("run");
	const status = $("status");
	button.disabled = true;
	document.body.dataset.state = "running";
	status.className = "";
	$("requests").replaceChildren(...scenarios.map(card));
	try {
		if (!window.isSecureContext) throw new Error("this needs a secure context: open the page as http://localhost");
		status.textContent = "Making a key …";
		const { key, jkt } = await makeKey();
		status.textContent = "Getting a token …";
		const token = await getToken({ key, jkt });
		const good = await signProof(key, token);
		let right = 0;
		for (const scenario of scenarios) {
			status.textContent = `Sending: ${scenario.title} …`;
			right += await send(scenario, { key, token, good });
			await readMetrics();
		}
		const all = right === scenarios.length;
		status.textContent = all
			? "Done. One request was let in, three were refused."
			: `Done, but only ${right} of ${scenarios.length} answers are as they should be.`;
		status.className = all ? "ok" : "failed";
		document.body.dataset.state = all ? "done" : "failed";
	} catch (e) {
		status.textContent = `That did not work: ${e.message}`;
		status.className = "failed";
		document.body.dataset.state = "failed";
	} finally {
		button.disabled = false;
	}
}

for (const e of document.querySelectorAll("[data-url]")) e.textContent = new URL(e.dataset.url, location.href).href;
$("run").addEventListener("click", run);
watchMetrics();
run();
