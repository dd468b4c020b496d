import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../../../src/errors.ts"
import { HTTP_HANDLER_TYPES } from "../../../../src/sandbox/wasm/http-wasm/types.ts"
import { WASI_TYPES } from "../../../../src/sandbox/wasm/wasi/types.ts"
import { mulberry32 } from "../../../support/mulberry32.ts"
import { type HttpWasmText, httpWasmGuest } from "./http-wasm-guest.ts"

/** How a call may end that the guest is to blame for. */
const ENDS = new Set([
  "E_GUEST_RESULT_INVALID",
  "E_GUEST_TRAPPED",
  "E_LIMIT_MESSAGE",
  "E_LIMIT_FUEL",
  "E_PERMISSION",
  "E_HEADER_FORBIDDEN",
  "E_HEADER_INVALID",
  "E_STATUS_INVALID",
  "E_BODY_NOT_DECLARED",
  "E_PATH_REWRITE",
  "E_QUERY_REWRITE",
  "E_METHOD_REWRITE",
])

const FUNCTIONS = [...HTTP_HANDLER_TYPES, ...[...WASI_TYPES].map(([name, type]) => [`wasi_${name}`, type] as const)]

/** Addresses, lengths, kinds, counts: mostly such as lead somewhere, some at the edges. */
const NUMBERS = [0, 1, 2, 3, 4, 8, 16, 64, 200, 404, 1000, 1008, 2000, 65_536, 131_064, 131_071, 131_072, 2 ** 31 - 1]
const NEGATIVE = [-1, -2, -8, -65_536, -(2 ** 31)]
const LONG = [0n, 1n, 2n ** 31n, 2n ** 32n, 2n ** 63n - 1n, -1n, -(2n ** 63n)]

describe("a guest of the http-wasm ABI that passes anything to anything", () => {
  for (let seed = 1; seed <= 60; seed++) {
    it(`gets a result, or its call ends with a code, and the next one is served (seed ${seed})`, async (t) => {
      const random = mulberry32(seed)
      const guest = await httpWasmGuest(t, { ...anyModule(random), body: "both" })
      const input = {
        query: "q=1",
        headers: [
          ["x-one", "1"],
          ["x-two", "2, 3"],
        ],
        body: "body",
      } as const
      let context: ReturnType<typeof guest.request> | undefined
      for (let call = 0; call < 3; call++) {
        context = endsWell(() => guest.request(input)) ?? context
        if (context !== undefined) endsWell(() => guest.respond(context!))
      }
    })
  }
})

function endsWell<T>(run: () => T): T | undefined {
  try {
    return run()
  } catch (error) {
    assert.ok(error instanceof PluginError, String(error))
    assert.ok(ENDS.has(error.code), `${error.code}: ${error.message}`)
    return undefined
  }
}

function anyModule(random: () => number): HttpWasmText {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const argument = (type: string) => {
    if (type === "i64") return `(i64.const ${pick(LONG)})`
    return `(i32.const ${random() < 0.9 ? pick(NUMBERS) : pick(NEGATIVE)})`
  }
  const call = () => {
    const [name, type] = pick(FUNCTIONS)
    const parameters = type.slice(1, type.indexOf(")")).split(" ").filter(Boolean)
    return `(call $${name} ${parameters.map(argument).join(" ")}) ${type.endsWith("()") ? "" : "drop"}`
  }
  const calls = (count: number) => Array.from({ length: count }, call).join("\n")
  const imports = [...WASI_TYPES].map(([name, type]) => {
    const [, parameters, results] = /^\((.*)\) -> \((.*)\)$/.exec(type)!
    const signature = `(param ${parameters}) (result ${results})`
    return `(import "wasi_snapshot_preview1" "${name}" (func $wasi_${name} ${signature}))`
  })
  return {
    imports: imports.join("\n"),
    fields:
      '(data (i32.const 1000) "x-one\\00\\00\\00/path?q=1\\ff\\fe\\0d\\0a") (data (i32.const 16) "\\e8\\03\\00\\00\\08\\00\\00\\00")',
    request: `${calls(6)} (i64.const ${pick([0n, 1n, 1n, 2n, (5n << 32n) | 1n, -1n])})`,
    response: calls(6),
  }
}
