import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { checkWasi } from "../../../../src/sandbox/wasm/wasi/check-wasi.ts"
import { WASI_MODULE, WASI_TYPES } from "../../../../src/sandbox/wasm/wasi/types.ts"

describe("checkWasi", () => {
  it("takes every function of preview 1, and imports of other modules", () => {
    const imports = [...WASI_TYPES].map(
      ([name, type]) => ({ module: WASI_MODULE, name, kind: "function", type }) as const,
    )
    checkWasi("guest", [...imports, { module: "bext", name: "anything", kind: "table", type: "" }])
  })

  it("names an import that is no function of preview 1", () => {
    for (const name of ["fd_wrote", "thread_spawn", "__proto__", ""]) {
      const imports = [{ module: WASI_MODULE, name, kind: "function", type: "() -> ()" }] as const
      assert.throws(() => checkWasi("guest", imports), {
        code: "E_PLUGIN_LOAD_FAILED",
        message: new RegExp(`import wasi_snapshot_preview1\\.${name} is no function of WASI preview 1`),
      })
    }
  })

  it("names an import of another kind or type", () => {
    const name = "fd_close"
    assert.throws(
      () => checkWasi("guest", [{ module: WASI_MODULE, name, kind: "function", type: "(i64) -> (i32)" }]),
      /fd_close has the type \(i64\) -> \(i32\), expected \(i32\) -> \(i32\)/,
    )
    assert.throws(
      () => checkWasi("guest", [{ module: WASI_MODULE, name, kind: "global", type: "i32" }]),
      /fd_close is a global, expected a function \(i32\) -> \(i32\)/,
    )
  })
})
