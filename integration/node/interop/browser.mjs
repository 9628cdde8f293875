// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Runs a client's script in Chromium: PAGE is a page on another origin than the API, which
// loads the script. Calls come in and answers go out as they do for the script itself; the
// page finds them where Node would have them.

import { readFileSync } from 'node:fs'
import { chromium } from 'playwright-core'

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
})
try {
  const page = await browser.newPage()
  page.on('console', (message) => {
    const write = message.text().startsWith('answer\t') ? console.log : console.error
    write(message.text())
  })
  const broken = new Promise((_, reject) => {
    page.on('pageerror', reject)
    page.on('response', (res) => {
      const missing = res.request().resourceType() === 'script' && !res.ok()
      if (missing) reject(new Error(`${res.status()} for ${res.url()}`))
    })
  })
  broken.catch(() => {})
  const { ISSUER, CLIENT_ID, CLIENT_SECRET, RESOURCE, SCOPE, ALG } = process.env
  await page.addInitScript((given) => {
    globalThis.process = { env: given.env }
    globalThis.standardInput = given.input
  }, { env: { ISSUER, CLIENT_ID, CLIENT_SECRET, RESOURCE, SCOPE, ALG }, input: readFileSync(0, 'utf8') })
  await page.goto(process.env.PAGE)
  await Promise.race([page.waitForFunction(() => globalThis.finished, undefined, { timeout: 120_000 }), broken])
} finally {
  await browser.close()
}
