import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { BextError } from "../../src/errors.ts"
import type { RequestContext } from "../../src/message/request-context.ts"
import { createResponseTracing, createTimingPolicy } from "../../src/middleware/server-timing.ts"
import { createContext, middlewareConfig, type RequestInit, serve } from "./serve.ts"

const ASKS: [string, string] = ["Server-Timing", "1"]

function policy(serverTiming: string) {
  return createTimingPolicy(middlewareConfig({ tracing: { server_timing: serverTiming } }).tracing)
}

function allows(serverTiming: string, init: RequestInit): boolean {
  return policy(serverTiming)(createContext(init))
}

describe("createTimingPolicy", () => {
  it("gives nobody timings by default", () => {
    const byDefault = createTimingPolicy(middlewareConfig({}).tracing)
    assert.equal(byDefault(createContext({ headers: [ASKS], clientAddress: "127.0.0.1" })), false)
  })

  it("gives them to everybody who asks when on", () => {
    assert.equal(allows("on", { headers: [ASKS] }), true)
    assert.equal(allows("on", {}), false)
    assert.equal(allows("on", { headers: [["Server-Timing", "0"]] }), false)
  })

  it("gives them to clients on this machine when set to loopback", () => {
    for (const clientAddress of ["127.0.0.1", "127.8.9.10", "::1"]) {
      assert.equal(allows("loopback", { headers: [ASKS], clientAddress }), true, clientAddress)
      assert.equal(allows("loopback", { clientAddress }), false, clientAddress)
    }
    for (const clientAddress of ["203.0.113.7", "10.0.0.1", "::2", "2001:db8::1", "1270.0.0.1", ""]) {
      assert.equal(allows("loopback", { headers: [ASKS], clientAddress }), false, clientAddress)
    }
  })
})

describe("response-tracing", () => {
  it("puts the request id on every response, refused requests included", async () => {
    const refuse = {
      name: "refuse",
      priority: 200,
      kind: "built-in" as const,
      onRequest() {
        throw new BextError("E_RATE_LIMITED", "no")
      },
    }
    for (const middlewares of [[createResponseTracing()], [refuse, createResponseTracing()]]) {
      const context = createContext()
      const { headers } = await serve(middlewares, context, { appHeaders: [["x-request-id", "from the app"]] })
      assert.deepEqual(headers.getAll("x-request-id"), [context.requestId])
      assert.equal(headers.has("server-timing"), false)
    }
  })

  it("says how much fuel a plugin used in both hooks together", async () => {
    const burn = (fuel: number) => (context: RequestContext) => {
      context.timings?.push({ name: "geo", durationMs: 0, fuel })
    }
    const plugin = { name: "geo", priority: 600, kind: "plugin" as const, onRequest: burn(40), onResponse: burn(2) }
    const { headers } = await serve([createResponseTracing(), plugin], createContext({ headers: [ASKS] }), {
      wantsTimings: policy("on"),
    })
    assert.match(headers.getAll("server-timing").join(), /^geo;dur=\d+\.\d{3};desc="42 fuel", .*total;dur=[\d.]+$/)
  })

  it("lists the time of each middleware, and the total, beside the app's own entries", async () => {
    const plugin = {
      name: 'odd "name", x',
      priority: 600,
      kind: "plugin" as const,
      onRequest() {},
      onResponse() {},
    }
    const { headers } = await serve([plugin, createResponseTracing()], createContext({ headers: [ASKS] }), {
      wantsTimings: policy("on"),
      appHeaders: [["Server-Timing", "db;dur=5"]],
    })
    const [app, own] = headers.getAll("server-timing")
    assert.equal(app, "db;dur=5")
    assert.match(own!, /^odd__name___x;dur=\d+\.\d{3}, total;dur=\d+\.\d{3}$/)
  })
})
