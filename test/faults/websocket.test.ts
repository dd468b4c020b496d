import assert from "node:assert/strict"
import { once } from "node:events"
import { describe, it, type TestContext } from "node:test"
import { WebSocket } from "ws"
import { eventually, isAlive, type Several, serveSeveral } from "../processes/several.ts"
import { ask, closeOf, dial, frame, handshake, open, startEcho } from "../support/websockets.ts"
import { NEIGHBOUR, NEIGHBOUR_SECTION, startNeighbours } from "./neighbours.ts"
import { unharmed } from "./unharmed.ts"

const live = (upstream: string) =>
  `${NEIGHBOUR_SECTION}[[routes]]\npath = "/live"\nupstream = "${upstream}"\nwebsockets = true\n`

describe("websockets of two processes under load", { concurrency: 2 }, () => {
  it("flooded with 400 that end in every way: neighbours are answered, and nothing is left behind", async (t) => {
    const app = await startEcho(t)
    await using site = await serveSeveral({ config: live(app.url), files: NEIGHBOUR })
    const before = (await site.serving(2)).map(({ pid }) => pid)
    await using neighbours = startNeighbours(site.url)
    let opened = 0
    for (let round = 0; round < 10; round++) {
      const ends = Array.from({ length: 40 }, (_, index) => WAYS[index % WAYS.length]!(t, site))
      opened += (await Promise.all(ends)).filter(Boolean).length
    }
    t.diagnostic(`${opened} of 400 were open before they ended`)
    assert.ok(opened >= 200)
    await eventually(async () => (await site.serving(2)).every(({ websockets }) => websockets === 0), "none is left")
    await eventually(() => app.clients.size === 0, "none is left at the app")
    assert.equal((await ask(await open(t, `${site.url}/live`), "after")).toString(), "after")
    await unharmed(t, neighbours)
    assert.deepEqual(
      (await site.serving(2)).map(({ pid }) => pid),
      before,
    )
  })

  it("beside slow readers and half-open sockets: open ones survive a reload, and a replacement closes them with 1001", async (t) => {
    const app = await startEcho(t)
    await using site = await serveSeveral({ grace: "1s", config: live(app.url), files: NEIGHBOUR })
    const sockets: WebSocket[] = []
    await eventually(async () => {
      sockets.push(await open(t, `${site.url}/live`))
      return (await site.serving(2)).every(({ websockets }) => websockets >= 2)
    }, "both processes have some")
    const before = (await site.serving(2)).map(({ pid, rssBytes }) => ({ pid, rssBytes }))
    await using neighbours = startNeighbours(site.url)
    for (let index = 0; index < 6; index++) await readSlowly(t, site)
    for (let index = 0; index < 6; index++) await finishOneSide(t, site)

    process.kill(site.pid, "SIGHUP")
    await eventually(async () => (await site.status()).lastReload?.ok === true, "it has reloaded")
    for (const socket of sockets) assert.equal((await ask(socket, "reloaded")).toString(), "reloaded")
    const grown = (await site.serving(2)).map(({ rssBytes }, slot) => rssBytes - before[slot]!.rssBytes)
    t.diagnostic(
      `memory of the processes grew by ${grown.map((bytes) => Math.round(bytes / 2 ** 20)).join(" and ")} MiB`,
    )
    assert.ok(Math.max(...grown) < 128 * 2 ** 20, "what slow readers do not take is not kept here")

    const codes = Promise.all(sockets.map(closeOf))
    await site.edit("bext.config.toml", "[log]", "[server.limits]\nheader_count = 99\n[log]")
    process.kill(site.pid, "SIGHUP")
    assert.deepEqual(new Set(await codes), new Set([1001]))
    await eventually(() => !before.some(({ pid }) => isAlive(pid)), "slow readers do not keep the old processes")
    assert.equal((await ask(await open(t, `${site.url}/live`), "new")).toString(), "new")
    await unharmed(t, neighbours)
  })
})

/** Ways in which a websocket ends. Each says whether it was open before. */
const WAYS: readonly ((t: TestContext, site: Several) => Promise<boolean>)[] = [
  async (_t, site) => {
    const socket = await opened(site)
    socket?.close()
    if (socket !== null) await once(socket, "close")
    return socket !== null
  },
  async (_t, site) => {
    const socket = await opened(site)
    socket?.terminate()
    return socket !== null
  },
  async (_t, site) => {
    const socket = await opened(site)
    socket?.send("close 4001")
    if (socket !== null) await once(socket, "close")
    return socket !== null
  },
  async (t, site) => {
    const socket = dial(t, portOf(site))
    socket.write(handshake("/live").slice(0, 60))
    socket.destroy()
    return false
  },
  async (t, site) => {
    const socket = dial(t, portOf(site))
    socket.write(handshake("/live"))
    const [answer] = await once(socket, "data")
    socket.resetAndDestroy()
    return /^HTTP\/1\.1 101 /.test(String(answer))
  },
]

/** @returns null when the server says that it has no place; every other failure is the test's. */
function opened(site: Several): Promise<WebSocket | null> {
  const socket = new WebSocket(`${site.url.replace(/^http/, "ws")}/live`)
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket | null>()
  socket.on("error", reject)
  socket.once("open", () => resolve(socket))
  socket.once("unexpected-response", (_request, response) => {
    response.resume()
    if (response.statusCode === 503) resolve(null)
    else reject(new Error(`status ${response.statusCode}`))
  })
  return promise
}

/** Has the app send 4 MiB that nobody reads. */
async function readSlowly(t: TestContext, site: Several): Promise<void> {
  const socket = dial(t, portOf(site))
  socket.write(handshake("/live"))
  await once(socket, "data")
  socket.pause()
  const message = frame(2, Buffer.alloc(64 * 1024 - 1), true)
  for (let index = 0; index < 64; index++) socket.write(message)
}

/** Says goodbye on TCP alone, and listens on. */
async function finishOneSide(t: TestContext, site: Several): Promise<void> {
  const socket = dial(t, portOf(site))
  socket.write(handshake("/live"))
  await once(socket, "data")
  socket.resume()
  socket.end()
}

function portOf({ url }: Several): number {
  return Number(new URL(url).port)
}
