import assert from "node:assert/strict"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { createServer as createHttp, type IncomingMessage, type RequestListener } from "node:http"
import { createServer as createHttps } from "node:https"
import { type AddressInfo, connect, createServer as createTcp, type Server, type Socket } from "node:net"
import { join } from "node:path"
import { text as readText } from "node:stream/consumers"
import { describe, it, type TestContext } from "node:test"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { createUpstreamHandler, type UpstreamOptions } from "../../src/handlers/upstream.ts"
import type { RequestContext } from "../../src/message/request-context.ts"
import { exchangeRaw, readToEnd, readUntil, type ServerSettings, serve, until } from "../http/serve-test.ts"
import { respondWith } from "./respond-with.ts"

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

interface Setup extends Partial<UpstreamOptions> {
  readonly before?: (context: RequestContext) => void | Promise<void>
  readonly settings?: ServerSettings
}

/** A bext server in front of `url`. */
async function proxy(t: TestContext, url: string, { before, settings, ...options }: Setup = {}) {
  const failures: { code: string; message: string }[] = []
  const handler = createUpstreamHandler(url, { timeoutMs: 5_000, forwardExtensions: [], ...options })
  const respond = respondWith(handler, failures)
  const server = await serve(
    t,
    before === undefined
      ? respond
      : async (context) => {
          await before(context)
          await respond(context)
        },
    settings,
  )
  t.after(() => handler.close?.())
  return { ...server, failures, handler }
}

const app = async (t: TestContext, listener: RequestListener, setup?: Setup) =>
  proxy(t, await listen(t, createHttp(listener)), setup)

/** An upstream that answers each connection's first bytes with exactly these. */
const rawApp = async (t: TestContext, answer: (socket: Socket, connection: number) => void, setup?: Setup) => {
  let connections = 0
  const server = createTcp((socket) => {
    const connection = ++connections
    socket.on("data", () => answer(socket, connection))
  })
  return proxy(t, await listen(t, server), setup)
}

const codeOf = async (response: Response) => `${response.status} ${((await response.json()) as { code: string }).code}`
const get = (path: string, lines = "Connection: close\r\n") =>
  `GET ${path} HTTP/1.1\r\nHost: shop.example\r\n${lines}\r\n`

describe("an upstream", () => {
  it("sees the method, the normalised path, the query and the body", async (t) => {
    const server = await app(t, async (request, response) => {
      response.end(`${request.method} ${request.url} ${await readText(request)}`)
    })
    const response = await fetch(`${server.url}/a%20b/./%7Ec/%25/%3F?q=%2F&r=a+b`, { method: "PUT", body: "hello" })
    assert.equal(await response.text(), "PUT /a%20b/~c/%25/%3F?q=%2F&r=a+b hello")
  })

  it("may lie under a path of its own", async (t) => {
    const url = await listen(
      t,
      createHttp((request, response) => response.end(request.url)),
    )
    const server = await proxy(t, `${url}/base/`)
    assert.equal(await (await fetch(`${server.url}/a/../b`)).text(), "/base/b")
    assert.equal(await (await fetch(`${server.url}/../..`)).text(), "/base/")
  })

  it("sees who asked and how, and nothing the client made up about it", async (t) => {
    let headers: IncomingMessage["headers"] = {}
    let requestId = ""
    const server = await app(
      t,
      (request, response) => {
        headers = request.headers
        response.end()
      },
      {
        before: (context) => {
          requestId = context.requestId
          context.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        },
      },
    )
    const forged = [
      "X-Forwarded-For: 1.1.1.1",
      "X-Forwarded-Proto: https",
      "X-Forwarded-Host: evil",
      "Forwarded: for=1.1.1.1",
      "X-Real-IP: 1.1.1.1",
      "X-Request-Id: forged",
      "X-Bext-Ext-Shop.Tier: gold",
      "Proxy-Authorization: Basic x",
      "TE: trailers",
      "Via: 1.0 outer",
      "Via: 1.0 edge",
      "Accept-Language: de",
      "Cookie: a=1",
      "traceparent: forged",
    ]
    await exchangeRaw(server.port, get("/", `Connection: close, X-Named\r\nX-Named: 1\r\n${forged.join("\r\n")}\r\n`))
    assert.match(headers.via!, /^1\.0 outer, 1\.0 edge, 1\.1 bext-[0-9a-f]{8}$/)
    assert.deepEqual(headers, {
      host: "shop.example",
      connection: "keep-alive",
      "accept-language": "de",
      cookie: "a=1",
      via: headers.via,
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": "shop.example",
      forwarded: 'for=127.0.0.1;host="shop.example";proto=http',
      "x-request-id": requestId,
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    })
  })

  it("gets the extensions the operator forwards, encoded, and no others", async (t) => {
    let headers: IncomingMessage["headers"] = {}
    const server = await app(
      t,
      (request, response) => {
        headers = request.headers
        response.end()
      },
      {
        forwardExtensions: ["shop.tier", "shop.none"],
        before: (context) => {
          context.extensions = new Map([
            ["shop.tier", "gold é\r\nX-Evil: 1"],
            ["shop.secret", "x"],
          ])
        },
      },
    )
    await fetch(server.url)
    assert.equal(headers["x-bext-ext-shop.tier"], "gold%20%C3%A9%0D%0AX-Evil%3A%201")
    assert.deepEqual(
      Object.keys(headers).filter((name) => name.startsWith("x-bext-")),
      ["x-bext-ext-shop.tier"],
    )
    assert.equal(headers["x-evil"], undefined)
  })

  it("gives its status, headers and body, without what belongs to its connection", async (t) => {
    const server = await app(t, (_, response) => {
      response.writeHead(418, [
        ["Set-Cookie", "a=1"],
        ["Set-Cookie", "b=2"],
        ["X-Latin", "caf\u00e9"],
        ["Connection", "keep-alive, X-Hop"],
        ["X-Hop", "1"],
        ["Keep-Alive", "timeout=99"],
        ["Proxy-Authenticate", "Basic"],
        ["Upgrade", "h2c"],
        ["Trailer", "X-End"],
        ["Transfer-Encoding", "chunked"],
      ])
      response.end("teapot")
    })
    const text = await exchangeRaw(server.port, get("/"))
    assert.match(text, /^HTTP\/1\.1 418 .*Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Latin: caf\u00e9\r\n/s)
    assert.doesNotMatch(text, /x-hop|timeout=99|proxy-auth|h2c|x-end/i)
    assert.match(text, /teapot/)
  })

  it("keeps the length it knows; interim responses are not passed on", async (t) => {
    const server = await app(t, (_, response) => {
      response.writeEarlyHints({ link: "</a.css>; rel=preload" })
      response.writeProcessing()
      response.writeHead(200, { "Content-Length": 5 })
      response.end("hello")
    })
    const text = await exchangeRaw(server.port, get("/"))
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n.*Content-Length: 5\r\n.*\r\n\r\nhello$/s)
  })

  it("answers HEAD, 204 and 304 without a body, and the connections stay usable", async (t) => {
    const server = await app(t, (request, response) => {
      const status = Number(request.url!.slice(1)) || 200
      response.writeHead(status, status === 200 ? { "Content-Length": 5, ETag: '"x"' } : { ETag: '"x"' })
      response.end(status === 200 ? "hello" : undefined)
    })
    for (let round = 0; round < 3; round++) {
      const head = await fetch(server.url, { method: "HEAD" })
      assert.equal(head.headers.get("content-length"), "5")
      assert.equal(await head.text(), "")
      assert.equal((await fetch(`${server.url}/204`)).status, 204)
      assert.equal((await fetch(`${server.url}/304`)).status, 304)
      assert.equal(await (await fetch(server.url)).text(), "hello")
    }
  })

  it("that is the server itself is found out at once", async (t) => {
    let asked = 0
    const handler = Promise.withResolvers<ReturnType<typeof createUpstreamHandler>>()
    const failures: { message: string }[] = []
    const server = await serve(t, async (context) => {
      asked++
      await respondWith(await handler.promise, failures)(context)
    })
    handler.resolve(createUpstreamHandler(server.url, { timeoutMs: 5_000, forwardExtensions: [] }))
    assert.equal(await codeOf(await fetch(server.url)), "502 E_UPSTREAM_UNREACHABLE")
    assert.equal(asked, 2)
    assert.match(failures[0]!.message, /leads back to this server/)
    await (await handler.promise).close?.()
  })

  it("is connected to once for many requests", async (t) => {
    let connections = 0
    const upstream = createHttp((_, response) => response.end("ok"))
    upstream.on("connection", () => connections++)
    const server = await proxy(t, await listen(t, upstream))
    for (let at = 0; at < 20; at++) assert.equal(await (await fetch(server.url)).text(), "ok")
    assert.equal(connections, 1)
  })

  it("gets a body that middleware has buffered or replaced, with its true length", async (t) => {
    const server = await app(
      t,
      async (request, response) => {
        const body = await readText(request)
        response.end(`${body} ${request.headers["content-length"]} ${request.headers["transfer-encoding"]}`)
      },
      {
        before: async ({ path, requestBody }) => {
          if (path === "/buffer") await requestBody.buffer(100)
          if (path === "/replace") requestBody.replace(Buffer.from("other body"))
          if (path === "/empty") requestBody.replace(new Uint8Array(0))
        },
      },
    )
    const post = async (path: string, body: string | ReadableStream) =>
      (await fetch(server.url + path, { method: "POST", body, duplex: "half" } as RequestInit)).text()
    assert.equal(await post("/", "hello"), "hello 5 undefined")
    assert.equal(await post("/", new Blob(["hello"]).stream()), "hello undefined chunked")
    assert.equal(await post("/buffer", new Blob(["hello"]).stream()), "hello 5 undefined")
    assert.equal(await post("/replace", "hello"), "other body 10 undefined")
    assert.equal(await post("/empty", "hello"), " 0 undefined")
  })

  it("streams both ways at once", async (t) => {
    const server = await app(t, (request, response) => {
      response.writeHead(200)
      request.on("data", (chunk) => response.write(`<${chunk}>`))
      request.on("end", () => response.end())
    })
    const socket = connect(server.port, "127.0.0.1")
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
    await readUntil(socket, "<one>")
    socket.write("3\r\ntwo\r\n0\r\n\r\n")
    assert.match(await readToEnd(socket), /<two>/)
  })

  it("is read no faster than the client reads", async (t) => {
    let sent = 0
    const server = await app(t, (_, response) => {
      const chunk = Buffer.alloc(64 * 1024)
      const more = () => {
        while (sent < 2_000) {
          sent++
          if (!response.write(chunk)) {
            response.once("drain", more)
            return
          }
        }
        response.end()
      }
      more()
    })
    const socket = connect(server.port, "127.0.0.1")
    socket.pause()
    socket.write(get("/"))
    let before = -1
    await until(() => {
      const stalled = sent > 0 && sent === before
      before = sent
      return stalled
    }, "the upstream waits")
    assert.ok(sent < 1_000, `${sent} chunks under way`)
    socket.destroy()
  })
})

describe("an https upstream", () => {
  const folder = join(import.meta.dirname, "../fixtures/tls")
  const [key, cert] = ["key", "cert"].map((name) => readFileSync(join(folder, `localhost.${name}.pem`), "utf8"))

  it("sees its own Host, by which its certificate is checked, over one connection whatever clients ask for", async (t) => {
    const before = getCACertificates()
    setDefaultCACertificates([...before, cert!])
    t.after(() => setDefaultCACertificates(before))
    let connections = 0
    const upstream = createHttps({ key, cert }, (request, response) => {
      response.end(`${request.headers.host} ${request.headers["x-forwarded-host"]}`)
    })
    upstream.on("secureConnection", () => connections++)
    const url = (await listen(t, upstream)).replace("http://127.0.0.1", "https://localhost")
    const server = await proxy(t, url)
    const host = url.slice("https://".length)
    for (const asked of ["shop.example", "other.example:81"]) {
      const text = await exchangeRaw(server.port, `GET / HTTP/1.1\r\nHost: ${asked}\r\nConnection: close\r\n\r\n`)
      assert.ok(text.endsWith(`${host} ${asked}`) || text.includes(`${host} ${asked}\r\n`), text)
    }
    assert.equal(connections, 1)
  })

  it("is 502 when nobody vouches for its certificate", async (t) => {
    const url = await listen(
      t,
      createHttps({ key, cert }, (_, response) => response.end("secret")),
    )
    const server = await proxy(t, url.replace("http://127.0.0.1", "https://localhost"))
    assert.equal(await codeOf(await fetch(server.url)), "502 E_UPSTREAM_UNREACHABLE")
  })
})

describe("an upstream that fails", () => {
  it("is 502 E_UPSTREAM_UNREACHABLE when nobody listens", async (t) => {
    const closed = createTcp()
    const url = await listen(t, closed)
    closed.close()
    await once(closed, "close")
    const server = await proxy(t, url)
    assert.equal(await codeOf(await fetch(server.url)), "502 E_UPSTREAM_UNREACHABLE")
    assert.match(server.failures[0]!.message, /127\.0\.0\.1:\d+.*ECONNREFUSED/)
  })

  it("is 502 when it closes without an answer, after one more try for what may be repeated", async (t) => {
    for (const [method, body, tries] of [
      ["GET", undefined, 2],
      ["DELETE", undefined, 2],
      ["POST", undefined, 1],
      ["PATCH", undefined, 1],
      ["PUT", "body", 1],
      ["POST", "body", 1],
    ] as const) {
      let count = 0
      const server = await rawApp(t, (socket) => {
        count++
        socket.destroy()
      })
      const init: RequestInit = body === undefined ? { method } : { method, body }
      assert.equal(await codeOf(await fetch(server.url, init)), "502 E_UPSTREAM_UNREACHABLE", method)
      assert.equal(count, tries, method)
    }
  })

  it("is asked again when it resets a kept-alive connection", async (t) => {
    const answers = new Map<number, number>()
    const server = await rawApp(t, (socket, connection) => {
      const count = (answers.get(connection) ?? 0) + 1
      answers.set(connection, count)
      if (count === 1) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      else socket.resetAndDestroy()
    })
    for (let round = 0; round < 5; round++) assert.equal(await (await fetch(server.url)).text(), "ok")
    assert.ok(answers.size >= 3)
  })

  it("is 504 E_UPSTREAM_TIMEOUT when it does not answer in time", async (t) => {
    const server = await app(t, () => {}, { timeoutMs: 200 })
    assert.equal(await codeOf(await fetch(server.url)), "504 E_UPSTREAM_TIMEOUT")
  })

  for (const [what, bytes] of [
    ["is not HTTP", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["has two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"],
    [
      "has a length and is chunked",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["has a status out of range", "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"],
    ["has a header section without end", `HTTP/1.1 200 OK\r\nX-Long: ${"x".repeat(100_000)}\r\n\r\n`],
    ["has a bare LF in a header", "HTTP/1.1 200 OK\r\nX-A: b\nX-C: d\r\nContent-Length: 0\r\n\r\n"],
    ["has a NUL in a header", "HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n"],
  ]) {
    it(`is 502 E_UPSTREAM_INVALID when its answer ${what}`, async (t) => {
      const server = await rawApp(t, (socket) => socket.write(bytes!))
      assert.equal(await codeOf(await fetch(server.url)), "502 E_UPSTREAM_INVALID")
      assert.equal(await codeOf(await fetch(server.url)), "502 E_UPSTREAM_INVALID")
    })
  }

  it("is 502 when it switches protocols unasked", async (t) => {
    const server = await rawApp(t, (socket) =>
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    )
    assert.equal((await fetch(server.url)).status, 502)
  })

  for (const [what, bytes] of [
    ["a length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"],
    ["chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
    ["a broken chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"],
  ]) {
    it(`cuts the client's connection when it dies in the middle of ${what}`, async (t) => {
      const server = await rawApp(t, (socket) => {
        socket.write(bytes!)
        setImmediate(() => socket.destroy())
      })
      const text = await exchangeRaw(server.port, get("/", ""))
      assert.match(text, /200 OK/)
      assert.doesNotMatch(text, /0\r\n\r\n$/)
      await until(() => server.completed.length === 1, "the request is complete")
      assert.equal(server.completed[0]!.result.aborted, true)
    })
  }

  it("cuts the client's connection when it stalls in the middle", async (t) => {
    const server = await rawApp(t, (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), {
      timeoutMs: 200,
    })
    assert.match(await exchangeRaw(server.port, get("/", "")), /half$/)
  })

  it("may answer before it has read the whole body", async (t) => {
    const server = await app(
      t,
      (_, response) => {
        response.writeHead(403, { Connection: "close" })
        response.end("no")
      },
      { settings: { limits: { body: "100mb" } } },
    )
    const text = await exchangeRaw(
      server.port,
      `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${8 << 20}\r\n\r\n`,
      Buffer.alloc(8 << 20),
    )
    assert.match(text, /^HTTP\/1\.1 (403|502) /)
    assert.equal((await fetch(server.url)).status, 403)
  })
})

describe("a client of an upstream", () => {
  it("that goes away before the answer ends the upstream's request", async (t) => {
    const gone = Promise.withResolvers<void>()
    let asked = false
    const server = await app(t, (request) => {
      asked = true
      request.socket.once("close", () => gone.resolve())
    })
    const socket = connect(server.port, "127.0.0.1")
    socket.write(get("/"))
    await until(() => asked, "the upstream is asked")
    socket.destroy()
    await gone.promise
    await until(() => server.failures.length === 1, "the handler gives up")
    assert.equal(server.failures[0]!.code, "E_CLIENT_LEFT")
  })

  it("that goes away in the middle of the answer ends the upstream's request", async (t) => {
    const gone = Promise.withResolvers<void>()
    const server = await app(t, (_, response) => {
      response.once("close", () => gone.resolve())
      response.write("begin")
    })
    const socket = connect(server.port, "127.0.0.1")
    socket.write(get("/"))
    await readUntil(socket, "begin")
    socket.destroy()
    await gone.promise
  })

  it("that goes away in the middle of its body ends the upstream's request", async (t) => {
    const errors: unknown[] = []
    const server = await app(t, (request) => {
      request.on("error", (error) => errors.push(error)).resume()
    })
    const socket = connect(server.port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    await until(() => server.http.server.listening && socket.bytesWritten > 0, "the body begins")
    await exchangeRaw(server.port, `GET /__bext/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
    socket.destroy()
    await until(() => server.failures.length === 1, "the handler gives up")
    assert.equal(server.failures[0]!.code, "E_CLIENT_LEFT")
  })

  it("whose body is larger than allowed gets 413", async (t) => {
    const server = await app(t, async (request, response) => response.end(await readText(request).catch(() => "")), {
      settings: { limits: { body: "1kb" } },
    })
    const body = new Blob(["x".repeat(5_000)]).stream()
    const response = await fetch(server.url, { method: "POST", body, duplex: "half" } as RequestInit)
    assert.equal(await codeOf(response), "413 E_BODY_TOO_LARGE")
  })
})

describe("createUpstreamHandler", () => {
  it("refuses an extension key that cannot be part of a header name", () => {
    for (const key of ["", "a b", "a:b", "a\r\nb", "é"]) {
      const options = { timeoutMs: 1, forwardExtensions: [key] }
      assert.throws(() => createUpstreamHandler("http://a", options), { code: "E_CONFIG_INVALID" })
    }
  })

  for (const url of ["ftp://a", "http://u:p@a", "http://a/?q", "http://a/#f", "nonsense", "//a", ""]) {
    it(`refuses ${JSON.stringify(url)}`, () => {
      assert.throws(() => createUpstreamHandler(url, { timeoutMs: 1, forwardExtensions: [] }), {
        code: "E_CONFIG_INVALID",
      })
    })
  }
})
