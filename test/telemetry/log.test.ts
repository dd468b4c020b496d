import assert from "node:assert/strict"
import { Writable } from "node:stream"
import { describe, it } from "node:test"
import type { Config } from "../../src/config/schema.ts"
import { rememberTarget } from "../../src/plugins/target-history.ts"
import { createAccessLog } from "../../src/telemetry/access-log.ts"
import { escapeControls } from "../../src/telemetry/escape-controls.ts"
import { createLogger } from "../../src/telemetry/log.ts"

function record(config: Partial<Config["log"]> = {}) {
  let text = ""
  const sink = new Writable({
    write(chunk, _encoding, done) {
      text += chunk
      done()
    },
  })
  const logger = createLogger({ level: "info", format: "json", access: true, ...config }, sink)
  return {
    logger,
    text: () => text,
    lines: () =>
      text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
  }
}

const context = {
  method: "GET",
  clientMethod: "GET",
  path: "/a",
  clientAddress: "127.0.0.1",
  requestId: "0123456789abcdef0123456789abcdef",
  tenantId: null,
  user: null,
}
type Context = Parameters<ReturnType<typeof createAccessLog>>[0]
const result = { status: 200, bytes: 12, durationMs: 1.23456, aborted: false }

describe("the log", () => {
  it("is one JSON object per line, with level, time and message", () => {
    const { logger, lines } = record()
    logger.info({ a: 1 }, "hello\nworld")
    logger.debug("not at this level")
    const [line] = lines()
    assert.equal(lines().length, 1)
    assert.deepEqual({ ...line, time: 0 }, { level: "info", time: 0, a: 1, msg: "hello\nworld" })
    assert.ok(!Number.isNaN(Date.parse(line.time)))
  })

  it("never holds secrets, at the top or in headers", () => {
    const { logger, text } = record()
    logger.info({ authorization: "s3cret", headers: { cookie: "s3cret", "set-cookie": "s3cret" } }, "request")
    logger.warn({ token: "s3cret", password: "s3cret", secret: "s3cret" }, "x")
    assert.doesNotMatch(text(), /s3cret/)
    assert.match(text(), /\[redacted\]/)
  })

  it("is silent when told so", () => {
    const { logger, text } = record({ level: "silent" })
    logger.error("x")
    createAccessLog(logger)(context as Context, result)
    assert.equal(text(), "")
  })

  it("for people cannot be moved about or forged by what strangers wrote", () => {
    const { logger, text } = record({ format: "pretty" })
    const evil = "x\n[00:00:00.000] INFO: forged\r\u001b[2J\u009b2J\u202e"
    logger.info({ path: evil, err: new Error(evil) }, evil)
    logger.info({ [evil]: evil }, "keys")
    for (const line of text().split("\n")) assert.doesNotMatch(line, /^\[00:00:00/)
    assert.doesNotMatch(text().replaceAll("\n", ""), /[\p{Cc}\u202e]/u)
  })
})

describe("escapeControls", () => {
  it("leaves harmless text and line ends of stacks alone", () => {
    const line = { msg: "grüße → 日本", n: 1, err: { stack: "Error: a\n    at b" } }
    assert.equal(escapeControls(`${JSON.stringify(line)}\n`), `${JSON.stringify(line)}\n`)
  })
})

describe("the access log", () => {
  it("says what the client asked for, not what plugins made of it", () => {
    const { logger, lines } = record()
    const rewritten = { ...context }
    for (const path of ["/b", "/c"]) {
      rememberTarget(rewritten)
      Object.assign(rewritten, { method: "POST", path })
    }
    createAccessLog(logger)(rewritten as Context, result)
    const [{ method, path }] = lines()
    assert.deepEqual([method, path], ["GET", "/a"])
  })

  it("has one line per request", () => {
    const { logger, lines } = record()
    const log = createAccessLog(logger)
    log(context as Context, result)
    log({ ...context, tenantId: "t1", user: { id: "u1", claims: {} } } as Context, { ...result, aborted: true })
    const [first, second] = lines()
    assert.deepEqual(
      { ...first, time: 0 },
      {
        level: "info",
        time: 0,
        method: "GET",
        path: "/a",
        status: 200,
        bytes: 12,
        duration_ms: 1.235,
        client: "127.0.0.1",
        request_id: "0123456789abcdef0123456789abcdef",
        msg: "request",
      },
    )
    assert.equal(second.tenant, "t1")
    assert.equal(second.user, "u1")
    assert.equal(second.aborted, true)
  })

  it("names the trace of a request that is traced, and of no other", () => {
    const { logger, lines } = record()
    const log = createAccessLog(logger)
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    log({ ...context, traceparent, trace: {} } as Context, result)
    log({ ...context, traceparent, trace: null } as Context, result)
    assert.deepEqual(
      lines().map((line) => line.trace_id),
      ["4bf92f3577b34da6a3ce929d0e0e4736", undefined],
    )
  })

  it("cannot be forged by a path, a tenant or a user", () => {
    const { logger, lines } = record()
    const evil = '","status":500}\n{"level":"info"\u2028'
    createAccessLog(logger)(
      { ...context, path: evil, tenantId: evil, user: { id: evil, claims: {} } } as Context,
      result,
    )
    const [line, ...rest] = lines()
    assert.equal(rest.length, 0)
    assert.deepEqual([line.path, line.tenant, line.user, line.status], [evil, evil, evil, 200])
  })

  it("has nothing raw in it that a terminal obeys, whoever looks at the JSON", () => {
    const { logger, text, lines } = record()
    const evil = "\u007f\u009b2J\u202e\u2066"
    createAccessLog(logger)({ ...context, path: evil } as Context, result)
    logger.info({ path: evil }, `request refused: ${evil}`)
    assert.doesNotMatch(text(), /[\u007f-\u009f\u202e\u2066]/)
    assert.deepEqual([lines()[0].path, lines()[1].path, lines()[1].msg], [evil, evil, `request refused: ${evil}`])
  })

  it("cuts what is very long", () => {
    const { logger, lines } = record()
    createAccessLog(logger)({ ...context, path: `/${"x".repeat(100_000)}` } as Context, result)
    assert.equal(lines()[0].path.length, 2049)
  })
})
