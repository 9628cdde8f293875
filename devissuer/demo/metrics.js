// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// The counters at the end of the page, from the text that Prometheus reads.

const line = /^caddy_dpop_requests_total\{(.*)\} (\S+)$/;
const label = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const everyMs = 2000;
const mostRows = 8;

let before = new Map();

/** Sums caddy_dpop_requests_total by outcome and reason. */
export function parse(text) {
	const sums = new Map();
	for (const row of text.split("\n")) {
		const match = line.exec(row);
		if (!match) continue;
		const labels = Object.fromEntries([...match[1].matchAll(label)].map(([, name, value]) => [name, value]));
		const name = labels.reason && labels.reason !== "none" ? labels.reason : (labels.outcome ?? "all");
		const sum = sums.get(name) ?? { outcome: labels.outcome ?? "", value: 0 };
		sum.value += Number(match[2]);
		sums.set(name, sum);
	}
	return sums;
}

function row(name, { outcome, value }, most) {
	const tr = document.createElement("tr");
	tr.dataset.reason = name;
	const refused = !outcome.startsWith("accept");
	if (before.has(name) ? before.get(name) !== value : before.size > 0) tr.className = "moved";
	before.set(name, value);

	const th = document.createElement("th");
	th.scope = "row";
	const code = document.createElement("code");
	code.textContent = name;
	th.append(code);

	const share = document.createElement("td");
	share.className = "wide";
	const meter = document.createElement("progress");
	meter.max = most;
	meter.value = value;
	meter.className = refused ? "refused" : "accepted";
	meter.setAttribute("aria-label", name);
	share.append(meter);

	const number = document.createElement("td");
	number.className = "number";
	number.textContent = value;
	tr.append(th, share, number);
	return tr;
}

/** Reads the counters once and draws them; a server without any is no error. */
export async function readMetrics() {
	try {
		const answer = await fetch("/metrics", { cache: "no-store" });
		if (!answer.ok) return;
		const sums = parse(await answer.text());
		if (sums.size === 0) return;
		const most = Math.max(...[...sums.values()].map((sum) => sum.value));
		// What was let in first, then the commonest refusals.
		const order = ([a, x], [b, y]) => (b === "accepted") - (a === "accepted") || y.value - x.value || a.localeCompare(b);
		const rows = [...sums].filter(([, sum]) => sum.value > 0).sort(order).slice(0, mostRows).map(([name, sum]) => row(name, sum, most));
		if (rows.length === 0) return;
		document.getElementById("meters").replaceChildren(...rows);
		document.getElementById("metrics").hidden = false;
	} catch {
		// The server has gone; the next round tells.
	}
}

/** Keeps the counters moving while somebody looks. */
export function watchMetrics() {
	setInterval(() => document.hidden || readMetrics(), everyMs);
}
