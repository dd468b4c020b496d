import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { ErrorCode } from "../../../../src/errors.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { event, request } from "../../../contracts/sandbox-contract.ts"
import { importsOf, loadBext } from "./bext-guest.ts"
import { runSteps, type Step } from "./run-steps.ts"

/** An allocator with that body; its parameter is `$size`. */
const allocator = (body: string) => `(func $bext_alloc (export "bext_alloc") (param $size i32) (result i32) ${body})`

describe("an allocator", () => {
  for (const [what, body, code, message] of [
    ["returns 0", "(i32.const 0)", "E_LIMIT_MEMORY", /on_request: bext_alloc has no memory for 5 bytes/],
    [
      "returns an address behind the memory",
      "(i32.const 65536)",
      "E_GUEST_TRAPPED",
      /got address 65536 of bext_alloc for 5 bytes, but its memory ends at 65536/,
    ],
    ["returns an address whose end is behind the memory", "(i32.const 65532)", "E_GUEST_TRAPPED", /got address 65532/],
    ["returns a negative address", "(i32.const -1)", "E_GUEST_TRAPPED", /got address 4294967295/],
    ["returns the smallest number", "(i32.const -2147483648)", "E_GUEST_TRAPPED", /got address 2147483648/],
    ["traps", "unreachable", "E_GUEST_TRAPPED", /unreachable/],
    ["never returns", "(loop (br 0)) unreachable", "E_LIMIT_CPU", /CPU time/],
    ["calls itself for ever", "(call $bext_alloc (local.get $size))", "E_LIMIT_STACK", /recursed too deeply/],
  ] as const satisfies [string, string, ErrorCode, RegExp][]) {
    it(`that ${what} ends the call, and the next one works`, async () => {
      const calm = "(if (i32.eqz (global.get $wild)) (then (return (i32.const 4096))))"
      await using guest = await loadBext(`(module ${importsOf(["get_path", "get_status"])}
        (memory (export "memory") 1) (global $wild (mut i32) (i32.const 0))
        ${allocator(`${calm} ${body}`)}
        (func (export "on_request") (result i32)
          (global.set $wild (i32.const 1)) (drop (call $get_path)) (i32.const 0))
        (func (export "on_response") (result i32)
          (i32.sub (i32.wrap_i64 (call $get_path)) (i32.const 5))))`)
      const limits = { cpuMs: 50, wallMs: 5000, fuel: 1e12 }
      await assert.rejects(async () => guest.call({ ...request(new RecordingExchange("/path")), limits }), {
        code,
        message,
      })
      const exchange = new RecordingExchange("/path", "response")
      await guest.call({ ...request(exchange), hook: "on_response" })
    })
  }

  it("that returns the last bytes, odd ones, or the same again is taken at its word", async () => {
    for (const address of [65_531, 4097, 1, 16_384]) {
      const { text, memory } = await runSteps([["get_path"], ["get_method"]], {
        allocator: allocator(`(i32.const ${address})`),
      })
      // The second text lies over the first.
      assert.deepEqual([text(0), text(1)], ["GETth", "GET"])
      assert.equal(memory.toString("latin1", address, address + 5), "GETth")
    }
  })

  it("is asked for one byte at least", async () => {
    const { memory, results } = await runSteps([["get_path"]], {
      exchange: new RecordingExchange(""),
      allocator: allocator("(i32.store (i32.const 16) (local.get $size)) (i32.const 65536)"),
    })
    assert.equal(memory.readInt32LE(16), 1)
    // Nothing is written there, so the end of the memory will do.
    assert.equal(results[0], 65_536n << 32n)
  })

  it("may grow the memory: what it returns lies in the new part", async () => {
    const grow = "(i32.mul (memory.grow (i32.const 1)) (i32.const 65536))"
    for (const path of ["/path", `/${"ä".repeat(3000)}`]) {
      const copy = `(func $copy (param $from i64)
        (memory.copy (i32.const 40000) (i32.wrap_i64 (i64.shr_u (local.get $from) (i64.const 32))) (i32.wrap_i64 (local.get $from))))`
      await using guest = await loadBext(`(module ${importsOf(["get_path", "respond"])}
        (memory (export "memory") 1) ${allocator(grow)} ${copy}
        (func (export "on_request") (result i32) (local $path i64)
          (local.set $path (call $get_path))
          (call $copy (local.get $path))
          (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 40000) (i32.wrap_i64 (local.get $path))))
          (i32.const 1)))`)
      for (let i = 0; i < 3; i++) {
        const exchange = new RecordingExchange(path)
        await guest.call(request(exchange))
        assert.equal(exchange.text, path)
      }
    }
  })

  it("may call the host, which then works through the inner call first", async () => {
    const inner = `(if (i32.eqz (i32.load (i32.const 16)))
        (then
          (i32.store (i32.const 16) (i32.const 1))
          (i64.store (i32.const 24) (call $get_method))
          (drop (call $set_header (i32.const 0) (i32.const 32) (i32.const 3) (i32.const 35) (i32.const 1)))
          (return (i32.const 4096))))
      (i32.const 8192)`
    const { text, memory, exchange } = await runSteps([["get_path"], ["get_method"], ["set_header", 0, "x-y", "z"]], {
      allocator: `(data (i32.const 32) "x-av") ${allocator(inner)}`,
    })
    assert.deepEqual([text(0), memory.readBigInt64LE(24)], ["/path", (8192n << 32n) | 3n])
    assert.equal(exchange.header("request", "x-a"), "v")
  })

  it("that calls what allocates without end ends with its stack or its budget", async () => {
    const { code } = await failure([["get_path"]], "(drop (call $get_path)) (i32.const 4096)")
    assert.match(code, /^E_LIMIT_(STACK|CPU|FUEL)$/)
  })

  it("that changes what the host is about to give does not change what it gives", async () => {
    const change = `(drop (call $set_path (i32.const 32) (i32.const 4)))
      (drop (call $set_body (i32.const 0) (i32.const 32) (i32.const 2)))
      (drop (call $storage_delete (i32.const 36) (i32.const 1)))
      (drop (call $storage_set (i32.const 36) (i32.const 1) (i32.const 32) (i32.const 2)))
      (i32.const 8192)`
    const run = await runSteps([["get_path"], ["storage_delete", ""], ["set_path", ""], ["set_body", 0, ""]], {
      allocator: `(data (i32.const 32) "/newk") ${allocator(change)}`,
    })
    assert.equal(run.text(0), "/path")
    const storage = new RecordingServices()
    storage.storage(null).set("k", "old value", 0)
    const stored = await runSteps(
      [
        ["storage_get", "k"],
        ["set_path", ""],
        ["set_body", 0, ""],
        ["storage_delete", ""],
      ],
      {
        services: storage,
        allocator: `(data (i32.const 32) "/newk") ${allocator(change)}`,
      },
    )
    assert.equal(stored.text(0), "old value")
  })

  it("is not asked for what is refused, nor for what is none", async () => {
    const steps: Step[] = [["get_headers", 7], ["get_site_id"], ["get_config", "missing"], ["get_secret", "OTHER"]]
    const { results } = await runSteps(steps, { allocator: allocator("unreachable") })
    assert.deepEqual(results.slice(1, 3), [0n, 0n])
  })

  it("has to work for what a hook is given, too", async () => {
    for (const [body, code] of [
      ["(i32.const 0)", "E_LIMIT_MEMORY"],
      ["(i32.const 65536)", "E_GUEST_TRAPPED"],
      ["unreachable", "E_GUEST_TRAPPED"],
      ["(loop (br 0)) unreachable", "E_LIMIT_FUEL"],
    ] as const) {
      await using guest = await loadBext(`(module (memory (export "memory") 1) ${allocator(body)}
        (func (export "on_request_complete") (param i32 i32) (result i32) (i32.const 0)))`)
      const limits = { cpuMs: 5000, wallMs: 5000, fuel: 1_000_000 }
      await assert.rejects(async () => guest.call({ ...event("on_request_complete", [{}]), limits }), { code })
    }
  })
})

async function failure(steps: Step[], body: string): Promise<{ code: string }> {
  try {
    await runSteps(steps, { allocator: allocator(body) })
  } catch (error) {
    return error as { code: string }
  }
  throw new Error("it did not fail")
}
