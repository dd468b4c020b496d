import assert from "node:assert/strict"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { configSchema } from "../../src/config/schema.ts"
import { createRouter } from "../../src/handlers/route.ts"
import { exchangeRaw, serve } from "../http/serve-test.ts"
import { respondWith } from "./respond-with.ts"

/** Two folders and an upstream that says its name. */
async function parts(t: TestContext) {
  const base = mkdtempSync(join(tmpdir(), "bext-route-"))
  t.after(() => rmSync(base, { recursive: true, force: true }))
  for (const name of ["one", "two"]) {
    mkdirSync(join(base, name, "docs"), { recursive: true })
    writeFileSync(join(base, name, "docs", "a.txt"), name)
  }
  const app = createServer((request, response) => response.end(`app ${request.method} ${request.url}`))
  app.listen(0, "127.0.0.1")
  await once(app, "listening")
  t.after(() => {
    app.close()
    app.closeAllConnections()
  })
  const upstream = `http://127.0.0.1:${(app.address() as AddressInfo).port}`
  return { one: join(base, "one"), two: join(base, "two"), upstream }
}

async function route(t: TestContext, config: object) {
  const router = createRouter(configSchema.parse(config))
  const server = await serve(t, respondWith(router))
  t.after(() => router.close?.())
  const text = async (path: string, method = "GET") => (await fetch(server.url + path, { method })).text()
  return { ...server, text }
}

describe("createRouter", () => {
  it("takes the first route in file order that matches, then the app", async (t) => {
    const { one, two, upstream } = await parts(t)
    const { text } = await route(t, {
      routes: [
        { path: "/docs/a.*", static: one },
        { path: "/docs/**", static: two },
      ],
      app: { upstream },
    })
    assert.equal(await text("/docs/a.txt"), "one")
    assert.match(await text("/docs/b.txt"), /E_NOT_FOUND/)
    assert.equal(await text("/other"), "app GET /other")
  })

  it("decides on the normalised path", async (t) => {
    const { one, upstream } = await parts(t)
    const { text, port } = await route(t, { routes: [{ path: "/docs/**", upstream }], app: { static: one } })
    assert.equal(await text("/%64ocs/x"), "app GET /docs/x")
    const raw = await exchangeRaw(port, "GET /docs/../other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.match(raw, /E_NOT_FOUND/)
  })

  it("tries the app's files first and sends the rest upstream", async (t) => {
    const { one, upstream } = await parts(t)
    const { text } = await route(t, { app: { static: one, upstream } })
    assert.equal(await text("/docs/a.txt"), "one")
    assert.equal(await text("/docs/a.txt", "POST"), "app POST /docs/a.txt")
    assert.equal(await text("/docs/b.txt"), "app GET /docs/b.txt")
    assert.equal(await text("/docs/"), "app GET /docs/")
    assert.equal(await text("/docs"), "app GET /docs")
  })

  it("is 404 where nothing is configured", async (t) => {
    const { text } = await route(t, {})
    assert.match(await text("/"), /E_NOT_FOUND/)
  })

  it("answers OPTIONS on the whole server itself", async (t) => {
    const { upstream } = await parts(t)
    const { port } = await route(t, { app: { upstream } })
    const text = await exchangeRaw(port, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.match(text, /^HTTP\/1\.1 204 /)
  })

  it("names the folder that cannot be served", () => {
    const config = configSchema.parse({ routes: [{ path: "/x/**", static: "/no/such/folder" }] })
    assert.throws(() => createRouter(config), { code: "E_FILE_UNREADABLE", message: /\/no\/such\/folder/ })
  })
})
