import assert from "node:assert/strict"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { before, describe, it, type TestContext } from "node:test"
import { createProject, type ServedChild, serveChild } from "../../../support/serve.ts"
import { buildThirdPartyGuests, NO_THIRD_PARTY } from "./third-party-guests.ts"

describe("an unmodified third-party module of the http-wasm ABI", { skip: NO_THIRD_PARTY }, () => {
  let folder: string
  before(
    async () => {
      folder = await buildThirdPartyGuests()
    },
    // Rust's standard library comes first.
    { timeout: 900_000 },
  )

  it("changes a request on its way to the app", async (t) => {
    const { url } = await serveExample(t, join(folder, "header.wasm"))
    const seen = (await (await fetch(url)).json()) as Record<string, unknown>
    assert.equal(seen["x-custom-header"], "FooBar")
  })

  it("reads the request, and the response with its body, and logs them", async (t) => {
    const server = await serveExample(t, join(folder, "info.wasm"))
    const response = await fetch(new URL("/some%20where?a=1", server.url), { headers: { "x-asked": "for" } })
    assert.equal(response.status, 200)
    await response.text()
    const said = await lines(server, /Body: /)
    for (const expected of [
      /Request: .*GET.*HTTP\/1\.1.*\/some%20where\?a=1.*127\.0\.0\.1:[1-9]\d*/,
      /Header: .*x-asked.*for/,
      /Status: 200/,
      /Body: .*host/,
    ]) {
      assert.ok(
        said.some((line) => expected.test(line)),
        `${expected} is not in\n${said.join("\n")}`,
      )
    }
  })
})

/** `bext serve` with the module as a plugin, in front of an app that answers with the headers it got. */
async function serveExample(t: TestContext, file: string): Promise<ServedChild> {
  const module = await readFile(file)
  const app = createServer(({ headers }, response) => response.end(JSON.stringify(headers)))
  app.listen(0, "127.0.0.1")
  await once(app, "listening")
  t.after(() => app.close())
  const config = `
[server]
listen = "127.0.0.1:0"
grace = "1s"
[log]
level = "info"
format = "json"
access = false
[app]
upstream = "http://127.0.0.1:${(app.address() as AddressInfo).port}"
[plugins.example]
`
  const manifest = `
[manifest]
name = "example"
version = "1.0.0"
capabilities = ["middleware"]
[sandbox]
type = "wasm"
body = "response"
`
  const project = createProject({
    "bext.config.toml": config,
    "plugins/example/plugin.toml": manifest,
    "plugins/example/plugin.wasm": module,
  })
  t.after(() => project[Symbol.dispose]())
  const server = await serveChild([], { folder: project.folder })
  t.after(() => server[Symbol.asyncDispose]())
  return server
}

/** What the guest logged, up to a line that matches. */
async function lines(server: ServedChild, last: RegExp): Promise<string[]> {
  for (let tries = 0; ; tries++) {
    const found = server
      .output()
      .split("\n")
      .filter((line) => line.includes('"plugin":"example"'))
    if (found.some((line) => last.test(line))) return found
    assert.ok(tries < 500, server.output())
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
