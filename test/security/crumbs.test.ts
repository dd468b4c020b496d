import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { connect, type Socket } from "node:net"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { type Served, serve } from "../support/serve.ts"

describe("a server that sends a byte at a time", () => {
  it("costs a plugin's fetch the bytes it sends, not a hundred times as many", async () => {
    const child = fileURLToPath(new URL("./children/fetch-crumbs.ts", import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, ["--max-old-space-size=128", child])
    assert.equal(stdout.trim(), "8000000")
  })
})

describe("a client that sends a byte at a time", () => {
  const PLUGIN = {
    "plugins/wait/plugin.toml": `[manifest]\nname = "wait"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n[sandbox]\nbody = "request"\n`,
    "plugins/wait/index.js": "export function onRequest(ctx) { return new Response(String(ctx.body.bytes().length)) }",
    "plugins/first/plugin.toml": `[manifest]\nname = "first"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n`,
    "plugins/first/index.js":
      "export async function onRequest() { await new Promise((done) => setTimeout(done, 2000)) }",
  }
  const CONFIG = '[app]\nstatic = "public"\n[plugins.first]\n[plugins.wait]\n'

  /** Sends a body of `count` bytes, each a chunk of its own, while the first plugin waits. @returns what came back. */
  async function send(server: Served, count: number): Promise<string> {
    const { port, hostname } = new URL(server.url)
    const socket: Socket = connect(Number(port), hostname)
    socket.on("error", () => {})
    let received = ""
    socket.on("data", (chunk) => {
      received += chunk
    })
    socket.write("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
    socket.write("1\r\nx\r\n".repeat(count))
    socket.write("0\r\n\r\n")
    await new Promise((resolve) => socket.once("close", resolve))
    return received
  }

  it("loses its connection when thousands of them wait, and the server its memory of them", async () => {
    await using server = await serve(CONFIG, PLUGIN)
    assert.equal(await send(server, 50_000), "")
    assert.equal((await fetch(server.url)).status, 200)
  })

  it("is served when some hundred of them wait", async () => {
    await using server = await serve(CONFIG, PLUGIN)
    assert.match(await send(server, 500), /^HTTP\/1.1 200 OK\r\n(.|\r\n)*\r\n\r\n500$/)
  })
})
