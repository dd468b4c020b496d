import assert from "node:assert/strict"
import { once } from "node:events"
import { connect } from "node:net"
import { PassThrough, Readable } from "node:stream"
import { describe, it } from "node:test"
import type { RequestContext, ResponseState } from "../../src/message/request-context.ts"
import { answer, exchangeRaw, readToEnd, readUntil, serve, until } from "./serve-test.ts"

const get = (path = "/", version = "1.1", lines = "Connection: close\r\n") =>
  `GET ${path} HTTP/${version}\r\nHost: a\r\n${lines}\r\n`
const respondWith = (make: (context: RequestContext) => ResponseState) => (context: RequestContext) => {
  context.response = make(context)
}
const lengths = (text: string) => [...text.matchAll(/^content-length: (\d+)\r$/gim)].map((match) => match[1])

describe("a response", () => {
  for (const [what, body, length] of [
    ["text", "héllo", "6"],
    ["bytes", new Uint8Array([1, 2, 3]), "3"],
    ["empty text", "", "0"],
    ["nothing", null, "0"],
  ] as const) {
    it(`of ${what} has its length counted, whatever its headers claim`, async (t) => {
      const server = await serve(
        t,
        respondWith(() =>
          answer(body, 200, [
            ["Content-Length", "99"],
            ["Transfer-Encoding", "chunked"],
          ]),
        ),
      )
      const text = await exchangeRaw(server.port, get())
      assert.deepEqual(lengths(text), [length])
      assert.doesNotMatch(text, /transfer-encoding/i)
      assert.equal(server.completed[0]!.result.bytes, Number(length))
    })
  }

  it("carries no connection headers a handler or guest put there", async (t) => {
    const hop = ["Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Trailer"] as const
    const server = await serve(
      t,
      respondWith(() =>
        answer(
          "x",
          200,
          hop.map((name) => [name, "evil"]),
        ),
      ),
    )
    assert.doesNotMatch(await exchangeRaw(server.port, get()), /evil/)
  })

  for (const status of [204, 205, 304]) {
    it(`with status ${status} has no body`, async (t) => {
      const server = await serve(
        t,
        respondWith(() => answer("not sent", status, [["Content-Length", "8"]])),
      )
      const text = await exchangeRaw(server.port, get())
      assert.match(text, /\r\n\r\n$/)
      assert.deepEqual(lengths(text), status === 205 ? ["0"] : [])
    })
  }

  it("to HEAD has the length and no body", async (t) => {
    let stream: Readable | undefined
    const server = await serve(
      t,
      respondWith(({ path }) => {
        if (path === "/text") return answer("hello")
        if (path === "/null") return answer(null, 200, [["Content-Length", "7"]])
        stream = Readable.from(["hello"])
        return answer(stream, 200, [["Content-Length", "5"]])
      }),
    )
    for (const [path, length] of [
      ["/text", "5"],
      ["/null", "7"],
      ["/stream", "5"],
    ]) {
      const text = await exchangeRaw(server.port, get(path).replace("GET", "HEAD"))
      assert.match(text, /\r\n\r\n$/)
      assert.deepEqual(lengths(text), [length])
    }
    assert.equal(stream?.destroyed, true)
  })

  it("that streams is chunked, or has the length its maker knows", async (t) => {
    const server = await serve(
      t,
      respondWith(({ path }) =>
        answer(Readable.from(["he", Buffer.from("llo")]), 200, path === "/known" ? [["Content-Length", "5"]] : []),
      ),
    )
    assert.match(await exchangeRaw(server.port, get()), /Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n$/)
    const known = await exchangeRaw(server.port, get("/known"))
    assert.deepEqual(lengths(known), ["5"])
    assert.match(known, /\r\n\r\nhello$/)
    assert.deepEqual(
      server.completed.map(({ result }) => [result.bytes, result.aborted]),
      [
        [5, false],
        [5, false],
      ],
    )
  })

  it("that streams to HTTP/1.0 ends with the connection", async (t) => {
    const server = await serve(
      t,
      respondWith(() => answer(Readable.from(["hello"]))),
    )
    const text = await exchangeRaw(server.port, get("/", "1.0", "Connection: keep-alive\r\n"))
    assert.match(text, /Connection: close\r\n\r\nhello$/)
  })

  for (const [what, make] of [
    ["is shorter than its length", () => answer(Readable.from(["four"]), 200, [["Content-Length", "5"]])],
    ["is longer than its length", () => answer(Readable.from(["sixsix"]), 200, [["Content-Length", "5"]])],
    ["fails half-way", () => answer(Readable.from(failing()), 200)],
    ["is destroyed half-way", () => answer(destroyed(), 200)],
  ] as const) {
    it(`that ${what} cuts the connection instead of looking whole`, async (t) => {
      const server = await serve(t, respondWith(make))
      const text = await exchangeRaw(server.port, get("/", "1.1", "") + get())
      assert.doesNotMatch(text, /0\r\n\r\n$/)
      assert.ok((text.match(/HTTP\/1\.1 200/g) ?? []).length <= 1)
      assert.doesNotMatch(text, /six/)
      await until(() => server.completed.length > 0, "the request is complete")
      assert.equal(server.completed[0]!.result.aborted, true)
      assert.equal(await (await fetch(`${server.url}/__bext/health`)).text(), '{"status":"ok"}')
    })
  }

  it("sends its head before the first chunk is there", async (t) => {
    const source = new PassThrough()
    const server = await serve(
      t,
      respondWith(() => answer(source, 200, [["Content-Type", "text/event-stream"]])),
    )
    const socket = connect(server.port, "127.0.0.1")
    socket.write(get())
    assert.match(await readUntil(socket, "\r\n\r\n"), /text\/event-stream/)
    source.end("data: 1\n\n")
    assert.match(await readToEnd(socket), /data: 1/)
  })

  it("stops its source when the client goes away", async (t) => {
    const source = new PassThrough()
    const server = await serve(
      t,
      respondWith(() => answer(source)),
    )
    const socket = connect(server.port, "127.0.0.1")
    socket.write(get())
    await readUntil(socket, "\r\n\r\n")
    const closed = once(source, "close")
    socket.resetAndDestroy()
    await closed
    await until(() => server.completed.length === 1, "the request is complete")
    assert.equal(server.completed[0]!.result.aborted, true)
  })

  it("reads its source no faster than the client reads", async (t) => {
    let produced = 0
    const source = Readable.from(
      (function* () {
        for (; produced < 2_000; produced++) yield Buffer.alloc(64 * 1024)
      })(),
      { objectMode: false },
    )
    const server = await serve(
      t,
      respondWith(() => answer(source)),
    )
    const socket = connect(server.port, "127.0.0.1")
    socket.pause()
    socket.write(get())
    let before = -1
    await until(() => {
      const stalled = produced > 0 && produced === before
      before = produced
      return stalled
    }, "the source waits")
    assert.ok(produced < 500, `${produced} chunks in memory`)
    let received = 0
    socket.on("data", (chunk) => {
      received += chunk.length
    })
    socket.resume()
    await once(socket, "close")
    assert.ok(received > 2_000 * 64 * 1024)
    assert.equal(server.completed[0]!.result.aborted, false)
  })

  it("reaches a client that is still sending although it asked to close", async (t) => {
    const server = await serve(
      t,
      respondWith(({ path }) => answer(path === "/stream" ? Readable.from(["early"]) : "early", 403)),
      { limits: { body: "100mb" } },
    )
    for (const path of ["/stream", "/text"]) {
      const head = `POST ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${4 << 20}\r\n\r\n`
      assert.match(await exchangeRaw(server.port, head, Buffer.alloc(4 << 20)), /^HTTP\/1\.1 403 .*early/s)
    }
  })

  it("answers 413 so that a client that is still sending can read it", async (t) => {
    const server = await serve(t, () => {}, { limits: { body: "1kb" } })
    for (let round = 0; round < 5; round++) {
      const text = await exchangeRaw(
        server.port,
        `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${1 << 20}\r\n\r\n`,
        Buffer.alloc(1 << 20),
      )
      assert.match(text, /^HTTP\/1\.1 413 .*E_BODY_TOO_LARGE/s)
    }
  })

  it("keeps its own headers, repeated ones too, in order", async (t) => {
    const server = await serve(
      t,
      respondWith(() =>
        answer("", 200, [
          ["Set-Cookie", "a=1"],
          ["X-A", "1"],
          ["Set-Cookie", "b=2"],
        ]),
      ),
    )
    assert.match(await exchangeRaw(server.port, get()), /Set-Cookie: a=1\r\nX-A: 1\r\nSet-Cookie: b=2\r\n/)
  })
})

async function* failing(): AsyncGenerator<string> {
  yield "begin"
  await new Promise((resolve) => setImmediate(resolve))
  throw new Error("source failed")
}

function destroyed(): Readable {
  const source = new PassThrough()
  source.write("begin")
  setImmediate(() => setImmediate(() => source.destroy()))
  return source
}
