import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { createServer, type IncomingHttpHeaders, type Server } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { buffer } from "node:stream/consumers"
import { after, before, describe, it } from "node:test"
import { SignJWT } from "jose"
import { exchangeRaw, readToEnd, until } from "../http/serve-test.ts"
import { type ServedChild, serveInChild } from "../support/serve.ts"

const JWT_SECRET = "a secret of the tests, 32 bytes or more"

/** The route /api/** leads to `app`; everything else is files, of which /admin is guarded by a plugin. */
const CONFIG = (app: number) => `
[server.limits]
header_timeout = "400ms"
request_timeout = "900ms"
idle_timeout = "2s"

[app]
static = "public"

[[routes]]
path = "/api/**"
upstream = "http://127.0.0.1:${app}"

[middleware.auth]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"
public = ["/", "/open/**", "/api/**"]

[middleware.tenant]
by = ["path"]
unknown = "pass"

[[tenants]]
id = "acme"
[[tenants]]
id = "globex"

[plugins.rewriter]
path = "plugins/rewriter"
priority = 610
match = [{ path = "/open/go" }]
grant = { rewrite_path = true }

[plugins.guard]
path = "guard.js"
priority = 650
match = [{ path = "/admin/**" }]

[plugins.acme-only]
path = "acme.js"
priority = 660
match = [{ tenants = ["acme"] }]

[plugins.reader]
path = "plugins/reader"
priority = 670
match = [{ path = "/api/upload" }]

[plugins.strict-reader]
path = "plugins/strict-reader"
priority = 680
match = [{ path = "/api/small" }]
`

const manifest = (name: string, rest: string) =>
  `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n${rest}`
const READER = 'export function onRequest(ctx) { ctx.request.setHeader("x-read", String(ctx.body.text().length)) }'

const FILES = {
  "public/admin/secret.txt": "the secret",
  "public/members/news.txt": "the news",
  "public/open/page.txt": "an open page",
  "plugins/rewriter/plugin.toml": manifest("rewriter", "[permissions]\nrewrite_path = true"),
  "plugins/rewriter/index.js": 'export function onRequest(ctx) { ctx.request.setPath(ctx.searchParams.get("to")) }',
  "guard.js": "export function onRequest() { return new Response('guarded', { status: 403 }) }",
  "acme.js": "export function onResponse(ctx) { ctx.response.setHeader('x-tenant', ctx.tenantId) }",
  "plugins/reader/plugin.toml": manifest(
    "reader",
    '[sandbox]\nbody = "request"\nmax_body = "64kb"\non_large_body = "skip"',
  ),
  "plugins/reader/index.js": READER,
  "plugins/strict-reader/plugin.toml": manifest("strict-reader", '[sandbox]\nbody = "request"\nmax_body = "64kb"'),
  "plugins/strict-reader/index.js": READER,
}

let app: App
let site: ServedChild
let port: number
let token: string

before(async () => {
  app = await startApp()
  site = await serveInChild(CONFIG(app.port), FILES, {
    serverKeys: 'identity_headers = ["x-user-id"]',
    env: { JWT_SECRET },
  })
  port = Number(new URL(site.url).port)
  token = await new SignJWT({})
    .setProtectedHeader({ alg: "HS256" })
    .setSubject("member")
    .setExpirationTime("1h")
    .sign(Buffer.from(JWT_SECRET))
})
after(async () => {
  await site?.[Symbol.asyncDispose]()
  app?.server.close().closeAllConnections()
})

/** Sends a target as it is: no client library puts it right. */
async function get(target: string, ...headers: string[]): Promise<{ status: number; head: string; body: string }> {
  const lines = [`GET ${target} HTTP/1.1`, "Host: site.example", "Connection: close", ...headers]
  const text = await exchangeRaw(port, `${lines.join("\r\n")}\r\n\r\n`)
  const end = text.indexOf("\r\n\r\n")
  return { status: Number(text.slice(9, 12)), head: text.slice(0, end), body: text.slice(end + 4) }
}
const authorised = () => `Authorization: Bearer ${token}`

describe("a path behind authentication and a guard", () => {
  it("is reached by nobody without a token, and guarded for those who have one", async () => {
    assert.equal((await get("/members/news.txt")).status, 401)
    assert.equal((await get("/members/news.txt", authorised())).body, "the news")
    assert.equal((await get("/admin/secret.txt")).status, 403)
    assert.equal((await get("/admin/secret.txt", authorised())).body, "guarded")
  })

  for (const target of [
    "//admin/secret.txt",
    "/./admin/secret.txt",
    "/open/../admin/secret.txt",
    "/open/%2e%2e/admin/secret.txt",
    "/open/.%2E/admin/secret.txt",
    "/%61dmin/secret.txt",
    "/admin/./secret.txt",
    "/admin//secret.txt",
    "/admin/x/../secret.txt",
    "/acme/admin/secret.txt",
    "/acme/../admin/secret.txt",
    "/acme//admin/secret.txt",
    "http://other.example/admin/secret.txt",
    "/admin/secret.txt?x=/open/page.txt",
    "/admin",
    "/admin/",
    "/admin/.",
  ]) {
    it(`is the same path written as ${target}`, async () => {
      assert.equal((await get(target, authorised())).body, "guarded")
      assert.doesNotMatch((await get(target)).body, /the secret/)
    })
  }

  for (const target of [
    "/admin%2fsecret.txt",
    "/admin%2Fsecret.txt",
    "/admin%5csecret.txt",
    "/admin\\secret.txt",
    "/open\\..\\admin\\secret.txt",
    "/open/..%2fadmin/secret.txt",
    "/admin/secret.txt%00",
    "/%00/admin/secret.txt",
    "/%c0%af/admin/secret.txt",
    "/%zz/admin/secret.txt",
    "/admin/secret.txt%",
    "admin/secret.txt",
    "ftp://site.example/admin/secret.txt",
  ]) {
    it(`is refused written as ${target}`, async () => {
      const { status, body } = await get(target, authorised())
      assert.equal(status, 400)
      assert.match(JSON.parse(body).code, /^E_(PATH|REQUEST)_INVALID$/)
    })
  }

  for (const target of [
    "/open/..;/admin/secret.txt",
    "/%2561dmin/secret.txt",
    "/ADMIN/secret.txt",
    "/admin./secret.txt",
    "/open/%252e%252e/admin/secret.txt",
    "/open/...//admin/secret.txt",
    "/\u00a0/admin/secret.txt",
  ]) {
    it(`is another path, which does not exist, written as ${target}`, async () => {
      const { status, body } = await get(target, authorised())
      assert.ok(status === 404 || status === 400, `${status} ${body}`)
    })
  }

  it("is not reached by a plugin that rewrites the path after authentication", async () => {
    assert.equal((await get("/open/go?to=/open/page.txt")).body, "an open page")
    assert.equal((await get("/open/go?to=/members/news.txt")).status, 401)
    assert.equal((await get("/open/go?to=/members/news.txt", authorised())).body, "the news")
    assert.equal((await get("/open/go?to=/admin/secret.txt", authorised())).body, "guarded")
    for (const to of [
      "/open/../members/news.txt",
      "//members/news.txt",
      "/members%252fnews.txt/..",
      "members",
      "/%00",
    ]) {
      const { status, body } = await get(`/open/go?to=${to}`)
      assert.doesNotMatch(body, /the news/, to)
      assert.ok(status === 502 || status === 401 || status === 404, `${to}: ${status}`)
    }
  })
})

describe("the tenant's prefix", () => {
  it("is found on the normalised path, and taken off it once", async () => {
    for (const target of [
      "/acme/open/page.txt",
      "/%61cme/open/page.txt",
      "//acme//open/page.txt",
      "/globex/../acme/open/page.txt",
    ]) {
      const { head, body } = await get(target)
      assert.equal(body, "an open page", target)
      assert.match(head, /^x-tenant: acme\r?$/im, target)
    }
    assert.doesNotMatch((await get("/acme/../open/page.txt")).head, /x-tenant/i)
    assert.equal((await get("/acme%2fopen/page.txt")).status, 400)
    assert.equal((await get("/acme/acme/open/page.txt")).status, 401)
  })
})

describe("the app behind", () => {
  it("is asked for the path that the routes saw", async () => {
    for (const [target, seen] of [
      ["/api/../api//x%20y", "/api/x%20y"],
      ["/%61pi/%7euser", "/api/~user"],
      ["/api/%252e%252e/members", "/api/%252e%252e/members"],
      ["/api/%3fa=b%23c", "/api/%3Fa=b%23c"],
      ["/api/x?a=%2e%2e%2f&b=//", "/api/x?a=%2e%2e%2f&b=//"],
    ] as const) {
      assert.equal((await get(target)).status, 200, target)
      assert.equal(app.seen.at(-1)!.url, seen)
    }
    const before = app.seen.length
    assert.equal((await get("/api/../members/news.txt")).status, 401)
    assert.equal((await get("/api/..%2fmembers/news.txt")).status, 400)
    assert.equal(app.seen.length, before)
  })

  it("hears nothing of what only the server may say", async () => {
    await get(
      "/api/echo",
      ...["X-User-Id: admin", "x-bext-user: admin", "X-Bext-Ext-Guard: ok", "X-BEXT-CACHE: hit", "X-Real-IP: 1.1.1.1"],
      ...["X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: evil.example", "Forwarded: for=10.0.0.1", "X-Kept: yes"],
    )
    const { headers } = app.seen.at(-1)!
    assert.equal(headers["x-kept"], "yes")
    assert.doesNotMatch(JSON.stringify(headers), /admin|x-bext|x-user|10\.0\.0\.1|1\.1\.1\.1|evil/i)
    assert.equal(headers["x-forwarded-for"], "127.0.0.1")
  })

  it("does not get the headers that Connection names", async () => {
    await get("/api/echo", "Connection: x-hop", "X-Hop: 1", "X-Kept: yes")
    assert.equal(app.seen.at(-1)!.headers["x-hop"], undefined)
    assert.equal(app.seen.at(-1)!.headers["x-kept"], "yes")
  })

  it("never sees a request that is hidden in another", async () => {
    const hidden = "GET /api/hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    for (const [framing, body] of [
      ["Content-Length: 5\r\nTransfer-Encoding: chunked", `0\r\n\r\n${hidden}`],
      ["Content-Length: 0\r\nContent-Length: 40", hidden],
      ["Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", `0\r\n\r\n${hidden}`],
      ["Transfer-Encoding: xchunked", `0\r\n\r\n${hidden}`],
      ["Content-Length: 1\n", `x${hidden}`],
      ["X-A: b\r\n folded", hidden],
      ["Transfer-Encoding: chunked", `1\nx\r\n0\r\n\r\n${hidden}`],
    ] as const) {
      const text = await exchangeRaw(port, `POST /api/first HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n${body}`)
      assert.match(text, /^HTTP\/1\.1 400 /, framing)
      assert.equal(text.match(/HTTP\/1\.1 \d/g)?.length, 1)
    }
    for (const rubbish of [
      "\x16\x03\x01\x02\x00\x01\x00",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "GET /api/hidden\r\n\r\n",
      "\r\n\r\n\r\n\0",
    ]) {
      assert.doesNotMatch(await exchangeRaw(port, rubbish), /^HTTP\/1\.1 2/)
    }
    assert.deepEqual(
      app.seen.filter(({ url }) => url === "/api/hidden"),
      [],
    )
    assert.equal((await get("/open/page.txt")).body, "an open page")
  })

  it("gets a whole body that is too large for a plugin, chunked or not", async () => {
    const body = randomBytes(3 << 20)
    const hash = createHash("sha256").update(body).digest("hex")
    for (const sent of [body, new Blob([body]).stream()]) {
      const init = { method: "POST", body: sent, duplex: "half" } as RequestInit
      assert.equal(await (await fetch(`${site.url}/api/upload`, init)).text(), hash)
      assert.equal(app.seen.at(-1)!.headers["x-read"], undefined)
    }
    const small = await fetch(`${site.url}/api/upload`, { method: "POST", body: "small" })
    assert.equal(await small.text(), createHash("sha256").update("small").digest("hex"))
    assert.equal(app.seen.at(-1)!.headers["x-read"], "5")
  })

  it("is not asked with a body that is too large for a plugin that insists", async () => {
    const before = app.seen.length
    for (const sent of [randomBytes(1 << 20), new Blob([randomBytes(1 << 20)]).stream()]) {
      const init = { method: "POST", body: sent, duplex: "half" } as RequestInit
      const response = await fetch(`${site.url}/api/small`, init)
      assert.deepEqual([response.status, JSON.parse(await response.text()).code], [413, "E_BODY_TOO_LARGE"])
    }
    assert.equal(app.seen.length, before)
  })

  it("is told when the client goes away in the middle of what it sends", async () => {
    const socket = connect(port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write("GET /api/endless HTTP/1.1\r\nHost: a\r\n\r\n")
    await once(socket, "data")
    const closed = app.closed
    socket.destroy()
    await until(() => app.closed === closed + 1, "the app's response is closed")
    assert.equal((await get("/api/echo")).status, 200)
  })
})

describe("a slow client", { concurrency: true }, () => {
  it("that does not finish its headers is told so and let go", async () => {
    const socket = connect(port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write("GET / HTTP/1.1\r\nHost: a\r\nX-")
    assert.match(await readToEnd(socket), /^HTTP\/1\.1 408 .*E_REQUEST_TIMEOUT/s)
  })

  it("that does not finish its body is told so and let go, and the app is not left waiting", async () => {
    const socket = connect(port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write("POST /api/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
    assert.match(await readToEnd(socket), /^HTTP\/1\.1 408 .*E_REQUEST_TIMEOUT/s)
  })

  it("that stays idle is let go, while others are served", async () => {
    const socket = connect(port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write("GET /open/page.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    const [text] = await Promise.all([
      readToEnd(socket),
      get("/open/page.txt").then(({ status }) => assert.equal(status, 200)),
    ])
    assert.match(text, /^HTTP\/1\.1 200 .*an open page$/s)
  })
})

interface App {
  readonly server: Server
  readonly port: number
  readonly seen: { url: string; headers: IncomingHttpHeaders }[]
  /** Responses whose client went away. */
  closed: number
}

/** Answers with the SHA-256 of the body; /api/endless never ends. */
async function startApp(): Promise<App> {
  const seen: App["seen"] = []
  const server = createServer(async (request, response) => {
    seen.push({ url: request.url!, headers: request.headers })
    if (request.url === "/api/endless") {
      response.once("close", () => app.closed++)
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
        response.once("drain", more)
      }
      more()
      return
    }
    try {
      response.end(
        createHash("sha256")
          .update(await buffer(request))
          .digest("hex"),
      )
    } catch {
      response.destroy()
    }
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  const app = { server, port: (server.address() as AddressInfo).port, seen, closed: 0 }
  return app
}
