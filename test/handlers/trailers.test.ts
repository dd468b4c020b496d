import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer as createHttp, type IncomingMessage, type RequestListener } from "node:http"
import { type AddressInfo, connect, createServer as createTcp, type Server, type Socket } from "node:net"
import { buffer, text as readText } from "node:stream/consumers"
import { describe, it, type TestContext } from "node:test"
import { createUpstreamHandler } from "../../src/handlers/upstream.ts"
import { HeaderList } from "../../src/message/header-list.ts"
import type { RequestContext } from "../../src/message/request-context.ts"
import { answer, exchangeRaw, readUntil, type ServerSettings, serve, until } from "../http/serve-test.ts"
import { respondWith } from "./respond-with.ts"

interface Setup {
  readonly before?: (context: RequestContext) => void | Promise<void>
  readonly settings?: ServerSettings
  readonly timeoutMs?: number
}

async function listen(t: TestContext, server: Server): Promise<string> {
  const sockets = new Set<Socket>()
  server.on("connection", (socket: Socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A server in front of an app. */
async function proxy(t: TestContext, url: string, { before, settings, timeoutMs = 5_000 }: Setup = {}) {
  const failures: Error[] = []
  const handler = createUpstreamHandler(url, { timeoutMs, forwardExtensions: [] })
  const respond = respondWith(handler, failures)
  const both = async (context: RequestContext) => {
    await before?.(context)
    await respond(context)
  }
  const server = await serve(t, before === undefined ? respond : both, settings)
  t.after(() => handler.close?.())
  return { ...server, failures }
}

const app = async (t: TestContext, listener: RequestListener, setup?: Setup) =>
  proxy(t, await listen(t, createHttp(listener)), setup)

/** What an app was sent: the body, the header fields and the trailer fields, flat. */
interface Seen {
  readonly body: string
  readonly headers: IncomingMessage["headers"]
  readonly trailers: readonly string[]
}

async function seeing(t: TestContext, setup?: Setup) {
  const seen: Seen[] = []
  const server = await app(
    t,
    async (request, response) => {
      const body = await readText(request)
      seen.push({ body, headers: request.headers, trailers: request.rawTrailers })
      response.end("seen")
    },
    setup,
  )
  return { ...server, seen }
}

const post = (lines: string, section: string, chunks = "2\r\nhi\r\n") =>
  Buffer.from(
    `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${lines}Transfer-Encoding: chunked\r\n\r\n${chunks}0\r\n${section}\r\n`,
    "latin1",
  )
const get = (lines: string, version = "1.1") => `GET / HTTP/${version}\r\nHost: a\r\nConnection: close\r\n${lines}\r\n`
const TE = "TE: trailers\r\n"
const bodyOf = (text: string) => text.slice(text.indexOf("\r\n\r\n") + 4)
const headOf = (text: string) => text.slice(0, text.indexOf("\r\n\r\n")).toLowerCase()

describe("the trailer section of a request", { concurrency: true }, () => {
  it("reaches the app behind the content when it was announced, and is no header", async (t) => {
    const server = await seeing(t)
    const text = await exchangeRaw(
      server.port,
      post("Trailer: X-Sum, X-End\r\n", "X-Sum: 1\r\nX-End: a\r\nX-End: b\xe9\r\n"),
    )
    assert.match(text, /seen/)
    const [{ body, headers, trailers }] = server.seen as [Seen]
    assert.equal(body, "hi")
    assert.deepEqual(trailers, ["X-Sum", "1", "X-End", "a", "X-End", "b\xe9"])
    assert.equal(headers.trailer, "X-Sum, X-End")
    assert.deepEqual([headers["x-sum"], headers["content-length"]], [undefined, undefined])
  })

  it("ends with the request when nobody announced it and nobody buffers the content", async (t) => {
    const server = await seeing(t)
    await exchangeRaw(server.port, post("", "X-Sum: 1\r\n"))
    assert.deepEqual(server.seen[0]!.trailers, [])
  })

  it("reaches the app without being announced when the content was buffered", async (t) => {
    const server = await seeing(t, {
      before: async (context) => void (await context.requestBody.buffer(100)),
    })
    await exchangeRaw(server.port, post("", "X-Sum: 1\r\n"))
    assert.deepEqual(
      [server.seen[0]!.body, server.seen[0]!.trailers],
      ["hi", ["x-sum", "1"].map((s, i) => (i === 0 ? "X-Sum" : s))],
    )
  })

  it("loses what frames, routes, authenticates or speaks for the server", async (t) => {
    const server = await seeing(t, { settings: { identity_headers: ["X-User"] } })
    const forbidden = [
      ..."Host: evil|Authorization: Basic x|Cookie: a=1|Content-Type: a/b".split("|"),
      ..."Content-Encoding: gzip|Expect: 100-continue|Upgrade: h2c|Connection: close|TE: gzip|Trailer: x|If-Match: 1".split(
        "|",
      ),
      ..."X-Forwarded-For: 192.0.2.9|X_Forwarded_For: 192.0.2.9|Forwarded: for=x|X-Real-IP: 192.0.2.9|X-Request-Id: 1".split(
        "|",
      ),
      ..."X-Bext-User: {}|x_bext_user: {}|X-User: root|x_user: root|X-Named: 1|Proxy-Authorization: x|Range: bytes=0-".split(
        "|",
      ),
      ..."Sec-Fetch-Site: same-origin|Origin: http://a|Access-Control-Request-Method: PUT|Cache-Control: no-store".split(
        "|",
      ),
    ]
    await exchangeRaw(
      server.port,
      Buffer.from(
        `POST / HTTP/1.1\r\nHost: a\r\nConnection: close, x-named\r\nTrailer: X-Kept, X-User, Host, X-Named\r\nTransfer-Encoding: chunked\r\n\r\n` +
          `2\r\nhi\r\n0\r\n${forbidden.join("\r\n")}\r\nX-Kept: 1\r\n\r\n`,
      ),
    )
    const [{ headers, trailers }] = server.seen as [Seen]
    assert.deepEqual(trailers, ["X-Kept", "1"])
    assert.equal(headers.trailer, "X-Kept")
    assert.deepEqual([headers["x-user"], headers["x-named"], headers["x-bext-user"]], [undefined, undefined, undefined])
  })

  it("is left out when it has more fields than anybody needs", async (t) => {
    const server = await seeing(t)
    const many = Array.from({ length: 257 }, (_, i) => `X-${i}: 1\r\n`).join("")
    await exchangeRaw(server.port, post("Trailer: X-1\r\n", many))
    assert.deepEqual([server.seen[0]!.body, server.seen[0]!.trailers], ["hi", []])
  })

  it("ends the request when it is larger than a header section may be", async (t) => {
    const server = await seeing(t)
    const text = await exchangeRaw(server.port, post("Trailer: X-1\r\n", `X-1: ${"a".repeat(200_000)}\r\n`))
    assert.doesNotMatch(text, /HTTP\/1.1 200/)
    assert.deepEqual(server.seen, [])
    assert.equal((await fetch(server.url)).status, 200)
  })

  for (const [what, section] of [
    ["a CR", "X-1: a\rb\r\n"],
    ["a NUL", "X-1: a\0b\r\n"],
    ["a space before the colon", "X-1 : a\r\n"],
    ["no colon", "X-1\r\n"],
    ["folding", "X-1: a\r\n b\r\n"],
    ["a name that is no token", "X 1: a\r\n"],
    ["Content-Length in it", "Content-Length: 4\r\n"],
    ["Transfer-Encoding in it", "Transfer-Encoding: chunked\r\n"],
    ["a request in it", "GET /hidden HTTP/1.1\r\nHost: a\r\n"],
  ] as const) {
    it(`is refused with ${what}, and the app never gets a whole request`, async (t) => {
      const server = await seeing(t)
      const text = await exchangeRaw(server.port, post("Trailer: X-1\r\n", section))
      assert.doesNotMatch(text, /HTTP\/1.1 200/)
      assert.deepEqual(server.seen, [])
    })
  }

  it("goes out in bytes that are exactly one request, on a connection of its own", async (t) => {
    const received: Buffer[] = []
    const upstream = createTcp((socket) => {
      socket.on("data", (chunk: Buffer) => {
        received.push(chunk)
        if (Buffer.concat(received).toString("latin1").endsWith("x-end: 1\r\n\r\n")) {
          socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        }
      })
    })
    const server = await proxy(t, await listen(t, upstream))
    const text = await exchangeRaw(server.port, post("Trailer: x-end\r\nContent-Type: a/b\r\n", "x-end: 1\r\n"))
    assert.match(text, /ok$/)
    const sent = Buffer.concat(received).toString("latin1")
    assert.equal(bodyOf(sent), "2\r\nhi\r\n0\r\nx-end: 1\r\n\r\n")
    assert.match(headOf(sent), /^post \/ http\/1\.1\r\nhost: a\r\n/)
    assert.match(headOf(sent), /transfer-encoding: chunked/)
    assert.match(headOf(sent), /connection: close/)
    assert.doesNotMatch(headOf(sent), /content-length/)
  })

  it("that a plugin made goes out behind the buffered content", async (t) => {
    const server = await seeing(t, {
      before: async ({ requestBody }) => {
        await requestBody.buffer(100)
        requestBody.trailers = { announced: "", fields: HeaderList.from([["x-made", "1"]]) }
      },
    })
    const sized = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
    await exchangeRaw(server.port, sized)
    const [{ body, headers, trailers }] = server.seen as [Seen]
    assert.deepEqual([body, trailers, headers["content-length"]], ["hi", ["x-made", "1"], undefined])
  })

  it("comes in time, however slowly it comes, and the answer may be earlier", async (t) => {
    const server = await app(t, (request, response) => {
      response.write("early ")
      request.resume().once("end", () => response.end(request.rawTrailers.join()))
    })
    const socket = connect(server.port, "127.0.0.1")
    t.after(() => socket.destroy())
    const whole = post("Trailer: x-end\r\n", "x-end: 1\r\n").toString("latin1")
    const cut = whole.indexOf("0\r\nx-end")
    socket.write(whole.slice(0, cut))
    await readUntil(socket, "early")
    for (const byte of whole.slice(cut)) socket.write(byte)
    await readUntil(socket, "x-end,1")
  })

  it("leaves nothing behind when the client goes away before it", async (t) => {
    let closed = 0
    let arrived = 0
    const server = await app(t, (request) => {
      arrived++
      request.on("error", () => {})
      request.resume().once("close", () => closed++)
    })
    for (let round = 0; round < 3; round++) {
      const socket = connect(server.port, "127.0.0.1")
      const whole = post("Trailer: x-end\r\n", "").toString("latin1")
      socket.write(whole.slice(0, whole.indexOf("0\r\n")))
      await until(() => arrived === round + 1, "the request reaches the app")
      socket.destroy()
      await until(() => closed === round + 1, "the app's connection is closed")
    }
    await until(() => server.completed.length === 3, "every request is complete")
  })

  it("does not keep the failures of an app from the client", async (t) => {
    const codes = async (server: { port: number }) =>
      /"code":"(\w+)"/.exec(await exchangeRaw(server.port, post("Trailer: x-end\r\n", "x-end: 1\r\n")))?.[1]
    assert.equal(await codes(await proxy(t, "http://127.0.0.1:1")), "E_UPSTREAM_UNREACHABLE")
    const silent = await listen(
      t,
      createTcp(() => {}),
    )
    assert.equal(await codes(await proxy(t, silent, { timeoutMs: 200 })), "E_UPSTREAM_TIMEOUT")
    const wild = await listen(
      t,
      createTcp((socket) => socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"))),
    )
    assert.equal(await codes(await proxy(t, wild)), "E_UPSTREAM_INVALID")
    const rude = await listen(
      t,
      createTcp((socket) => socket.once("data", () => socket.destroy())),
    )
    assert.equal(await codes(await proxy(t, rude)), "E_UPSTREAM_UNREACHABLE")
  })

  it("does not wait for an app that switches protocols, which nobody asked for", async (t) => {
    const code = async (lines: string) => {
      const upstream = createTcp((socket) => socket.once("data", () => socket.write(lines)))
      const server = await proxy(t, await listen(t, upstream))
      const text = await exchangeRaw(server.port, post("Trailer: x-end\r\n", "x-end: 1\r\n"))
      return /"code":"(\w+)"/.exec(text)?.[1]
    }
    const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    assert.equal(await code(switching), "E_UPSTREAM_INVALID")
    assert.equal(await code("HTTP/1.1 101 Switching Protocols\r\n\r\n"), "E_UPSTREAM_INVALID")
  })

  it("does not wait for an app that never begins TLS, or is silent behind a client that was slow", async (t) => {
    const silent = await listen(
      t,
      createTcp((socket) => socket.resume()),
    )
    const mute = await proxy(t, silent.replace("http:", "https:"), { timeoutMs: 200 })
    const text = await exchangeRaw(mute.port, post("Trailer: x-end\r\n", "x-end: 1\r\n"))
    assert.match(text, /"code":"E_UPSTREAM_TIMEOUT"/)

    const server = await proxy(t, silent, { timeoutMs: 200 })
    const socket = connect(server.port, "127.0.0.1")
    t.after(() => socket.destroy())
    const whole = post("Trailer: x-end\r\n", "x-end: 1\r\n").toString("latin1")
    const cut = whole.indexOf("0\r\nx-end")
    socket.write(whole.slice(0, cut))
    // Longer than the upstream may be silent, which is not its turn yet.
    await new Promise((resolve) => setTimeout(resolve, 500))
    assert.deepEqual(server.failures, [])
    socket.write(whole.slice(cut))
    assert.match(await readUntil(socket, "E_UPSTREAM_TIMEOUT"), /504/)
  })

  it("leaves a client as long as it likes to read the answer", async (t) => {
    const content = Buffer.alloc(16 * 1024 * 1024, "a")
    const server = await app(
      t,
      (request, response) => {
        request.resume().once("end", () => response.end(content))
      },
      { timeoutMs: 200 },
    )
    const socket = connect(server.port, "127.0.0.1")
    t.after(() => socket.destroy())
    socket.write(post("Trailer: x-end\r\n", "x-end: 1\r\n"))
    await once(socket, "readable")
    await new Promise((resolve) => setTimeout(resolve, 600))
    let bytes = 0
    for await (const chunk of socket) bytes += (chunk as Buffer).length
    assert.ok(bytes > content.length, `only ${bytes} bytes arrived`)
  })

  it("is gone with the content of a request whose method was made GET", async (t) => {
    const server = await seeing(t, {
      before: (context) => {
        context.method = "GET"
        context.requestBody.trailers = null
        context.requestBody.replace(new Uint8Array(0))
      },
    })
    await exchangeRaw(server.port, post("Trailer: x-end\r\n", "x-end: 1\r\n"))
    assert.deepEqual([server.seen[0]!.body, server.seen[0]!.trailers], ["", []])
  })
})

describe("the trailer section of a response", { concurrency: true }, () => {
  const trailing: RequestListener = (request, response) => {
    if (request.method !== "HEAD") response.writeHead(200, { Trailer: "X-Sum, Set-Cookie" })
    response.write("content")
    response.addTrailers([
      ["X-Sum", "1"],
      ["X-End", "a"],
      ["X-End", "b\xe9"],
    ])
    response.end()
  }

  it("reaches a client that says that it keeps it", async (t) => {
    const server = await app(t, trailing)
    const text = await exchangeRaw(server.port, get(TE))
    assert.equal(bodyOf(text), "7\r\ncontent\r\n0\r\nx-sum: 1\r\nx-end: a\r\nx-end: b\xe9\r\n\r\n")
    assert.match(headOf(text), /\r\ntrailer: x-sum(\r\n|$)/)
  })

  for (const te of ["", "TE: gzip\r\n", "TE: trailers;q=0\r\n", "TE: nottrailers\r\n"]) {
    it(`ends here for a client that says ${JSON.stringify(te.trim())}`, async (t) => {
      const server = await app(t, trailing)
      const text = await exchangeRaw(server.port, get(te))
      assert.equal(bodyOf(text), "7\r\ncontent\r\n0\r\n\r\n")
      assert.doesNotMatch(headOf(text), /trailer/)
    })
  }

  it("ends here for HEAD and for a client of HTTP/1.0", async (t) => {
    const server = await app(t, trailing)
    assert.equal(bodyOf(await exchangeRaw(server.port, get(TE, "1.0"))), "content")
    const head = await exchangeRaw(server.port, get(TE).replace("GET", "HEAD"))
    assert.equal(bodyOf(head), "")
    assert.doesNotMatch(headOf(head), /trailer/)
  })

  it("loses what would mean something else in a header section", async (t) => {
    const forbidden = [
      ..."Set-Cookie: a=1|X-Bext-Session: end|Location: /x|Vary: x".split("|"),
      ..."Cache-Control: public|X-Named: 1|Access-Control-Allow-Origin: *|WWW-Authenticate: Basic|Content-Type: a/b".split(
        "|",
      ),
    ]
    const upstream = createTcp((socket) =>
      socket.once("data", () => {
        const head =
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close, X-Named\r\nTrailer: X-Named\r\n\r\n"
        socket.end(
          `${head}2\r\nok\r\n0\r\n${forbidden.join("\r\n")}\r\n__proto__: 1\r\nconstructor: 2\r\nx-kept: 3\r\n\r\n`,
        )
      }),
    )
    const server = await proxy(t, await listen(t, upstream))
    const text = await exchangeRaw(server.port, get(TE))
    assert.equal(bodyOf(text), "2\r\nok\r\n0\r\n__proto__: 1\r\nconstructor: 2\r\nx-kept: 3\r\n\r\n")
    assert.doesNotMatch(headOf(text), /trailer/)
  })

  it("cannot begin another response", async (t) => {
    const upstream = createTcp((socket) =>
      socket.once("data", () => {
        socket.end(
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-a: b\rHTTP/1.1 200 OK\r\n\r\n",
        )
      }),
    )
    const server = await proxy(t, await listen(t, upstream))
    const text = await exchangeRaw(server.port, get(TE))
    assert.doesNotMatch(text.slice(10), /HTTP\/1\.1/)
    assert.doesNotMatch(bodyOf(text), /0\r\n\r\n$/)
  })

  it("cuts the response when it is larger than a header section may be, or breaks off", async (t) => {
    for (const section of [`x-a: ${"a".repeat(500_000)}\r\n\r\n`, "x-a: 1\r\nx-b: 2\r\n"]) {
      const upstream = createTcp((socket) =>
        socket.once("data", () => {
          socket.end(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${section}`)
        }),
      )
      const server = await proxy(t, await listen(t, upstream))
      for (const request of [get(TE), post(`${TE}Trailer: x-end\r\n`, "x-end: 1\r\n")]) {
        assert.doesNotMatch(await exchangeRaw(server.port, request), /0\r\n/)
      }
      await until(() => server.completed.length === 2, "both are complete")
      assert.ok(server.completed.every(({ result }) => result.aborted))
    }
  })

  it("is known when the content was read, and belongs to the answer of a request with trailers, too", async (t) => {
    const known: string[][] = []
    const upstream = await listen(t, createHttp(trailing))
    const handler = createUpstreamHandler(upstream, { timeoutMs: 5_000, forwardExtensions: [] })
    t.after(() => handler.close?.())
    const server = await serve(t, async (context) => {
      const response = await handler.handle(context)
      const content = await buffer(response.body as never)
      known.push([...response.trailers!.fields].flat())
      context.response = { ...response, body: content }
    })
    for (const request of [get(TE), post(`${TE}Trailer: x-end\r\n`, "x-end: 1\r\n")]) {
      const text = await exchangeRaw(server.port, request)
      assert.match(bodyOf(text), /^7\r\ncontent\r\n0\r\nx-sum: 1\r\nx-end: a\r\nx-end: b\xe9\r\n\r\n$/i)
      assert.match(headOf(text), /\r\ntrailer: x-sum, x-end(\r\n|$)/)
      assert.doesNotMatch(headOf(text), /content-length/)
    }
    assert.deepEqual(
      known[0]!.map((text) => text.toLowerCase()),
      ["x-sum", "1", "x-end", "a", "x-end", "b\xe9"],
    )
    assert.deepEqual(
      known[1]!.map((text) => text.toLowerCase()),
      known[0]!,
    )
  })

  for (const [what, body, status] of [
    ["text", "content", 200],
    ["no content", null, 200],
    ["a status without content", null, 204],
    ["another status without content", null, 304],
  ] as const) {
    it(`stands behind ${what}${status === 200 ? "" : ", that is nowhere"}`, async (t) => {
      const server = await serve(t, (context) => {
        const trailers = { announced: "", fields: HeaderList.from([["x-end", "1"]]) }
        context.response = { ...answer(body, status), trailers }
      })
      const text = await exchangeRaw(server.port, get(TE))
      const chunks = body === null ? "" : "7\r\ncontent\r\n"
      assert.equal(bodyOf(text), status === 200 ? `${chunks}0\r\nx-end: 1\r\n\r\n` : "")
      assert.equal(/transfer-encoding/.test(headOf(text)), status === 200)
      const sized = await exchangeRaw(server.port, get(""))
      assert.equal(bodyOf(sized), body ?? "")
      assert.doesNotMatch(headOf(sized), /trailer|transfer-encoding/)
      assert.deepEqual(
        server.completed.map(({ result }) => result.bytes),
        [body?.length ?? 0, body?.length ?? 0],
      )
    })
  }
})
