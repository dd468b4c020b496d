import assert from "node:assert/strict"
import { once } from "node:events"
import { type AddressInfo, connect, createServer } from "node:net"
import { Readable } from "node:stream"
import { describe, it } from "node:test"
import type { Body, RequestContext } from "../../src/message/request-context.ts"
import { answer, exchangeRaw, serve, until } from "./serve-test.ts"

const CONNECTIONS = 400
const FRAGMENTS = [
  "GET / HTTP/1.1\r\n",
  "POST /a HTTP/1.1\r\n",
  "HEAD /b HTTP/1.0\r\n",
  "OPTIONS * HTTP/1.1\r\n",
  "CONNECT a:1 HTTP/1.1\r\n",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "Host: a\r\n",
  "Host: [::1]\r\n",
  "Content-Length: 5\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Content-Encoding: gzip\r\n",
  "Connection: close\r\n",
  "Connection: upgrade\r\nUpgrade: x\r\n",
  "Expect: 100-continue\r\n",
  'Forwarded: for="x\r\n',
  "X-Forwarded-For: 1.2.3.4\r\n",
  "\r\n",
  "hello",
  "5\r\nhello\r\n",
  "0\r\n\r\n",
  "\n",
  "\0",
  ": x\r\n",
  " x\r\n",
  "%2f",
  "\xff\xfe",
]
const HANDSHAKE = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
const FRAMES = "\x81\x85\0\0\0\0hello\x88\x80\0\0\0\0"
const REQUESTS = [
  "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
  HANDSHAKE,
  `${HANDSHAKE}${FRAMES}`,
]

describe("the server, sent requests and rubbish in every mixture and torn at any place", () => {
  it("answers or loses every request it accepted, gives back what it took, and goes on", async (t) => {
    const random = pseudoRandom(20_260_117)
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
    let accepted = 0
    const echo = createServer((socket) => socket.on("error", () => {}).pipe(socket))
    echo.listen(0, "127.0.0.1")
    await once(echo, "listening")
    t.after(() => echo.close())
    const other = (echo.address() as AddressInfo).port
    const server = await serve(t, (context) => answerSomehow(context, accepted++ % 5, other), {
      trusted_proxies: ["127.0.0.1"],
      limits: {
        ...{ header_timeout: "200ms", request_timeout: "400ms", idle_timeout: "200ms" },
        websocket_idle_timeout: "200ms",
      },
    })
    const attack = () => {
      let bytes = ""
      for (let part = 0; part < 1 + random() * 4; part++) {
        if (random() < 0.5) bytes += pick(REQUESTS)
        else for (let count = 0; count < 1 + random() * 8; count++) bytes += pick(FRAGMENTS)
      }
      // Nobody opens a websocket by chance: most of these would not wait for the answer.
      const patient = random() < 0.2
      if (patient) bytes = HANDSHAKE
      const cut = Math.floor(random() * bytes.length)
      const end = patient ? "stay" : pick(["destroy", "end", "reset", "stay"])
      const frames = FRAMES.slice(0, Math.floor(random() * FRAMES.length * 2)) + pick(FRAGMENTS)
      return new Promise<void>((resolve) => {
        const socket = connect(server.port, "127.0.0.1")
        socket.on("error", () => {})
        socket.on("close", () => resolve())
        socket.resume()
        if (patient) socket.once("data", () => socket.write(Buffer.from(frames, "latin1")))
        socket.write(Buffer.from(bytes.slice(0, cut), "latin1"), () => {
          if (socket.destroyed) return
          socket.write(Buffer.from(bytes.slice(cut), "latin1"))
          if (end === "destroy") socket.destroy()
          if (end === "reset") socket.resetAndDestroy()
          if (end === "end") socket.end()
        })
      })
    }
    for (let sent = 0; sent < CONNECTIONS; sent += 100) await Promise.all(Array.from({ length: 100 }, attack))
    const text = await exchangeRaw(server.port, "GET /__bext/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.match(text, /\{"status":"ok"\}$/)
    assert.ok(accepted > 50)
    assert.ok(server.http.websockets.opened > 10)
    await until(() => server.http.websockets.open === 0, "every websocket is closed")
    await until(() => server.completed.length === accepted, "every accepted request is complete")
    assert.deepEqual(
      server.logged.filter(({ level }) => level === "error"),
      [],
    )
  })
})

function answerSomehow(context: RequestContext, way: number, other: number): void | Promise<void> {
  const reply = (body: Body) => {
    context.response = answer(body)
  }
  if (context.upgrade && way !== 0) {
    context.upgrade.reserve(context.clientAddress)
    const socket = connect(other, "127.0.0.1")
    context.upgrade.connectTo({ socket, head: Buffer.alloc(0), headers: [["Sec-WebSocket-Accept", "x"]] })
    context.response = answer(null, way === 1 ? 403 : 101)
    if (way !== 1) return once(socket, "connect").then(() => {})
  } else if (way === 0) reply("text")
  else if (way === 1) reply(Readable.from(["a", Buffer.alloc(100_000), "b"]))
  else if (way === 2) reply(context.requestBody.present ? context.requestBody.stream() : null)
  else if (way === 3) return context.requestBody.buffer(1 << 16).then(reply, () => reply("failed"))
  else return new Promise((resolve) => setImmediate(resolve)).then(() => reply("late"))
}

/** The same numbers in every run. */
function pseudoRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff
    return state / 0x7fff_ffff
  }
}
