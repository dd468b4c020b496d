import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { createServer, type ServerResponse } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { describe, it, type TestContext } from "node:test"
import { ENV, plugin, type Site, serveSite, until } from "../snapshot/site.ts"
import { createProject, serveInChild } from "../support/serve.ts"
import { wasmPlugin, watPlugin } from "../support/wat-plugin.ts"
import { closeOf, open, startEcho } from "../support/websockets.ts"
import { type Collector, type ReceivedSpan, startCollector } from "./otlp-collector.ts"

const CALLER_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
const CALLER_SPAN = "00f067aa0ba902b7"
const SAMPLED = `00-${CALLER_TRACE}-${CALLER_SPAN}-01`
const NOT_SAMPLED = `00-${CALLER_TRACE}-${CALLER_SPAN}-00`

const TRUSTING = 'trusted_proxies = ["127.0.0.1"]'

/** What `[middleware.tracing.otlp]` says. */
const otlp = ({ url }: { url: string }, more = "") => `[middleware.tracing.otlp]\nendpoint = "${url}"\n${more}\n`

/** An app that answers with the headers it saw, and behaves badly when asked to. @param silent - Called for /silent. */
async function startApp(t: TestContext, silent = (_: ServerResponse) => {}): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    if (incoming.url === "/break") incoming.socket.destroy()
    else if (incoming.url === "/endless") outgoing.write("begun")
    else if (incoming.url === "/silent") silent(outgoing)
    else if (incoming.url === "/teapot") outgoing.writeHead(418).end()
    else outgoing.end(JSON.stringify(incoming.headers))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const root = (spans: readonly ReceivedSpan[]) => spans.find(({ kind }) => kind === "SERVER")!
const named = (spans: readonly ReceivedSpan[], name: string) => spans.find((span) => span.name === name)!
const idsOf = (traceparent: string | undefined) => traceparent!.split("-").slice(1, 3)

function metric(site: Site, name: string): number {
  const [value] = site.server.metrics().find((family) => family.name === name)!.values
  return value!.value
}

describe("the spans of a request", () => {
  it("have one of the server with what HTTP says, and no query, header or cookie", async () => {
    await using collector = await startCollector()
    await using site = await serveSite(otlp(collector))
    const headers = { cookie: "session=crumbly", "x-secret": "hush", host: "shop.example:8080" }
    const { status, headers: answered } = await site.get("/sp%C3%A4t?token=querulous", headers)
    assert.equal(status, 404)
    const [span, ...others] = await collector.trace("/spät")
    assert.deepEqual(others, [])
    assert.deepEqual(span!.attributes, {
      "http.request.method": "GET",
      "url.path": "/spät",
      "url.scheme": "http",
      "server.address": "shop.example",
      "server.port": 8080,
      "client.address": "127.0.0.1",
      "http.response.status_code": 404,
      "bext.error_code": "E_NOT_FOUND",
      "bext.request_id": answered["x-request-id"],
    })
    assert.deepEqual([span!.name, span!.parentSpanId, span!.failed], ["GET", "", false])
    assert(span!.endNs > span!.startNs)
    const sinceMs = Date.now() - Number(span!.startNs / 1_000_000n)
    assert(sinceMs >= 0 && sinceMs < 60_000, `begun ${sinceMs} ms ago`)
    assert.doesNotMatch(JSON.stringify(collector.spans, toJson), /crumbly|hush|querulous/)
    assert.deepEqual([span!.resource["service.name"], span!.resource["process.pid"]], ["bext", process.pid])
  })

  it("have one below it for each hook call, with the fuel that the metrics have", async () => {
    await using collector = await startCollector()
    const files = {
      ...wasmPlugin("burn", watPlugin({ more: COMPLETE }), '"middleware", "lifecycle"'),
      ...plugin("js", "export async function onRequest(ctx) { await null }\nexport function onResponse() {}"),
    }
    await using site = await serveSite(`${otlp(collector)}[plugins.burn]\npriority = 700\n[plugins.js]\n`, files)
    assert.equal((await site.get("/burnt?b")).text, "hello from wasm")
    await collector.until((spans) => named(spans, "burn on_request_complete") !== undefined)
    const spans = await collector.trace("/burnt")
    const { hooks } = site.server.status().plugins[0]!.stats
    for (const hook of ["on_request", "on_request_complete"] as const) {
      const { kind, parentSpanId, attributes, failed } = named(spans, `burn ${hook}`)
      assert.deepEqual([kind, parentSpanId, failed], ["INTERNAL", root(spans).spanId, false])
      const { fuel } = hooks[hook]!
      assert(fuel > 0)
      assert.deepEqual(attributes, { "bext.plugin": "burn", "bext.hook": hook, "bext.tier": "wasm", "bext.fuel": fuel })
    }
    assert(hooks.on_request!.fuel > 100_000)
    const first = named(spans, "js on_request")
    assert.deepEqual(first.attributes, { "bext.plugin": "js", "bext.hook": "on_request", "bext.tier": "quickjs" })
    assert.equal(named(spans, "js on_response").parentSpanId, root(spans).spanId)
    assert(first.startNs >= root(spans).startNs && first.endNs <= root(spans).endNs)
    assert.equal(spans.length, 5)
  })

  it("say why a hook failed by code alone, never in the words of the guest", async () => {
    await using collector = await startCollector()
    const files = {
      ...plugin("angry", 'export function onRequest() { throw new Error("guest words") }'),
      ...wasmPlugin("trap", watPlugin()),
      ...plugin("late", 'export async function onRequest() { await null; throw new Error("guest words") }'),
    }
    const config = `${otlp(collector)}[plugins.angry]\non_error = "open"\n[plugins.trap]\n[plugins.late]\nmatch = [{ path = "/late" }]\npriority = 500\n`
    await using site = await serveSite(config, files)
    assert.equal((await site.get("/fails?t")).status, 502)
    assert.equal((await site.get("/late")).status, 502)
    const spans = await collector.trace("/fails")
    const codes = (span: ReceivedSpan) => [
      span.attributes["bext.error_code"],
      span.attributes["error.type"],
      span.failed,
    ]
    assert.deepEqual(codes(named(spans, "angry on_request")), ["E_GUEST_THREW", "E_GUEST_THREW", true])
    const trapped = named(spans, "trap on_request")
    const code = trapped.attributes["bext.error_code"]
    assert.deepEqual(codes(trapped), [code, code, true])
    assert(Number(trapped.attributes["bext.fuel"]) > 0)
    assert.deepEqual(codes(root(spans)), [code, code, true])
    const late = named(await collector.trace("/late"), "late on_request")
    assert.deepEqual(codes(late), ["E_GUEST_THREW", "E_GUEST_THREW", true])
    assert.doesNotMatch(JSON.stringify(collector.spans, toJson), /guest words/)
  })

  it("name the route, and methods that nobody knows by no name of the client's", async (t) => {
    await using collector = await startCollector()
    const app = await startApp(t)
    await using site = await serveSite(`${otlp(collector)}[[routes]]\npath = "/api/**"\nupstream = "${app}"\n`)
    await fetch(`${site.url}/api/x`, { method: "PROPFIND" })
    const span = root(await collector.trace("/api/x"))
    assert.equal(span.name, "HTTP /api/**")
    assert.equal(span.attributes["http.route"], "/api/**")
    assert.equal(span.attributes["http.request.method"], "_OTHER")
    assert.equal(span.attributes["http.request.method_original"], "PROPFIND")
  })

  it("have one for the request to the upstream, which is the one that the app is told of", async (t) => {
    await using collector = await startCollector()
    const app = await startApp(t)
    await using site = await serveSite(`${otlp(collector)}[app]\nupstream = "${app}"\n`)
    const seen = JSON.parse((await site.get("/app?secret=1", { traceparent: SAMPLED, tracestate: "a=1" })).text)
    const spans = await collector.trace("/app")
    const call = spans.find(({ kind }) => kind === "CLIENT")!
    assert.deepEqual(idsOf(seen.traceparent), [CALLER_TRACE, call.spanId])
    assert.equal(seen.tracestate, "a=1")
    assert.equal(call.parentSpanId, root(spans).spanId)
    assert.equal(root(spans).parentSpanId, CALLER_SPAN)
    assert.deepEqual(call.attributes, {
      "http.request.method": "GET",
      "url.full": `${app}/app`,
      "server.address": "127.0.0.1",
      "server.port": Number(new URL(app).port),
      "http.response.status_code": 200,
    })
    assert(call.startNs >= root(spans).startNs && call.endNs <= root(spans).endNs)
  })

  it("show an upstream that fails", async (t) => {
    await using collector = await startCollector()
    const app = await startApp(t)
    await using site = await serveSite(`${otlp(collector)}[app]\nupstream = "${app}"\n`)
    await site.get("/teapot")
    const teapot = await collector.trace("/teapot")
    const refused = teapot.find(({ kind }) => kind === "CLIENT")!
    assert.deepEqual([refused.attributes["error.type"], refused.failed], ["418", true])
    assert.equal(root(teapot).failed, false)
    await site.get("/break")
    const broken = await collector.trace("/break")
    const call = broken.find(({ kind }) => kind === "CLIENT")!
    assert.deepEqual([call.attributes["error.type"], call.failed], ["E_UPSTREAM_UNREACHABLE", true])
    assert.equal(call.attributes["http.request.resend_count"], 1)
    assert.equal(root(broken).attributes["error.type"], "E_UPSTREAM_UNREACHABLE")
  })

  it("end when the client goes away", async (t) => {
    await using collector = await startCollector()
    const app = await startApp(t)
    await using site = await serveSite(`${otlp(collector)}[app]\nupstream = "${app}"\n`)
    const client = connect(Number(new URL(site.url).port), "127.0.0.1")
    client.write("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
    await once(client, "data")
    client.destroy()
    const spans = await collector.trace("/endless")
    assert.equal(root(spans).attributes["bext.aborted"], true)
    assert(spans.some(({ kind }) => kind === "CLIENT"))
  })

  it("blame no plugin and no upstream for a client that goes away while they work", async (t) => {
    await using collector = await startCollector()
    const asked = Promise.withResolvers<void>()
    const app = await startApp(t, () => asked.resolve())
    const source =
      'export async function onRequest(ctx) { if (ctx.path === "/plugin") await new Promise((done) => setTimeout(done, 9000)) }'
    const config = `${otlp(collector)}[app]\nupstream = "${app}"\n[plugins.js]\n`
    await using site = await serveSite(config, plugin("js", source))
    const leave = async (path: string, when: Promise<void>) => {
      const client = connect(Number(new URL(site.url).port), "127.0.0.1")
      client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
      await when
      client.destroy()
      return collector.trace(path)
    }
    const atUpstream = await leave("/silent", asked.promise)
    assert.deepEqual(
      atUpstream.map(({ kind, failed }) => [kind, failed]),
      [
        ["INTERNAL", false],
        ["CLIENT", false],
        ["SERVER", false],
      ],
    )
    const called = () => (site.server.status().plugins[0]!.stats.hooks.on_request?.calls ?? 0) === 2
    const atPlugin = await leave("/plugin", until(called, "the call"))
    const { failed, attributes } = named(atPlugin, "js on_request")
    assert.deepEqual([failed, attributes["bext.error_code"]], [false, undefined])
    for (const spans of [atUpstream, atPlugin]) {
      const { attributes } = root(spans)
      assert.deepEqual(
        [attributes["http.response.status_code"], attributes["bext.error_code"], attributes["error.type"]],
        [499, "E_CLIENT_LEFT", undefined],
      )
    }
  })

  it("tell the fuel of a plugin in a worker thread too, and addresses of IPv6 without brackets", async () => {
    await using collector = await startCollector()
    const config = `${otlp(collector)}[plugins.burn]\nlane = "worker"\n`
    await using site = await serveSite(config, wasmPlugin("burn", watPlugin()))
    assert.equal((await site.get("/away?b", { host: "[2001:db8::1]:8080" })).text, "hello from wasm")
    const spans = await collector.trace("/away")
    assert.equal(site.server.status().plugins[0]!.lane.now, "worker")
    const { fuel } = site.server.status().plugins[0]!.stats.hooks.on_request!
    assert(fuel > 100_000)
    assert.equal(named(spans, "burn on_request").attributes["bext.fuel"], fuel)
    assert.equal(root(spans).attributes["server.address"], "2001:db8::1")
    assert.equal(root(spans).attributes["server.port"], 8080)
  })

  it("end for a websocket when it is open", async (t) => {
    await using collector = await startCollector()
    const app = await startEcho(t)
    await using site = await serveSite(`${otlp(collector)}[app]\nupstream = "${app.url}"\nwebsockets = true\n`)
    const socket = await open(t, `${site.url}/chat?token=querulous`)
    const spans = await collector.trace("/chat")
    const call = spans.find(({ kind }) => kind === "CLIENT")!
    assert.deepEqual(idsOf(app.handshakes[0]!.traceparent), [call.traceId, call.spanId])
    for (const span of [root(spans), call]) assert.equal(span.attributes["http.response.status_code"], 101)
    const closed = closeOf(socket)
    socket.close(1000)
    await closed
    await site.get("/afterwards")
    await collector.trace("/afterwards")
    assert.equal(collector.spans.filter(({ kind }) => kind === "SERVER").length, 2)
    assert.doesNotMatch(JSON.stringify(collector.spans, toJson), /querulous/)
  })

  it("show plugins the traceparent of the request's own span, and no fetch of theirs carries it", async (t) => {
    await using collector = await startCollector()
    const app = await startApp(t)
    const source = `export async function onRequest(ctx) {
      const fetched = await (await bext.fetch("${app}/fetched")).json()
      return { action: "respond", status: 200, body: JSON.stringify([ctx.headers.get("traceparent"), fetched]) }
    }`
    const { host, port } = new URL(app)
    const manifest = `[permissions]\nallowed_urls = ["${app}/*"]`
    const config = `${otlp(collector)}[fetch]\nallow_private = ["${host}"]\n[plugins.js]\n[plugins.js.grant]\nallowed_urls = ["${app}/*"]\n`
    assert(port)
    await using site = await serveSite(config, plugin("js", source, manifest))
    const answer = await site.get("/seen")
    assert.equal(answer.status, 200, answer.text)
    const [traceparent, fetched] = JSON.parse(answer.text)
    const span = root(await collector.trace("/seen"))
    assert.deepEqual(idsOf(traceparent), [span.traceId, span.spanId])
    assert.equal(fetched.traceparent, undefined)
  })
})

describe("a server process", () => {
  it("loads the OpenTelemetry packages only for a configured collector", () => {
    const script = (tracing: object) => `
      import { registerHooks } from "node:module"
      registerHooks({ load(url, context, next) { console.log(url); return next(url, context) } })
      const { createServer } = await import(${JSON.stringify(import.meta.resolve("../../src/create-server.ts"))})
      const { createConfig } = await import(${JSON.stringify(import.meta.resolve("../../src/config/parse-config.ts"))})
      const folder = process.argv[1]
      const config = createConfig({ middleware: { tracing: ${JSON.stringify(tracing)} }, log: { level: "silent" } }, { folder, env: {} })
      await using server = await createServer(config, { folder })`
    const loadedBy = (tracing: object) => {
      using project = createProject({})
      const args = ["--input-type=module", "-e", script(tracing), project.folder]
      return execFileSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 })
    }
    const without = loadedBy({})
    assert.match(without, /src\/telemetry\/tracers\.ts/)
    assert.doesNotMatch(without, /opentelemetry|otlp-sender/)
    assert.match(loadedBy({ otlp: { endpoint: "http://127.0.0.1:1" } }), /node_modules\/@opentelemetry\//)
  })

  it("sends what it has before it ends, and each of several has its own name", async () => {
    await using collector = await startCollector()
    await using site = await serveInChild(otlp(collector), {}, { processes: 2 })
    // One connection for each request: they go to the processes in turn.
    for (let i = 0; i < 8; i++) await (await fetch(`${site.url}/${i}`, { headers: { connection: "close" } })).text()
    assert.equal(await site.end("SIGTERM"), 0)
    assert.equal(collector.spans.length, 8)
    for (const key of ["process.pid", "service.instance.id"]) {
      assert.equal(new Set(collector.spans.map(({ resource }) => resource[key])).size, 2, key)
    }
    assert(collector.spans.every(({ resource }) => resource["service.name"] === "bext"))
  })

  it("ends in bounded time, and by itself, when the collector is down", async () => {
    const collector = await startCollector()
    await using site = await serveInChild(otlp(collector))
    await collector.kill()
    await (await fetch(site.url)).text()
    assert.equal(await site.end("SIGTERM"), 0)
  })
})

/** What follows a finished request. */
const COMPLETE = `
  (func $event (param $json i32) (param $length i32) (result i32) (call $burn (i32.const 1000)) (i32.const 0))
  (export "on_request_complete" (func $event))`

function toJson(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value
}

describe("which requests are traced", () => {
  /** The flags that an app saw for each caller. */
  async function flagsSeen(t: TestContext, site: (app: string) => Promise<Site>, callers: (string | undefined)[]) {
    await using running = await site(await startApp(t))
    const seen: string[] = []
    for (const traceparent of callers) {
      const { text } = await running.get("/", traceparent === undefined ? {} : { traceparent })
      seen.push(JSON.parse(text).traceparent.slice(-2))
    }
    return seen
  }

  it("is decided by a trusted proxy, where it has decided", async (t) => {
    await using collector = await startCollector()
    const serve = (sample: number) => (app: string) =>
      serveSite(`${otlp(collector, `sample = ${sample}`)}[app]\nupstream = "${app}"\n`, {}, TRUSTING)
    assert.deepEqual(await flagsSeen(t, serve(1), [SAMPLED, NOT_SAMPLED, undefined]), ["01", "00", "01"])
    assert.equal(collector.spans.length, 4)
    assert.deepEqual(await flagsSeen(t, serve(0), [SAMPLED, NOT_SAMPLED, undefined]), ["01", "00", "00"])
    assert.equal(collector.spans.length, 6)
  })

  it("is not for a stranger to decide: neither by the flag nor by the id of the trace", async (t) => {
    await using collector = await startCollector()
    const serve = (sample: number) => (app: string) =>
      serveSite(`${otlp(collector, `sample = ${sample}`)}[app]\nupstream = "${app}"\n`)
    const extremes = ["0".repeat(31).concat("1"), "f".repeat(32)].map((id) => `00-${id}-${CALLER_SPAN}-01`)
    const none = await flagsSeen(t, serve(0), [SAMPLED, ...extremes, undefined])
    assert.deepEqual(new Set(none), new Set(["00"]))
    assert.equal(collector.spans.length, 0)
    const all = await flagsSeen(t, serve(1), [NOT_SAMPLED, ...extremes, undefined])
    assert.deepEqual(new Set(all), new Set(["01"]))
    const half = await flagsSeen(t, serve(0.5), Array(120).fill(extremes[0]))
    const traced = half.filter((flags) => flags === "01").length
    // 120 fair coins: outside of this once in ten million runs.
    assert(traced > 30 && traced < 90, `${traced} of 120`)
  })

  it("is none without a collector; the app then sees the trace of the caller", async (t) => {
    await using site = await serveSite(`[app]\nupstream = "${await startApp(t)}"\n`)
    const seen = JSON.parse((await site.get("/", { traceparent: SAMPLED })).text)
    assert.equal(idsOf(seen.traceparent)[0], CALLER_TRACE)
    assert.equal(metric(site, "bext_trace_spans_exported_total"), 0)
  })
})

describe("a collector", () => {
  it("that hangs, or is gone, delays no response and no end of the server", async () => {
    const collector = await startCollector()
    collector.answer = () => {}
    await using site = await serveSite(otlp(collector, "queue = 256"))
    await site.get("/first")
    await collector.trace("/first")
    // Its message is unanswered now, and 255 more spans may wait.
    for (let i = 0; i < 268; i++) assert.equal((await site.get("/")).status, 404)
    assert.equal(metric(site, "bext_trace_spans_dropped_total"), 13)
    const warnings = () => site.lines.filter(({ msg }) => msg.includes("trace spans were dropped"))
    assert.equal(warnings().length, 1)
    await collector.kill()
    for (let i = 0; i < 20; i++) assert.equal((await site.get("/")).status, 404)
    await site.server.close()
    assert.equal(metric(site, "bext_trace_spans_exported_total"), 0)
    assert.equal(metric(site, "bext_trace_spans_dropped_total"), 289)
    assert.equal(warnings().length, 2)
  })

  it("is left for another by a reload, with everything that was begun before; one that stays loses nothing", async () => {
    await using first = await startCollector()
    await using second = await startCollector()
    await using site = await serveSite(otlp(first))
    await site.get("/1")
    await site.reload(`${otlp(first)}[middleware.cors]\norigins = ["https://a.example"]\n`)
    await site.get("/2")
    await site.reload(otlp(second))
    await site.get("/3")
    await site.reload("")
    await site.get("/4")
    await second.trace("/3")
    await first.until((spans) => spans.length === 2)
    const paths = ({ spans }: Collector) => spans.map(({ attributes }) => attributes["url.path"])
    assert.deepEqual([paths(first), paths(second)], [["/1", "/2"], ["/3"]])
    await until(() => metric(site, "bext_trace_spans_exported_total") === 3, "the counts of both")
  })

  it("gets the spans of requests that began before a reload left it, and ended afterwards", async (t) => {
    await using first = await startCollector()
    await using second = await startCollector()
    const asked = Promise.withResolvers<ServerResponse>()
    const app = `[app]\nupstream = "${await startApp(t, asked.resolve)}"\n`
    await using site = await serveSite(otlp(first) + app)
    const answer = site.get("/silent")
    const outgoing = await asked.promise
    await site.reload(otlp(second) + app)
    outgoing.end("at last")
    assert.equal((await answer).text, "at last")
    const spans = await first.trace("/silent")
    assert.deepEqual(spans.map(({ kind }) => kind).sort(), ["CLIENT", "SERVER"])
    assert.equal(second.spans.length, 0)
  })

  it("gets no header that the configuration could not mean, and none is tried", async () => {
    ENV.OTLP_KEY = "two\r\nlines: 1"
    const headers = (name: string) =>
      serveSite(`[middleware.tracing.otlp]\nendpoint = "http://127.0.0.1:1"\nheaders = { ${name} = "env:OTLP_KEY" }`)
    await assert.rejects(headers("x-api-key"), (error: Error) => {
      assert.match(error.message, /middleware\.tracing\.otlp\.headers: the value of env:OTLP_KEY for x-api-key/)
      return !error.message.includes("lines: 1")
    })
    await assert.rejects(headers("Content-Length"), /the header Content-Length is not yours to set/)
  })

  it("gets the configured headers at the configured path, and what the server calls itself", async () => {
    await using collector = await startCollector()
    ENV.OTLP_KEY = "key-of-the-collector"
    const config = `[middleware.tracing.otlp]\nendpoint = "${collector.url}/custom/path"\nservice_name = "edge"\nheaders = { x-api-key = "env:OTLP_KEY" }\n`
    await using site = await serveSite(config)
    await site.get("/one")
    const span = root(await collector.trace("/one"))
    assert.equal(span.resource["service.name"], "edge")
    const [{ path, headers }] = collector.requests as [Collector["requests"][number]]
    assert.deepEqual([path, headers["x-api-key"]], ["/custom/path", "key-of-the-collector"])
    assert.equal(headers["content-type"], "application/x-protobuf")
    await until(() => metric(site, "bext_trace_spans_exported_total") === 1, "the count")
    assert.doesNotMatch(JSON.stringify(collector.spans, toJson), /key-of-the-collector/)
  })
})
