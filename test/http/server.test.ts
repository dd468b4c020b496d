import assert from "node:assert/strict"
import { once } from "node:events"
import { connect } from "node:net"
import { Readable } from "node:stream"
import { describe, it } from "node:test"
import { createHttpServer } from "../../src/http/server.ts"
import type { RequestContext } from "../../src/message/request-context.ts"
import { answer, exchangeRaw, readToEnd, readUntil, serve, until } from "./serve-test.ts"

const request = (lines: string, path = "/") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${lines}\r\n`
const codeOf = (text: string) => /"code":"(\w+)"/.exec(text)?.[1]
const statusesOf = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1])
const ok = (context: RequestContext) => {
  context.response = answer("ok")
}

describe("what a middleware sees of a request", () => {
  it("is the normalised path, the raw query, the host and the client", async (t) => {
    const server = await serve(t, (context) => {
      const { method, path, query, scheme, host, hostname, clientAddress } = context
      context.response = answer(JSON.stringify({ method, path, query, scheme, host, hostname, clientAddress }))
    })
    const text = await exchangeRaw(
      server.port,
      "PUT /a/%2e%2e/caf%C3%A9//x?q=%2F HTTP/1.1\r\nHost: Shop.Example:81\r\nConnection: close\r\n\r\n",
    )
    assert.deepEqual(JSON.parse(text.split("\r\n\r\n")[1]!.replace("cafÃ©", "café")), {
      method: "PUT",
      path: "/café/x",
      query: "q=%2F",
      scheme: "http",
      host: "shop.example:81",
      hostname: "shop.example",
      clientAddress: "127.0.0.1",
    })
  })

  it("has the authority of an absolute-form target, in the Host header as well", async (t) => {
    const server = await serve(t, (context) => {
      context.response = answer(`${context.host} ${context.requestHeaders.get("host")} ${context.path}`)
    })
    const text = await exchangeRaw(
      server.port,
      "GET http://B.example/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    assert.match(text, /b\.example b\.example \/x$/)
  })

  it("has none of the headers that end at the server or that only the server may set", async (t) => {
    let names: string[] = []
    const server = await serve(
      t,
      (context) => {
        names = [...context.requestHeaders].map(([name]) => name.toLowerCase())
        ok(context)
      },
      { identity_headers: ["X-User", "Remote_User"] },
    )
    const dropped = [
      "Keep-Alive: timeout=5",
      "Proxy-Connection: keep-alive",
      "TE: trailers",
      "Trailer: x",
      "X-Named: 1",
      "X-Bext-Ext-Shop.Key: 1",
      "x_bext_user: 1",
      "X-User: admin",
      "x_user: admin",
      "Remote-User: admin",
      "REMOTE_USER: admin",
      "Forwarded: for=1.1.1.1",
      "X-Forwarded-For: 1.1.1.1",
      "X_Forwarded_For: 1.1.1.1",
      "X-Forwarded-Proto: https",
      "X-Forwarded-Host: evil",
      "X-Forwarded-Prefix: /x",
      "X-Real-IP: 1.1.1.1",
      "X-Request-Id: forged",
      "Content_Length: 5",
      "Transfer_Encoding: chunked",
    ]
    await exchangeRaw(
      server.port,
      request(`Accept: a\r\nConnection: close, X-Named\r\n${dropped.join("\r\n")}\r\nx-last: 1\r\n`),
    )
    assert.deepEqual(names, ["host", "accept", "x-last"])
  })

  it("believes forwarding headers and request ids of trusted proxies alone", async (t) => {
    const seen: string[] = []
    const see = (context: RequestContext) => {
      seen.push(`${context.clientAddress} ${context.scheme} ${context.host} ${context.requestId}`)
      ok(context)
    }
    const lines =
      "X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: Shop\r\nX-Request-Id: id-1\r\nConnection: close\r\n"
    const trusting = await serve(t, see, { trusted_proxies: ["127.0.0.0/8"] })
    await exchangeRaw(trusting.port, request(lines))
    const distrusting = await serve(t, see)
    await exchangeRaw(distrusting.port, request(lines))
    assert.equal(seen[0], "8.8.8.8 https shop id-1")
    assert.match(seen[1]!, /^127\.0\.0\.1 http a [0-9a-f]{32}$/)
    await exchangeRaw(trusting.port, request('X-Request-Id: <script>"\r\nConnection: close\r\n'))
    assert.match(seen[2]!, /^127\.0\.0\.1 http a [0-9a-f]{32}$/)
    const text = await exchangeRaw(trusting.port, request("X-Forwarded-For: nonsense\r\n"))
    assert.deepEqual(statusesOf(text), ["400"])
  })

  it("is told that the client went away", async (t) => {
    let reason: unknown
    const server = await serve(t, async (context) => {
      await new Promise((resolve) => context.signal.addEventListener("abort", resolve))
      reason = context.signal.reason
      context.response = answer("late")
    })
    const socket = connect(server.port, "127.0.0.1")
    socket.write(request(""))
    await until(() => server.http.server.listening && socket.bytesWritten > 0, "the request is sent")
    socket.end()
    await until(() => reason !== undefined, "the signal is aborted")
    assert.equal((reason as { code: string }).code, "E_CLIENT_LEFT")
    socket.destroy()
  })
})

describe("limits", () => {
  it("refuse a header section that is too large, with 431", async (t) => {
    const server = await serve(t, ok, { limits: { header_bytes: "2kb" } })
    const text = await exchangeRaw(server.port, request(`X-Long: ${"x".repeat(3000)}\r\n`))
    assert.deepEqual(statusesOf(text), ["431"])
    assert.equal(codeOf(text), "E_HEADERS_TOO_LARGE")
    assert.deepEqual(statusesOf(await exchangeRaw(server.port, `GET /${"x".repeat(3000)} HTTP/1.1\r\n\r\n`)), ["431"])
  })

  it("refuse too many headers, with 431, and never drop some silently", async (t) => {
    let size = 0
    const server = await serve(
      t,
      (context) => {
        size = context.requestHeaders.size
        ok(context)
      },
      { limits: { header_count: 200, header_bytes: "64kb" } },
    )
    const many = (count: number) => Array.from({ length: count }, (_, at) => `A${at}: 1\r\n`).join("")
    assert.deepEqual(statusesOf(await exchangeRaw(server.port, request(`${many(198)}Connection: close\r\n`))), ["200"])
    assert.equal(size, 199)
    const text = await exchangeRaw(server.port, request(many(3000)))
    assert.deepEqual(statusesOf(text), ["431"])
  })

  it("refuse a body that is declared too large, before anybody sees the request", async (t) => {
    let called = false
    const server = await serve(
      t,
      () => {
        called = true
      },
      { limits: { body: "1kb" } },
    )
    const text = await exchangeRaw(
      server.port,
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n",
      "x".repeat(1025),
    )
    assert.deepEqual(statusesOf(text), ["413"])
    assert.equal(codeOf(text), "E_BODY_TOO_LARGE")
    assert.equal(called, false)
  })

  it("answer a slow header section with 408 and a silent connection with nothing", async (t) => {
    const server = await serve(t, ok, { limits: { header_timeout: "200ms" } })
    const slow = connect(server.port, "127.0.0.1")
    slow.write("GET / HTTP/1.1\r\nHost")
    const silent = connect(server.port, "127.0.0.1")
    const [text, nothing] = await Promise.all([readToEnd(slow), readToEnd(silent)])
    assert.deepEqual(statusesOf(text), ["408"])
    assert.equal(codeOf(text), "E_REQUEST_TIMEOUT")
    assert.equal(nothing, "")
  })

  it("answer a body that drips with 408 when somebody waits for it", async (t) => {
    const codes: string[] = []
    const server = await serve(
      t,
      async (context) => {
        await context.requestBody.buffer(1000).catch((error) => codes.push(error.code))
        context.response = answer("gave up", 408)
      },
      { limits: { header_timeout: "100ms", request_timeout: "300ms" } },
    )
    const socket = connect(server.port, "127.0.0.1")
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
    const drip = setInterval(() => socket.write("x"), 50)
    t.after(() => clearInterval(drip))
    socket.on("error", () => {})
    const text = await readToEnd(socket)
    assert.deepEqual(statusesOf(text), ["408"])
    assert.deepEqual(codes, ["E_REQUEST_TIMEOUT"])
  })

  it("close a kept-alive connection that stays idle", async (t) => {
    const server = await serve(t, ok, { limits: { idle_timeout: "100ms" } })
    const text = await exchangeRaw(server.port, request(""))
    assert.deepEqual(statusesOf(text), ["200"])
  })

  it("close connections beyond the limit and keep the others", async (t) => {
    const server = await serve(t, ok, { limits: { connections: 2 } })
    const kept = [connect(server.port, "127.0.0.1"), connect(server.port, "127.0.0.1")]
    await Promise.all(kept.map((socket) => once(socket, "connect")))
    const refused = connect(server.port, "127.0.0.1")
    assert.equal(await readToEnd(refused.on("error", () => {})), "")
    kept[0]!.write(request("Connection: close\r\n"))
    assert.deepEqual(statusesOf(await readToEnd(kept[0]!)), ["200"])
    kept[1]!.destroy()
  })

  it("end a client that takes nothing of its response", async (t) => {
    const server = await serve(
      t,
      (context) => {
        context.response = answer(context.path === "/bytes" ? Buffer.alloc(64 << 20) : Readable.from(endless()))
      },
      { limits: { idle_timeout: "200ms" } },
    )
    for (const path of ["/bytes", "/stream"]) {
      const socket = connect(server.port, "127.0.0.1")
      socket.on("error", () => {})
      socket.pause()
      socket.write(request("", path))
      await until(() => server.completed.at(-1)?.context.path === path, `the response to ${path} is given up`)
      assert.equal(server.completed.at(-1)!.result.aborted, true)
      socket.destroy()
    }
  })

  it("end a pipelining client that takes nothing, also behind its first response", async (t) => {
    const server = await serve(
      t,
      (context) => {
        context.response = answer(context.path === "/big" ? Buffer.alloc(64 << 20) : "small")
      },
      { limits: { idle_timeout: "200ms" } },
    )
    const socket = connect(server.port, "127.0.0.1")
    socket.on("error", () => {})
    socket.pause()
    socket.write(request("", "/small") + request("", "/big") + request("", "/small"))
    await until(() => server.completed.some(({ result }) => result.aborted), "the large response is given up")
    socket.destroy()
  })

  it("let one connection have 64 requests in flight, no more", async (t) => {
    let inFlight = 0
    const release = Promise.withResolvers<void>()
    const server = await serve(t, async (context) => {
      inFlight++
      await release.promise
      ok(context)
    })
    const socket = connect(server.port, "127.0.0.1")
    socket.write(request("").repeat(500))
    await until(() => server.logged.some(({ fields }) => fields.code === "E_OVERLOADED"), "the flood is refused")
    release.resolve()
    const text = await readToEnd(socket)
    assert.equal(inFlight, 64)
    assert.deepEqual(statusesOf(text), [...Array(64).fill("200"), "503"])
  })
})

describe("expectations", () => {
  it("are met with 100 Continue once somebody reads the body", async (t) => {
    const server = await serve(t, async (context) => {
      context.response = answer(Buffer.from(await context.requestBody.buffer(100)))
    })
    const socket = connect(server.port, "127.0.0.1")
    socket.write("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert.match(await readUntil(socket, "\r\n\r\n"), /^HTTP\/1\.1 100 Continue\r\n\r\n$/)
    socket.write("hi")
    assert.match(await readToEnd(socket), /200 OK.*hi$/s)
  })

  it("are answered with the final response alone when nobody reads the body", async (t) => {
    const server = await serve(t, (context) => {
      context.response = answer("no", 403)
    })
    const text = await exchangeRaw(
      server.port,
      "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    )
    assert.deepEqual(statusesOf(text), ["403"])
    assert.match(text, /Connection: close/i)
  })

  it("other than 100-continue fail with 417", async (t) => {
    const server = await serve(t, ok)
    const text = await exchangeRaw(server.port, request("Expect: 200-ok\r\n"))
    assert.deepEqual(statusesOf(text), ["417"])
    assert.equal(codeOf(text), "E_EXPECTATION_FAILED")
  })
})

describe("connections", () => {
  it("answer pipelined requests in order, whatever takes longer", async (t) => {
    const first = Promise.withResolvers<void>()
    const server = await serve(t, async (context) => {
      if (context.path === "/1") await first.promise
      if (context.path === "/3") first.resolve()
      context.response = answer(`<${context.path}>`)
    })
    const text = await exchangeRaw(
      server.port,
      request("", "/1") + request("", "/2") + request("Connection: close\r\n", "/3"),
    )
    assert.deepEqual(text.match(/<\/\d>/g), ["</1>", "</2>", "</3>"])
  })

  it("send the answers still due before the error when what follows is not HTTP", async (t) => {
    const release = Promise.withResolvers<void>()
    const server = await serve(t, async (context) => {
      await release.promise
      ok(context)
    })
    const socket = connect(server.port, "127.0.0.1")
    socket.write(`${request("")}${request("")}NONSENSE\r\n\r\n`)
    await until(() => server.logged.length > 0, "the nonsense is noticed")
    release.resolve()
    assert.deepEqual(statusesOf(await readToEnd(socket)), ["200", "200", "400"])
  })

  it("answer a client that has closed its sending side", async (t) => {
    const server = await serve(t, async (context) => {
      await new Promise((resolve) => setImmediate(resolve))
      ok(context)
    })
    const socket = connect({ port: server.port, host: "127.0.0.1", allowHalfOpen: true })
    socket.end(request(""))
    assert.match(await readToEnd(socket), /200 OK.*ok$/s)
  })

  it("refuse CONNECT, HTTP/2 and HTTP/0.9", async (t) => {
    const server = await serve(t, ok)
    assert.deepEqual(statusesOf(await exchangeRaw(server.port, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")), ["405"])
    assert.doesNotMatch(await exchangeRaw(server.port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), /200 OK/)
    assert.deepEqual(statusesOf(await exchangeRaw(server.port, "GET /\r\n\r\n")), ["400"])
    assert.deepEqual(statusesOf(await exchangeRaw(server.port, "GET / HTTP/2.0\r\nHost: a\r\n\r\n")), ["400"])
  })

  it("survive clients that go away at every moment", async (t) => {
    const server = await serve(t, async (context) => {
      await context.requestBody.buffer(1 << 20).catch(() => {})
      context.response = answer(Readable.from(endless(200)))
    })
    const whole = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    for (let length = 0; length <= whole.length; length += 4) {
      const socket = connect(server.port, "127.0.0.1")
      socket.on("error", () => {})
      socket.write(whole.slice(0, length))
      await once(socket, "connect")
      if (length % 8 === 0) socket.resetAndDestroy()
      else socket.destroy()
    }
    const text = await exchangeRaw(server.port, whole.replace("Host", "Connection: close\r\nHost"))
    assert.deepEqual(statusesOf(text), ["200"])
  })
})

describe("the host's own failures", () => {
  for (const [what, respond] of [
    [
      "respond throws",
      () => {
        throw new Error("secret")
      },
    ],
    ["respond rejects", () => Promise.reject(new Error("secret"))],
    ["respond sets nothing", () => {}],
    [
      "the status is impossible",
      (context: RequestContext) => {
        context.response = answer("secret", 99)
      },
    ],
    [
      "a header name is not a token",
      (context: RequestContext) => {
        context.response = answer("secret", 200, [["a b", "c"]])
      },
    ],
    [
      "a header value would split the response",
      (context: RequestContext) => {
        context.response = answer("secret", 200, [["a", "b\r\nSet-Cookie: x"]])
      },
    ],
    [
      "a header value is not Latin-1",
      (context: RequestContext) => {
        context.response = answer("secret", 200, [["a", "→"]])
      },
    ],
  ] as const) {
    it(`are 500 with the request id that was logged: ${what}`, async (t) => {
      const server = await serve(t, respond)
      const response = await fetch(server.url)
      const problem = (await response.json()) as { code: string; request_id: string }
      assert.equal(response.status, 500)
      assert.equal(problem.code, "E_INTERNAL")
      assert.equal(server.logged.at(-1)?.fields.request_id, problem.request_id)
      await until(() => server.completed.length === 1, "the request is complete")
      assert.equal(server.completed[0]!.result.status, 500)
    })
  }
})

describe("/__bext/", () => {
  it("has the health endpoint, on the normalised path, without asking the stack", async (t) => {
    let called = 0
    const server = await serve(t, (context) => {
      called++
      ok(context)
    })
    for (const path of ["/__bext/health", "/x/../__bext/health", "/%5F_bext/health?x"]) {
      const text = await exchangeRaw(server.port, request("Connection: close\r\n", path))
      assert.match(text, /200 OK.*application\/json.*\{"status":"ok"\}$/s)
    }
    assert.deepEqual(
      statusesOf(
        await exchangeRaw(server.port, "POST /__bext/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
      ),
      ["405"],
    )
    for (const path of ["/__bext", "/__bext/", "/__bext/metrics", "/__bext/health/"]) {
      const text = await exchangeRaw(server.port, request("Connection: close\r\n", path))
      assert.equal(codeOf(text), "E_NOT_FOUND")
    }
    assert.equal(called, 0)
    assert.match(await exchangeRaw(server.port, request("Connection: close\r\n", "/__bextra")), /ok$/)
    assert.equal(called, 1)
  })
})

describe("listen", () => {
  it("says which port is in use", async (t) => {
    const server = await serve(t, ok)
    const config = { ...minimalConfig, listen: `127.0.0.1:${server.port}` }
    const second = createHttpServer({ config, respond: ok, complete() {}, logger: quiet, errorPages: new Map() })
    await assert.rejects(second.listen(), {
      code: "E_PORT_IN_USE",
      message: new RegExp(`127\\.0\\.0\\.1:${server.port} is in use by another program`),
    })
  })

  it("names an address the machine does not have", async () => {
    const config = { ...minimalConfig, listen: "192.0.2.1:0" }
    const server = createHttpServer({ config, respond: ok, complete() {}, logger: quiet, errorPages: new Map() })
    await assert.rejects(server.listen(), { code: "E_CONFIG_INVALID", message: /192\.0\.2\.1:0/ })
  })

  it("gives a URL one can open, for IPv6 too", async (t) => {
    const server = await serve(t, ok, { listen: "[::1]:0" })
    assert.match(server.url, /^http:\/\/\[::1\]:\d+$/)
    assert.equal(await (await fetch(server.url)).text(), "ok")
  })
})

const quiet = { info() {}, warn() {}, error() {} }
const minimalConfig = {
  listen: "127.0.0.1:0",
  processes: 1,
  trusted_proxies: [],
  identity_headers: [],
  grace: 100,
  limits: {
    header_bytes: 16_384,
    header_count: 100,
    body: 1_000,
    header_timeout: 1_000,
    request_timeout: 1_000,
    idle_timeout: 1_000,
    connections: 10,
    websockets: 100,
    websockets_per_client: 100,
    websocket_idle_timeout: 10_000,
    buffered_bodies: 1_000,
  },
}

function* endless(count = Number.POSITIVE_INFINITY): Generator<Buffer> {
  for (let at = 0; at < count; at++) yield Buffer.alloc(64 * 1024)
}
