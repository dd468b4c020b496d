import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { readdirSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { it, type TestContext } from "node:test"
import { eventually, get, serveSeveral } from "../processes/several.ts"
import { ask, dial, handshake, open, startEcho } from "../support/websockets.ts"
import { NEIGHBOUR, NEIGHBOUR_SECTION, startNeighbours } from "./neighbours.ts"
import { unharmed } from "./unharmed.ts"

it("without file descriptors left: open connections and websockets go on, fetches fail with a code, and all works again afterwards", {
  skip: process.platform !== "linux",
}, async (t) => {
  const app = await startEcho(t)
  const inner = await startInner(t)
  const urls = `allowed_urls = ["http://127.0.0.1:${inner}/**"]\nmax_fetch_per_minute = 10000\n`
  const config = `${NEIGHBOUR_SECTION}[[routes]]
path = "/live"
upstream = "${app.url}"
websockets = true
[fetch]
allow_private = ["127.0.0.1:${inner}"]
[plugins.fetcher]
match = [{ path = "/fetch" }]
[plugins.fetcher.grant]
${urls}`
  const files = {
    ...NEIGHBOUR,
    "plugins/fetcher/plugin.toml": `[manifest]\nname = "fetcher"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n[permissions]\n${urls}`,
    "plugins/fetcher/index.js": `export async function onRequest() {
  try {
    const response = await bext.fetch("http://127.0.0.1:${inner}/")
    return new Response(await response.text())
  } catch (error) {
    return new Response(error.code, { status: 503 })
  }
}`,
  }
  await using site = await serveSeveral({ config, files })
  const pids = (await site.serving(2)).map(({ pid }) => pid)
  const port = Number(new URL(site.url).port)
  const sockets = [await open(t, `${site.url}/live`), await open(t, `${site.url}/live`)]
  assert.equal((await get(`${site.url}/fetch`)).body, "fetched")
  await using neighbours = startNeighbours(site.url)
  await eventually(() => neighbours.answered > 50, "neighbours are connected")

  for (const pid of pids) {
    const limit = readdirSync(`/proc/${pid}/fd`).length + 12
    execFileSync("prlimit", ["--pid", String(pid), `--nofile=${limit}:`])
  }
  const seen = new Map<string, number>()
  const note = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1)
  const flood = Array.from({ length: 120 }, (_, index) => {
    const socket = dial(t, port)
    // Half of them are handshakes, whose way to the app takes a descriptor more.
    socket.write(index % 2 === 0 ? handshake("/live") : "GET /fetch HTTP/1.1\r\nHost: a\r\n\r\n")
    const answer = new Promise<string>((resolve) => {
      socket.once("data", (data) => resolve(/^HTTP\/1\.1 (\d+)/.exec(String(data))?.[1] ?? "no HTTP"))
      socket.once("close", () => resolve("closed"))
    })
    return { socket, answer: answer.then(note) }
  })
  const before = neighbours.answered
  await eventually(
    () => seen.size > 1 && [...seen.values()].reduce((sum, count) => sum + count) > 40,
    "some are refused",
  )
  await eventually(() => neighbours.answered > before + 100, "open connections are answered meanwhile")
  for (const socket of sockets) assert.equal((await ask(socket, "still")).toString(), "still")
  for (const status of seen.keys()) assert.match(status, /^(101|200|502|503|504|closed)$/)
  t.diagnostic(`120 connections: ${[...seen].map(([what, count]) => `${count} x ${what}`).join(", ")}`)

  for (const { socket } of flood) socket.destroy()
  await eventually(async () => (await get(`${site.url}/fetch`).catch(() => null))?.body === "fetched", "fetches work")
  await eventually(async () => {
    const socket = await open(t, `${site.url}/live`).catch(() => null)
    return socket !== null && (await ask(socket, "again")).toString() === "again"
  }, "websockets are opened")
  assert.deepEqual(
    (await site.serving(2)).map(({ pid }) => pid),
    pids,
  )
  await unharmed(t, neighbours)
})

/** A server for plugins. @returns its port. */
async function startInner(t: TestContext): Promise<number> {
  const server = createServer((_request, response) => response.setHeader("connection", "close").end("fetched"))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}
