import assert from "node:assert/strict"
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { parseEnv } from "node:util"
import { type Browser, chromium, type Page } from "playwright-core"
import { CHROMIUM, findProgram, missing } from "../support/programs.ts"
import { type ServedChild, serveChild } from "../support/serve.ts"

const EXAMPLE = fileURLToPath(new URL("../../examples/site", import.meta.url))

describe("the example site in a browser", { skip: missing(CHROMIUM) }, () => {
  let folder: string
  let site: ServedChild
  let browser: Browser
  let page: Page

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "bext-example-"))
    cpSync(EXAMPLE, folder, { recursive: true })
    const demo = parseEnv(readFileSync(join(folder, "demo.env"), "utf8")) as Record<string, string>
    site = await serveChild(["--config", "bext.config.toml"], { folder, env: { ...demo, PORT: "0" } })
    browser = await chromium.launch({
      executablePath: findProgram(CHROMIUM)!,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    })
    page = await browser.newPage()
  })

  after(async () => {
    await browser?.close()
    await site?.end("SIGKILL")
    rmSync(folder, { recursive: true, force: true })
  })

  it("explains the stack, the plugins and the headers, without a script error", async () => {
    const errors: string[] = []
    page.on("pageerror", (error) => errors.push(error.message))
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()))
    await page.goto(site.url)
    const rows = page.locator("#stack li")
    await rows.filter({ hasText: "security-headers" }).waitFor()
    for (const name of ["cors", "rate", "auth", "tenant", "tracing"]) {
      assert.ok((await rows.filter({ hasText: name }).count()) > 0, name)
    }
    await page.locator("#headers td", { hasText: "x-frame-options" }).waitFor()
    assert.match((await page.locator("#request-id").textContent()) ?? "", /^Request [0-9a-f]{32}$/)
    assert.deepEqual(errors, [])
  })

  it("shows the rate limiter stopping a burst", async () => {
    const output = await press("burst")
    assert.match(output, /^(200 ){10}(429 ?){4}$/)
  })

  it("tells a signed webhook from a forged one", async () => {
    assert.match(await press("signed"), /^200[\s\S]*"method":"POST"/)
    assert.match(await press("forged"), /^401[\s\S]*signature does not match/)
  })

  it("lets members in with a token only", async () => {
    assert.match(await press("anonymous"), /^401[\s\S]*E_UNAUTHENTICATED/)
    assert.match(await press("member"), /^200[\s\S]*Welcome, member/)
  })

  it("shows the closed corner", async () => {
    assert.match(await press("closed"), /^503[\s\S]*This corner is closed/)
  })

  it("knows the tenant by its host", async () => {
    const { port } = new URL(site.url)
    await page.goto(`http://acme.localhost:${port}/`)
    const answer = await page.evaluate("fetch('/api/tenant').then((response) => response.json())")
    assert.equal((answer as { tenant: string }).tenant, "acme")
  })

  async function press(name: string): Promise<string> {
    await page.locator(`button[data-try="${name}"]`).click()
    const output = page.locator("article", { has: page.locator(`button[data-try="${name}"]`) }).locator("output")
    await output.filter({ hasNotText: "…" }).filter({ hasText: /\d{3}/ }).waitFor()
    return ((await output.textContent()) ?? "").trim()
  }
})
