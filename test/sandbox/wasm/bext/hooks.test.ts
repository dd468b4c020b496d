import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { HookName } from "../../../../src/hooks.ts"
import type { Json } from "../../../../src/sandbox/sandbox.ts"
import { HOOK_EXPORTS } from "../../../../src/sandbox/wasm/bext/hook-exports.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import { event, LIMITS } from "../../../contracts/sandbox-contract.ts"
import { BUMP_ALLOCATOR, importsOf, loadBext } from "./bext-guest.ts"

describe("what a hook is given", () => {
  const entry = { body: "x", tags: [] }
  for (const [hook, params, texts] of [
    ["on_server_start", [{ greeting: "hällo" }], ['{"greeting":"hällo"}']],
    ["on_server_stop", [], ["null"]],
    ["on_request_complete", [{ path: "/p" }], ['{"path":"/p"}']],
    ["on_cache_write", ["/key\u00e4", ["a", "b"]], ["/keyä", '["a","b"]']],
    ["on_cache_write", ["", []], ["", "[]"]],
    ["on_cache_invalidate", ["/p/**", 3], ['["/p/**",3]']],
    ["on_reload", [], ["null"]],
    ["on_queue_message", [{ value: 1 }], ['{"value":1}']],
    ["cleanup", [], ["null"]],
    ["transform", ["const ä = 1", "a.ts", { node_env: "test" }], ["const ä = 1", "a.ts", '{"node_env":"test"}']],
    ["cache_get", ["k"], ['["k"]']],
    ["cache_set", ["k", entry, null], [JSON.stringify(["k", entry, null])]],
    ["cache_is_healthy", [], ["[]"]],
  ] as const satisfies [HookName, Json[], string[]][]) {
    it(`is each parameter of ${hook} as a text of its own (${JSON.stringify(params)})`, async () => {
      const services = new RecordingServices()
      await using guest = await loadBext(loggingGuest(hook), { services })
      services.lines.length = 0
      assert.equal(await guest.call(event(hook, params)), undefined)
      assert.deepEqual(
        services.lines,
        texts.map((text) => `info ${text}`),
      )
    })
  }

  it("is not over the limit: nothing of the guest runs then", async () => {
    const services = new RecordingServices()
    await using guest = await loadBext(loggingGuest("on_cache_write"), { services })
    const long = "ä".repeat(LIMITS.messageBytes / 2 + 1)
    for (const params of [
      [long, []],
      ["", [long]],
    ]) {
      await assert.rejects(async () => guest.call(event("on_cache_write", params)), { code: "E_LIMIT_MESSAGE" })
    }
    assert.deepEqual([guest.generation, services.lines], [0, []])
  })
})

describe("what a hook returns", () => {
  it("is 0 or a negative number, where it has no request", async () => {
    for (const result of [1, 2, 2_147_483_647]) {
      await assert.rejects(answer("on_reload", `(i32.const ${result})`), {
        code: "E_GUEST_RESULT_INVALID",
        message: `guest: on_reload returned ${result}; expected 0 or a negative number [E_GUEST_RESULT_INVALID]`,
      })
    }
    await assert.rejects(answer("on_reload", "(i32.const -1)"), { code: "E_GUEST_THREW" })
    assert.equal(await answer("on_reload", "(i32.const 0)"), undefined)
  })

  it("is the text that transform made, an empty one too, or nothing", async () => {
    assert.equal(await answer("transform", buffer(16, 7)), "tränsf")
    assert.equal(await answer("transform", buffer(16, 0)), "")
    assert.equal(await answer("transform", "(i64.const 0)"), undefined)
  })

  it("is the JSON that a hook of a cache made, or nothing", async () => {
    assert.deepEqual(await answer("cache_get", buffer(32, 12)), { a: [null] })
    assert.equal(await answer("cache_get", "(i64.const 0)"), undefined)
    for (const wrong of [buffer(32, 0), buffer(32, 11), buffer(16, 7)]) {
      await assert.rejects(answer("cache_get", wrong), {
        code: "E_GUEST_RESULT_INVALID",
        message: /cache_get returned a buffer that is not JSON/,
      })
    }
  })

  it("may be a failure instead of a buffer", async () => {
    for (const [code, expected] of [
      [-1, "E_GUEST_THREW"],
      [-2_147_483_648, "E_GUEST_THREW"],
    ] as const) {
      await assert.rejects(answer("transform", buffer(0, code)), { code: expected })
    }
  })

  it("lies in the memory and is text within the limit", async () => {
    for (const [result, code] of [
      [buffer(65_535, 2), "E_GUEST_TRAPPED"],
      [buffer(-1, 1), "E_GUEST_TRAPPED"],
      [buffer(1, -1), "E_GUEST_TRAPPED"],
      ["(i64.const -1)", "E_GUEST_TRAPPED"],
      [buffer(0, 1), "E_GUEST_RESULT_INVALID"],
      [buffer(48, 1), "E_GUEST_RESULT_INVALID"],
    ] as const) {
      await assert.rejects(answer("transform", result), { code })
    }
    await assert.rejects(answer("transform", buffer(1, LIMITS.messageBytes + 1), 2), { code: "E_LIMIT_MESSAGE" })
  })
})

/** Runs a hook whose result is that expression. */
async function answer(hook: HookName, expression: string, pages = 1): Promise<Json | undefined> {
  const { type } = HOOK_EXPORTS[hook]
  const [, parameters, results] = /^\((.*)\) -> \((.*)\)$/.exec(type)!
  await using guest = await loadBext(`(module (memory (export "memory") ${pages}) ${BUMP_ALLOCATOR}
    (data (i32.const 16) "tr\\c3\\a4nsf ") (data (i32.const 32) "{\\"a\\":[null]}") (data (i32.const 48) "\\ff")
    (func (export "${hook}") (param ${parameters}) (result ${results}) ${expression}))`)
  return guest.call(event(hook, []))
}

function buffer(address: number, length: number): string {
  return `(i64.or (i64.shl (i64.extend_i32_u (i32.const ${address})) (i64.const 32)) (i64.extend_i32_u (i32.const ${length})))`
}

/** A guest that logs every text that it is given. */
function loggingGuest(hook: HookName): string {
  const [, parameters, results] = /^\((.*)\) -> \((.*)\)$/.exec(HOOK_EXPORTS[hook].type)!
  const count = parameters!.split(" ").length / 2
  const log = (i: number) => `(call $log (i32.const 16) (i32.const 4) (local.get ${2 * i}) (local.get ${2 * i + 1}))`
  return `(module ${importsOf(["log"])} (memory (export "memory") 1) ${BUMP_ALLOCATOR} (data (i32.const 16) "info")
    (func (export "${hook}") (param ${parameters}) (result ${results})
      ${Array.from({ length: count }, (_, i) => log(i)).join("\n")} (${results}.const 0)))`
}
