import assert from "node:assert/strict"
import { createServer, type ServerResponse } from "node:http"
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net"
import { describe, it, type TestContext } from "node:test"
import { createOtlpSender } from "../../src/telemetry/otlp-sender.ts"
import { RequestSpans } from "../../src/telemetry/request-spans.ts"
import type { Span } from "../../src/telemetry/span.ts"
import { SpanQueue } from "../../src/telemetry/span-queue.ts"
import { createContext, middlewareConfig } from "../middleware/serve.ts"
import { until } from "../snapshot/site.ts"
import { startCollector } from "./otlp-collector.ts"

/** The spans of one request without plugins: one. */
function spanOf(path: string): readonly Span[] {
  const spans: Span[] = []
  const ids = { trace: { traceId: "1".repeat(32), flags: "01" }, spanId: "2".repeat(16), parentId: null }
  const trace = new RequestSpans(createContext({ path }), ids, (more) => spans.push(...more))
  trace.end({ status: 200, durationMs: 1, aborted: false })
  return spans
}

function createQueue(endpoint: string, { queue = 4096, timeout = "10s" } = {}) {
  const config = middlewareConfig({ tracing: { otlp: { endpoint, queue, timeout } } }).tracing.otlp!
  const counts = { exported: 0, dropped: 0 }
  const warnings: string[] = []
  const spans = new SpanQueue({
    sender: createOtlpSender(config),
    maxSpans: config.queue,
    timeoutMs: config.timeout,
    counts,
    warn: (message) => warnings.push(message),
  })
  return { spans, counts, warnings }
}

/** A listener that does with each request what `answer` says, once the request has arrived. */
async function listen(t: TestContext, answer: (outgoing: ServerResponse) => void) {
  const sockets = new Set<Socket>()
  let asked = 0
  const server = createServer((incoming, outgoing) => {
    incoming.resume().on("end", () => {
      asked++
      answer(outgoing)
    })
  })
  server.on("connection", (socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: () => asked,
    sockets,
  }
}

describe("a queue of spans", () => {
  it("sends what waits when it ends", async () => {
    await using collector = await startCollector()
    const { spans, counts } = createQueue(collector.url)
    for (let i = 0; i < 300; i++) spans.add(spanOf(`/${i}`))
    await spans[Symbol.asyncDispose]()
    assert.equal(collector.spans.length, 300)
    assert.deepEqual(collector.spans.map(({ attributes }) => attributes["url.path"]).at(-1), "/299")
    assert.deepEqual(counts, { exported: 300, dropped: 0 })
  })

  it("tries again what a collector could not take, and no sooner than it asks for", async () => {
    await using collector = await startCollector()
    const answers = [429, 503, 200]
    const times: number[] = []
    collector.answer = (outgoing) => {
      times.push(performance.now())
      outgoing.writeHead(answers.shift() ?? 200, { "retry-after": "1" }).end()
    }
    const { spans, counts } = createQueue(collector.url)
    spans.add(spanOf("/again"))
    await until(() => counts.exported === 1, "the third attempt")
    assert.equal(collector.requests.length, 3)
    assert(times[1]! - times[0]! >= 990 && times[2]! - times[1]! >= 990, times.join())
    await spans[Symbol.asyncDispose]()
    assert.deepEqual(counts, { exported: 1, dropped: 0 })
  })

  it("keeps no more than its bound while a collector hangs, counts the rest, and ends in bounded time", async (t) => {
    const { url, asked, sockets } = await listen(t, () => {})
    const { spans, counts, warnings } = createQueue(url, { queue: 400 })
    for (let i = 0; i < 300; i++) spans.add(spanOf(`/${i}`))
    await until(() => asked() === 1, "the first message")
    for (let i = 0; i < 1_000; i++) spans.add(spanOf(`/${i}`))
    assert.equal(counts.dropped, 900)
    assert.equal(warnings.length, 1)
    assert.match(warnings[0]!, /^1 trace spans were dropped: http:\/\/127.*\/v1\/traces cannot keep up$/)
    const startedMs = performance.now()
    await spans[Symbol.asyncDispose]()
    assert(performance.now() - startedMs < 10_000)
    assert.deepEqual(counts, { exported: 0, dropped: 1_300 })
    await until(() => [...sockets].every((socket) => socket.destroyed), "the end of its connections")
  })

  it("ends in bounded time while a connection is being made, and with it that connection", async (t) => {
    const sockets = new Set<Socket>()
    // It takes the connection and never says a word of TLS.
    const server = createTcp((socket) => void sockets.add(socket.on("error", () => {}).resume()))
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    t.after(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    const { spans, counts } = createQueue(url, { timeout: "60s" })
    spans.add(spanOf("/"))
    await until(() => sockets.size === 1, "the connection")
    const startedMs = performance.now()
    await spans[Symbol.asyncDispose]()
    assert(performance.now() - startedMs < 20_000)
    assert.deepEqual(counts, { exported: 0, dropped: 1 })
    await until(() => [...sockets].every((socket) => socket.closed), "the end of the connection")
    assert(performance.now() - startedMs < 20_000)
  })

  it("gives up a message that is answered byte by byte, at the timeout", async (t) => {
    const timers = new Set<NodeJS.Timeout>()
    t.after(() => timers.forEach(clearInterval))
    const { url, asked } = await listen(t, (outgoing) => {
      outgoing.writeHead(200)
      timers.add(setInterval(() => outgoing.write("x"), 20))
    })
    const { spans, counts, warnings } = createQueue(url, { timeout: "200ms" })
    spans.add(spanOf("/drip"))
    await until(() => asked() === 2, "the second attempt")
    await spans[Symbol.asyncDispose]()
    assert.deepEqual(counts, { exported: 0, dropped: 1 })
    assert.match(warnings.join(), /1 trace spans were dropped: .*no answer within 200 ms$/)
  })

  it("reads no more of an answer than it must, and follows no redirect", async (t) => {
    const other = await listen(t, (outgoing) => outgoing.end())
    for (const [answer, reason] of [
      [(outgoing: ServerResponse) => outgoing.end(Buffer.alloc(1_000_000)), /an answer of more than 65536 bytes/],
      [(outgoing: ServerResponse) => outgoing.writeHead(307, { location: other.url }).end(), /status 307/],
      [(outgoing: ServerResponse) => outgoing.writeHead(400).end("words of the collector"), /status 400$/],
      [(outgoing: ServerResponse) => outgoing.socket!.end("rubbish\r\n\r\n"), /./],
    ] as const) {
      const { url } = await listen(t, answer)
      const { spans, counts, warnings } = createQueue(url)
      spans.add(spanOf("/odd"))
      await spans[Symbol.asyncDispose]()
      assert.deepEqual(counts, { exported: 0, dropped: 1 })
      assert.match(warnings.join(), reason)
    }
    assert.equal(other.asked(), 0)
  })

  it("is not held up by a collector that switches protocols, which nobody asked for", async (t) => {
    const server = createTcp((socket) => {
      socket.on("error", () => {})
      socket.once("data", () =>
        socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
      )
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    t.after(() => server.close())
    const { spans, counts } = createQueue(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    spans.add(spanOf("/"))
    await spans[Symbol.asyncDispose]()
    assert.deepEqual(counts, { exported: 0, dropped: 1 })
  })

  it("counts what a collector took only in part, and believes no number beyond what it was sent", async (t) => {
    // ExportTraceServiceResponse { partial_success { rejected_spans: N } }
    const partial = (rejected: readonly number[]) => Buffer.from([0x0a, 1 + rejected.length, 0x08, ...rejected])
    for (const [answer, exported] of [
      [partial([1]), 2],
      [partial([0xff, 0xff, 0xff, 0x7f]), 0],
      [partial([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), 0],
      [Buffer.from("rubbish"), 3],
      [Buffer.alloc(0), 3],
    ] as const) {
      const { url } = await listen(t, (outgoing) => outgoing.end(answer))
      const { spans, counts } = createQueue(url)
      for (let i = 0; i < 3; i++) spans.add(spanOf(`/${i}`))
      await spans[Symbol.asyncDispose]()
      assert.deepEqual(counts, { exported, dropped: 3 - exported }, answer.toString("hex"))
    }
  })

  it("gives up a message after five attempts, and goes on with the next", async () => {
    await using collector = await startCollector()
    collector.answer = (outgoing) => outgoing.writeHead(503, { "retry-after": "0" }).end()
    const { spans, counts, warnings } = createQueue(collector.url)
    spans.add(spanOf("/lost"))
    await until(() => counts.dropped === 1, "the fifth failure")
    assert.equal(collector.requests.length, 5)
    assert.match(warnings.join(), /status 503$/)
    collector.answer = (outgoing) => outgoing.end()
    spans.add(spanOf("/found"))
    await until(() => counts.exported === 1, "the next message")
    await spans[Symbol.asyncDispose]()
  })

  it("says why nothing arrives where nobody listens", async () => {
    const gone = await startCollector()
    await gone.kill()
    const { spans, counts, warnings } = createQueue(gone.url)
    spans.add(spanOf("/lost"))
    await spans[Symbol.asyncDispose]()
    assert.deepEqual(counts, { exported: 0, dropped: 1 })
    assert.match(warnings.join(), /^1 trace spans were dropped: http:.*ECONNREFUSED/)
  })

  it("takes no spans after its end", async () => {
    await using collector = await startCollector()
    const { spans, counts } = createQueue(collector.url)
    await spans[Symbol.asyncDispose]()
    spans.add(spanOf("/late"))
    assert.deepEqual(counts, { exported: 0, dropped: 1 })
  })
})

describe("a span", () => {
  it("has bounded, well-formed text whatever the request says", async () => {
    await using collector = await startCollector()
    const { spans } = createQueue(collector.url)
    spans.add(spanOf(`/${"🦀".repeat(5_000)}`))
    spans.add(spanOf("/\ud800\n\u0000"))
    await spans[Symbol.asyncDispose]()
    const [long, odd] = collector.spans.map(({ attributes }) => String(attributes["url.path"]))
    assert(long!.length <= 2_049 && long!.endsWith("…"), String(long!.length))
    assert.equal(odd, "/\ufffd\n\u0000")
  })
})
