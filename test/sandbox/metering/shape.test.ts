import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { meter } from "../../../src/sandbox/metering/meter.ts"
import { GUEST_PROFILE } from "../../../src/sandbox/metering/profiles.ts"
import { Writer } from "../../../src/sandbox/metering/writer.ts"
import { binary, MeteredInstance, toWasm } from "./support.ts"

const metered = (text: string) => meter(toWasm(text), GUEST_PROFILE)

describe("the shape of a module", () => {
  it("names every import with its kind and type, in order", () => {
    const { shape } = metered(`(module
      (import "bext" "log" (func (param i32 i32 i64) (result f32 f64)))
      (import "" "memory" (memory 1))
      (import "host" "table" (table 1 funcref))
      (import "host" "constant" (global externref))
      (import "__proto__" "cell" (global (mut v128)))
      (import "host" "nothing" (func)))`)
    assert.deepEqual(shape.imports, [
      { module: "bext", name: "log", kind: "function", type: "(i32 i32 i64) -> (f32 f64)" },
      { module: "", name: "memory", kind: "memory", type: "" },
      { module: "host", name: "table", kind: "table", type: "" },
      { module: "host", name: "constant", kind: "global", type: "externref" },
      { module: "__proto__", name: "cell", kind: "global", type: "mut v128" },
      { module: "host", name: "nothing", kind: "function", type: "() -> ()" },
    ])
  })

  it("names every export of the module with its kind and type, and none of the meter's", () => {
    const { shape } = metered(`(module
      (import "host" "f" (func (param f64)))
      (memory (export "memory") 1)
      (table (export "table") 1 externref)
      (global (export "__proto__") (mut i64) (i64.const 1))
      (global (export "constant") f32 (f32.const 1))
      (export "imported" (func 0))
      (func $start)
      (start $start)
      (func (export "\\u{feff}own") (param funcref) (result i32) (i32.const 1)))`)
    assert.deepEqual(
      [...shape.exports],
      [
        ["memory", { kind: "memory", type: "" }],
        ["table", { kind: "table", type: "" }],
        ["__proto__", { kind: "global", type: "mut i64" }],
        ["constant", { kind: "global", type: "f32" }],
        ["imported", { kind: "function", type: "(f64) -> ()" }],
        ["\u{feff}own", { kind: "function", type: "(funcref) -> (i32)" }],
      ],
    )
  })

  it("is empty for an empty module", () => {
    const { shape, memory, start, inexact } = metered("(module)")
    assert.deepEqual(shape, { imports: [], exports: new Map() })
    assert.deepEqual([memory, start, inexact], [null, null, null])
  })

  it("can be cloned to another thread, with everything else but the bytes", () => {
    const { bytes: _, ...rest } = metered('(module (memory (export "memory") 1) (func (export "f")))')
    assert.deepEqual(structuredClone(rest), rest)
  })
})

describe("a module's own memory", () => {
  it("is told with its size and its cap", () => {
    assert.deepEqual(metered("(module (memory 3 9))").memory, { initialPages: 3, maximumPages: 9 })
    assert.deepEqual(metered("(module (memory 3))").memory, { initialPages: 3, maximumPages: 1024 })
    assert.deepEqual(metered("(module (memory 3 60000))").memory, { initialPages: 3, maximumPages: 1024 })
  })

  it("is not the one it imports", () => {
    assert.equal(metered('(module (import "host" "memory" (memory 3 9)))').memory, null)
  })
})

describe("a start function", () => {
  it("does not run while the module is instantiated, but as an export", () => {
    const module = metered(`(module (global $g (export "g") (mut i32) (i32.const 1))
      (func $start (global.set $g (i32.const 2))) (start $start))`)
    assert.equal(module.start, "__fuel_start")
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes), {
      __meter: { refill: () => assert.fail("nothing of the guest ran") },
    })
    assert.equal((exports.g as WebAssembly.Global).value, 1)
    const set = exports[module.fuel.set] as (units: number) => void
    set(100)
    const start = exports[module.start] as () => void
    start()
    assert.equal((exports.g as WebAssembly.Global).value, 2)
  })

  it("may be an imported function", () => {
    let calls = 0
    const text = '(module (import "host" "f" (func $f)) (start $f))'
    new MeteredInstance(toWasm(text), { imports: { host: { f: () => calls++ } } })
    assert.equal(calls, 1)
  })
})

describe("the fuel functions", () => {
  const module = metered('(module (func (export "f") (drop (i32.const 1))))')
  const instantiate = (refill: () => unknown) => {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes), { __meter: { refill } })
    return exports as unknown as Record<"__fuel_get" | "__fuel_set" | "f", (units?: unknown) => number>
  }

  it("take whole numbers, cut fractions off, and take what is not a number as 0", () => {
    const { __fuel_get: get, __fuel_set: set } = instantiate(() => 0)
    const cases = [
      [0, 0],
      [2 ** 53, 2 ** 53],
      [-7, -7],
      [1.9, 1],
      [-1.9, -1],
      [Number.NaN, 0],
      ["text", 0],
      [Infinity, 2 ** 63],
    ] as const
    for (const [units, expected] of cases) {
      set(units)
      assert.equal(get(), expected)
    }
  })

  for (const grant of [0, -1, -0, 0.5, Number.NaN, -Infinity, undefined, "text"])
    it(`trap without end when the refill answers ${typeof grant === "string" ? "text" : String(grant)}`, () => {
      const { f, __fuel_get: get } = instantiate(() => grant)
      assert.throws(() => f(), { name: "RuntimeError", message: "unreachable" })
      assert.throws(() => f(), { name: "RuntimeError", message: "unreachable" })
      assert(get() < 0)
    })

  it("let an infinite grant be infinite", () => {
    const { f, __fuel_get: get } = instantiate(() => Infinity)
    f()
    assert(get() > 2 ** 62)
  })
})

describe("what memory and globals do not hold", () => {
  const state = '(table $t 4 funcref) (memory 1) (elem $e func) (data $d "abc")'
  const cases: Record<string, string> = {
    "table.set": "(table.set $t (i32.const 0) (ref.null func))",
    "table.grow": "(drop (table.grow $t (ref.null func) (i32.const 0)))",
    "table.fill": "(table.fill $t (i32.const 0) (ref.null func) (i32.const 0))",
    "table.copy": "(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 0))",
    "table.init": "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 0))",
    "elem.drop": "(elem.drop $e)",
    "data.drop": "(data.drop $d)",
  }
  for (const [instruction, text] of Object.entries(cases))
    it(`is told when a module has ${instruction}`, () => {
      const bytes = toWasm(`(module ${state} (func (nop)) (func ${text}))`)
      const { inexact } = meter(bytes, GUEST_PROFILE)
      const [, name, offset] = /^(\S+) at byte (\d+)$/.exec(inexact ?? "")!
      assert.equal(name, instruction)
      const opcode = bytes[Number(offset)]
      assert.equal(opcode, instruction === "table.set" ? 0x26 : 0xfc)
    })

  it("is told when a module has a mutable global that JavaScript cannot read", () => {
    const { inexact, globalExports } = metered(
      "(module (global v128 (v128.const i64x2 1 2)) (global (mut v128) (v128.const i64x2 1 2)))",
    )
    assert.match(inexact!, /^a mutable global of type v128 at byte \d+$/)
    assert.equal(globalExports.size, 0)
  })

  for (const type of ["externref", "funcref"])
    it(`is told when a module has a mutable global that holds a reference: ${type}`, () => {
      const { inexact } = metered(`(module (global (mut ${type}) (ref.null ${type.slice(0, -3)})))`)
      assert.match(inexact!, new RegExp(`^a mutable global of type ${type} at byte \\d+$`))
    })

  it("is nothing for a module that only reads tables and copies passive data", () => {
    const { inexact, globalExports } = metered(`(module ${state} (global (mut i32) (i32.const 1))
      (func (drop (table.get $t (i32.const 0))) (drop (table.size $t))
        (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (memory.copy (i32.const 0) (i32.const 0) (i32.const 0))
        (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)) (drop (memory.grow (i32.const 0)))
        (call_indirect $t (i32.const 0))))`)
    assert.equal(inexact, null)
    assert.deepEqual([...globalExports.values()], ["__fuel_g0"])
  })
})

describe("function names", () => {
  /** A module with an imported and an own function that traps, and these bytes behind the name of its name section. */
  const withNames = (...contents: number[]) =>
    binary(
      [1, 1, 0x60, 0, 0],
      [2, 1, 1, 0x61, 1, 0x62, 0, 0],
      [3, 1, 0],
      [7, 1, 1, 0x66, 0, 1],
      [10, 1, 3, 0, 0, 0x0b],
      [0, 4, 0x6e, 0x61, 0x6d, 0x65, ...contents],
    )
  const stack = (bytes: Uint8Array): string => {
    const { exports } = new MeteredInstance(bytes, { imports: { a: { b() {} } } })
    try {
      exports.f!()
    } catch (error) {
      return (error as Error).stack!
    }
    return assert.fail("it did not trap")
  }

  it("name the functions in stack traces, as in the original", () => {
    assert.match(stack(withNames(1, 6, 1, 1, 3, 0x6f, 0x77, 0x6e)), /at own \(wasm:\/\//)
  })

  it("change nothing about a module, however wrong they are", () => {
    const wrong: Record<string, number[]> = {
      "no contents": [],
      "an endless size": [1, 0xff, 0xff, 0xff, 0xff, 0x0f],
      "more names than there are": [1, 6, 9, 1, 3, 0x6f, 0x77, 0x6e],
      "no such function": [1, 6, 1, 9, 3, 0x6f, 0x77, 0x6e],
      "an endless name": [1, 6, 1, 1, 99, 0x6f, 0x77, 0x6e],
      "not UTF-8": [1, 4, 1, 1, 1, 0xff],
      "one function twice": [1, 7, 2, 1, 1, 0x61, 1, 1, 0x62],
      "the order turned around": [1, 7, 2, 1, 1, 0x61, 0, 1, 0x62],
      "bytes behind the end": [1, 4, 1, 1, 1, 0x61, 7, 7, 7],
      "other subsections": [0, 2, 1, 0x61, 2, 1, 0],
    }
    for (const [what, contents] of Object.entries(wrong)) {
      const bytes = withNames(...contents)
      assert(WebAssembly.validate(bytes), what)
      assert(WebAssembly.validate(meter(bytes, GUEST_PROFILE).bytes), what)
      assert.match(stack(bytes), /wasm/, what)
    }
  })

  it("are left out one by one when they are long, and all behind the first megabyte", () => {
    const size = (count: number, bytes: number) => {
      const names = Array.from({ length: count }, (_, index) => [index, "x".repeat(bytes)] as const)
      const module = toWasm(`(module ${"(func)".repeat(count)})`)
      return meter(Buffer.concat([module, nameSection(names)]), GUEST_PROFILE).bytes.length
    }
    assert.equal(size(1, 512) - size(1, 500), 12)
    assert.equal(size(1, 513), size(1, 100_000))
    assert(size(1, 512) > size(1, 513) + 500)
    assert(size(4000, 500) - size(4000, 513) < 1.1 * 1024 * 1024)
    assert(size(4000, 500) - size(4000, 513) > 1024 * 1024 - 1000)
  })
})

function nameSection(names: readonly (readonly [index: number, name: string])[]): Uint8Array {
  const map = new Writer()
  map.u32(names.length)
  for (const [index, name] of names) {
    map.u32(index)
    map.name(name)
  }
  const contents = new Writer()
  contents.name("name")
  contents.u8(1)
  contents.sized(map)
  const section = new Writer()
  section.u8(0)
  section.sized(contents)
  return section.finish()
}
