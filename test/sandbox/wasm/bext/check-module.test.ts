import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { ExternShape, ImportShape } from "../../../../src/sandbox/metering/module-shape.ts"
import { BEXT_ABI } from "../../../../src/sandbox/wasm/bext/abi.ts"

const get = "() -> (i64)"
const event = func("(i32 i32) -> (i32)")
const cache = func("(i32 i32) -> (i64)")

describe("a module that speaks the bext ABI", () => {
  it("is taken with the hooks it exports, and what it may wait for", () => {
    const imports = [
      fn("bext", "get_path", "() -> (i64)"),
      fn("bext", "http_fetch", "(i32 i32) -> (i64)"),
      fn("bext", "http_fetch_body", "() -> (i64)"),
      fn("bext", "queue_push", "(i32 i32 i32 i32 i32 i32 i64) -> (i64)"),
      fn("bext", "storage_incr", "(i32 i32 i64 i64 i32) -> (i32)"),
      fn("wasi_snapshot_preview1", "fd_write", "(i32 i32 i32 i32) -> (i32)"),
    ]
    const { hooks, waiting } = check({ imports, exports: { on_reload: event, _initialize: func("() -> ()") } })
    assert.deepEqual([...hooks].sort(), ["on_reload", "on_request"])
    assert.deepEqual(waiting, [
      { module: "bext", name: "http_fetch", needs: "fetch" },
      { module: "bext", name: "queue_push", needs: "queue" },
      { module: "bext", name: "storage_incr", needs: null },
    ])
  })

  it("may export thousands of functions, of which some are compared with the hooks", () => {
    const names = (count: number) => Array.from({ length: count }, (_, i) => [`helper_number_${i}`, event] as const)
    refuses({ exports: { ...Object.fromEntries(names(150)), on_respond: event } }, /name it on_response/)
    const { hooks } = check({ exports: { ...Object.fromEntries(names(5000)), on_respond: event, on_reload: event } })
    assert.deepEqual([...hooks].sort(), ["on_reload", "on_request"])
  })

  it("may export what is no hook, and a hook beside something of a similar name", () => {
    const { hooks } = check({
      exports: { cache_put: event, cache_get: cache, cache_set: cache, helper: func("() -> ()") },
    })
    assert.deepEqual([...hooks].sort(), ["cache_get", "cache_set", "on_request"])
  })

  for (const [what, module, message] of [
    [
      "an unknown function",
      { imports: [fn("bext", "get_heder", get)] },
      /^guest: import bext\.get_heder is no function of the bext ABI; did you mean get_header\? \[/,
    ],
    [
      "a function that is like no other",
      { imports: [fn("bext", "xyzzyx", get)] },
      /import bext\.xyzzyx is no function of the bext ABI \[/,
    ],
    [
      "a function of another type",
      { imports: [fn("bext", "get_header", "(i32 i32) -> (i64)")] },
      /import bext\.get_header has the type \(i32 i32\) -> \(i64\), expected \(i32 i32 i32\) -> \(i64\)/,
    ],
    [
      "a global instead of a function",
      { imports: [{ module: "bext", name: "log", kind: "global", type: "i32" }] },
      /import bext\.log is a global, expected a function \(i32 i32 i32 i32\) -> \(\)/,
    ],
    [
      "a function of Object.prototype",
      { imports: [fn("bext", "constructor", get)] },
      /import bext\.constructor is no function/,
    ],
    [
      "another module",
      { imports: [fn("env", "abort", get)] },
      /import env\.abort is of an unknown module; there are "bext" and "wasi_snapshot_preview1" \[/,
    ],
    [
      "a function of ours in another module",
      { imports: [fn("env", "get_path", "() -> (i64)")] },
      /did you mean bext\.get_path\?/,
    ],
    [
      "a later version",
      { imports: [fn("bext2", "get_path", "() -> (i64)")] },
      /import bext2\.get_path is of another version of the bext ABI; this host has "bext"/,
    ],
    [
      "a memory",
      { imports: [{ module: "env", name: "memory", kind: "memory", type: "" }] },
      /import env\.memory is a memory; the module has to have its own, exported as "memory"/,
    ],
    [
      "an unknown function of WASI",
      { imports: [fn("wasi_snapshot_preview1", "fd_fly", get)] },
      /wasi_snapshot_preview1\.fd_fly is no function/,
    ],
    [
      "a name that would break a line",
      { imports: [fn("bext", "a\nb\u001b[2J", get)] },
      /import "bext\.a\\nb\\u001b\[2J" is no function/,
    ],
  ] as const) {
    it(`is refused when it imports ${what}`, () => refuses(module, message))
  }

  for (const [what, exports, message] of [
    ["no memory", { memory: null }, /exports no memory named "memory"/],
    ["a function as memory", { memory: event }, /exports no memory named "memory"/],
    ["no allocator", { bext_alloc: null }, /does not export bext_alloc, a function \(i32\) -> \(i32\)/],
    [
      "an allocator of another type",
      { bext_alloc: func("(i64) -> (i64)") },
      /export bext_alloc has the type \(i64\) -> \(i64\), expected \(i32\) -> \(i32\)/,
    ],
    [
      "an allocator that is a global",
      { bext_alloc: { kind: "global", type: "i32" } },
      /export bext_alloc is a global, expected a function/,
    ],
    [
      "a hook of another type",
      { on_request: event },
      /export on_request has the type \(i32 i32\) -> \(i32\), expected \(\) -> \(i32\)/,
    ],
    [
      "a hook that is a global",
      { on_request: { kind: "global", type: "mut i32" } },
      /export on_request is a global, expected a function \(\) -> \(i32\)/,
    ],
    ["a hook that is a table", { cleanup: { kind: "table", type: "" } }, /export cleanup is a table/],
    ["_initialize of another type", { _initialize: func("() -> (i32)") }, /export _initialize has the type/],
    ["no hook", { on_request: null }, /exports no hook; expected at least one of on_request, on_response,/],
    [
      "a command",
      { on_request: null, _start: func("() -> ()") },
      /exports no hook.*build a library \(reactor\), not a command/,
    ],
    [
      "a hook in camelCase",
      { on_request: null, onRequest: func("() -> (i32)") },
      /export onRequest is no hook; if it is meant to be one, name it on_request/,
    ],
    ["a hook in camelCase beside the right one", { onRequest: func("() -> (i32)") }, /name it on_request/],
    [
      "a hook with hyphens",
      { "cache-get": cache },
      /export cache-get is no hook; if it is meant to be one, name it cache_get/,
    ],
    [
      "a typo in a hook",
      { on_request: null, on_requests: func("() -> (i32)") },
      /export on_requests is no hook; if it is meant to be one, name it on_request/,
    ],
    ["a typo in one of its hooks", { on_respnse: func("() -> (i32)") }, /name it on_response/],
  ] as const) {
    it(`is refused when it exports ${what}`, () => refuses({ exports }, message))
  }
})

interface Module {
  readonly imports?: readonly ImportShape[]
  /** Besides memory, allocator and on_request; null: without it. */
  readonly exports?: Readonly<Record<string, ExternShape | null>>
}

function check({ imports = [], exports = {} }: Module) {
  const all: Record<string, ExternShape | null> = {
    memory: { kind: "memory", type: "" },
    bext_alloc: func("(i32) -> (i32)"),
    on_request: func("() -> (i32)"),
    ...exports,
  }
  const present = Object.entries(all).filter((entry): entry is [string, ExternShape] => entry[1] !== null)
  return BEXT_ABI.check("guest", { imports, exports: new Map(present) })
}

function refuses(module: Module, message: RegExp) {
  assert.throws(() => check(module), { code: "E_PLUGIN_LOAD_FAILED", message })
}

function func(type: string): ExternShape {
  return { kind: "function", type }
}

function fn(module: string, name: string, type: string): ImportShape {
  return { module, name, kind: "function", type }
}
