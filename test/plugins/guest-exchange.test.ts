import assert from "node:assert/strict"
import { Readable } from "node:stream"
import { describe, it } from "node:test"
import type { Permissions } from "../../src/config/manifest-schema.ts"
import { type ErrorCode, PluginError } from "../../src/errors.ts"
import { HeaderList } from "../../src/message/header-list.ts"
import type { RequestContext } from "../../src/message/request-context.ts"
import type { GuestAccess } from "../../src/plugins/guest-access.ts"
import { GuestExchange } from "../../src/plugins/guest-exchange.ts"
import { HeaderAccess } from "../../src/plugins/header-access.ts"
import { toContext } from "../../src/plugins/lanes/copied-context.ts"
import { targetsBefore } from "../../src/plugins/target-history.ts"
import type { Json, Side } from "../../src/sandbox/sandbox.ts"
import { type ContextInput, requestContext, response, textOf } from "./request-context.ts"

type Allowed = Partial<Permissions> & { body?: GuestAccess["body"]; identityHeaders?: readonly string[] }

interface Call {
  readonly context: RequestContext
  readonly exchange: GuestExchange
  readonly warned: string[]
}

function call(writable: Side, allowed: Allowed = {}, input: ContextInput = {}): Call {
  const context = requestContext(writable === "response" ? { response: response("page"), ...input } : input)
  const warned: string[] = []
  const permissions = {
    sensitive_headers: [],
    set_cookies: [],
    identity: false,
    rewrite_path: false,
    rewrite_method: false,
    ...allowed,
  }
  const access: GuestAccess = {
    plugin: "probe",
    headers: new HeaderAccess("probe", permissions, allowed.identityHeaders ?? [], (name) => warned.push(name)),
    permissions,
    body: allowed.body ?? "none",
    maxBodyBytes: 1024,
    maxAnswerBytes: 2048,
  }
  return { context, exchange: new GuestExchange(access, context, writable, null), warned }
}

const onRequest = (allowed?: Allowed, input?: ContextInput) => call("request", allowed, input)
const onResponse = (allowed?: Allowed, input?: ContextInput) => call("response", allowed, input)

function refuses(code: ErrorCode, run: () => unknown): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof PluginError, String(error))
    assert.equal(error.code, code, error.message)
    assert.equal(error.plugin, "probe")
    return true
  })
}

describe("reading", () => {
  it("shows request fields as they are", () => {
    const { exchange } = onRequest({}, { method: "POST", path: "/a", query: "b=1", tenantId: "acme" })
    const { method, path, query, host, scheme, tenantId, siteId, user, status } = exchange
    assert.deepEqual(
      { method, path, query, host, scheme, tenantId, siteId, user, status },
      {
        method: "POST",
        path: "/a",
        query: "b=1",
        host: "example.com",
        scheme: "http",
        tenantId: "acme",
        siteId: null,
        user: null,
        status: 0,
      },
    )
  })

  it("finds a field in any case and joins repeats", () => {
    const { exchange } = onRequest(
      {},
      {
        headers: [
          ["Accept", "a"],
          ["ACCEPT", "b"],
        ],
      },
    )
    assert.equal(exchange.header("request", "aCCept"), "a, b")
    assert.equal(exchange.header("request", "x-none"), undefined)
    assert.equal(exchange.header("response", "accept"), undefined)
  })

  for (const name of ["Cookie", "AUTHORIZATION", "proxy-Authorization", "Set-Cookie"]) {
    it(`hides ${name} in any spelling and says so once`, () => {
      const { exchange, warned } = onRequest(
        {},
        {
          headers: [
            [name, "secret"],
            ["x", "y"],
          ],
        },
      )
      assert.equal(exchange.header("request", name.toUpperCase()), undefined)
      assert.equal(exchange.header("request", name.toLowerCase()), undefined)
      assert.deepEqual(exchange.headers("request"), [["x", "y"]])
      assert.deepEqual(warned, [name.toLowerCase()])
    })
  }

  it("shows a sensitive field that was granted", () => {
    const { exchange, warned } = onRequest({ sensitive_headers: ["cookie"] }, { headers: [["Cookie", "a=1"]] })
    assert.equal(exchange.header("request", "cookie"), "a=1")
    assert.deepEqual(exchange.headers("request"), [["cookie", "a=1"]])
    assert.deepEqual(warned, [])
  })

  it("hands out nothing of the host's objects for names such as __proto__", () => {
    const { exchange } = onRequest()
    for (const name of ["__proto__", "constructor", "toString", ""]) {
      assert.equal(exchange.header("request", name), undefined)
      assert.equal(exchange.extension(name), undefined)
    }
  })
})

describe("setting headers", () => {
  it("takes effect at commit, and the guest sees it before", () => {
    const { context, exchange } = onRequest({}, { headers: [["X-A", "1"]] })
    exchange.setHeader("request", "x-a", "2")
    exchange.appendHeader("request", "x-b", " 3\t")
    assert.equal(exchange.header("request", "x-a"), "2")
    assert.equal(context.requestHeaders.get("x-a"), "1")
    exchange.commit()
    assert.deepEqual(
      [...context.requestHeaders],
      [
        ["X-A", "2"],
        ["x-b", "3"],
      ],
    )
  })

  it("leaves no trace of a call that was not committed", () => {
    const { context, exchange } = onResponse({ body: "response" })
    exchange.setHeader("response", "x-a", "1")
    exchange.setStatus(404)
    exchange.setBody("response", Buffer.from("changed"))
    exchange.setExtension("k", "v")
    exchange.close()
    assert.deepEqual([...context.response!.headers], [])
    assert.equal(context.response!.status, 200)
    assert.equal(context.response!.body, "page")
    assert.equal(context.extensions, null)
  })

  it("refuses every change after the call has ended", () => {
    const { context, exchange } = onRequest()
    exchange.commit()
    refuses("E_PERMISSION", () => exchange.setHeader("request", "x-late", "1"))
    refuses("E_PERMISSION", () => exchange.respond(200, [], Buffer.from("late")))
    refuses("E_PERMISSION", () => exchange.setExtension("late", "1"))
    assert.equal(context.requestHeaders.has("x-late"), false)
    assert.equal(exchange.method, "GET")
  })

  const reserved = [
    "Host",
    "Content-Length",
    "content-length",
    "Transfer-Encoding",
    "TRANSFER-ENCODING",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "Forwarded",
    "X-Forwarded-For",
    "x-forwarded-proto",
    "X_Forwarded_For",
    "x-forwarded_host",
    "Content_Length",
    "X-Bext-User",
    "x_bext_ext_a",
    "HTTP2-Settings",
    "Sec-WebSocket-Accept",
    "sec_websocket_key",
  ]
  it("refuses another status and a body when a websocket is about to be opened, and takes headers", () => {
    const { exchange, context } = onResponse({ body: "response" }, { response: response(null, [], 101) })
    assert.equal(exchange.status, 101)
    refuses("E_PERMISSION", () => exchange.setStatus(403))
    refuses("E_PERMISSION", () => exchange.setStatus(101))
    refuses("E_PERMISSION", () => exchange.setBody("response", Buffer.from("no")))
    exchange.setHeader("response", "X-Seen", "1")
    exchange.commit()
    assert.deepEqual([context.response?.status, context.response?.body], [101, null])
    assert.equal(context.response?.headers.get("x-seen"), "1")
  })

  for (const name of reserved) {
    it(`refuses to set, append, remove or answer with ${name}`, () => {
      const request = onRequest().exchange
      refuses("E_HEADER_FORBIDDEN", () => request.setHeader("request", name, "1"))
      refuses("E_HEADER_FORBIDDEN", () => request.appendHeader("request", name, "1"))
      refuses("E_HEADER_FORBIDDEN", () => request.removeHeader("request", name))
      refuses("E_HEADER_FORBIDDEN", () => request.respond(200, [[name, "1"]], Buffer.from("")))
      const late = onResponse().exchange
      refuses("E_HEADER_FORBIDDEN", () => late.setHeader("response", name, "1"))
      refuses("E_HEADER_FORBIDDEN", () => late.removeHeader("response", name))
    })
  }

  it("refuses sensitive fields that were not granted, also to remove", () => {
    const { exchange } = onRequest({ sensitive_headers: ["cookie"] })
    refuses("E_HEADER_FORBIDDEN", () => exchange.setHeader("request", "Authorization", "Bearer x"))
    refuses("E_HEADER_FORBIDDEN", () => exchange.removeHeader("request", "authorization"))
    exchange.setHeader("request", "Cookie", "a=1")
    const late = onResponse().exchange
    refuses("E_HEADER_FORBIDDEN", () => late.removeHeader("response", "Set-Cookie"))
  })

  it("lets only plugins with identity set the headers that say who the user is", () => {
    const identityHeaders = ["X-User"]
    const { exchange } = onRequest({ identityHeaders })
    refuses("E_HEADER_FORBIDDEN", () => exchange.setHeader("request", "x-user", "root"))
    refuses("E_HEADER_FORBIDDEN", () => exchange.setHeader("request", "X_USER", "root"))
    onRequest({ identityHeaders, identity: true }).exchange.setHeader("request", "x-user", "ada")
    onResponse({ identityHeaders }).exchange.setHeader("response", "x-user", "shown to the client")
  })

  const badValues = ["a\r\nSet-Cookie: x=1", "a\nb", "a\rb", "a\0b", "a\u0007b", "a\u007fb", "snow\u2603", "\ud800"]
  for (const value of badValues) {
    it(`refuses the value ${JSON.stringify(value)}`, () => {
      const { exchange } = onRequest()
      refuses("E_HEADER_INVALID", () => exchange.setHeader("request", "x-a", value))
      refuses("E_HEADER_INVALID", () => exchange.appendHeader("request", "x-a", value))
      refuses("E_HEADER_INVALID", () => exchange.respond(200, [["x-a", value]], Buffer.from("")))
      refuses("E_HEADER_INVALID", () => onResponse().exchange.setHeader("response", "x-a", value))
    })
  }

  for (const name of ["", "a b", "a:b", "a\r\nb", "naïve", "a\0", "x".repeat(257), " host", "host ", "(x)"]) {
    it(`refuses the name ${JSON.stringify(name.slice(0, 20))}`, () => {
      const { exchange } = onRequest()
      refuses("E_HEADER_INVALID", () => exchange.setHeader("request", name, "1"))
      refuses("E_HEADER_INVALID", () => exchange.removeHeader("request", name))
      refuses("E_HEADER_INVALID", () => exchange.respond(200, [[name, "1"]], Buffer.from("")))
    })
  }

  it("allows Latin-1, and names that mean something in JavaScript", () => {
    const { context, exchange } = onRequest()
    exchange.setHeader("request", "__proto__", "é")
    exchange.setHeader("request", "constructor", "1")
    exchange.commit()
    assert.deepEqual(
      [...context.requestHeaders],
      [
        ["__proto__", "é"],
        ["constructor", "1"],
      ],
    )
  })

  it("refuses megabyte values, and floods of small ones", () => {
    const { exchange } = onRequest()
    refuses("E_LIMIT_MESSAGE", () => exchange.setHeader("request", "x-a", "x".repeat(1024 * 1024)))
    refuses("E_LIMIT_MESSAGE", () => {
      for (let i = 0; i < 100; i++) exchange.setHeader("request", "x-a", "x".repeat(4096))
    })
  })

  it("refuses too many fields, also from a guest that goes on after the refusal", () => {
    const { context, exchange } = onRequest()
    let refused = 0
    for (let i = 0; i < 1000; i++) {
      try {
        if (i % 2 === 0) exchange.appendHeader("request", "x", "")
        else exchange.setHeader("request", `x${i}`, "")
      } catch {
        refused++
      }
    }
    exchange.setHeader("request", "x1", "a field that is there may change")
    exchange.commit()
    assert.deepEqual([context.requestHeaders.size, refused], [256, 744])
    const pairs = Array.from({ length: 1000 }, () => ["x", ""] as const)
    refuses("E_LIMIT_MESSAGE", () => onRequest().exchange.respond(200, pairs, Buffer.from("")))
  })

  it("lets each hook change its own side only", () => {
    refuses("E_PERMISSION", () => onRequest().exchange.setHeader("response", "x", "1"))
    refuses("E_PERMISSION", () => onResponse().exchange.setHeader("request", "x", "1"))
    refuses("E_PERMISSION", () => onRequest().exchange.setStatus(200))
    refuses("E_PERMISSION", () => onResponse().exchange.respond(200, [], Buffer.from("")))
    refuses("E_PERMISSION", () => onResponse({ rewrite_path: true }).exchange.setPath("/a"))
    refuses("E_PERMISSION", () => onResponse({ identity: true }).exchange.setIdentity("user", null))
  })
})

describe("cookies", () => {
  it("may be appended when their name is listed", () => {
    const { context, exchange } = onResponse({ set_cookies: ["ab_*", "theme"] })
    exchange.appendHeader("response", "Set-Cookie", "ab_test=1; Path=/; HttpOnly")
    exchange.appendHeader("response", "set-cookie", "theme=dark")
    exchange.commit()
    assert.deepEqual(context.response!.headers.getAll("set-cookie"), ["ab_test=1; Path=/; HttpOnly", "theme=dark"])
  })

  for (const cookie of [
    "session=1",
    "AB_test=1",
    "themes=1",
    "=ab_test",
    "ab_test",
    " ab_test=1",
    "=theme=dark",
    "ab_x y=1",
    "__Host-sid=1; theme=dark",
    "ab_test ;session=1",
  ]) {
    it(`may not be ${JSON.stringify(cookie)}`, () => {
      const { exchange } = onResponse({ set_cookies: ["ab_*", "theme"] })
      refuses("E_HEADER_FORBIDDEN", () => exchange.appendHeader("response", "Set-Cookie", cookie))
      refuses("E_HEADER_FORBIDDEN", () =>
        onRequest({ set_cookies: ["ab_*", "theme"] }).exchange.respond(200, [["SET-cookie", cookie]], Buffer.from("")),
      )
    })
  }

  it("of others are not replaced or seen with set_cookies alone", () => {
    const { exchange } = onResponse(
      { set_cookies: ["*"] },
      { response: response("page", [["Set-Cookie", "session=secret"]]) },
    )
    refuses("E_HEADER_FORBIDDEN", () => exchange.setHeader("response", "set-cookie", "a=1"))
    assert.equal(exchange.header("response", "set-cookie"), undefined)
    assert.deepEqual(exchange.headers("response"), [])
  })
})

describe("rewriting the path", () => {
  it("needs the permission", () => {
    refuses("E_PERMISSION", () => onRequest().exchange.setPath("/b"))
  })

  it("takes effect at commit and keeps the old path on record", () => {
    const { context, exchange } = onRequest({ rewrite_path: true }, { path: "/old" })
    exchange.setPath("/new/é/100%/what?")
    assert.equal(exchange.path, "/new/é/100%/what?")
    assert.equal(context.path, "/old")
    exchange.commit()
    assert.equal(context.path, "/new/é/100%/what?")
    assert.deepEqual(targetsBefore(context), [{ method: "GET", path: "/old" }])
  })

  for (const path of [
    "",
    "admin",
    "http://example.com/",
    "//evil.example/",
    "/a//b",
    "/a/../admin",
    "/..",
    "/./admin",
    "/a/.",
    "/a\\..\\admin",
    "/a\0b",
    "/a\r\nHost: evil",
    "/\ud800",
    "/__bext/health",
    "/__bext",
    `/${"a".repeat(9000)}`,
  ]) {
    it(`refuses ${JSON.stringify(path.slice(0, 24))}`, () => {
      refuses("E_PATH_REWRITE", () => onRequest({ rewrite_path: true }).exchange.setPath(path))
    })
  }
})

describe("rewriting the query", () => {
  it("needs the permission", () => {
    refuses("E_PERMISSION", () => onRequest({ rewrite_method: true }).exchange.setQuery("a=1"))
    refuses("E_PERMISSION", () => onResponse({ rewrite_path: true }).exchange.setQuery("a=1"))
  })

  it("takes effect at commit", () => {
    const { context, exchange } = onRequest({ rewrite_path: true }, { query: "old=1" })
    exchange.setQuery("a=%20&b=?c/d")
    assert.deepEqual([exchange.query, context.query], ["a=%20&b=?c/d", "old=1"])
    exchange.commit()
    assert.equal(context.query, "a=%20&b=?c/d")
  })

  it("leaves the query away", () => {
    const { context, exchange } = onRequest({ rewrite_path: true }, { query: "old=1" })
    exchange.setQuery("")
    exchange.commit()
    assert.equal(context.query, "")
  })

  for (const query of [
    "a b",
    "a\r\nHost: evil",
    "a\nb",
    "a\rb",
    "a\0b",
    "a\tb",
    "a\x7fb",
    "a#b",
    "a=\x80",
    "a=é",
    "a=\u{1f600}",
    "a=\ud800",
    "a HTTP/1.1\r\n\r\nGET /admin",
    "a".repeat(8193),
  ]) {
    it(`refuses ${JSON.stringify(query.slice(0, 24))}`, () => {
      const { context, exchange } = onRequest({ rewrite_path: true }, { query: "old" })
      refuses("E_QUERY_REWRITE", () => exchange.setQuery(query))
      exchange.commit()
      assert.equal(context.query, "old")
    })
  }
})

describe("rewriting the method", () => {
  const allowed = { rewrite_method: true }

  it("needs the permission, which is another one than that of the path", () => {
    refuses("E_PERMISSION", () => onRequest({ rewrite_path: true }).exchange.setMethod("POST"))
    refuses("E_PERMISSION", () => onResponse(allowed).exchange.setMethod("POST"))
  })

  it("takes effect at commit, keeps what the client sent and what was before on record", () => {
    const { context, exchange } = onRequest(allowed, { path: "/a" })
    exchange.setMethod("DELETE")
    assert.deepEqual([exchange.method, context.method], ["DELETE", "GET"])
    exchange.commit()
    assert.deepEqual([context.method, context.clientMethod], ["DELETE", "GET"])
    assert.deepEqual(targetsBefore(context), [{ method: "GET", path: "/a" }])
  })

  for (const method of [
    "",
    "get",
    "Get",
    "CONNECT",
    "TRACE",
    "FOO",
    "GET ",
    "GET /x",
    "PO\r\nST",
    "GE\0T",
    "ĜET",
    "constructor",
  ]) {
    it(`refuses ${JSON.stringify(method)}`, () => {
      const { context, exchange } = onRequest(allowed, { method: "POST" })
      refuses("E_METHOD_REWRITE", () => exchange.setMethod(method))
      exchange.commit()
      assert.equal(context.method, "POST")
    })
  }

  it("does not leave a client without the content it asked for", () => {
    refuses("E_METHOD_REWRITE", () => onRequest(allowed).exchange.setMethod("HEAD"))
    const { context, exchange } = onRequest(allowed, { method: "HEAD" })
    exchange.setMethod("GET")
    exchange.setMethod("HEAD")
    exchange.commit()
    assert.equal(context.method, "HEAD")
    assert.equal(targetsBefore(context), undefined)
  })

  it("leaves a request that asks for a websocket as it is", () => {
    const { context, exchange } = onRequest(allowed)
    Object.assign(context, { upgrade: { protocol: "websocket", reserve() {}, connectTo() {} } })
    refuses("E_METHOD_REWRITE", () => exchange.setMethod("POST"))
    refuses("E_METHOD_REWRITE", () => exchange.setMethod("GET"))
  })

  it("drops the content of a request that becomes GET, also when the same call has set it", async () => {
    const headers = [
      ["Content-Type", "text/plain"],
      ["content-encoding", "br"],
      ["Content-Language", "de"],
      ["x-kept", "1"],
    ] as const
    const { context, exchange } = onRequest({ ...allowed, body: "request" }, { method: "POST", body: "sent", headers })
    await context.requestBody.buffer(100)
    exchange.setMethod("GET")
    exchange.setBody("request", Buffer.from("set"))
    exchange.commit()
    assert.equal(context.requestBody.bytes?.length, 0)
    assert.deepEqual([...context.requestHeaders], [["x-kept", "1"]])
  })

  it("keeps the content of a request that becomes another one with content", async () => {
    const { context, exchange } = onRequest(allowed, {
      method: "POST",
      body: "sent",
      headers: [["content-type", "a/b"]],
    })
    exchange.setMethod("PUT")
    exchange.commit()
    assert.equal((await context.requestBody.buffer(100)).toString(), "sent")
    assert.equal(context.requestHeaders.get("content-type"), "a/b")
  })
})

describe("trailers", () => {
  const TRAILERS = [
    ["X-Sum", "1"],
    ["x-end", "a"],
  ] as const
  const SEEN = [
    ["x-sum", "1"],
    ["x-end", "a"],
  ]
  const behind = () => ({
    ...response("page"),
    trailers: { announced: "x-sum", fields: HeaderList.from(TRAILERS) },
  })

  it("come with the body that the manifest declares", () => {
    refuses("E_BODY_NOT_DECLARED", () => onRequest().exchange.trailers("request"))
    refuses("E_BODY_NOT_DECLARED", () => onRequest({ body: "response" }).exchange.setTrailer("request", "x", "1"))
    refuses("E_BODY_NOT_DECLARED", () => onRequest({ body: "both" }).exchange.trailers("response"))
    refuses("E_PERMISSION", () => onResponse({ body: "both" }).exchange.setTrailer("request", "x", "1"))
    refuses("E_PERMISSION", () => onRequest({ body: "both" }).exchange.appendTrailer("response", "x", "1"))
  })

  it("are changed at commit and not before, on both sides", async () => {
    const request = onRequest({ body: "request" }, { method: "POST", body: "sent", trailers: TRAILERS })
    await request.context.requestBody.buffer(100)
    const answered = onResponse({ body: "response" }, { response: behind() })
    for (const [{ exchange, context }, side] of [
      [request, "request"],
      [answered, "response"],
    ] as const) {
      assert.deepEqual(exchange.trailers(side), SEEN)
      exchange.setTrailer(side, "X-SUM", "2")
      exchange.appendTrailer(side, "x-new", " b ")
      exchange.removeTrailer(side, "X-End")
      const own = () => (side === "request" ? context.requestBody : context.response!).trailers!
      assert.deepEqual([...own().fields], TRAILERS)
      exchange.commit()
      assert.deepEqual(
        [...own().fields],
        [
          ["X-Sum", "2"],
          ["x-new", "b"],
        ],
      )
      assert.equal(own().announced, "")
    }
  })

  it("have none of the fields that a message needs in front of its content, nor any that no plugin may set", () => {
    for (const name of [
      ..."content-length transfer-encoding trailer host te connection upgrade expect x-forwarded-for forwarded".split(
        " ",
      ),
      ..."authorization cookie set-cookie www-authenticate proxy-authorization content-type Content_Encoding".split(
        " ",
      ),
      ..."cache-control location vary age date if-match range access-control-allow-origin x-bext-user sec-x".split(" "),
    ]) {
      const sensitive_headers: Permissions["sensitive_headers"] = [
        "authorization",
        "cookie",
        "set-cookie",
        "proxy-authorization",
      ]
      const { exchange } = onResponse({ body: "response", sensitive_headers })
      refuses("E_HEADER_FORBIDDEN", () => exchange.setTrailer("response", name, "1"))
      refuses("E_HEADER_FORBIDDEN", () => exchange.appendTrailer("response", name, "1"))
      refuses("E_HEADER_FORBIDDEN", () => onRequest().exchange.respond(200, [], Buffer.from("a"), [[name, "1"]]))
    }
    refuses("E_HEADER_FORBIDDEN", () =>
      onRequest({ body: "request", identityHeaders: ["x-user"] }).exchange.setTrailer("request", "X_User", "root"),
    )
    for (const [name, value] of [
      ["a b", "1"],
      ["", "1"],
      ["a\r\nb", "1"],
      ["a", "1\r\nb: 2"],
      ["a", "\0"],
      ["a", "\u0100"],
    ] as const) {
      refuses("E_HEADER_INVALID", () => onResponse({ body: "response" }).exchange.setTrailer("response", name, value))
    }
  })

  it("are bounded in number and bytes", () => {
    const { exchange } = onResponse({ body: "response" })
    for (let i = 0; i < 256; i++) exchange.appendTrailer("response", `x-${i}`, "1")
    refuses("E_LIMIT_MESSAGE", () => exchange.appendTrailer("response", "x", "1"))
    refuses("E_LIMIT_MESSAGE", () => exchange.setTrailer("response", "x", "1"))
    exchange.setTrailer("response", "x-0", "2")
    refuses("E_LIMIT_MESSAGE", () => {
      for (let i = 0; i < 10; i++) exchange.setTrailer("response", "x-0", "a".repeat(8000))
    })
  })

  it("that say something of the bytes go with them when a plugin sets others", async () => {
    const fields = [
      ["Content-Digest", "x"],
      ["digest", "y"],
      ["etag", "z"],
      ["x-kept", "1"],
    ] as const
    const { context, exchange } = onRequest({ body: "request" }, { method: "POST", body: "sent", trailers: fields })
    await context.requestBody.buffer(100)
    exchange.setBody("request", Buffer.from("new"))
    exchange.commit()
    assert.deepEqual([...context.requestBody.trailers!.fields], [["x-kept", "1"]])
  })

  it("stand behind no request without content, nor behind one that was made GET", async () => {
    const bare = onRequest({ body: "request" }, { method: "POST" })
    await bare.context.requestBody.buffer(0)
    bare.exchange.setTrailer("request", "x", "1")
    bare.exchange.commit()
    assert.equal(bare.context.requestBody.trailers, null)
    const got = onRequest(
      { body: "request", rewrite_method: true },
      { method: "POST", body: "sent", trailers: TRAILERS },
    )
    await got.context.requestBody.buffer(100)
    got.exchange.setTrailer("request", "x", "1")
    got.exchange.setMethod("GET")
    got.exchange.commit()
    assert.equal(got.context.requestBody.trailers, null)
  })

  it("are none behind a body that is never buffered, and none can be added", () => {
    const events = () => ({ ...response(Readable.from(["data: 1"])), trailers: behind().trailers })
    const { exchange } = onResponse({ body: "response" }, { response: events() })
    assert.deepEqual(exchange.trailers("response"), [])
    refuses("E_BODY_NOT_DECLARED", () => exchange.setTrailer("response", "x", "1"))
  })

  it("stand behind a plugin's own answer", () => {
    const { context, exchange } = onRequest()
    exchange.respond(200, [], Buffer.from("a"), [["x-end", " 1 "]])
    exchange.commit()
    assert.deepEqual([...context.response!.trailers!.fields], [["x-end", "1"]])
  })

  it("make the way to a lane and back, as method and query do", async () => {
    const access = { body: "both", rewrite_path: true, rewrite_method: true } as const
    const granted: GuestAccess = {
      plugin: "probe",
      headers: new HeaderAccess("probe", { sensitive_headers: [], set_cookies: [], identity: false }, [], () => {}),
      permissions: { identity: false, rewrite_path: true, rewrite_method: true },
      body: "both",
      maxBodyBytes: 1024,
      maxAnswerBytes: 2048,
    }
    const { context, exchange } = onRequest(access, { method: "POST", body: "sent", trailers: TRAILERS })
    await context.requestBody.buffer(100)
    const inLane = new GuestExchange(granted, toContext(structuredClone(exchange.toData()), "probe"), "request", null)
    assert.deepEqual(inLane.trailers("request"), SEEN)
    inLane.setTrailer("request", "x-sum", "2")
    inLane.setMethod("PUT")
    inLane.setQuery("b=2")
    assert.throws(() => inLane.setMethod("HEAD"), { code: "E_METHOD_REWRITE" })
    assert.throws(() => inLane.setQuery("a b"), { code: "E_QUERY_REWRITE" })
    exchange.adopt(structuredClone(inLane.takeChanges()!))
    exchange.commit()
    assert.deepEqual([context.method, context.query], ["PUT", "b=2"])
    assert.deepEqual(
      [...context.requestBody.trailers!.fields],
      [
        ["X-Sum", "2"],
        ["x-end", "a"],
      ],
    )
    context.response = behind()
    const back = new GuestExchange(granted, context, "response", null)
    const answered = new GuestExchange(granted, toContext(structuredClone(back.toData()), "probe"), "response", null)
    assert.deepEqual(answered.trailers("response"), SEEN)
    assert.deepEqual([answered.method, answered.query, answered.failed], ["PUT", "b=2", false])
    answered.removeTrailer("response", "x-sum")
    back.adopt(structuredClone(answered.takeChanges()!))
    back.commit()
    assert.deepEqual([...context.response.trailers!.fields], [["x-end", "a"]])
    const another = onRequest(access)
    const lane = new GuestExchange(granted, toContext(another.exchange.toData(), "probe"), "request", null)
    lane.respond(200, [], Buffer.from("a"), [["x-end", "1"]])
    another.exchange.adopt(structuredClone(lane.takeChanges()!))
    another.exchange.commit()
    assert.deepEqual([...another.context.response!.trailers!.fields], [["x-end", "1"]])
  })
})

describe("identity", () => {
  it("needs the permission", () => {
    const { exchange } = onRequest()
    refuses("E_PERMISSION", () => exchange.setIdentity("user", { id: "root" }))
    refuses("E_PERMISSION", () => exchange.setIdentity("tenantId", "acme"))
  })

  it("is set at commit", () => {
    const { context, exchange } = onRequest({ identity: true }, { tenantId: "old" })
    exchange.setIdentity("user", { id: "ada", claims: { role: "admin" } })
    exchange.setIdentity("tenantId", null)
    exchange.setIdentity("siteId", "shop")
    assert.deepEqual([exchange.user, exchange.tenantId], [{ id: "ada", claims: { role: "admin" } }, null])
    assert.deepEqual([context.user, context.tenantId], [null, "old"])
    exchange.commit()
    assert.deepEqual(
      [context.user, context.tenantId, context.siteId],
      [{ id: "ada", claims: { role: "admin" } }, null, "shop"],
    )
  })

  const bad: [string, "user" | "tenantId" | "siteId", Json][] = [
    ["a user that is text", "user", "root"],
    ["a user without id", "user", { claims: {} }],
    ["a user with a control character", "user", { id: "a\nb" }],
    ["claims that are a list", "user", { id: "a", claims: [] }],
    ["claims of over 100 levels", "user", { id: "a", claims: { a: JSON.parse("[".repeat(100) + "]".repeat(100)) } }],
    ["a tenant that is a number", "tenantId", 1],
    ["a tenant that is a path", "tenantId", "../other"],
    ["an endless tenant", "tenantId", "x".repeat(65)],
    ["a site that is empty", "siteId", ""],
  ]
  for (const [what, field, value] of bad) {
    it(`is not ${what}`, () => {
      refuses("E_GUEST_RESULT_INVALID", () => onRequest({ identity: true }).exchange.setIdentity(field, value))
    })
  }
})

describe("extensions", () => {
  it("carry the plugin's name, whatever the key says", () => {
    const { context, exchange } = onRequest()
    exchange.setExtension("a", "1")
    exchange.setExtension("other.a", "2")
    exchange.setExtension("__proto__", "3")
    assert.equal(exchange.extension("probe.a"), "1")
    assert.equal(context.extensions, null)
    exchange.commit()
    assert.deepEqual(
      [...context.extensions!],
      [
        ["probe.a", "1"],
        ["probe.other.a", "2"],
        ["probe.__proto__", "3"],
      ],
    )
  })

  it("of other plugins can be read but not replaced", () => {
    const { context, exchange } = onRequest()
    context.extensions = new Map([["geo.country", "SE"]])
    exchange.setExtension("geo.country", "XX")
    exchange.commit()
    assert.equal(exchange.extension("geo.country"), "SE")
    assert.equal(context.extensions.get("geo.country"), "SE")
  })

  it("are bounded in number and size, over all calls of one request", () => {
    const { context, exchange } = onRequest()
    for (let i = 0; i < 20; i++) exchange.setExtension(`a${i}`, "")
    exchange.commit()
    const again = new GuestExchange(
      {
        plugin: "probe",
        headers: new HeaderAccess("probe", { sensitive_headers: [], set_cookies: [], identity: false }, [], () => {}),
        permissions: { identity: false, rewrite_path: false, rewrite_method: false },
        body: "none",
        maxBodyBytes: 0,
        maxAnswerBytes: 0,
      },
      context,
      "request",
      null,
    )
    for (let i = 0; i < 12; i++) again.setExtension(`b${i}`, "")
    again.setExtension("a1", "a key that is there may change")
    refuses("E_LIMIT_MESSAGE", () => again.setExtension("c", ""))
    refuses("E_LIMIT_MESSAGE", () => again.setExtension("a1", "x".repeat(8193)))
    refuses("E_LIMIT_MESSAGE", () => again.setExtension("a1", "é".repeat(5000)))
    for (const key of ["", "a b", "a\r\nb", "x".repeat(65)]) {
      refuses("E_GUEST_RESULT_INVALID", () => again.setExtension(key, ""))
    }
  })
})

describe("bodies", () => {
  it("are not shown unless declared", () => {
    refuses("E_BODY_NOT_DECLARED", () => onRequest().exchange.body("request"))
    refuses("E_BODY_NOT_DECLARED", () => onRequest({ body: "response" }).exchange.body("request"))
    refuses("E_BODY_NOT_DECLARED", () => onRequest({ body: "both" }).exchange.body("response"))
    refuses("E_BODY_NOT_DECLARED", () => onResponse({ body: "request" }).exchange.body("response"))
    refuses("E_BODY_NOT_DECLARED", () => onRequest().exchange.setBody("request", Buffer.from("x")))
  })

  it("of requests are shown once buffered, empty when there is none", async () => {
    assert.equal(onRequest({ body: "request" }).exchange.body("request").length, 0)
    const { context, exchange } = onRequest({ body: "request" }, { body: "sent" })
    refuses("E_BODY_NOT_DECLARED", () => exchange.body("request"))
    await context.requestBody.buffer(100)
    assert.equal(Buffer.from(exchange.body("request")).toString(), "sent")
  })

  it("of requests can be replaced", async () => {
    const { context, exchange } = onRequest({ body: "request" }, { body: "sent", headers: [["Digest", "x"]] })
    await context.requestBody.buffer(100)
    exchange.setBody("request", Buffer.from("new"))
    assert.equal(Buffer.from(exchange.body("request")).toString(), "new")
    assert.equal(Buffer.from(context.requestBody.bytes!).toString(), "sent")
    exchange.commit()
    assert.equal(Buffer.from(context.requestBody.bytes!).toString(), "new")
    assert.equal(context.requestHeaders.has("digest"), false)
  })

  it("of responses drop what described the old bytes, and keep what the plugin says of the new", async () => {
    const headers = [
      ["ETag", '"1"'],
      ["Digest", "x"],
      ["Content-Encoding", "gzip"],
      ["Accept-Ranges", "bytes"],
      ["Content-Length", "4"],
      ["Content-Type", "text/html"],
    ] as const
    const { context, exchange } = onResponse({ body: "response" }, { response: response("page", headers) })
    exchange.setBody("response", Buffer.from("new"))
    exchange.setHeader("response", "etag", '"2"')
    exchange.commit()
    assert.equal(await textOf(context.response!.body), "new")
    assert.deepEqual(
      [...context.response!.headers],
      [
        ["Content-Type", "text/html"],
        ["etag", '"2"'],
      ],
    )
  })

  it("of HEAD stay absent; the length, which GET would have changed, is gone", () => {
    const input = { method: "HEAD", response: response(null, [["Content-Length", "4"]]) }
    const { context, exchange } = onResponse({ body: "response" }, input)
    exchange.setBody("response", Buffer.from(`${exchange.body("response")} and a footer`))
    exchange.commit()
    assert.equal(context.response!.body, null)
    assert.deepEqual([...context.response!.headers], [])
  })

  it("are not replaced unseen: an event stream stays what it is", () => {
    const { exchange } = onResponse({ body: "response" }, { response: response(Readable.from(["data: 1\n\n"])) })
    refuses("E_BODY_NOT_DECLARED", () => exchange.body("response"))
    refuses("E_BODY_NOT_DECLARED", () => exchange.setBody("response", Buffer.from("x")))
  })

  it("that a plugin writes are bounded", () => {
    const large = Buffer.alloc(2049)
    refuses("E_LIMIT_MESSAGE", () => onResponse({ body: "response" }).exchange.setBody("response", large))
    refuses("E_LIMIT_MESSAGE", () => onRequest().exchange.respond(200, [], large))
  })
})

describe("answers", () => {
  it("become the response at commit", async () => {
    const { context, exchange } = onRequest()
    exchange.respond(418, [["X-Pot", "tea"]], Buffer.from("short"))
    assert.equal(context.response, null)
    exchange.commit()
    assert.equal(context.response!.status, 418)
    assert.deepEqual([...context.response!.headers], [["X-Pot", "tea"]])
    assert.equal(await textOf(context.response!.body), "short")
  })

  for (const status of [0, 99, 100, 101, 199, 600, 1000, -200, 200.5, Number.NaN, Number.POSITIVE_INFINITY, "200"]) {
    it(`may not have the status ${status}`, () => {
      refuses("E_STATUS_INVALID", () => onRequest().exchange.respond(status as number, [], Buffer.from("")))
      refuses("E_STATUS_INVALID", () => onResponse().exchange.setStatus(status as number))
    })
  }

  it("without content have no body", () => {
    const { context, exchange } = onRequest()
    exchange.respond(204, [], Buffer.from("ignored"))
    exchange.commit()
    assert.equal(context.response!.body, null)
    const stream = Readable.from(["page"])
    const late = onResponse({}, { response: response(stream) })
    late.exchange.setStatus(304)
    late.exchange.commit()
    assert.equal(late.context.response!.body, null)
    assert.equal(stream.destroyed, true)
    const empty = onResponse({ body: "response" }, { response: response(null, [], 204) })
    empty.exchange.setBody("response", Buffer.from("ignored"))
    empty.exchange.commit()
    assert.equal(empty.context.response!.body, null)
  })
})

describe("the slot of a plugin's tier", () => {
  const later = ({ context }: Call): RequestContext => {
    context.response = response("page")
    return context
  }
  const accessOf = (plugin: string): GuestAccess => ({
    plugin,
    headers: new HeaderAccess(plugin, { sensitive_headers: [], set_cookies: [], identity: false }, [], () => {}),
    permissions: { identity: false, rewrite_path: false, rewrite_method: false },
    body: "none",
    maxBodyBytes: 1024,
    maxAnswerBytes: 2048,
  })
  const as = (plugin: string, context: RequestContext) => new GuestExchange(accessOf(plugin), context, "response", null)

  it("is there in on_response of the same request, for the same plugin only", () => {
    const first = onRequest()
    assert.equal(first.exchange.slot, null)
    first.exchange.slot = "7"
    assert.equal(first.exchange.slot, "7")
    first.exchange.commit()
    const context = later(first)
    assert.equal(as("probe", context).slot, "7")
    assert.equal(as("other", context).slot, null)
    assert.equal(as("other", context).extension("probe.slot"), undefined)
  })

  it("is empty when the call failed", () => {
    const first = onRequest()
    first.exchange.slot = "7"
    first.exchange.close()
    assert.equal(as("probe", later(first)).slot, null)
  })

  it("comes back from a lane and goes into one", () => {
    const first = onRequest()
    const lane = new GuestExchange(accessOf("probe"), toContext(first.exchange.toData(), "probe"), "request", null)
    lane.slot = "7"
    first.exchange.adopt(lane.takeChanges()!)
    first.exchange.commit()
    const second = as("probe", later(first))
    const copy = new GuestExchange(accessOf("probe"), toContext(second.toData(), "probe"), "response", null)
    assert.equal(copy.slot, "7")
  })
})
