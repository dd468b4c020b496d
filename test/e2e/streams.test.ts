import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer, get, type IncomingMessage, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { after, before, describe, it } from "node:test"
import { until } from "../http/serve-test.ts"
import { type ServedChild, serveInChild } from "../support/serve.ts"

const manifest = (name: string, rest: string) =>
  `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n${rest}`

const CONFIG = (app: number) => `
[app]
upstream = "http://127.0.0.1:${app}"
[fetch]
allow_private = ["127.0.0.1:${app}"]
[plugins.thrower]
path = "thrower.js"
match = [{ path = "/throws/**" }]
[plugins.open-thrower]
path = "thrower.js"
on_error = "open"
match = [{ path = "/open/**" }]
[plugins.replacer]
match = [{ path = "/replaced/**" }]
[plugins.waiter]
match = [{ path = "/waits/**" }]
[plugins.waiter.grant]
allowed_urls = ["http://127.0.0.1:${app}/**"]
`

const FILES = (app: number) => ({
  "thrower.js": "export function onResponse() { throw new Error('no') }",
  "plugins/replacer/plugin.toml": manifest(
    "replacer",
    '[sandbox]\nbody = "response"\nmax_body = "64kb"\non_large_body = "skip"',
  ),
  "plugins/replacer/index.js":
    "export function onResponse(ctx) { ctx.response.setBody(ctx.response.body.text().toUpperCase()) }",
  "plugins/waiter/plugin.toml": manifest("waiter", `[permissions]\nallowed_urls = ["http://127.0.0.1:${app}/**"]`),
  "plugins/waiter/index.js": `export async function onRequest(ctx) { await bext.fetch("http://127.0.0.1:${app}/silent") }`,
})

describe("a response that streams from the app", () => {
  let app: App
  let site: ServedChild

  before(async () => {
    app = await startApp()
    site = await serveInChild(CONFIG(app.port), FILES(app.port))
  })
  after(async () => {
    await site?.[Symbol.asyncDispose]()
    app?.server.close().closeAllConnections()
  })

  it("is let go when a plugin fails on it, and the client gets the error", async () => {
    const response = await fetch(`${site.url}/throws/endless`)
    assert.deepEqual([response.status, JSON.parse(await response.text()).code], [502, "E_GUEST_THREW"])
    await until(() => app.open === 0, "the app is told")
  })

  it("goes on when the plugin that fails may be passed by", async () => {
    const response = await open(`${site.url}/open/endless`)
    assert.equal(response.statusCode, 200)
    await once(response, "data")
    assert.equal(app.open, 1)
    response.destroy()
    await until(() => app.open === 0, "the app is told that the client went away")
  })

  it("reaches the client whole when it is too large for a plugin that would change it", async () => {
    const large = await (await fetch(`${site.url}/replaced/large`)).text()
    assert.equal(large, "x".repeat(1 << 20))
    const small = await fetch(`${site.url}/replaced/small`)
    assert.equal(await small.text(), "SMALL")
    assert.equal(small.headers.get("content-length"), "5")
  })

  it("is not begun for a client that went away while a plugin waited, whose fetch ends too", async () => {
    const waiting = get(`${site.url}/waits/small`)
    waiting.on("error", () => {})
    await until(() => app.open === 1, "the plugin's fetch reached the app")
    waiting.destroy()
    await until(() => app.open === 0, "the plugin's fetch is cancelled")
    assert.equal((await fetch(`${site.url}/open/small`)).status, 200)
    assert.deepEqual(
      app.seen.filter((url) => url === "/waits/small"),
      [],
    )
  })

  it("of thirty clients that go away leaves nothing behind", async () => {
    await Promise.all(
      Array.from({ length: 30 }, async () => {
        const response = await open(`${site.url}/plain/endless`)
        await once(response, "data")
        response.destroy()
      }),
    )
    await until(() => app.open === 0, "the app is told of each")
    assert.equal(await (await fetch(`${site.url}/plain/small`)).text(), "small")
  })
})

async function open(url: string): Promise<IncomingMessage> {
  const [response] = (await once(get(url, { agent: false }), "response")) as [IncomingMessage]
  return response.on("error", () => {})
}

interface App {
  readonly server: Server
  readonly port: number
  readonly seen: string[]
  /** Responses under way that would never end. */
  open: number
}

/** …/endless never ends, …/silent never begins, …/large has a mebibyte, …/small five bytes. */
async function startApp(): Promise<App> {
  const server = createServer((request, response) => {
    const url = request.url!
    app.seen.push(url)
    if (url.endsWith("/small")) response.end("small")
    else if (url.endsWith("/large")) {
      response.write("x".repeat(1 << 19))
      response.end("x".repeat(1 << 19))
    } else {
      app.open++
      response.once("close", () => app.open--)
      if (url.endsWith("/silent")) return
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384)));
        response.once("drain", more)
      }
      more()
    }
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  const app: App = { server, port: (server.address() as AddressInfo).port, seen: [], open: 0 }
  return app
}
