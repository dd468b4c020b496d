import assert from "node:assert/strict"
import { once } from "node:events"
import { connect } from "node:net"
import { after, before, describe, it } from "node:test"
import type { Config } from "../../src/config/schema.ts"
import { toErrorResponse } from "../../src/http/error-response.ts"
import { createHttpServer, type HttpServer } from "../../src/http/server.ts"
import { HeaderList } from "../../src/message/header-list.ts"
import type { RequestContext } from "../../src/message/request-context.ts"
import { createAuth } from "../../src/middleware/auth.ts"
import { createAuthorisationGate } from "../../src/middleware/authorisation-gate.ts"
import { createCors } from "../../src/middleware/cors.ts"
import { createRateLimits } from "../../src/middleware/rate-limit.ts"
import { createResponseTracing, createTimingPolicy } from "../../src/middleware/server-timing.ts"
import { createTenantResolver } from "../../src/middleware/tenant.ts"
import { createTracing } from "../../src/middleware/tracing.ts"
import { Pipeline } from "../../src/pipeline/pipeline.ts"
import { Stack } from "../../src/pipeline/stack.ts"
import { toConfig } from "./serve.ts"
import { claims, hs256, NOW_MS, SECRET } from "./tokens.ts"

const SECTION = {
  cors: { origins: ["https://app.example.com"] },
  rate_limit: { requests: 1_000, window: "1h", rules: [{ path: "/login", requests: 1, window: "1h" }] },
  auth: {
    algorithms: ["HS256"],
    secret: "env:JWT",
    public: ["/public/**", "/login"],
    rules: [{ path: "/admin/**", claims: { role: "admin" } }],
  },
  tenant: { by: ["path"], unknown: "pass" },
  tracing: { server_timing: "loopback" },
}

/** All five and the gate behind the real listener; the app answers with what it saw. */
function createStack({ middleware, tenants, server }: Config): HttpServer {
  const { cors, rate_limit, auth, tenant, tracing } = middleware
  const errorPages = new Map()
  const pipeline = new Pipeline({
    stack: new Stack([
      createCors(cors!),
      ...createRateLimits(rate_limit!),
      createAuth(auth!, { secret: SECRET, warn: assert.fail, now: () => NOW_MS }),
      createTenantResolver(tenant!, { tenants }),
      createTracing(),
      createResponseTracing(),
    ]),
    authorise: createAuthorisationGate(auth!),
    wantsTimings: createTimingPolicy(tracing),
    handler: {
      handle: (context: RequestContext) => ({
        status: 200,
        headers: HeaderList.empty(),
        body: JSON.stringify([
          context.user?.id,
          context.tenantId,
          context.path,
          context.requestHeaders.get("traceparent"),
        ]),
      }),
    },
    toErrorResponse: (error, context) => toErrorResponse(error, context, errorPages),
  })
  const logger = { info() {}, warn() {}, error: (_: object, message: string) => assert.fail(message) }
  return createHttpServer({
    config: { ...server, listen: "127.0.0.1:0" },
    logger,
    errorPages,
    respond: (context) => pipeline.respond(context),
    complete() {},
  })
}

describe("the built-in middlewares behind the listener", () => {
  let http: HttpServer
  let port: number

  before(async () => {
    http = createStack(toConfig(SECTION, [{ id: "acme" }]))
    ;({ port } = await http.listen())
  })
  after(() => http.close())

  /** Sends the lines as they are: no client library tidies them up. */
  async function send(...lines: string[]): Promise<{ status: number; headers: HeaderList; body: string }> {
    const socket = connect(port, "127.0.0.1")
    let text = ""
    socket.setEncoding("latin1").on("data", (chunk) => {
      text += chunk
    })
    socket.write([...lines, "Host: example.com", "Connection: close", "", ""].join("\r\n"), "latin1")
    await once(socket, "close")
    const [head, body = ""] = text.split("\r\n\r\n", 2) as [string, string?]
    const [statusLine, ...fields] = head.split("\r\n")
    const pairs = fields.map((field) => field.split(/: ?(.*)/s, 2) as [string, string])
    return { status: Number(statusLine!.split(" ")[1]), headers: HeaderList.from(pairs), body }
  }

  const AUTHORIZATION = `Authorization: Bearer ${hs256()}`

  it("let a user through and tell the app who it is and which trace it belongs to", async () => {
    const { status, headers, body } = await send("GET /x HTTP/1.1", AUTHORIZATION, "Origin: https://app.example.com")
    assert.equal(status, 200)
    const [user, tenant, path, traceparent] = JSON.parse(body)
    assert.deepEqual([user, tenant, path], ["ada", null, "/x"])
    assert.match(traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    assert.equal(headers.get("access-control-allow-origin"), "https://app.example.com")
    assert.match(headers.get("ratelimit")!, /^"default";r=\d+;t=3600$/)
    assert.match(headers.get("x-request-id")!, /^[0-9a-f]{32}$/)
  })

  it("put their headers on refusals too", async () => {
    const { status, headers, body } = await send("GET /x HTTP/1.1", "Authorization: Bearer junk")
    assert.equal(status, 401)
    assert.equal(headers.get("www-authenticate"), 'Bearer error="invalid_token"')
    assert.equal(headers.get("vary"), "Origin")
    assert.ok(headers.has("ratelimit"))
    assert.equal(JSON.parse(body).request_id, headers.get("x-request-id"))
    assert.equal(JSON.parse(body).code, "E_UNAUTHENTICATED")
  })

  it("refuse two Authorization fields and odd separators as they stand on the wire", async () => {
    const basic = "Authorization: Basic YTpi"
    const wrong = [
      [AUTHORIZATION, AUTHORIZATION],
      [basic, AUTHORIZATION],
      [AUTHORIZATION, basic],
      ["Authorization: Bearer"],
    ]
    for (const lines of wrong) assert.equal((await send("GET /public/x HTTP/1.1", ...lines)).status, 401, lines.join())
    const tabbed = await send("GET /public/x HTTP/1.1", `Authorization: Bearer\t${hs256()}`)
    assert.equal(tabbed.status, 401)
  })

  it("hold a path to its rules however it is written", async () => {
    const spellings = [
      "/admin",
      "/admin/x",
      "//admin/x",
      "/./admin/x",
      "/public/../admin/x",
      "/%61dmin/x",
      "/acme/admin/x",
    ]
    for (const path of [...spellings, "/public/%2e%2e/admin", "/acme/%2e/admin", "/acme//admin", "/admin/x?/public/"]) {
      assert.equal((await send(`GET ${path} HTTP/1.1`)).status, 401, path)
      assert.equal((await send(`GET ${path} HTTP/1.1`, AUTHORIZATION)).status, 403, path)
    }
    const admin = `Authorization: Bearer ${hs256(claims({ role: "admin" }))}`
    assert.equal((await send("GET /admin/x HTTP/1.1", admin)).status, 200)
    for (const path of ["/public/..%2fadmin", "/public%5c..%5cadmin", "/public/%00/../admin", "/acme%2fadmin"]) {
      assert.equal((await send(`GET ${path} HTTP/1.1`, admin)).status, 400, path)
    }
  })

  it("take a tenant off the path, and no encoding adds or hides one", async () => {
    for (const path of ["/acme/public/x", "/%61cme/public/x", "/x/../acme/public/x", "/acme/./public/x"]) {
      const { body } = await send(`GET ${path} HTTP/1.1`)
      assert.deepEqual(JSON.parse(body).slice(1, 3), ["acme", "/public/x"], path)
    }
    // Decoded once: this is a segment called "%61cme", not "acme".
    const { body } = await send("GET /%2561cme HTTP/1.1", AUTHORIZATION)
    assert.equal(JSON.parse(body)[1], null)
  })

  it("count every spelling of a path against its rate rule", async () => {
    const statuses: number[] = []
    for (const path of ["/login", "//login", "/%6cogin", "/x/../login?again"]) {
      statuses.push((await send(`POST ${path} HTTP/1.1`, "Content-Length: 0")).status)
    }
    assert.deepEqual(statuses, [200, 429, 429, 429])
  })

  it("answer a preflight before anything else looks at it", async () => {
    const { status, headers } = await send(
      "OPTIONS /admin HTTP/1.1",
      "Origin: https://app.example.com",
      "Access-Control-Request-Method: DELETE",
    )
    assert.equal(status, 204)
    assert.equal(headers.get("access-control-allow-origin"), "https://app.example.com")
    assert.equal(headers.has("ratelimit"), false)
  })

  it("tell a local client their times when it asks", async () => {
    const asked = await send("GET /public/x HTTP/1.1", "Server-Timing: 1")
    assert.match(asked.headers.get("server-timing")!, /^cors;dur=[\d.]+, rate-limit;dur=.*total;dur=[\d.]+$/)
    assert.equal((await send("GET /public/x HTTP/1.1")).headers.has("server-timing"), false)
  })
})
