import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { HookName } from "../../src/hooks.ts"
import { InstanceAccount } from "../../src/sandbox/limits/instance-account.ts"
import type { CallLimits, Sandbox } from "../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../contracts/recording-exchange.ts"
import { event, request } from "../contracts/sandbox-contract.ts"
import { type AnyGuestOptions, loadAny } from "../sandbox/wasm/any-abi.ts"

const MIB = 1024 * 1024

describe("a WebAssembly guest whose call was given up", () => {
  const CALLS = `(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (import "host" "call" (func $call (param i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "on_request") (result i32)
      (drop (call $wait (i32.const 0)))
      (loop $for_ever (drop (call $call (i32.const 0))) (br $for_ever))
      (i32.const 0))
    (func (export "cleanup") (result i32) (i32.const 7)))`

  for (const mode of ["shared", "fresh"] as const) {
    it(`${mode}: cannot go on because its wait ended at that very moment`, async () => {
      const { promise, resolve } = Promise.withResolvers<number>()
      let calls = 0
      const call = () => ++calls
      await using guest = await ready(CALLS, { mode, wait: () => promise, call })
      const abort = new AbortController()
      const limits = { cpuMs: 60_000, wallMs: 60_000, fuel: 2_000_000_000 }
      const given = guest.call({ ...request(new RecordingExchange("/"), limits), signal: abort.signal })
      resolve(0)
      // After the host has heard of the end of the wait, before the guest has.
      queueMicrotask(() => abort.abort())
      await assert.rejects(async () => given, { code: "E_LIMIT_TIME" })
      // The guest would run in this turn of the loop.
      await new Promise(setImmediate)
      assert.equal(calls, 0)
      assert.equal(await ask(guest, "cleanup"), 7)
    })
  }
})

describe("a WebAssembly guest that is started again", () => {
  /** Waits in on_server_start from the second time on. */
  const WAITS_LATER = `(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (import "host" "call" (func $call (param i32) (result i32)))
    (memory (export "memory") 1)
    (table $t 1 funcref)
    (func (export "on_server_start") (result i32)
      (table.set $t (i32.const 0) (ref.null func))
      (if (i32.gt_s (call $call (i32.const 0)) (i32.const 1)) (then (drop (call $wait (i32.const 0)))))
      (i32.const 0))
    (func (export "on_request") (result i32) (i32.const 6))
    (func (export "cleanup") (result i32) unreachable))`

  it("cannot take the plugin out of service by waiting where it did not before", async () => {
    let starts = 0
    await using guest = await ready(WAITS_LATER, { wait: async () => 0, call: () => ++starts })
    assert.equal(await ask(guest), 6)
    await assert.rejects(async () => ask(guest, "cleanup"), { code: "E_GUEST_TRAPPED" })
    await assert.rejects(async () => ask(guest), { code: "E_GUEST_TRAPPED", message: /on_server_start waited/ })
    starts = 0
    assert.equal(await ask(guest), 6)
  })
})

describe("calls that wait for their turn at a WebAssembly guest", () => {
  it("cannot keep everybody else from the thread when it comes", async () => {
    const BURNS = `(module
      (import "host" "wait" (func $wait (param i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "on_request") (result i32) (call $wait (i32.const 0)))
      (func (export "on_response") (result i32) (local $turns i32)
        (local.set $turns (i32.const 2000000))
        (loop $again
          (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
          (br_if $again (local.get $turns)))
        (i32.const 5)))`
    const { promise, resolve } = Promise.withResolvers<number>()
    await using guest = await ready(BURNS, { wait: () => promise })
    const limits = { cpuMs: 60_000, wallMs: 60_000, fuel: 100_000_000 }
    const calls = [ask(guest), ...Array.from({ length: 200 }, () => ask(guest, "on_response", limits))]
    let others = 0
    let served = false
    const next = () => {
      if (served) return
      others++
      setImmediate(next)
    }
    setImmediate(next)
    resolve(1)
    assert.deepEqual(await Promise.all(calls), [1, ...Array(200).fill(5)])
    served = true
    assert.ok(others > 3, `others had the thread ${others} times`)
  })
})

describe("a fresh WebAssembly guest", () => {
  it("cannot compute for longer than a request may by being started anew for each", async () => {
    const STARTS = `(module
      (memory (export "memory") 1)
      (table $t 1 funcref)
      (func $start (local $turns i32)
        (local.set $turns (i32.const 1000000))
        (loop $again
          (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
          (br_if $again (local.get $turns))))
      (start $start)
      (func (export "on_request") (result i32)
        (table.set $t (i32.const 0) (ref.null func))
        (i32.const 3)))`
    await using guest = await ready(STARTS, { mode: "fresh" })
    assert.equal(ask(guest), 3, "the instance it was loaded in")
    assert.equal(ask(guest), 3)
    assert.throws(() => ask(guest, "on_request", { fuel: 100_000 }), { code: "E_LIMIT_FUEL", message: /start/ })
    assert.equal(ask(guest), 3)
  })

  it("cannot hide what it costs to wipe its memory after each request", async () => {
    const LARGE = `(module
      (memory (export "memory") 1024)
      (func (export "on_request") (result i32) (i32.const 9)))`
    await using guest = await ready(LARGE, { mode: "fresh", limits: { memoryBytes: 64 * MIB } })
    const beganMs = performance.now()
    for (let i = 0; i < 20; i++) assert.equal(ask(guest), 9)
    const tookMs = performance.now() - beganMs
    assert.ok(guest.busyMs > tookMs / 2, `busy for ${guest.busyMs} of ${tookMs} ms`)
  })

  it("cannot have more memory than all plugins may by waiting with it", async () => {
    const WAITS = `(module
      (import "host" "wait" (func $wait (param i32) (result i32)))
      (memory (export "memory") 1 64)
      (func (export "on_request") (result i32)
        (drop (memory.grow (i32.const 63)))
        (call $wait (i32.const 0)))
      (func (export "on_response") (result i32) (memory.size)))`
    const { promise, resolve } = Promise.withResolvers<number>()
    const account = new InstanceAccount({ maxInstances: 100, maxBytes: 16 * MIB })
    await using guest = await ready(WAITS, { mode: "fresh", account, wait: () => promise })
    const calls = Array.from({ length: 20 }, async () => ask(guest))
    assert.ok(guest.memoryBytes <= 16 * MIB, `${guest.memoryBytes} bytes`)
    const settled = Promise.allSettled(calls)
    resolve(8)
    const answers = (await settled).filter(({ status }) => status === "fulfilled")
    assert.equal(answers.length, 4, "of 4 MiB each")
    assert.equal(await ask(guest, "on_response"), 1)
  })

  it("cannot make the process keep the memory of instances that are gone", async () => {
    const GROWS = `(module
      (memory (export "memory") 1 1024)
      (func (export "on_request") (result i32)
        (drop (memory.grow (i32.const 1023)))
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 67108864))
        (i32.const 4)))`
    await using guest = await ready(GROWS, { mode: "fresh", limits: { memoryBytes: 64 * MIB } })
    const before = process.memoryUsage.rss()
    let most = 0
    for (let i = 0; i < 32; i++) {
      assert.equal(ask(guest), 4)
      await new Promise(setImmediate)
      most = Math.max(most, process.memoryUsage.rss())
    }
    assert.ok(most - before < 1024 * MIB, `${Math.round((most - before) / MIB)} MiB more`)
  })
})

async function ready(wat: string, options: AnyGuestOptions = {}) {
  const guest = await loadAny(wat, options)
  await guest.ready(guest.hooks.has("on_server_start") ? event("on_server_start", []) : null)
  return guest
}

function ask(guest: Sandbox, hook: HookName = "on_request", limits: Partial<CallLimits> = {}) {
  const call = request(new RecordingExchange("/"), { cpuMs: 60_000, wallMs: 60_000, fuel: 100_000_000, ...limits })
  return guest.call({ ...call, hook })
}
