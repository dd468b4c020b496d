import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { parseTraceparent } from "../../src/message/traceparent.ts"
import { createTracing } from "../../src/middleware/tracing.ts"
import { createContext, serve } from "./serve.ts"

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
const PARENT = "00f067aa0ba902b7"
const VALID = `00-${TRACE}-${PARENT}-01`

async function trace(...headers: [string, string][]) {
  const context = createContext({ headers })
  await serve([createTracing()], context)
  return context
}

describe("tracing", () => {
  it("names a new span of the caller's trace to the app", async () => {
    const context = await trace(["traceparent", VALID], ["tracestate", "vendor=1"], ["tracestate", "other=2"])
    const [version, traceId, spanId, flags] = context.traceparent!.split("-")
    assert.deepEqual([version, traceId, flags], ["00", TRACE, "01"])
    assert.match(spanId!, /^[0-9a-f]{16}$/)
    assert.notEqual(spanId, PARENT)
    assert.deepEqual(context.requestHeaders.getAll("traceparent"), [context.traceparent])
    assert.equal(context.requestHeaders.get("tracestate"), "vendor=1, other=2")
  })

  it("starts a trace when there is none, and passes no tracestate without its traceparent", async () => {
    const context = await trace(["tracestate", "vendor=1"])
    assert.match(context.traceparent!, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    assert.equal(context.requestHeaders.has("tracestate"), false)
  })

  it("starts a trace of its own instead of one it cannot read", async () => {
    const context = await trace(["traceparent", VALID.toUpperCase()], ["tracestate", "vendor=1"])
    assert.match(context.traceparent!, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    assert.ok(!context.traceparent!.includes(TRACE))
    assert.equal(context.requestHeaders.has("tracestate"), false)
    assert.deepEqual(context.requestHeaders.getAll("traceparent"), [context.traceparent])
  })

  it("takes two traceparent fields for none", async () => {
    const context = await trace(["traceparent", VALID], ["traceparent", VALID])
    assert.ok(!context.traceparent!.includes(TRACE))
    assert.deepEqual(context.requestHeaders.getAll("traceparent"), [context.traceparent])
  })

  it("never gives two requests the same ids", async () => {
    const seen = new Set<string>()
    for (let i = 0; i < 3_000; i++) for (const id of (await trace()).traceparent!.split("-").slice(1, 3)) seen.add(id)
    assert.equal(seen.size, 6_000)
  })
})

describe("parseTraceparent", () => {
  it("reads version 00 and keeps the flags it knows", () => {
    assert.deepEqual(parseTraceparent(VALID), { traceId: TRACE, parentId: PARENT, flags: "01" })
    assert.deepEqual(parseTraceparent(`00-${TRACE}-${PARENT}-00`), { traceId: TRACE, parentId: PARENT, flags: "00" })
    assert.deepEqual(parseTraceparent(`00-${TRACE}-${PARENT}-ff`), { traceId: TRACE, parentId: PARENT, flags: "03" })
  })

  it("reads what it knows of later versions", () => {
    assert.deepEqual(parseTraceparent(`01-${TRACE}-${PARENT}-01`), { traceId: TRACE, parentId: PARENT, flags: "01" })
    assert.deepEqual(parseTraceparent(`cc-${TRACE}-${PARENT}-01-what-comes-next`), {
      traceId: TRACE,
      parentId: PARENT,
      flags: "01",
    })
  })

  it("takes nothing that is not exactly that", () => {
    const invalid = [
      "",
      "00",
      `ff-${TRACE}-${PARENT}-01`,
      `0-${TRACE}-${PARENT}-01`,
      `000-${TRACE}-${PARENT}-01`,
      `00-${"0".repeat(32)}-${PARENT}-01`,
      `00-${TRACE}-${"0".repeat(16)}-01`,
      `01-${"0".repeat(32)}-${PARENT}-01`,
      `00-${TRACE.slice(1)}-${PARENT}-01`,
      `00-${TRACE}-${PARENT}a-01`,
      `00-${TRACE}-${PARENT}-1`,
      `00-${TRACE}-${PARENT}-01-`,
      `00-${TRACE}-${PARENT}-01-extra`,
      `cc-${TRACE}-${PARENT}-01.what`,
      `cc-${TRACE}-${PARENT}-011`,
      `cc-${TRACE}-${PARENT}-01, ${VALID}`,
      `0x-${TRACE}-${PARENT}-01`,
      `00-${TRACE.toUpperCase()}-${PARENT}-01`,
      ` ${VALID}`,
      `${VALID} `,
      `${VALID}\n`,
      VALID.replaceAll("-", "_"),
      `cc-${TRACE}-${PARENT}-01-${"x".repeat(1_000)}`,
    ]
    for (const value of invalid) assert.equal(parseTraceparent(value), null, value)
  })
})
