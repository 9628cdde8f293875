// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Drives the demonstration page in a headless Chromium and prints what a person
// would see, as JSON. Judging it is the Go test's part (integration/demo).
//
//	node demo.mjs <chromium> <url> [<folder for screenshots>]

import path from "node:path";
import { chromium } from "playwright-core";

const [executablePath, url, screenshots] = process.argv.slice(2);
const patience = 90_000; // milliseconds, for a busy machine; nothing waits for it unless it fails

const browser = await chromium.launch({
	executablePath,
	// The tests may run as root, where Chromium's sandbox cannot, and in
	// containers without much shared memory.
	args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});

/** Opens the page as one kind of visitor, waits until it is done, and looks. */
async function visit({ name, viewport, colorScheme }) {
	const context = await browser.newContext({ viewport, colorScheme, reducedMotion: "reduce", locale: "en-GB" });
	const page = await context.newPage();
	const problems = [];
	const origins = new Set();
	page.on("pageerror", (e) => problems.push(`error: ${e.message}`));
	page.on("console", (m) => {
		// A browser writes every 401 into its console, and three are the point here.
		if (m.type() === "error" && !m.text().includes("status of 401")) problems.push(`console: ${m.text()}`);
	});
	page.on("requestfailed", (r) => problems.push(`failed: ${r.url()} ${r.failure()?.errorText}`));
	page.on("request", (r) => origins.add(new URL(r.url()).origin));

	await page.goto(url);
	await page.waitForFunction(() => ["done", "failed"].includes(document.body.dataset.state), undefined, { timeout: patience });
	await page.waitForFunction(() => !document.getElementById("metrics").hidden, undefined, { timeout: patience });

	const look = () =>
		page.evaluate(() => ({
			state: document.body.dataset.state,
			status: document.getElementById("status").textContent,
			key: document.getElementById("key-facts").textContent,
			token: document.getElementById("token-facts").textContent,
			proof: document.getElementById("proof-claims").textContent,
			decoded: document.getElementById("proof-decoded").textContent,
			requests: [...document.querySelectorAll(".request")].map((e) => ({
				id: e.id.replace("request-", ""),
				status: Number(e.dataset.status),
				good: e.querySelector(".verdict").classList.contains("good"),
				text: e.querySelector("pre").textContent,
			})),
			meters: Object.fromEntries(
				[...document.querySelectorAll("#meters tr")].map((e) => [e.dataset.reason, Number(e.querySelector(".number").textContent)]),
			),
			overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
		}));
	const first = await look();
	if (screenshots) {
		await page.screenshot({ path: path.join(screenshots, `demo-${name}.png`), fullPage: true });
	}

	// The first run's end must not be taken for the second's, which may be over before anybody looks.
	await page.evaluate(() => { document.body.dataset.state = "again"; });
	await page.click("#run");
	await page.waitForFunction(() => ["done", "failed"].includes(document.body.dataset.state), undefined, { timeout: patience });
	const second = await look();
	await context.close();
	return { name, problems, origins: [...origins], first, second };
}

try {
	const visits = [];
	for (const visitor of [
		{ name: "light", viewport: { width: 1200, height: 900 }, colorScheme: "light" },
		{ name: "dark", viewport: { width: 1200, height: 900 }, colorScheme: "dark" },
		{ name: "phone", viewport: { width: 360, height: 740 }, colorScheme: "light" },
	]) {
		visits.push(await visit(visitor));
	}
	console.log(JSON.stringify({ browser: browser.version(), visits }, null, 2));
} finally {
	await browser.close();
}
