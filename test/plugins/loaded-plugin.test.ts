import assert from "node:assert/strict"
import { PassThrough, Readable } from "node:stream"
import { describe, it } from "node:test"
import { gzipSync } from "node:zlib"
import { loadProject, middleware, type ProjectOptions } from "./plugin-project.ts"
import { requestContext, response, textOf } from "./request-context.ts"

type Test = Parameters<typeof loadProject>[0]

/** A project with the plugin "probe". */
function probe(t: Test, source: string, config = "[plugins.probe]", manifest = "", options: ProjectOptions = {}) {
  return loadProject(t, { ...middleware("probe", source, manifest), "bext.config.toml": config }, options)
}

describe("a plugin in the stack", () => {
  it("goes on, changes the request and the response, and answers", async (t) => {
    const { request, plugin } = await probe(
      t,
      `export function onRequest(ctx) {
        ctx.request.setHeader("x-in", ctx.method)
        if (ctx.path === "/answer") return { action: "respond", status: 201, headers: [["x-own", "1"]], body: "mine" }
      }
      export function onResponse(ctx) {
        ctx.response.setHeader("x-out", ctx.headers.get("x-in"))
        ctx.response.setStatus(203)
      }`,
    )
    const passed = await request({ path: "/" })
    assert.equal(passed.requestHeaders.get("x-in"), "GET")
    assert.equal(passed.response.status, 203)
    assert.equal(passed.response.headers.get("x-out"), "GET")
    assert.equal(await textOf(passed.response.body), "page")
    const answered = await request({ path: "/answer" })
    assert.equal(answered.response.status, 203)
    assert.deepEqual(
      [...answered.response.headers],
      [
        ["x-own", "1"],
        ["content-type", "text/plain;charset=UTF-8"],
        ["x-out", "GET"],
      ],
    )
    assert.equal(await textOf(answered.response.body), "mine")
    const { hooks } = plugin("probe").stats.snapshot()
    assert.deepEqual([hooks.on_request!.calls, hooks.on_response!.calls], [2, 2])
    assert.equal(
      hooks.on_request!.latency.reduce((sum, { count }) => sum + count, 0),
      2,
    )
  })

  it("returns no promise when the guest waited for nothing", async (t) => {
    const { plugin } = await probe(t, "export function onRequest(ctx) { ctx.headers.get('a') }")
    assert.equal(plugin("probe").onRequest!(requestContext()), undefined)
    assert.equal(plugin("probe").onResponse, undefined)
  })

  it("does not make an abort signal for a call that does not wait", async (t) => {
    const { plugin } = await probe(t, "export function onRequest() {}")
    const context = requestContext()
    let made = false
    Object.defineProperty(context, "signal", {
      get() {
        made = true
        return new AbortController().signal
      },
    })
    plugin("probe").onRequest!(context)
    assert.equal(made, false)
  })

  it("may be asynchronous", async (t) => {
    const { request } = await probe(
      t,
      `export async function onRequest(ctx) {
        await new Promise((done) => setTimeout(done, 5))
        ctx.request.setHeader("x-late", "1")
      }`,
    )
    assert.equal((await request()).requestHeaders.get("x-late"), "1")
  })

  it("keeps requests that wait at the same time apart", async (t) => {
    const { request } = await probe(
      t,
      `export async function onRequest(ctx) {
        await new Promise((done) => setTimeout(done, 3))
        ctx.request.setHeader("x-path", ctx.path)
      }`,
    )
    const paths = Array.from({ length: 20 }, (_, i) => `/${i}`)
    const contexts = await Promise.all(paths.map((path) => request({ path })))
    assert.deepEqual(
      contexts.map((context) => context.requestHeaders.get("x-path")),
      paths,
    )
  })

  it("is called for the requests its match names only, in both directions", async (t) => {
    const { request, plugin } = await probe(
      t,
      'export function onRequest() {}\nexport function onResponse(ctx) { ctx.response.setHeader("x-out", "1") }',
      '[plugins.probe]\nmatch = [{ path = "/app/**", methods = ["GET"] }]',
    )
    assert.equal((await request({ path: "/app/x" })).response.headers.has("x-out"), true)
    assert.equal((await request({ path: "/app/x", method: "POST" })).response.headers.has("x-out"), false)
    assert.equal((await request({ path: "/apple" })).response.headers.has("x-out"), false)
    assert.equal(plugin("probe").stats.snapshot().hooks.on_request!.calls, 1)
  })

  it("sees the response of a request that it saw before another plugin rewrote the path", async (t) => {
    const { request } = await loadProject(t, {
      ...middleware("mark", 'export function onResponse(ctx) { ctx.response.setHeader("x-mark", ctx.path) }'),
      ...middleware(
        "move",
        'export function onRequest(ctx) { if (ctx.path === "/app/old") ctx.request.setPath("/new") }',
        "[permissions]\nrewrite_path = true",
      ),
      "bext.config.toml": `
        [plugins.mark]
        match = [{ path = "/app/**" }]
        [plugins.move]
        grant = { rewrite_path = true }`,
    })
    const moved = await request({ path: "/app/old" })
    assert.equal(moved.path, "/new")
    assert.equal(moved.response.headers.get("x-mark"), "/new")
    assert.equal((await request({ path: "/new" })).response.headers.get("x-mark"), undefined)
  })

  it("guards the path that a plugin before it rewrote to", async (t) => {
    const { request } = await loadProject(t, {
      ...middleware(
        "move",
        'export function onRequest(ctx) { ctx.request.setPath("/admin") }',
        "[permissions]\nrewrite_path = true",
      ),
      ...middleware("guard", 'export function onRequest() { return new Response("no", { status: 403 }) }'),
      "bext.config.toml": `
        [plugins.move]
        grant = { rewrite_path = true }
        [plugins.guard]
        priority = 650
        match = [{ path = "/admin/**" }]`,
    })
    assert.equal((await request({ path: "/harmless" })).response.status, 403)
  })

  it("hands extensions to the plugins after it", async (t) => {
    const { request } = await loadProject(t, {
      ...middleware("first", 'export function onRequest(ctx) { ctx.extensions.set("k", "v") }'),
      ...middleware("second", 'export function onRequest(ctx) { return new Response(ctx.extensions.get("first.k")) }'),
      "bext.config.toml": "[plugins.second]\npriority = 700\n[plugins.first]",
    })
    assert.equal(await textOf((await request()).response.body), "v")
  })
})

describe("a failing call", () => {
  const failing: readonly [what: string, source: string, status: number, code: string][] = [
    ["throws an Error", 'throw new Error("boom")', 502, "E_GUEST_THREW"],
    ["throws a string", 'throw "boom"', 502, "E_GUEST_THREW"],
    ["throws undefined", "throw undefined", 502, "E_GUEST_THREW"],
    [
      "throws an object that throws",
      "throw { get message() { throw 1 }, toString() { throw 2 } }",
      502,
      "E_GUEST_THREW",
    ],
    ["rejects", 'return Promise.reject(new Error("boom"))', 502, "E_GUEST_THREW"],
    [
      "fails late",
      'return new Promise((_, fail) => setTimeout(() => fail(new Error("late")), 2))',
      502,
      "E_GUEST_THREW",
    ],
    ["never ends", "for (;;) {}", 504, "E_LIMIT_CPU"],
    ["never resolves", "return new Promise(() => {})", 504, "E_LIMIT_TIME"],
    ["answers with a number", "return 7", 502, "E_GUEST_RESULT_INVALID"],
    ["answers with an unknown action", 'return { action: "explode" }', 502, "E_GUEST_RESULT_INVALID"],
    ["answers through a getter that throws", 'return { get action() { throw new Error("x") } }', 502, "E_GUEST_THREW"],
    ["answers with an impossible status", 'return { action: "respond", status: 999 }', 502, "E_STATUS_INVALID"],
    ["answers with 101", 'return { action: "respond", status: 101 }', 502, "E_STATUS_INVALID"],
    ["answers with NaN for a status", 'return { action: "respond", status: NaN }', 502, ""],
    ["answers with an object for a body", 'return { action: "respond", body: { a: 1 } }', 502, ""],
    ["answers with two megabytes", 'return { action: "respond", body: "x".repeat(2 << 20) }', 502, "E_LIMIT_MESSAGE"],
    [
      "answers with a thousand headers",
      'return { action: "respond", headers: Array.from({ length: 1000 }, () => ["a", "b"]) }',
      502,
      "",
    ],
    [
      "spins in a getter of its answer",
      'return { action: "respond", get headers() { for (;;) {} } }',
      504,
      "E_LIMIT_CPU",
    ],
    ["sets an extension without a proper key", 'ctx.extensions.set("a b", "x")', 502, "E_GUEST_RESULT_INVALID"],
    ["splits a header", 'return new Response("", { headers: [["x", "a\\r\\nSet-Cookie: b=1"]] })', 502, ""],
    [
      "splits a header by hand",
      'return { action: "respond", headers: [["x", "a\\r\\nb: c"]] }',
      502,
      "E_HEADER_INVALID",
    ],
    [
      "answers with Transfer-Encoding",
      'return { action: "respond", headers: { "tRANSFER-encoding": "chunked" } }',
      502,
      "E_HEADER_FORBIDDEN",
    ],
    ["sets X-Forwarded-For", 'ctx.request.setHeader("x-FORWARDED-for", "127.0.0.1")', 502, "E_HEADER_FORBIDDEN"],
    ["sets a megabyte", 'ctx.request.setHeader("x", "y".repeat(1 << 20))', 502, "E_LIMIT_MESSAGE"],
    ["moves without permission", 'ctx.request.setPath("/admin")', 502, "E_PERMISSION"],
    ["poses as a user", 'ctx.setIdentity({ user: { id: "root", claims: {} } })', 502, "E_PERMISSION"],
    ["reads a body it did not declare", "ctx.body.text()", 502, "E_BODY_NOT_DECLARED"],
  ]
  for (const [what, body, status, code] of failing) {
    it(`that ${what} answers ${status}, changes nothing, and the next call works`, async (t) => {
      const { request, lines } = await probe(
        t,
        `export function onRequest(ctx) {
          if (ctx.path !== "/fail") return
          ctx.request.setHeader("x-trace", "left behind")
          ctx.extensions.set("left", "behind")
          ${body}
        }`,
        "[plugins.probe.limits]\nmax_time_ms = 300\nmax_cpu_ms = 50",
      )
      const failed = await request({ path: "/fail" })
      assert.equal(failed.response.status, status)
      if (code !== "") assert.equal(failed.response.body, code)
      assert.equal(failed.requestHeaders.has("x-trace"), false)
      assert.equal(failed.extensions, null)
      const logged = lines.filter((line) => line.level === "error")
      assert.equal(logged.length, 1)
      assert.deepEqual(
        [logged[0]!.plugin, logged[0]!.hook, logged[0]!.request_id],
        ["probe", "on_request", failed.requestId],
      )
      assert.equal((await request({ path: "/fine" })).response.status, 200)
    })
  }

  it("with on_error = open goes on untouched, counted and logged with the guest's place", async (t) => {
    const { request, plugin, lines } = await probe(
      t,
      'export function onRequest(ctx) {\n  ctx.request.setHeader("x", "1")\n  throw new Error("boom")\n}',
      '[plugins.probe]\non_error = "open"',
    )
    for (let i = 0; i < 3; i++) {
      const context = await request()
      assert.equal(context.response.status, 200)
      assert.equal(context.requestHeaders.has("x"), false)
    }
    const { hooks, lastError } = plugin("probe").stats.snapshot()
    assert.deepEqual(hooks.on_request!.failures, { E_GUEST_THREW: 3 })
    assert.match(lastError!.stack!, /index\.js:3/)
    const errors = lines.filter((line) => line.level === "error")
    assert.equal(errors.length, 1)
    assert.match(String(errors[0]!.stack), /index\.js:3/)
  })

  it("in on_response leaves the response as it was when open, and replaces it when closed", async (t) => {
    const source = 'export function onResponse(ctx) { ctx.response.setHeader("x", "1"); throw new Error("boom") }'
    const open = await probe(t, source, '[plugins.probe]\non_error = "open"')
    const untouched = (await open.request()).response
    assert.deepEqual([untouched.status, untouched.headers.size, await textOf(untouched.body)], [200, 0, "page"])
    const closed = await probe(t, source)
    assert.deepEqual([(await closed.request()).response.status], [502])
  })

  it("that the client ended by going away is nobody's failure", async (t) => {
    const { plugin, lines } = await probe(t, "export function onRequest() { return new Promise(() => {}) }")
    const client = new AbortController()
    const waiting = plugin("probe").onRequest!(requestContext({ signal: client.signal }))
    client.abort()
    await assert.rejects(async () => waiting)
    assert.deepEqual(plugin("probe").stats.snapshot().hooks.on_request!.failures, {})
    assert.deepEqual(
      lines.filter((line) => line.level === "error"),
      [],
    )
  })

  it("cannot change the request after it has settled", async (t) => {
    const { request, lines } = await probe(
      t,
      `export function onRequest(ctx) {
        ctx.waitUntil(new Promise((done) => setTimeout(done, 5)).then(() => {
          try { ctx.request.setHeader("x-late", "1") } catch (error) { console.error("refused " + error.code) }
        }))
      }`,
    )
    const context = await request()
    await until(() => lines.some((line) => line.msg.includes("refused")))
    assert.equal(context.requestHeaders.has("x-late"), false)
    assert.ok(lines.some((line) => line.msg.includes("refused E_PERMISSION")))
  })
})

describe("hidden headers", () => {
  it("are absent for the guest, and the log says once which line shows them", async (t) => {
    const { request, lines } = await probe(
      t,
      `export function onRequest(ctx) {
        const seen = [...ctx.headers].map(([name]) => name).join()
        return new Response(String(ctx.headers.get("Cookie")) + ctx.headers.has("cookie") + seen)
      }`,
    )
    for (let i = 0; i < 3; i++) {
      const context = await request({
        headers: [
          ["Cookie", "a=1"],
          ["X", "y"],
        ],
      })
      assert.equal(await textOf(context.response.body), "nullfalsex")
    }
    const warnings = lines.filter((line) => line.level === "warn")
    assert.equal(warnings.length, 1)
    assert.match(warnings[0]!.msg, /sensitive_headers = \["cookie"\]/)
  })
})

describe("request bodies", () => {
  const echo = 'export function onRequest(ctx) { return new Response("saw " + ctx.body.text()) }'

  it("are read for a plugin that declares them, and are still there", async (t) => {
    const { request } = await probe(t, echo, undefined, '[sandbox]\nbody = "request"')
    const context = await request({ method: "POST", body: "hello" })
    assert.equal(await textOf(context.response.body), "saw hello")
    assert.equal(await textOf(context.requestBody.stream()), "hello")
    assert.equal(await textOf((await request()).response.body), "saw ")
  })

  it("are not read for a request the plugin is not for", async (t) => {
    const config = '[plugins.probe]\nmatch = [{ path = "/in/**" }]'
    const { request } = await probe(t, echo, config, '[sandbox]\nbody = "request"')
    const context = await request({ path: "/out", method: "POST", body: "hello" })
    assert.equal(context.requestBody.bytes, undefined)
  })

  it("over max_body are refused with 413, whatever on_error says, also when another plugin buffered them", async (t) => {
    const config = '[plugins.probe]\non_error = "open"'
    const { request, plugin } = await probe(t, echo, config, '[sandbox]\nbody = "request"\nmax_body = "1kb"')
    const context = await request({ method: "POST", body: "x".repeat(1025) })
    assert.deepEqual([context.response.status, context.response.body], [413, "E_BODY_TOO_LARGE"])
    const buffered = requestContext({ body: "x".repeat(1025) })
    await buffered.requestBody.buffer(10_000)
    assert.throws(() => plugin("probe").onRequest!(buffered), { code: "E_BODY_TOO_LARGE" })
  })

  it("over max_body skip the plugin when it says so", async (t) => {
    const manifest = '[sandbox]\nbody = "request"\nmax_body = "1kb"\non_large_body = "skip"'
    const { request, plugin } = await probe(t, echo, undefined, manifest)
    const context = await request({ method: "POST", body: "x".repeat(1025) })
    assert.equal(await textOf(context.response.body), "page")
    assert.equal(plugin("probe").stats.skippedBodies, 1)
  })

  it("that say how long they are are not read in vain", async (t) => {
    const manifest = '[sandbox]\nbody = "request"\nmax_body = "1kb"\non_large_body = "skip"'
    const { request, plugin } = await probe(t, echo, undefined, manifest)
    const context = await request({ method: "POST", body: "x".repeat(1025), headers: [["Content-Length", "1025"]] })
    assert.equal(context.requestBody.bytes, undefined)
    assert.equal(plugin("probe").stats.skippedBodies, 1)
  })

  it("are capped by the operator's ceiling", async (t) => {
    const config = '[plugins.probe]\n[sandbox.ceilings]\nmax_body = "1kb"'
    const { request } = await probe(t, echo, config, '[sandbox]\nbody = "request"\nmax_body = "1mb"')
    assert.equal((await request({ method: "POST", body: "x".repeat(1025) })).response.status, 413)
  })
})

describe("response bodies", () => {
  const shout = "export function onResponse(ctx) { ctx.response.setBody(ctx.response.body.text().toUpperCase()) }"
  const reads = '[sandbox]\nbody = "response"\nmax_body = "1kb"'

  it("are buffered, decoded and replaced", async (t) => {
    const headers = [
      ["ETag", '"1"'],
      ["Content-Encoding", "gzip"],
    ] as const
    const app = () => response(Readable.from([gzipSync("page")]), headers)
    const { request, bodies } = await probe(t, shout, undefined, reads, { app })
    const { response: out } = await request()
    assert.equal(await textOf(out.body), "PAGE")
    assert.equal(out.headers.size, 0)
    assert.equal(bodies.usedBytes, 0)
  })

  it("that are text or bytes already need no waiting", async (t) => {
    const { plugin } = await probe(t, shout, undefined, reads)
    for (const body of ["page", Buffer.from("page")]) {
      const context = requestContext({ response: response(body) })
      assert.equal(plugin("probe").onResponse!(context), undefined)
      assert.equal(await textOf(context.response!.body), "PAGE")
    }
  })

  it("over max_body fail the call by default, by on_error", async (t) => {
    const app = () => response(Readable.from(["x".repeat(600), "y".repeat(600)]))
    const closed = await probe(t, shout, undefined, reads, { app })
    const failed = (await closed.request()).response
    assert.deepEqual([failed.status, failed.body], [502, "E_RESPONSE_BODY"])
    const open = await probe(t, shout, '[plugins.probe]\non_error = "open"', reads, { app })
    assert.equal(await textOf((await open.request()).response.body), "x".repeat(600) + "y".repeat(600))
  })

  it("over max_body are passed on in full when the plugin says skip", async (t) => {
    const chunks = ["x".repeat(600), "y".repeat(600), "z".repeat(600)]
    const app = () => response(Readable.from(chunks))
    const { request, plugin } = await probe(t, shout, undefined, `${reads}\non_large_body = "skip"`, { app })
    assert.equal(await textOf((await request()).response.body), chunks.join(""))
    assert.equal(plugin("probe").stats.skippedBodies, 1)
  })

  it("that are event streams are never held back; the plugin still sets headers", async (t) => {
    const app = () => response(new PassThrough(), [["Content-Type", "text/event-stream"]])
    const { request } = await probe(
      t,
      `export function onResponse(ctx) {
        ctx.response.setHeader("x-seen", "1")
        try { ctx.response.body.text() } catch (error) { ctx.response.setHeader("x-code", error.code) }
      }`,
      undefined,
      reads,
      { app },
    )
    const { response: out } = await request()
    assert.ok(out.body instanceof PassThrough)
    assert.deepEqual([out.headers.get("x-seen"), out.headers.get("x-code")], ["1", "E_BODY_NOT_DECLARED"])
    out.body.destroy()
  })
})

/** Polls; the test's own time limit bounds it. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((turn) => setTimeout(turn, 5))
}
