import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../src/errors.ts"
import { createWasmTier } from "../../src/sandbox/wasm/tier.ts"
import { toWasm } from "../sandbox/metering/support.ts"
import { writeWasm } from "../sandbox/wasm/write-wasm.ts"

const tier = createWasmTier()

const BEXT = `(memory (export "memory") 1)
  (func (export "bext_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "on_request") (result i32) (i32.const 0))`
const HTTP_WASM = `(memory (export "memory") 1)
  (func (export "handle_request") (result i64) (i64.const 1))
  (func (export "handle_response") (param i32 i32))`

/** A line break, what clears a screen, the same in one character, a line break for JavaScript, text to the left; in UTF-8. */
const DRAWING = "a\\0aFORGED \\1b[2J \\c2\\9b2J \\e2\\80\\a8 \\e2\\80\\ae"
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u202e]/

describe("a module that is refused", () => {
  for (const [abi, rest] of Object.entries({ bext: BEXT, "http-wasm": HTTP_WASM })) {
    for (const module of ["bext", "http_handler", "wasi_snapshot_preview1", DRAWING]) {
      it(`cannot write to a terminal by the names of what it imports: ${abi}, ${JSON.stringify(module)}`, async () => {
        for (const name of [DRAWING, "y".repeat(100_000)]) {
          const wat = `(module (import "${module}" "${name}" (func)) ${rest})`
          await assert.rejects(writeWasm(tier, toWasm(wat)), (error) => {
            assert.ok(error instanceof PluginError, String(error))
            assert.doesNotMatch(error.message, UNPRINTABLE)
            assert.ok(error.message.length < 1000, `${error.message.length} characters`)
            return true
          })
        }
      })
    }
  }
})
