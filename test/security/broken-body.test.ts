import assert from "node:assert/strict"
import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import { describe, it } from "node:test"
import { serve } from "../support/serve.ts"

describe("an upstream whose body breaks off while a plugin waits before passing it on", () => {
  it("costs the request an error, not an answer that never ends", async (t) => {
    const upstream = createServer((socket) => {
      socket.on("error", () => {})
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc")
        setTimeout(() => socket.resetAndDestroy(), 20)
      })
    })
    t.after(() => upstream.close())
    await once(upstream.listen(0, "127.0.0.1"), "listening")
    const { port } = upstream.address() as AddressInfo
    await using server = await serve(`[app]\nupstream = "http://127.0.0.1:${port}"\n[plugins.wait]\n`, {
      "plugins/wait/plugin.toml": `[manifest]\nname = "wait"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n`,
      "plugins/wait/index.js": `export async function onResponse() { await new Promise((done) => setTimeout(done, 500)) }`,
    })
    const response = await fetch(server.url, { signal: AbortSignal.timeout(30_000) })
    assert.equal(response.status, 500)
    assert.equal(((await response.json()) as { code: string }).code, "E_INTERNAL")
  })
})
