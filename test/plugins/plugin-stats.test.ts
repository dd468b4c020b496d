import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../src/errors.ts"
import { FailureLog } from "../../src/plugins/failure-log.ts"
import { LatencyHistogram, PluginStats } from "../../src/plugins/plugin-stats.ts"
import { recordingLogger } from "./recording-logger.ts"

describe("LatencyHistogram", () => {
  it("puts each duration into the bucket just above it", () => {
    for (const us of [0, 0.3, 1, 1.4, 2, 3, 5, 7, 100, 999, 12_345, 1_000_000, 200_000_000]) {
      const histogram = new LatencyHistogram()
      histogram.record(us / 1000)
      const [bucket, ...others] = histogram.buckets()
      assert.equal(others.length, 0)
      assert.equal(bucket!.count, 1)
      assert.ok(bucket!.belowUs > us, `${us} is below ${bucket!.belowUs}`)
      assert.ok(bucket!.belowUs <= Math.max(us * 1.5 + 0.5, 0.5), `${us} is not far below ${bucket!.belowUs}`)
    }
  })

  it("counts anything longer than it can tell as longest", () => {
    const histogram = new LatencyHistogram()
    histogram.record(Number.MAX_SAFE_INTEGER)
    histogram.record(1e9)
    assert.deepEqual(
      histogram.buckets().map(({ count }) => count),
      [2],
    )
  })
})

describe("PluginStats", () => {
  it("keeps of a stack that guest and host share what is the guest's", () => {
    const stats = new PluginStats()
    const last = (stack: string, code: "E_GUEST_TRAPPED" | "E_INTERNAL") => {
      const cause = new Error("unreachable")
      cause.stack = stack
      stats.failed("on_request", new PluginError(code, "probe", "trapped", { cause }))
      return stats.snapshot().lastError!.stack
    }
    const host = "    at Instance.start (file:///srv/bext/src/sandbox/wasm/instance.ts:1:2)\n    at node:internal/x:1:2"
    const guest = "    at parse (wasm://wasm/1a2b3c4d:wasm-function[9]:0x257)"
    const counting = "    at __fuel_slow (wasm://wasm/1a2b3c4d:wasm-function[7]:0x11)"
    const shared = `RuntimeError: unreachable\n${counting}\n${guest}\n${host}`
    assert.equal(last(shared, "E_GUEST_TRAPPED"), `RuntimeError: unreachable\n${guest}`)
    assert.equal(last(`RuntimeError\n${host}`, "E_GUEST_TRAPPED"), undefined)
    assert.equal(last(shared, "E_INTERNAL"), shared, "a defect of the host needs all of it")
  })

  it("counts failures by code and keeps the guest's stack of the last", () => {
    const stats = new PluginStats()
    const cause = new Error("boom")
    cause.stack = "Error: boom\n    at onRequest (src/index.js:2:9)"
    stats.failed("on_request", new PluginError("E_LIMIT_CPU", "probe", "too long"))
    assert.equal(stats.snapshot().lastError!.stack, undefined, "the host's stack tells a plugin's author nothing")
    stats.failed("on_request", new PluginError("E_GUEST_THREW", "probe", "threw", { cause }))
    stats.failed("on_request", new PluginError("E_GUEST_THREW", "probe", "threw", { cause }))
    const { hooks, lastError } = stats.snapshot()
    assert.deepEqual(hooks.on_request!.failures, { E_LIMIT_CPU: 1, E_GUEST_THREW: 2 })
    assert.equal(lastError!.code, "E_GUEST_THREW")
    assert.match(lastError!.stack!, /src\/index\.js:2:9/)
  })
})

describe("FailureLog", () => {
  const failure = (what: string) => new PluginError("E_GUEST_THREW", "probe", what)

  it("writes a failure once, and how often it came again when ten seconds are over", (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] })
    const { logger, lines } = recordingLogger()
    const log = new FailureLog("probe", logger)
    for (let i = 0; i < 5; i++) log.report("on_request", failure("same"), `id${i}`)
    assert.equal(lines.length, 1)
    const { level, plugin, hook, code, request_id } = lines[0]!
    assert.deepEqual(
      { level, plugin, hook, code, request_id },
      { level: "error", plugin: "probe", hook: "on_request", code: "E_GUEST_THREW", request_id: "id0" },
    )
    t.mock.timers.tick(10_000)
    assert.match(lines[1]!.msg, /repeated 4 times/)
    log.report("on_request", failure("same"), "later")
    assert.equal(lines[2]!.request_id, "later")
    log.flush()
    assert.equal(lines.length, 3)
  })

  it("does not let a guest draw on the operator's terminal, or write without end", () => {
    const { logger, lines } = recordingLogger()
    const evil = `\u001b[2J\u202egnp.exe\r${"x".repeat(100_000)}`
    const cause = new Error("stack")
    cause.stack = `${evil}\n    at onRequest`
    new FailureLog("probe", logger).report(
      "on_request",
      new PluginError("E_GUEST_THREW", "probe", evil, { cause }),
      null,
    )
    for (const text of [lines[0]!.msg, lines[0]!.stack as string]) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
      assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u202e]/)
      assert.ok(text.length < 9000)
    }
  })

  it("does not let a guest flood the log with failures that all differ", () => {
    const { logger, lines } = recordingLogger()
    const log = new FailureLog("probe", logger)
    for (let i = 0; i < 10_000; i++) log.report("on_request", failure(`different ${i}`), null)
    assert.equal(lines.length, 20)
    log.flush()
    assert.match(lines[20]!.msg, /9980 more failures/)
  })
})
