import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { once } from "node:events"
import type { Socket } from "node:net"
import { describe, it, type TestContext } from "node:test"
import { WebSocket } from "ws"
import { configSchema } from "../../src/config/schema.ts"
import { createRouter } from "../../src/handlers/route.ts"
import { HeaderList } from "../../src/message/header-list.ts"
import type { RequestContext } from "../../src/message/request-context.ts"
import { createOriginMatcher } from "../../src/middleware/origin-matcher.ts"
import { respondWith } from "../handlers/respond-with.ts"
import {
  ACCEPT,
  ask,
  closeOf,
  dial,
  frame,
  handshake,
  KEY,
  open,
  refusal,
  startEcho,
  startRaw,
  switching,
} from "../support/websockets.ts"
import { exchangeRaw, readToEnd, readUntil, type ServerSettings, serve, until } from "./serve-test.ts"

interface ProxyOptions {
  readonly settings?: ServerSettings
  readonly origins?: string[]
  readonly websockets?: boolean
  readonly timeout?: string
  readonly before?: (context: RequestContext) => void | Promise<void>
}

/** The server with a router in front of one upstream. */
async function proxy(t: TestContext, upstream: string, options: ProxyOptions = {}) {
  const { settings, origins = [], websockets = true, timeout = "5s", before } = options
  const config = configSchema.parse({ app: { upstream, websockets, upstream_timeout: timeout } })
  const router = createRouter(config, undefined, createOriginMatcher(origins))
  t.after(() => router.close?.())
  const handle = respondWith(router)
  const respond =
    before === undefined
      ? handle
      : async (context: RequestContext) => {
          await before(context)
          if (context.response === null) await handle(context)
        }
  return serve(t, respond, settings)
}

const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1])
const codeOf = (text: string) => /"code":"(E_[A-Z_]+)"/.exec(text)?.[1]

describe("a websocket", { concurrency: true }, () => {
  it("carries messages of every size both ways, text and binary, and is closed with the code that was given", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    const socket = await open(t, `${server.url}/chat?room=1`)
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 3_000_000]) {
      const bytes = Buffer.alloc(size, "x")
      assert.ok((await ask(socket, bytes)).equals(bytes), `${size} bytes`)
    }
    assert.equal((await ask(socket, "grüß dich")).toString(), "grüß dich")
    assert.equal(server.http.websockets.open, 1)
    assert.equal(server.completed.length, 0)
    const closed = closeOf(socket)
    socket.close(4001, "enough")
    assert.equal(await closed, 4001)
    await until(() => server.completed.length === 1, "it is reported")
    const { context, result } = server.completed[0]!
    assert.deepEqual([context.path, result.status, result.aborted], ["/chat", 101, false])
    assert.ok(result.bytes > 1_000)
    assert.equal(server.http.websockets.open, 0)
  })

  it("shows the close code of the app to the client", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    const socket = await open(t, server.url)
    const closed = closeOf(socket)
    socket.send("close 4321")
    assert.equal(await closed, 4321)
  })

  it("asks the app as a request would: path, query, who asked, and the handshake's own fields", async (t) => {
    const app = await startEcho(t, { protocols: ["v2", "v1"] })
    const server = await proxy(t, app.url)
    const socket = await open(t, `${server.url}/a//b/../c?x=%20`, {
      protocols: ["v1", "v2"],
      headers: { "X-Custom": "1", "X-Bext-Ext-a": "forged", "X-Forwarded-For": "9.9.9.9", Cookie: "a=b" },
    })
    assert.equal(socket.protocol, "v2")
    assert.match(socket.extensions, /permessage-deflate/)
    const { host } = new URL(server.url)
    const [headers] = app.handshakes
    assert.deepEqual(
      {
        host: headers!.host,
        custom: headers!["x-custom"],
        cookie: headers!.cookie,
        forged: headers!["x-bext-ext-a"],
        client: headers!["x-forwarded-for"],
        forwarded: headers!.forwarded,
        connection: headers!.connection,
        upgrade: headers!.upgrade,
      },
      {
        host,
        custom: "1",
        cookie: "a=b",
        forged: undefined,
        client: "127.0.0.1",
        forwarded: `for=127.0.0.1;host="${host}";proto=http`,
        connection: "Upgrade",
        upgrade: "websocket",
      },
    )
    assert.match(headers!["x-request-id"]!, /^[0-9a-f]{32}$/)
  })

  it("begins with what the app sent right behind its handshake", async (t) => {
    const app = await startRaw(t, (socket) => {
      socket.write(Buffer.concat([Buffer.from(switching(["X-App: yes", "Content-Length: 5"])), frame(1, "first")]))
    })
    const server = await proxy(t, app.url)
    const client = dial(t, server.port)
    client.write(handshake())
    const text = await readUntil(client, "first")
    const [head, rest] = text.split("\r\n\r\n") as [string, string]
    assert.match(head, /^HTTP\/1\.1 101 Switching Protocols\r\n/)
    assert.match(head, /\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n/)
    assert.match(head, new RegExp(`\r\nSec-WebSocket-Accept: ${ACCEPT.replaceAll("+", "\\+")}\r\n`))
    assert.match(head, /\r\nX-App: yes\r\n/)
    assert.doesNotMatch(head, /content-length|transfer-encoding|keep-alive/i)
    assert.equal(rest, "\x81\x05first")
  })

  it("takes no further byte of either side than both sent", async (t) => {
    const app = await startRaw(t, (socket) => {
      socket.write(switching())
      socket.on("data", (data) => socket.write(data))
    })
    const server = await proxy(t, app.url)
    const client = dial(t, server.port)
    client.write(handshake())
    await readUntil(client, "\r\n\r\n")
    const random = Buffer.from(Array.from({ length: 5_000 }, (_, at) => (at * 7919) & 0xff))
    // Not frames at all: the server neither understands nor changes them.
    client.write(random)
    const text = await readUntil(client, random.subarray(-300).toString("latin1"))
    assert.equal(text, random.toString("latin1"))
  })
})

describe("a wish for a websocket that is not granted", { concurrency: true }, () => {
  for (const [what, ...lines] of [
    ["an unknown protocol", "Upgrade: irc"],
    ["HTTP/2", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"],
    ["TLS", "Upgrade: TLS/1.0"],
    ["several protocols", "Upgrade: websocket, h2c"],
    ["the protocol with a version", "Upgrade: websocket/13"],
    ["two Upgrade fields", "Upgrade: websocket", "Upgrade: websocket"],
    ["Upgrade that Connection does not name", "Connection: keep-alive"],
    ["a word that only contains upgrade", "Connection: no-upgrade-please"],
  ]) {
    it(`is ignored, and the request answered: ${what}`, async (t) => {
      const app = await startEcho(t)
      const server = await proxy(t, app.url)
      const text = await exchangeRaw(server.port, handshake("/x", lines))
      assert.deepEqual(statuses(text), ["200"])
      assert.match(text, /plain \/x $/)
      assert.equal(app.handshakes.length, 0)
    })
  }

  for (const [what, request] of [
    ["a POST", handshake().replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n")],
    ["HTTP/1.0", handshake().replace("HTTP/1.1", "HTTP/1.0")],
    ["an expectation", handshake("/", ["Expect: 100-continue"])],
    ["a body with a length", `${handshake("/", ["Content-Length: 5"])}hello`],
    ["a body in chunks", `${handshake("/", ["Transfer-Encoding: chunked"])}5\r\nhello\r\n0\r\n\r\n`],
  ]) {
    it(`is ignored, and the request answered: ${what}`, async (t) => {
      const app = await startEcho(t)
      const server = await proxy(t, app.url)
      const text = await exchangeRaw(server.port, request!)
      assert.equal(statuses(text).at(-1), "200")
      assert.match(text, /plain \/ /)
      assert.equal(app.handshakes.length, 0)
      assert.equal(server.http.websockets.opened, 0)
    })
  }

  it("is ignored where the route has no websockets", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url, { websockets: false })
    const text = await exchangeRaw(server.port, handshake("/x"))
    assert.match(text, /^HTTP\/1\.1 200 OK.*Connection: close.*plain \/x $/s)
    assert.equal(app.handshakes.length, 0)
  })

  it("is refused with the version that is spoken here", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    for (const version of ["8", "12", "13, 8", "013", ""]) {
      const text = await exchangeRaw(server.port, handshake("/", [`Sec-WebSocket-Version: ${version}`]))
      assert.deepEqual([statuses(text), codeOf(text)], [["426"], "E_WEBSOCKET_VERSION"])
      assert.match(text, /\r\nSec-WebSocket-Version: 13\r\n/)
    }
  })

  it("is refused without a key of 16 bytes, or with two", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    for (const lines of [
      ["Sec-WebSocket-Key:"],
      ["Sec-WebSocket-Key: short"],
      ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="],
      [`Sec-WebSocket-Key: ${KEY}=`],
      [`Sec-WebSocket-Key: ${KEY}`, `Sec-WebSocket-Key: ${KEY}`],
      ["Connection: Upgrade, Sec-WebSocket-Key"],
    ]) {
      const text = await exchangeRaw(server.port, handshake("/", lines))
      assert.deepEqual([statuses(text), codeOf(text)], [["400"], "E_REQUEST_INVALID"], lines.join())
    }
    assert.equal(app.handshakes.length, 0)
  })

  it("gets the answer of the stack: body and headers as always, and the connection ends", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url, {
      before(context) {
        context.response = respond401(context)
      },
    })
    const { status, headers, text } = await refusal(server.url)
    assert.deepEqual([status, text, headers["www-authenticate"]], [401, "who are you? websocket", "Bearer"])
    assert.equal(headers.connection, "close")
    assert.equal(app.handshakes.length, 0)
    assert.deepEqual(
      server.completed.map(({ result }) => [result.status, result.aborted]),
      [[401, false]],
    )
  })

  it("is refused like any request whose target or headers are not taken", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    for (const [request, status] of [
      [handshake("/a%2fb"), "400"],
      [handshake("/", ["Host: a/b"]), "400"],
      [handshake("/", ["Host: a", "Host: b"]), "400"],
      [
        handshake(
          "/",
          Array.from({ length: 200 }, (_, at) => `X-${at}: 1`),
        ),
        "431",
      ],
      [handshake("/", [`X-Long: ${"x".repeat(20_000)}`]), "431"],
    ] as const) {
      assert.deepEqual(statuses(await exchangeRaw(server.port, request)), [status])
    }
    assert.equal(server.http.websockets.opened, 0)
    assert.match(await exchangeRaw(server.port, handshake("/__bext/health")), /200 OK.*"status":"ok"/s)
  })

  it("gets the app's response when the app has no websocket there, large and streamed as it may be", async (t) => {
    const body = Buffer.alloc(2_000_000, "y")
    const app = await startEcho(t)
    app.http.removeAllListeners("upgrade")
    app.http.removeAllListeners("request")
    app.http.on("request", (_request, response) => {
      response.writeHead(403, { "X-App": "no", Connection: "X-Hop", "X-Hop": "1" })
      response.end(body)
    })
    const server = await proxy(t, app.url)
    const { status, headers, text } = await refusal(server.url)
    assert.deepEqual([status, headers["x-app"], headers["x-hop"]], [403, "no", undefined])
    assert.equal(text.length, body.length)
  })
})

describe("the connection behind a handshake", { concurrency: true }, () => {
  const HIDDEN = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"

  it("is never read as a second request: what follows a handshake that is refused is dropped", async (t) => {
    for (const websockets of [true, false]) {
      const paths: string[] = []
      const app = await startEcho(t)
      const server = await proxy(t, app.url, {
        websockets,
        before(context) {
          paths.push(context.path)
          context.response = respond401(context)
        },
      })
      for (const request of [
        handshake("/up"),
        handshake("/up", ["Upgrade: irc"]),
        handshake("/up", ["Content-Length: 0"]),
      ]) {
        paths.length = 0
        const text = await exchangeRaw(server.port, request + HIDDEN + HIDDEN)
        assert.deepEqual([statuses(text), paths], [["401"], ["/up"]])
      }
    }
  })

  it("opens no websocket for a client that did not wait for the answer", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    const text = await exchangeRaw(server.port, handshake("/") + HIDDEN)
    assert.deepEqual([statuses(text), codeOf(text)], [["400"], "E_REQUEST_INVALID"])
    await until(() => app.clients.size === 0, "the app's side is closed as well")
    const slow = await startRaw(t, () => {})
    const waiting = await proxy(t, slow.url)
    const early = dial(t, waiting.port)
    early.write(handshake())
    await until(() => slow.sockets.length === 1, "the upstream was asked")
    early.write(frame(1, "too soon", true))
    await until(() => early.bytesWritten > handshake().length && early.writableLength === 0, "it is sent")
    await new Promise((resolve) => setImmediate(resolve))
    slow.sockets[0]!.write(switching())
    assert.equal(codeOf(await readToEnd(early)), "E_REQUEST_INVALID")
  })

  it("answers what came before in order, and the handshake as a plain request", async (t) => {
    const app = await startEcho(t)
    const release = Promise.withResolvers<void>()
    const server = await proxy(t, app.url, { before: ({ path }) => (path === "/slow" ? release.promise : undefined) })
    const client = dial(t, server.port)
    client.write(`GET /slow HTTP/1.1\r\nHost: a\r\n\r\n${handshake("/ws")}${HIDDEN}`)
    release.resolve()
    const text = await readToEnd(client)
    assert.deepEqual(text.match(/plain \/\w+/g), ["plain /slow", "plain /ws"])
    assert.equal(app.handshakes.length, 0)
  })

  it("answers a request and a handshake of one piece in order, however soon the first is answered", async (t) => {
    const app = await startEcho(t)
    const config = configSchema.parse({ app: { upstream: app.url, websockets: true } })
    const handle = respondWith(createRouter(config))
    for (const size of [0, 3, 100_000, 5_000_000]) {
      const server = await serve(t, (context) => {
        if (context.path !== "/first") return handle(context)
        context.response = { status: 200, headers: HeaderList.empty(), body: "x".repeat(size) }
      })
      const first = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
      const text = await exchangeRaw(server.port, first + handshake("/ws") + HIDDEN)
      assert.deepEqual(statuses(text), ["200", "200"], `${size} bytes`)
      assert.match(text, /plain \/ws $/)
      assert.equal((await fetch(`${server.url}/first`)).status, 200)
    }
    assert.equal(app.handshakes.length, 0)
  })

  it("may have carried requests before", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    const client = dial(t, server.port)
    client.write("GET /one HTTP/1.1\r\nHost: a\r\n\r\n")
    await readUntil(client, "plain /one ")
    client.write(handshake("/two"))
    await readUntil(client, "\r\n\r\n")
    client.write(frame(1, "hello", true))
    await readUntil(client, "hello")
    assert.equal(server.http.websockets.open, 1)
  })

  it("reads a body that came with the wish as a body, however it is cut", async (t) => {
    const bodies: string[] = []
    const app = await startEcho(t)
    const server = await proxy(t, app.url, {
      async before(context) {
        bodies.push(Buffer.from(await context.requestBody.buffer(1_000)).toString())
        context.response = respond401(context)
      },
    })
    const request = handshake("/up", [`Content-Length: ${HIDDEN.length}`]) + HIDDEN
    for (const cut of [1, 50, request.length - HIDDEN.length, request.length - 3]) {
      const client = dial(t, server.port)
      client.write(request.slice(0, cut))
      await once(client, "connect")
      await new Promise((resolve) => setImmediate(resolve))
      client.write(request.slice(cut))
      assert.deepEqual(statuses(await readToEnd(client)), ["401"])
    }
    assert.deepEqual(bodies, [HIDDEN, HIDDEN, HIDDEN, HIDDEN])
  })
})

describe("Origin", { concurrency: true }, () => {
  const granted = async (t: TestContext, origin: string | undefined, options: ProxyOptions = {}, headers = {}) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url, options)
    const own = origin?.replace("SELF", new URL(server.url).host)
    const socket = new WebSocket(server.url.replace("http", "ws"), {
      headers,
      ...(own !== undefined && { origin: own }),
    })
    t.after(() => socket.terminate())
    socket.on("error", () => {})
    return Promise.race([
      once(socket, "open").then(() => true),
      once(socket, "unexpected-response").then(([, response]) => {
        assert.equal(response.statusCode, 403)
        return false
      }),
    ])
  }

  it("may be missing: only browsers carry their user's cookies to other sites", async (t) => {
    assert.equal(await granted(t, undefined), true)
  })

  it("is taken when it is the site's own, by scheme, host and port", async (t) => {
    assert.equal(await granted(t, "http://SELF"), true)
    assert.equal(await granted(t, "https://SELF"), false)
    assert.equal(await granted(t, "http://127.0.0.1"), false)
    assert.equal(await granted(t, "http://SELF.evil.example"), false)
    assert.equal(await granted(t, "http://a.example", {}, { Host: "a.example:80" }), true)
    assert.equal(await granted(t, "http://a.example:80", {}, { Host: "a.example" }), false)
  })

  it("is refused when it is another's, null, or not one origin at all", async (t) => {
    for (const origin of ["http://evil.example", "null", "*", "http://SELF, http://evil.example", "http://SELF/"]) {
      assert.equal(await granted(t, origin), false, origin)
    }
  })

  it("is compared with the site as the client sees it, behind trusted proxies", async (t) => {
    const headers = { "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example" }
    const trusting = { settings: { trusted_proxies: ["127.0.0.1"] } }
    assert.equal(await granted(t, "https://shop.example", trusting, headers), true)
    assert.equal(await granted(t, "http://SELF", trusting, headers), false)
    assert.equal(await granted(t, "https://shop.example", {}, headers), false)
  })

  it("is taken when the configuration of CORS allows it", async (t) => {
    const origins = ["https://app.example", "https://*.partner.example"]
    assert.equal(await granted(t, "https://app.example", { origins }), true)
    assert.equal(await granted(t, "https://a.partner.example", { origins }), true)
    assert.equal(await granted(t, "https://app.example.evil", { origins }), false)
  })

  it("is refused before the app hears of the handshake, with a code", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    const { status, text } = await refusal(server.url, { origin: "https://evil.example" })
    assert.deepEqual([status, codeOf(text)], [403, "E_WEBSOCKET_ORIGIN"])
    assert.equal(app.handshakes.length, 0)
  })
})

describe("an upstream's handshake", { concurrency: true }, () => {
  for (const [what, answer, code] of [
    ["garbage", "hello there\r\n\r\n", "E_UPSTREAM_INVALID"],
    ["a wrong accept", switching(["Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="]), "E_UPSTREAM_INVALID"],
    [
      "two accepts",
      switching([`Sec-WebSocket-Accept: ${ACCEPT}`, `Sec-WebSocket-Accept: ${ACCEPT}`]),
      "E_UPSTREAM_INVALID",
    ],
    ["another protocol", switching(["Upgrade: h2c"]), "E_UPSTREAM_INVALID"],
    ["no protocol", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "E_UPSTREAM_INVALID"],
    ["a subprotocol nobody asked for", switching(["Sec-WebSocket-Protocol: chat"]), "E_UPSTREAM_INVALID"],
    ["an extension nobody offered", switching(["Sec-WebSocket-Extensions: x-evil"]), "E_UPSTREAM_INVALID"],
    [
      "a header section without end",
      `HTTP/1.1 101 X\r\n${"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(5_000)}`,
      "E_UPSTREAM_INVALID",
    ],
    ["a broken status", "HTTP/1.1 9999 X\r\n\r\n", "E_UPSTREAM_INVALID"],
    ["a status nobody knows", "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", "E_UPSTREAM_INVALID"],
  ] as const) {
    it(`is not believed: ${what}`, async (t) => {
      const app = await startRaw(t, (socket) => socket.write(answer))
      const server = await proxy(t, app.url)
      const text = await exchangeRaw(server.port, handshake())
      assert.deepEqual([statuses(text), codeOf(text)], [["502"], code])
      await until(
        () => app.sockets.every((socket) => socket.readableEnded || socket.destroyed),
        "its connection is closed",
      )
      assert.equal(server.http.websockets.opened, 0)
    })
  }

  it("takes a while that ends: 504", async (t) => {
    const app = await startRaw(t, () => {})
    const server = await proxy(t, app.url, { timeout: "100ms" })
    const text = await exchangeRaw(server.port, handshake())
    assert.deepEqual([statuses(text), codeOf(text)], [["504"], "E_UPSTREAM_TIMEOUT"])
    await until(
      () => app.sockets.every((socket) => socket.readableEnded || socket.destroyed),
      "its connection is closed",
    )
  })

  it("ends with the connection: 502", async (t) => {
    const closing = await startRaw(t, (socket) => socket.destroy())
    const first = await exchangeRaw((await proxy(t, closing.url)).port, handshake())
    assert.deepEqual([statuses(first), codeOf(first)], [["502"], "E_UPSTREAM_UNREACHABLE"])
    const second = await exchangeRaw((await proxy(t, "http://127.0.0.1:1")).port, handshake())
    assert.deepEqual([statuses(second), codeOf(second)], [["502"], "E_UPSTREAM_UNREACHABLE"])
  })

  it("is given up when the client goes away meanwhile", async (t) => {
    const app = await startRaw(t, () => {})
    const server = await proxy(t, app.url, { timeout: "60s" })
    for (const leave of [(socket: Socket) => socket.end(), (socket: Socket) => socket.resetAndDestroy()]) {
      const client = dial(t, server.port)
      client.write(handshake())
      const count = app.sockets.length
      await until(() => app.sockets.length === count + 1, "the upstream was asked")
      leave(client)
      await until(() => app.sockets[count]!.readableEnded || app.sockets[count]!.destroyed, "the upstream is told")
    }
    await until(() => server.completed.length === 2, "both requests are over")
    assert.equal(server.http.websockets.opened, 0)
  })
})

describe("what happens between the app's yes and the answer", { concurrency: true }, () => {
  /** A server that holds every 101 back until `release`. */
  const holding = async (t: TestContext, upstream: string) => {
    const release = Promise.withResolvers<void>()
    const router = createRouter(configSchema.parse({ app: { upstream, websockets: true } }))
    t.after(() => router.close?.())
    const handle = respondWith(router)
    const server = await serve(t, async (context) => {
      await handle(context)
      if (context.response?.status === 101) await release.promise
    })
    return { server, release: release.resolve }
  }

  it("leaves nothing open when the client goes away, with or without a word", async (t) => {
    const app = await startEcho(t)
    for (const leave of [(socket: Socket) => socket.end(), (socket: Socket) => socket.resetAndDestroy()]) {
      const { server, release } = await holding(t, app.url)
      const client = dial(t, server.port)
      client.write(handshake())
      await until(() => app.clients.size === 1, "the app has agreed")
      leave(client)
      await new Promise((resolve) => setImmediate(resolve))
      release()
      await until(() => app.clients.size === 0 && server.completed.length === 1, "the app's side is closed")
      assert.equal(server.http.websockets.open, 0)
      await until(() => server.http.connections === 0, "the client's side is closed")
    }
  })

  it("ends the websocket when the app goes away", async (t) => {
    const app = await startEcho(t)
    const { server, release } = await holding(t, app.url)
    const read = exchangeRaw(server.port, handshake())
    await until(() => app.clients.size === 1, "the app has agreed")
    for (const client of app.clients) client.terminate()
    await until(() => app.clients.size === 0, "the app is gone")
    release()
    assert.match(await read, /^HTTP\/1\.1 (101|502) /)
    await until(() => server.completed.length === 1 && server.http.connections === 0, "it is over")
  })
})

describe("a side that takes nothing", { concurrency: true }, () => {
  const MEGABYTE = Buffer.alloc(1024 * 1024, "z")
  const TOTAL = 100
  /** Waits until `count` has not changed for a while, and gives it. */
  const settled = async (count: () => number) => {
    let last = -1
    let same = 0
    await until(() => {
      same = count() === last && last > 0 ? same + 1 : 0
      last = count()
      return same >= 30
    }, "it stands still")
    return last
  }
  const digest = (data: Iterable<Buffer>) => {
    const hash = createHash("sha256")
    for (const chunk of data) hash.update(chunk)
    return hash.digest("hex")
  }
  const expected = digest(Array.from({ length: TOTAL }, () => MEGABYTE))
  const receive = async (socket: Socket) => {
    const hash = createHash("sha256")
    let bytes = 0
    socket.on("data", (chunk) => {
      hash.update(chunk)
      bytes += chunk.length
    })
    socket.resume()
    await until(() => bytes >= TOTAL * MEGABYTE.length, "everything has come")
    return hash.digest("hex")
  }

  it("stops the other side: 100 MB wait where they come from, and arrive whole", async (t) => {
    const app = await startRaw(t, (socket) => {
      socket.pause()
      socket.write(switching())
    })
    const server = await proxy(t, app.url)
    const client = dial(t, server.port)
    client.write(handshake())
    await readUntil(client, "\r\n\r\n")
    for (let count = 0; count < TOTAL; count++) app.sockets[0]!.write(MEGABYTE)
    assert.ok((await settled(() => server.http.websockets.bytesToClients)) < 40 * MEGABYTE.length)
    assert.equal(await receive(client), expected)

    for (let count = 0; count < TOTAL; count++) client.write(MEGABYTE)
    assert.ok((await settled(() => server.http.websockets.bytesFromClients)) < 40 * MEGABYTE.length)
    assert.equal(await receive(app.sockets[0]!), expected)
  })

  it("is closed when nothing moves for the idle time, and destroyed when it does not even take that", async (t) => {
    const app = await startRaw(t, (socket) => {
      socket.pause()
      socket.write(switching())
    })
    const server = await proxy(t, app.url, { settings: { limits: { websocket_idle_timeout: "300ms" } } })
    const client = dial(t, server.port)
    client.write(handshake())
    await readUntil(client, "\r\n\r\n")
    for (let count = 0; count < 30; count++) app.sockets[0]!.write(MEGABYTE)
    await until(() => server.completed.length === 1, "it is over")
    assert.equal(server.http.websockets.open, 0)
  })
})

describe("a websocket on which nothing moves", { concurrency: true }, () => {
  it("is closed with 1001 on both sides", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url, { settings: { limits: { websocket_idle_timeout: "200ms" } } })
    const socket = await open(t, server.url)
    const appSide = closeOf([...app.clients][0]!)
    assert.equal(await closeOf(socket), 1001)
    assert.equal(await appSide, 1001)
    await until(() => server.completed.length === 1, "it is reported")
    assert.equal(server.completed[0]!.result.aborted, false)
  })

  it("lives on while either side sends", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url, { settings: { limits: { websocket_idle_timeout: "2s" } } })
    const socket = await open(t, server.url)
    for (let round = 0; round < 10; round++) {
      await new Promise((resolve) => setTimeout(resolve, 250))
      if (round % 2 === 0) socket.ping()
      else for (const client of app.clients) client.ping()
    }
    assert.equal((await ask(socket, "still there")).toString(), "still there")
  })
})

describe("the end of one side", { concurrency: true }, () => {
  it("is the end of the other: an app that dies is 1006 for its clients", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    const socket = await open(t, server.url)
    const closed = closeOf(socket)
    for (const client of app.clients) client.terminate()
    assert.equal(await closed, 1006)
    await until(() => server.completed.length === 1, "it is reported")
    assert.deepEqual([server.completed.length, server.completed[0]!.result.aborted], [1, true])
  })

  it("reaches the app when a client resets its connection or just leaves", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url)
    for (const leave of [(socket: Socket) => socket.resetAndDestroy(), (socket: Socket) => socket.end()]) {
      const client = dial(t, server.port)
      client.write(handshake())
      await readUntil(client, "\r\n\r\n")
      const closed = closeOf([...app.clients][0]!)
      leave(client)
      assert.equal(await closed, 1006)
    }
    await until(() => server.completed.length === 2, "both are reported")
    assert.equal(server.http.websockets.open, 0)
  })

  it("leaves the other direction open: what the app still sends to a client that has finished arrives", async (t) => {
    const lastWords = (socket: Socket) => {
      socket.write(switching())
      socket.once("end", () => socket.end("last words"))
    }
    const app = await startRaw(t, lastWords, { allowHalfOpen: true })
    const server = await proxy(t, app.url)
    const client = dial(t, server.port)
    client.write(handshake())
    await readUntil(client, "\r\n\r\n")
    client.end()
    assert.equal(await readToEnd(client), "last words")
  })

  it("loses nothing that was sent before it", async (t) => {
    const bytes = Buffer.alloc(5_000_000, "q")
    const app = await startRaw(t, (socket) => {
      socket.write(switching())
      socket.end(bytes)
    })
    const server = await proxy(t, app.url)
    const client = dial(t, server.port)
    client.write(handshake())
    const text = await readToEnd(client)
    assert.equal(text.length - text.indexOf("\r\n\r\n") - 4, bytes.length)
  })
})

describe("the number of websockets", { concurrency: true }, () => {
  it("is bounded for each client, and a place is free again when one is closed", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url, {
      settings: { limits: { websockets_per_client: 2 }, trusted_proxies: ["127.0.0.1"] },
    })
    const from = (address: string) => ({ headers: { "X-Forwarded-For": address } })
    const first = await open(t, server.url, from("192.0.2.1"))
    await open(t, server.url, from("192.0.2.1"))
    const { status, headers, text } = await refusal(server.url, from("192.0.2.1"))
    assert.deepEqual([status, codeOf(text), headers["retry-after"]], [503, "E_WEBSOCKET_LIMIT", "1"])
    await open(t, server.url, from("192.0.2.2"))
    await open(t, server.url, from("2001:db8::1"))
    await open(t, server.url, from("2001:db8::2"))
    assert.equal((await refusal(server.url, from("2001:db8::3"))).status, 503)
    first.close()
    await once(first, "close")
    await until(() => server.completed.some(({ result }) => result.status === 101), "it is over")
    await open(t, server.url, from("192.0.2.1"))
  })

  it("is bounded for the process, handshakes included, with one line in the log", async (t) => {
    const app = await startRaw(t, () => {})
    const server = await proxy(t, app.url, { settings: { limits: { websockets: 2 } } })
    for (let count = 0; count < 2; count++) dial(t, server.port).write(handshake())
    await until(() => app.sockets.length === 2, "two handshakes are under way")
    for (let count = 0; count < 3; count++) {
      assert.equal(codeOf(await exchangeRaw(server.port, handshake())), "E_WEBSOCKET_LIMIT")
    }
    assert.equal(server.logged.filter(({ message }) => message.includes("server.limits.websockets")).length, 1)
  })

  it("is what it was before after a storm of openings and closings, however they end", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url, { settings: { limits: { websockets: 40, websockets_per_client: 40 } } })
    const ends: ((socket: Socket) => unknown)[] = [
      (socket) => socket.destroy(),
      (socket) => socket.resetAndDestroy(),
      (socket) => socket.end(frame(8, Buffer.from([3, 0xe8]), true)),
      (socket) => socket.end(),
    ]
    let refused = 0
    await Promise.all(
      Array.from({ length: 8 }, async (_, lane) => {
        for (let round = 0; round < 25; round++) {
          const client = dial(t, server.port)
          client.write(handshake())
          // Some do not even wait for the answer.
          if ((round + lane) % 3 > 0) {
            const text = await readUntil(client, "\r\n\r\n").catch(() => "")
            if (!text.includes(" 101 ")) refused++
          }
          ends[(round + lane) % ends.length]!(client)
        }
      }),
    )
    await until(() => server.http.connections === 0 && app.clients.size === 0, "all are over")
    assert.equal(server.http.websockets.open, 0)
    assert.ok(refused < 200)
    // Every place is free again.
    const sockets = await Promise.all(Array.from({ length: 40 }, () => open(t, server.url)))
    assert.equal(server.http.websockets.open, 40)
    assert.equal((await refusal(server.url)).status, 503)
    assert.equal((await ask(sockets[39]!, "hi")).toString(), "hi")
  })
})

describe("close", { concurrency: true }, () => {
  it("lets websockets go on until the grace is over, then tells both sides 1001", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url, { settings: { grace: "1500ms" } })
    const socket = await open(t, server.url)
    const [appSide] = app.clients
    const closes = Promise.all([closeOf(socket), closeOf(appSide!)])
    const closed = server.http.close()
    assert.equal((await ask(socket, "during the grace")).toString(), "during the grace")
    assert.deepEqual(await closes, [1001, 1001])
    await closed
    assert.equal(server.completed.length, 1)
  })

  it("does not wait for the grace to end when the last websocket is closed before", async (t) => {
    const app = await startEcho(t)
    const server = await proxy(t, app.url, { settings: { grace: "1h" } })
    const socket = await open(t, server.url)
    const closed = server.http.close()
    socket.close()
    await closed
  })

  it("opens no websocket any more", async (t) => {
    const app = await startEcho(t)
    const release = Promise.withResolvers<void>()
    let arrived = false
    const before = () => {
      arrived = true
      return release.promise
    }
    const server = await proxy(t, app.url, { settings: { grace: "10s" }, before })
    const client = dial(t, server.port)
    client.write(handshake())
    await until(() => arrived, "the request is under way")
    const closed = server.http.close()
    release.resolve()
    const text = await readToEnd(client)
    assert.deepEqual([statuses(text), codeOf(text)], [["503"], "E_OVERLOADED"])
    await closed
  })

  it("says goodbye between two frames, not inside one", async (t) => {
    const payload = Buffer.alloc(60_000, "m")
    const whole = frame(2, payload)
    const app = await startRaw(t, (socket) => {
      socket.write(Buffer.concat([Buffer.from(switching()), whole.subarray(0, 1_000)]))
    })
    const server = await proxy(t, app.url, { settings: { grace: "100ms" } })
    const client = dial(t, server.port)
    client.write(handshake())
    await until(() => server.http.websockets.bytesToClients === 1_000, "half a frame is on its way")
    const read = readToEnd(client)
    const closed = server.http.close()
    await once(app.sockets[0]!, "data")
    app.sockets[0]!.write(Buffer.concat([whole.subarray(1_000), frame(1, "one more")]))
    const text = await read
    const after = Buffer.from(text.slice(text.indexOf("\r\n\r\n") + 4), "latin1")
    assert.ok(after.equals(Buffer.concat([whole, Buffer.from([0x88, 2, 0x03, 0xe9])])), `${after.length} bytes`)
    await closed
  })

  it("masks what it says to the app, and says nothing to a side that has said goodbye", async (t) => {
    const app = await startRaw(t, (socket) => socket.write(switching()))
    const server = await proxy(t, app.url, { settings: { grace: "300ms" } })
    const [client, leaving] = [dial(t, server.port), dial(t, server.port)]
    for (const socket of [client, leaving]) {
      socket.write(handshake())
      await readUntil(socket, "\r\n\r\n")
    }
    const heard = app.sockets.map((socket) => readToEnd(socket))
    leaving.write(frame(8, Buffer.from([3, 0xe8]), true))
    await until(() => server.http.websockets.bytesFromClients === 8, "one has said goodbye")
    const closed = server.http.close()
    const [first, second] = (await Promise.all(heard)).map((text) => Buffer.from(text, "latin1"))
    assert.deepEqual([first!.length, first![0], first![1]], [8, 0x88, 0x82])
    const code = first!.subarray(6).map((byte, at) => byte ^ first![2 + at]!)
    assert.deepEqual([...code], [0x03, 0xe9])
    assert.equal(second!.length, 8)
    assert.deepEqual(second, frame(8, Buffer.from([3, 0xe8]), true))
    await closed
  })

  it("destroys what does not go, handshakes under way included", async (t) => {
    const app = await startRaw(t, (socket, request) => {
      if (request.startsWith("GET /open")) socket.write(switching())
    })
    const server = await proxy(t, app.url, { settings: { grace: "50ms" } })
    const stuck = dial(t, server.port)
    stuck.write(handshake("/open"))
    await readUntil(stuck, "\r\n\r\n")
    stuck.write(Buffer.from([0x82]))
    const asking = dial(t, server.port)
    asking.write(handshake("/never"))
    await until(() => app.sockets.length === 2, "the upstream was asked")
    await server.http.close()
    assert.equal(server.http.connections, 0)
    assert.equal(server.completed.length, 2)
  })
})

function respond401(context: RequestContext) {
  const asked = context.upgrade?.protocol ?? "nothing"
  return { status: 401, headers: HeaderList.from([["WWW-Authenticate", "Bearer"]]), body: `who are you? ${asked}` }
}
