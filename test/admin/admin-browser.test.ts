import assert from "node:assert/strict"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { type Browser, chromium } from "playwright-core"
import { CHROMIUM, findProgram, missing } from "../support/programs.ts"
import { type AdminProject, adminProject, HELLO, TCP, TOKEN } from "./admin-project.ts"

/** The admin listener as `evil.test`: what DNS rebinding makes of it. */
const FOREIGN_NAME = "MAP evil.test 127.0.0.1"

describe("a page in a browser on the same machine", { skip: missing(CHROMIUM) }, () => {
  let project: AdminProject
  let evil: Server
  let browser: Browser
  let admin: string
  let page: string

  before(async () => {
    project = await adminProject(`[app]\nstatic = "public"\n${TCP}[plugins.hello]\n`, HELLO)
    admin = `http://127.0.0.1:${(project.where as { port: number }).port}`
    const script = readFileSync(join(import.meta.dirname, "evil-page.js"), "utf8")
    evil = createServer((_, response) => {
      response.setHeader("content-type", "text/html").end(`<title>evil</title><body><script>${script}</script>`)
    })
    evil.listen(0, "127.0.0.1")
    await once(evil, "listening")
    page = `http://127.0.0.1:${(evil.address() as AddressInfo).port}/`
    browser = await chromium.launch({
      executablePath: findProgram(CHROMIUM)!,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        `--host-resolver-rules=${FOREIGN_NAME}`,
      ],
    })
  })

  after(async () => {
    await browser?.close()
    evil?.close()
    await project?.[Symbol.asyncDispose]()
  })

  it("cannot read or do anything with fetch, a form, an image, a script or a websocket, not even with the token", async () => {
    const tab = await browser.newPage()
    // Also of answers that the browser keeps from the page.
    const statuses: number[] = []
    const devtools = await tab.context().newCDPSession(tab)
    await devtools.send("Network.enable")
    const asked = new Set<string>()
    devtools.on("Network.requestWillBeSent", ({ requestId, request }) => {
      if (request.url.startsWith(admin)) asked.add(requestId)
    })
    devtools.on("Network.responseReceivedExtraInfo", ({ requestId, statusCode }) => {
      if (asked.has(requestId)) statuses.push(statusCode)
    })
    await tab.goto(page)
    const read = await tab.evaluate(`attack(${JSON.stringify(admin)}, ${JSON.stringify(TOKEN)})`)
    assert.deepEqual(read, [], "nothing of an answer reached the page")
    assert.ok(statuses.length >= 15, `the listener was asked: ${statuses}`)
    assert.deepEqual([...new Set(statuses)], [403])
    const { processes, lastReload } = await project.control.status()
    assert.equal(processes[0]!.plugins[0]!.quarantine, null)
    assert.equal(lastReload, null)
    await tab.close()
  })

  it("cannot make a name of its own lead there", async () => {
    const tab = await browser.newPage()
    const { port } = project.where as { port: number }
    const response = await tab.goto(`http://evil.test:${port}/v1/status`)
    assert.equal(response!.status(), 403)
    const inside = await tab.evaluate(async (token) => {
      const answer = await fetch("/v1/config", { headers: { authorization: `Bearer ${token}` } }).catch(() => undefined)
      return answer === undefined ? "blocked" : answer.status
    }, TOKEN)
    assert.ok(inside === 403 || inside === "blocked", String(inside))
    await tab.close()
  })

  it("cannot show it in a frame", async () => {
    const tab = await browser.newPage()
    await tab.goto(page)
    await tab.evaluate(`new Promise((resolve) => {
      const frame = document.createElement("iframe")
      frame.onload = resolve
      frame.src = ${JSON.stringify(`${admin}/v1/status`)}
      document.body.append(frame)
    })`)
    assert.doesNotMatch((await tab.frames().at(-1)!.content()) ?? "", /processes|startedAtMs/)
    await tab.close()
  })
})
