import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { it, type TestContext } from "node:test"
import { exchange } from "../admin/raw.ts"
import { serveSeveral } from "../processes/several.ts"
import { handshake } from "../support/websockets.ts"
import { NEIGHBOUR, NEIGHBOUR_SECTION, startNeighbours } from "./neighbours.ts"
import { unharmed } from "./unharmed.ts"

const HIDDEN = "GET /hidden HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
const upgrade = (what: string, path: string, more = "") =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${what}\r\n${more}\r\n`
const length = `Content-Length: ${HIDDEN.length}`
const chunked = `${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`

/** What is sent → what it is answered with, on a route with websockets. */
const ATTEMPTS: Readonly<Record<string, readonly [string, RegExp]>> = {
  "a websocket with a body": [handshake("/live", [length]) + HIDDEN, /^HTTP\/1\.1 200 [\s\S]*plain$/],
  "a websocket with a chunked body": [
    handshake("/live", ["Transfer-Encoding: chunked"]) + chunked,
    /^HTTP\/1\.1 200 [\s\S]*plain/,
  ],
  "a websocket with both lengths": [
    handshake("/live", [length, "Transfer-Encoding: chunked"]) + chunked,
    /^HTTP\/1\.1 400 /,
  ],
  "an unknown protocol": [upgrade("tomorrow/9", "/live") + HIDDEN, /^HTTP\/1\.1 200 [\s\S]*plain/],
  "two protocols": [upgrade("websocket, tomorrow/9", "/live") + HIDDEN, /^HTTP\/1\.1 200 [\s\S]*plain/],
  "h2c by Upgrade": [
    upgrade("h2c", "/live", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n") + HIDDEN,
    /^HTTP\/1\.1 200 [\s\S]*plain/,
  ],
  "h2c by prior knowledge": [`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0${HIDDEN}`, /^HTTP\/1\.1 (400|505) /],
  "a websocket by CONNECT": [handshake("/live").replace("GET", "CONNECT") + HIDDEN, /^HTTP\/1\.1 [45]\d\d /],
  "a websocket where none is": [handshake("/neighbour/mine") + HIDDEN, /^HTTP\/1\.1 200 [\s\S]*mine/],
}

it("no Upgrade that is not a websocket's opens anything or puts a connection out of step, with two processes under load", async (t) => {
  const app = await startPlainApp(t)
  const route = `[[routes]]\npath = "/**"\nupstream = "${app.url}"\nwebsockets = true\n`
  await using site = await serveSeveral({ config: NEIGHBOUR_SECTION + route, files: NEIGHBOUR })
  await site.serving(2)
  await using neighbours = startNeighbours(site.url)
  const port = Number(new URL(site.url).port)
  for (const [what, [bytes, expected]] of Object.entries(ATTEMPTS)) {
    const answers = await Promise.all(Array.from({ length: 12 }, () => exchange({ port }, bytes)))
    for (const answer of answers) {
      assert.match(answer, expected, what)
      assert.equal(answer.match(/HTTP\/1\.1 \d\d\d /g)?.length, 1, `one answer to ${what}: ${answer}`)
    }
  }
  t.diagnostic(`${Object.keys(ATTEMPTS).length * 12} attempts, each with one answer and its connection closed`)
  assert.deepEqual(
    app.requests.filter((request) => request !== "/live"),
    [],
    "what is hidden behind an Upgrade is never a request",
  )
  assert.ok(app.requests.length > 0)
  const { processes } = await site.status()
  assert.deepEqual(
    processes.map(({ websockets, crashes }) => [websockets, crashes]),
    [
      [0, 0],
      [0, 0],
    ],
  )
  await unharmed(t, neighbours)
})

/** An app without websockets, which says "plain" to everything. */
async function startPlainApp(t: TestContext): Promise<{ url: string; requests: string[] }> {
  const requests: string[] = []
  const server = createServer((request, response) => {
    requests.push(request.url!)
    request.resume().on("end", () => response.end("plain"))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests }
}
