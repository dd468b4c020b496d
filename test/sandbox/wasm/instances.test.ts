import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { HookName } from "../../../src/hooks.ts"
import { InstanceAccount } from "../../../src/sandbox/limits/instance-account.ts"
import { createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import type { CallLimits, Sandbox } from "../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { event, request } from "../../contracts/sandbox-contract.ts"
import { writeGuest } from "../quickjs/write-guest.ts"
import { loadAny } from "./any-abi.ts"

const MIB = 1024 * 1024

/** Counts in memory, in a global, and in a table when there is one. */
const COUNTER = `(module
  (memory (export "memory") 1 16)
  (global $calls (mut i64) (i64.const 0))
  (data (i32.const 1024) "begin")
  (func $count (result i32)
    (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
    (i32.store (i32.const 40000) (i32.add (i32.load (i32.const 40000)) (i32.const 1)))
    (i32.store8 (i32.const 1024) (i32.const 0))
    (i32.add (i32.load (i32.const 40000)) (i32.mul (i32.const 100) (i32.wrap_i64 (global.get $calls)))))
  (func (export "on_server_start") (result i32) (drop (call $count)) (i32.const 0))
  (func (export "on_request") (result i32) (call $count))
  (func (export "on_response") (result i32) (i32.load8_u (i32.const 1024)))
  (func (export "on_reload") (result i32) (drop (memory.grow (i32.const 3))) (call $count))
  (func (export "cleanup") (result i32) (drop (call $count)) unreachable)
)`

describe("instances of a module", () => {
  it("keep what they remember when shared, memory and globals", async () => {
    await using guest = await ready(COUNTER)
    assert.deepEqual([ask(guest), ask(guest)], [202, 303])
  })

  it("begin with the image each time when fresh: memory, globals, and what was zero", async () => {
    await using guest = await ready(COUNTER, { mode: "fresh" })
    assert.deepEqual([ask(guest), ask(guest)], [202, 202])
    assert.equal(ask(guest, "on_response"), 0, "the start hook zeroed what the module's data had put there")
    assert.equal(guest.instances, 1)
  })

  for (const mode of ["fresh", "shared"] as const) {
    it(`hold nothing of an earlier ${mode === "fresh" ? "request" : "failure"} where the image holds nothing, between and behind what it holds`, async () => {
      const places = [500, 30_000, 100_000, 196_600]
      const read = places.map((at) => `(i32.load (i32.const ${at}))`).join("") + "i32.or ".repeat(places.length - 1)
      const write = places.map((at) => `(i32.store (i32.const ${at}) (i32.const 7))`).join("")
      await using guest = await ready(
        `(module (memory (export "memory") 3)
          (data (i32.const 8192) "held") (data (i32.const 65536) "held")
          (func (export "on_request") (result i32) ${read} ${write})
          (func (export "on_response") (result i32) ${write} unreachable))`,
        { mode },
      )
      assert.equal(ask(guest), 0)
      if (mode === "shared") assert.equal(ask(guest), 7)
      assert.throws(() => ask(guest, "on_response"), { code: "E_GUEST_TRAPPED" })
      assert.equal(ask(guest), 0)
    })
  }

  it("begin with the image after a trap, which costs the others their state: generation + 1", async () => {
    await using guest = await ready(COUNTER)
    assert.equal(ask(guest), 202)
    assert.throws(() => ask(guest, "cleanup"), { code: "E_GUEST_TRAPPED" })
    assert.equal(guest.generation, 1)
    assert.equal(ask(guest), 202)
  })

  it("are made anew when they have grown, because a memory cannot shrink", async () => {
    const account = new InstanceAccount({ maxInstances: 2, maxBytes: 16 * MIB })
    await using guest = await ready(COUNTER, { mode: "fresh", account })
    for (let i = 0; i < 200; i++) assert.equal(ask(guest, "on_reload"), 202)
    assert.equal(ask(guest), 202)
    assert.ok(guest.memoryBytes < MIB)
  })

  it("may grow together only as far as the process allows", async () => {
    const account = new InstanceAccount({ maxInstances: 2, maxBytes: 4 * 65_536 })
    await using guest = await ready(COUNTER, { account })
    assert.equal(ask(guest, "on_reload"), 202)
    assert.throws(() => ask(guest, "on_reload"), { code: "E_LIMIT_MEMORY", message: /all plugins together/ })
    assert.equal(ask(guest), 202)
  })

  it("are given up at the ceiling, whichever tier needs the room, the one longest at rest first", async (t) => {
    const account = new InstanceAccount({ maxInstances: 2, maxBytes: 4096 * MIB })
    const quickjs = await createQuickjsTier(account)
    const script = await writeGuest(
      quickjs,
      "let n = 0; export function onRequest() { return new Response(String(++n)) }",
    )
    t.after(() => script[Symbol.asyncDispose]())
    const answer = async () => {
      const exchange = new RecordingExchange("/")
      await script.call(request(exchange))
      return exchange.text
    }
    await using first = await ready(COUNTER, { account })
    assert.deepEqual([ask(first), ask(first)], [202, 303])
    assert.deepEqual([await answer(), await answer()], ["1", "2"])
    await using second = await ready(COUNTER, { account })
    assert.deepEqual([first.evictions, script.evictions], [1, 0])
    assert.equal(ask(second), 202)
    assert.equal(ask(first), 202, "its state is gone")
    assert.deepEqual([script.evictions, second.evictions], [1, 0])
    assert.equal(await answer(), "1")
  })

  it("live by the thousand, and are gone when the plugin is unloaded", async () => {
    const account = new InstanceAccount({ maxInstances: 1500, maxBytes: 4096 * MIB })
    const guests = await Promise.all(Array.from({ length: 1500 }, () => ready(COUNTER, { account })))
    for (const guest of guests) assert.equal(ask(guest), 202)
    await assert.rejects(ready(COUNTER, { account: new InstanceAccount({ maxInstances: 0, maxBytes: 1 }) }), {
      code: "E_OVERLOADED",
    })
    for (const guest of guests) await guest[Symbol.asyncDispose]()
    assert.equal(account.admit(4096 * MIB), true)
  })
})

describe("a module whose memory and globals are not all of its state", () => {
  /** Changes its table at the start, and drops a segment at the first call. */
  const TABLE = `(module
    (memory (export "memory") 1)
    (table $t 4 funcref)
    (elem $e func $seven)
    (func $seven (result i32) (i32.const 7))
    (func (export "on_server_start") (result i32)
      (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
      (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1))) (i32.const 0))
    (func (export "on_request") (result i32)
      (table.set $t (i32.const 1) (table.get $t (i32.const 0)))
      (table.set $t (i32.const 0) (ref.null func))
      (call_indirect $t (result i32) (i32.const 1)))
    (func (export "on_response") (result i32) (i32.load (i32.const 8))))`

  for (const mode of ["shared", "fresh"] as const) {
    it(`${mode}: is started again instead of restored`, async () => {
      await using guest = await ready(TABLE, { mode })
      assert.equal(ask(guest), 7)
      if (mode === "fresh") assert.deepEqual([ask(guest), ask(guest)], [7, 7])
      else assert.throws(() => ask(guest), { code: "E_GUEST_TRAPPED" })
      assert.equal(ask(guest), 7)
      assert.equal(ask(guest, "on_response"), 1, "its memory is new, too")
    })
  }
})

describe("a guest that calls the host with its stack almost full", () => {
  const RECURSES = `(module
    (import "host" "call" (func $call (param i32) (result i32)))
    (memory (export "memory") 1)
    (func $deeper (export "on_request") (result i32)
      (drop (call $call (i32.const 1)))
      (i32.add (call $deeper) (i32.const 1)))
    (func (export "on_response") (result i32) (i32.const 0)))`

  for (const wait of [undefined, async () => 0]) {
    it(`never cuts the host's function off in the middle${wait === undefined ? "" : ", on a stack of its own"}`, async () => {
      let begun = 0
      let ended = 0
      const work = (depth: number): number => (depth === 0 ? 0 : work(depth - 1) + 1)
      const call = () => {
        begun++
        work(50)
        ended++
        return 0
      }
      await using guest = await ready(RECURSES, { call, ...(wait === undefined ? {} : { wait }) })
      for (let i = 0; i < 3; i++) {
        await assert.rejects(async () => ask(guest, "on_request", { cpuMs: 60_000, wallMs: 60_000 }), {
          code: /^E_LIMIT_(STACK|FUEL)$/,
        })
        assert.equal(begun, ended)
        assert.equal(ask(guest, "on_response"), 0)
      }
      assert.ok(begun > 1000)
    })
  }
})

describe("a guest that waits", () => {
  const WAITS = `(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (memory (export "memory") 1)
    (global $calls (mut i32) (i32.const 0))
    (func (export "on_request") (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (i32.add (call $wait (global.get $calls)) (i32.mul (i32.const 10) (global.get $calls))))
    (func (export "on_response") (result i32) (global.get $calls))
    (func (export "on_reload") (result i32) (drop (call $wait (i32.const 9))) (loop $l (br $l)) (i32.const 0))
    (func $deep (export "on_queue_message") (result i32) (drop (call $wait (i32.const 1))) (call $deep))
    (func (export "cleanup") (result i32) unreachable))`

  it("answers at once where it does not wait, and fails later where it traps", async () => {
    await using guest = await ready(WAITS, { wait: async () => 0 })
    assert.equal(ask(guest, "on_response"), 0)
    await assert.rejects(async () => ask(guest, "cleanup"), { code: "E_GUEST_TRAPPED" })
    assert.equal(ask(guest, "on_response"), 0)
  })

  it("has its shared instance to itself: other calls take turns, in order", async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    await using guest = await ready(WAITS, { wait: () => promise.then(() => 1) })
    const answers = [ask(guest), ask(guest, "on_response"), ask(guest)]
    assert.equal(guest.instances, 1)
    resolve()
    assert.deepEqual(await Promise.all(answers), [11, 1, 21])
  })

  it("waits in instances of its own when fresh", async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    await using guest = await ready(WAITS, { mode: "fresh", wait: () => promise.then(() => 1) })
    const answers = [ask(guest), ask(guest), ask(guest)]
    assert.equal(guest.instances, 3)
    resolve()
    assert.deepEqual(await Promise.all(answers), [11, 11, 11])
    assert.equal(ask(guest, "on_response"), 0)
  })

  it("is unwound when its time is over, and whoever waited for its instance has a new one", async () => {
    const never = new Promise<number>(() => {})
    await using guest = await ready(WAITS, { wait: () => never })
    const stuck = ask(guest, "on_request", { wallMs: 30 })
    const next = ask(guest, "on_response")
    await assert.rejects(async () => stuck, { code: "E_LIMIT_TIME" })
    assert.equal(await next, 0)
    assert.equal(guest.generation, 1)
  })

  it("is not waited for any more by what it waited for, once its time is over", async () => {
    let stopped = 0
    const never = new Promise<number>(() => {})
    await using guest = await ready(WAITS, { wait: () => never, stop: () => stopped++ })
    await assert.rejects(async () => ask(guest, "on_request", { wallMs: 20 }), { code: "E_LIMIT_TIME" })
    assert.equal(stopped, 1)
  })

  it("gives up its turn when its own time is over", async () => {
    const never = new Promise<number>(() => {})
    await using guest = await ready(WAITS, { wait: () => never })
    const stuck = ask(guest, "on_request", { wallMs: 5_000 })
    await assert.rejects(async () => ask(guest, "on_response", { wallMs: 30 }), {
      code: "E_LIMIT_TIME",
      message: /turn/,
    })
    await guest[Symbol.asyncDispose]()
    await assert.rejects(async () => stuck, { code: "E_GUEST_EXITED" })
  })

  it("has one budget of CPU time and fuel over all its waits", async () => {
    await using guest = await ready(WAITS, { wait: async () => 0 })
    await assert.rejects(async () => ask(guest, "on_reload", { cpuMs: 30, fuel: 1e12 }), { code: "E_LIMIT_CPU" })
    await assert.rejects(async () => ask(guest, "on_reload", { fuel: 200_000 }), { code: "E_LIMIT_FUEL" })
    assert.equal(ask(guest, "on_response"), 0)
  })

  it("ends with a coded error when its stack is full of waits", async () => {
    await using guest = await ready(WAITS, { wait: async () => 0 })
    await assert.rejects(async () => ask(guest, "on_queue_message", { wallMs: 60_000, cpuMs: 60_000 }), {
      code: /^E_LIMIT_(STACK|FUEL)$/,
    })
    assert.equal(ask(guest, "on_response"), 0)
  })

  it("leaves no stack behind when it is abandoned, a thousand times", async () => {
    const never = new Promise<number>(() => {})
    await using guest = await ready(WAITS, { mode: "fresh", wait: () => never, limits: { maxInstances: 1 } })
    for (let i = 0; i < 1000; i++) {
      const abort = new AbortController()
      const stuck = guest.call({ ...request(new RecordingExchange("/")), signal: abort.signal })
      abort.abort()
      await assert.rejects(async () => stuck, { code: "E_LIMIT_TIME" })
    }
    assert.equal(ask(guest, "on_response"), 0)
    assert.equal(guest.instances, 1)
  })

  it("ends with what the host failed with, and does not go on", async () => {
    await using guest = await ready(WAITS, { wait: () => Promise.reject(new Error("a bug")) })
    await assert.rejects(async () => ask(guest), { code: "E_INTERNAL" })
    assert.equal(ask(guest, "on_response"), 0)
  })

  it("is not called any more once the plugin is unloaded", async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const guest = await ready(WAITS, { wait: () => promise.then(() => 1) })
    const answers = [ask(guest), ask(guest)]
    await guest[Symbol.asyncDispose]()
    for (const answer of answers) await assert.rejects(async () => answer, { code: "E_GUEST_EXITED" })
    resolve()
    await assert.rejects(async () => ask(guest), { code: "E_GUEST_EXITED" })
  })
})

async function ready(wat: string, options: Parameters<typeof loadAny>[1] = {}) {
  const guest = await loadAny(wat, options)
  await guest.ready(guest.hooks.has("on_server_start") ? event("on_server_start", []) : null)
  return guest
}

function ask(guest: Sandbox, hook: HookName = "on_request", limits: Partial<CallLimits> = {}) {
  return guest.call({ ...request(new RecordingExchange("/"), limits), hook })
}
