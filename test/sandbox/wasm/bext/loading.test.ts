import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { request } from "../../../contracts/sandbox-contract.ts"
import { BUMP_ALLOCATOR, importsOf, loadBext } from "./bext-guest.ts"

const HOOK = `(func (export "on_request") (result i32) (i32.const 0))`
const GUEST = `(memory (export "memory") 1) ${BUMP_ALLOCATOR}`

describe("a module that is being loaded", () => {
  for (const [where, wrap] of [
    ["its start function", (body: string) => `(func $init ${body}) (start $init)`],
    ["_initialize", (body: string) => `(func (export "_initialize") ${body})`],
  ] as const) {
    it(`may log, read its configuration, take the time and hash in ${where}`, async () => {
      const services = new RecordingServices()
      await using _ = await loadBext(
        `(module ${importsOf(["log", "get_config", "clock_now", "clock_monotonic", "random", "sha256", "last_error", "fail"])}
          ${GUEST} ${HOOK} (data (i32.const 0) "infogreeting") (global $config (mut i64) (i64.const 0))
          ${wrap(`
            (global.set $config (call $get_config (i32.const 4) (i32.const 8)))
            (call $log (i32.const 0) (i32.const 4)
              (i32.wrap_i64 (i64.shr_u (global.get $config) (i64.const 32))) (i32.wrap_i64 (global.get $config)))
            (if (i64.lt_s (call $clock_now) (i64.const 1000000000000)) (then unreachable))
            (if (i64.lt_s (call $clock_monotonic) (i64.const 0)) (then unreachable))
            (if (call $random (i32.const 64) (i32.const 8)) (then unreachable))
            (if (call $sha256 (i32.const 0) (i32.const 4) (i32.const 64)) (then unreachable))
            (call $fail (i32.const 0) (i32.const 4))
            (if (i64.ne (call $last_error) (i64.const 0)) (then unreachable))`)})`,
        { services },
      )
      assert.deepEqual(services.lines, ["info hello"])
    })

    it(`is refused everything else in ${where}`, async () => {
      const services = new RecordingServices()
      await using _ = await loadBext(
        `(module ${importsOf(["get_path", "get_status", "is_leader", "get_secret", "storage_get", "storage_set", "emit_metric", "last_error", "log"])}
          ${GUEST} ${HOOK} (data (i32.const 0) "infoKEY") (global $error (mut i64) (i64.const 0))
          ${wrap(`
            (if (i64.ne (call $get_path) (i64.const 0xfffffffd)) (then unreachable))
            (if (i32.ne (call $get_status) (i32.const -3)) (then unreachable))
            (if (i32.ne (call $is_leader) (i32.const -3)) (then unreachable))
            (if (i64.ne (call $get_secret (i32.const 4) (i32.const 3)) (i64.const 0xfffffffd)) (then unreachable))
            (if (i64.ne (call $storage_get (i32.const 4) (i32.const 3)) (i64.const 0xfffffffd)) (then unreachable))
            (if (i32.ne (call $storage_set (i32.const 4) (i32.const 3) (i32.const 4) (i32.const 3)) (i32.const -3)) (then unreachable))
            (call $emit_metric (i32.const 4) (i32.const 3) (f64.const 1) (i32.const 0) (i32.const 0))
            (global.set $error (call $last_error))
            (call $log (i32.const 0) (i32.const 4)
              (i32.wrap_i64 (i64.shr_u (global.get $error) (i64.const 32))) (i32.wrap_i64 (global.get $error)))`)})`,
        { services },
      )
      assert.match(services.lines[0] ?? "", /^info E_PERMISSION: called while the module is being loaded/)
      assert.deepEqual([services.metrics, services.partitions.size], [[], 0])
    })
  }

  it("is initialised once, before its first hook, and not again for later calls", async () => {
    await using guest = await loadBext(`(module ${importsOf(["set_status", "respond"])} ${GUEST}
      (global $count (mut i32) (i32.const 0)) (data (i32.const 0) "0123456789")
      (func (export "_initialize") (global.set $count (i32.add (global.get $count) (i32.const 1))))
      (func (export "on_request") (result i32)
        (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (global.get $count) (i32.const 1)))
        (i32.const 1)))`)
    for (let i = 0; i < 2; i++) {
      const exchange = new RecordingExchange("/")
      await guest.call(request(exchange))
      assert.equal(exchange.text, "1")
    }
  })

  it("may not wait in _initialize", async () => {
    const wat = `(module ${importsOf(["storage_flush"])} ${GUEST} ${HOOK}
      (func (export "_initialize") (drop (call $storage_flush))))`
    await assert.rejects(loadBext(wat), {
      code: "E_PLUGIN_LOAD_FAILED",
      message: /_initialize called a function that waits where the host does not wait/,
    })
  })

  it("fails with what went wrong in _initialize", async () => {
    const wat = `(module ${GUEST} ${HOOK} (func $give_up (export "_initialize") unreachable))`
    await assert.rejects(loadBext(wat), { code: "E_PLUGIN_LOAD_FAILED", message: /unreachable in give_up/ })
  })
})
