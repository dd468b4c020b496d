import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { after, before, describe, it } from "node:test"
import { type Browser, chromium, type Page } from "playwright-core"
import { type LoginApp, startLoginApp } from "../support/login-app.ts"
import { CHROMIUM, findProgram, missing } from "../support/programs.ts"
import { type ServedChild, serveInChild } from "../support/serve.ts"

const config = (upstream: string) => `
[app]
upstream = "${upstream}"
forward_user = true
[middleware.auth]
public = ["/", "/login", "/open"]
[middleware.session]
secrets = ["env:SESSION_KEY"]
login_paths = ["/login", "/logout"]
`

describe("logging in with a real browser", { skip: missing(CHROMIUM) }, () => {
  let app: LoginApp
  let site: ServedChild
  let elsewhere: Server
  let browser: Browser
  let page: Page

  before(async () => {
    app = await startLoginApp()
    site = await serveInChild(
      config(app.origin),
      {},
      { env: { SESSION_KEY: "only this test's server has this secret" } },
    )
    elsewhere = createServer((_, response) => {
      response.writeHead(200, { "content-type": "text/html" })
      response.end(`<form method="post" action="${site.url}/open"><button>Win a prize</button></form>`)
    }).listen(0, "127.0.0.1")
    await once(elsewhere, "listening")
    browser = await chromium.launch({
      executablePath: findProgram(CHROMIUM)!,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
    })
    page = await browser.newPage()
  })

  after(async () => {
    await browser?.close()
    elsewhere?.close()
    await site?.[Symbol.asyncDispose]()
    await app?.[Symbol.asyncDispose]()
  })

  const who = () => page.locator("#who").textContent()

  it("leads from the form to the account, and a reload stays there", async () => {
    assert.equal((await page.goto(`${site.url}/account`))?.status(), 401)
    await page.goto(`${site.url}/login`)
    await page.locator("input").fill("Ada Lovelace")
    await page.locator("button").click()
    await page.waitForURL(`${site.url}/account`)
    assert.equal(await who(), "Ada Lovelace")
    await page.reload()
    assert.equal(await who(), "Ada Lovelace")
  })

  it("leaves nothing that a script could read, and a cookie the browser accepts under its strictest rules", async () => {
    assert.equal(await page.evaluate("document.cookie"), "")
    const cookies = await page.context().cookies()
    assert.deepEqual(
      cookies.map(({ name, httpOnly, secure, sameSite, path }) => ({ name, httpOnly, secure, sameSite, path })),
      [{ name: "__Host-session", httpOnly: true, secure: true, sameSite: "Lax", path: "/" }],
    )
  })

  it("does not let a page of another origin of the same site act for the user, though the cookie is sent", async () => {
    const { port } = elsewhere.address() as AddressInfo
    await page.goto(`http://127.0.0.1:${port}/`)
    const [request] = await Promise.all([page.waitForRequest(`${site.url}/open`), page.getByRole("button").click()])
    assert.match((await request.allHeaders()).cookie ?? "", /^__Host-session=/)
    assert.equal(await who(), "nobody")
  })

  it("ends with the logout: the way back leads nowhere", async () => {
    await page.goto(`${site.url}/account`)
    await page.locator("button").click()
    await page.waitForURL(`${site.url}/`)
    assert.equal(await who(), "nobody")
    assert.deepEqual(await page.context().cookies(), [])
    assert.equal((await page.goto(`${site.url}/account`))?.status(), 401)
  })
})
