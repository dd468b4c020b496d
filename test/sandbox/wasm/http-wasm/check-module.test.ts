import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { ExternShape, ImportShape, ModuleShape } from "../../../../src/sandbox/metering/module-shape.ts"
import { HTTP_WASM_ABI, isHttpWasm } from "../../../../src/sandbox/wasm/http-wasm/abi.ts"
import { HTTP_HANDLER_TYPES } from "../../../../src/sandbox/wasm/http-wasm/types.ts"

const EXPORTS: Readonly<Record<string, ExternShape>> = {
  memory: { kind: "memory", type: "" },
  handle_request: func("() -> (i64)"),
  handle_response: func("(i32 i32) -> ()"),
}

describe("a module of the http-wasm ABI", () => {
  it("is known by what it imports or exports", () => {
    assert.equal(isHttpWasm(shape([fn("log", "(i32 i32 i32) -> ()")], {})), true)
    assert.equal(isHttpWasm(shape([], { handle_request: func("() -> ()") })), true)
    assert.equal(isHttpWasm(shape([], { handle_response: func("() -> ()") })), true)
    assert.equal(isHttpWasm(shape([fn("log", "() -> ()", "bext")], { on_request: func("() -> (i32)") })), false)
  })

  it("may import every function of the ABI, and those of WASI", () => {
    const imports = [...HTTP_HANDLER_TYPES].map(([name, type]) => fn(name, type))
    const wasi = fn("fd_close", "(i32) -> (i32)", "wasi_snapshot_preview1")
    const { hooks, waiting } = HTTP_WASM_ABI.check("guest", shape([...imports, wasi], EXPORTS))
    assert.deepEqual([...hooks], ["on_request", "on_response"])
    assert.deepEqual(waiting, [])
  })

  for (const [what, imports, exports, message] of [
    [
      "an unknown function",
      [fn("get_header_value", "() -> ()")],
      EXPORTS,
      /^guest: import http_handler\.get_header_value is no function of the http-wasm ABI; did you mean \w+_header_value/,
    ],
    [
      "a function of Object.prototype",
      [fn("constructor", "() -> ()")],
      EXPORTS,
      /http_handler\.constructor is no function/,
    ],
    [
      "a function of another type",
      [fn("get_uri", "(i64 i32) -> (i32)")],
      EXPORTS,
      /http_handler\.get_uri has the type \(i64 i32\) -> \(i32\), expected \(i32 i32\) -> \(i32\)/,
    ],
    [
      "a table instead of a function",
      [{ module: "http_handler", name: "log", kind: "table", type: "" } as const],
      EXPORTS,
      /http_handler\.log is a table, expected a function/,
    ],
    [
      "a function of the bext ABI",
      [fn("get_path", "() -> (i64)", "bext")],
      EXPORTS,
      /bext\.get_path is of another module; a module of the http-wasm ABI has "http_handler" and "wasi_snapshot_preview1"/,
    ],
    [
      "a name with line breaks",
      [fn("a\nb", "() -> ()")],
      EXPORTS,
      /import "http_handler\.a\\nb" is no function of the http-wasm ABI/,
    ],
    [
      "an unknown function of WASI",
      [fn("fd_wrote", "() -> ()", "wasi_snapshot_preview1")],
      EXPORTS,
      /wasi_snapshot_preview1\.fd_wrote is no function of WASI preview 1/,
    ],
    ["no memory", [], { ...EXPORTS, memory: func("() -> ()") }, /exports no memory named "memory"/],
    [
      "no handle_response",
      [],
      { memory: EXPORTS.memory!, handle_request: EXPORTS.handle_request! },
      /does not export handle_response, a function \(i32 i32\) -> \(\)/,
    ],
    [
      "a handle_request of another type",
      [],
      { ...EXPORTS, handle_request: func("() -> (i32)") },
      /export handle_request has the type \(\) -> \(i32\), expected \(\) -> \(i64\)/,
    ],
    [
      "a _start that takes arguments",
      [],
      { ...EXPORTS, _start: func("(i32) -> ()") },
      /export _start has the type \(i32\) -> \(\), expected \(\) -> \(\)/,
    ],
    [
      "an _initialize that is no function",
      [],
      { ...EXPORTS, _initialize: { kind: "global", type: "i32" } as const },
      /export _initialize is a global, expected a function/,
    ],
  ] as const) {
    it(`is refused for ${what}`, () => {
      assert.throws(() => HTTP_WASM_ABI.check("guest", shape(imports, exports)), {
        code: "E_PLUGIN_LOAD_FAILED",
        message,
      })
    })
  }
})

function shape(imports: readonly ImportShape[], exports: Readonly<Record<string, ExternShape>>): ModuleShape {
  return { imports, exports: new Map(Object.entries(exports)) }
}

function fn(name: string, type: string, module = "http_handler"): ImportShape {
  return { module, name, kind: "function", type }
}

function func(type: string): ExternShape {
  return { kind: "function", type }
}
