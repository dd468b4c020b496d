import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { meter } from "../../../src/sandbox/metering/meter.ts"
import { GUEST_PROFILE } from "../../../src/sandbox/metering/profiles.ts"
import { readSections, SECTION } from "../../../src/sandbox/metering/sections.ts"
import { assertSameBehaviour } from "./same-behaviour.ts"
import { MeteredInstance, toWasm } from "./support.ts"

const imports = () => ({
  host: {
    one: () => 1,
    two: () => 2,
    number: 10,
    memory: new WebAssembly.Memory({ initial: 2, maximum: 4 }),
    table: new WebAssembly.Table({ element: "anyfunc", initial: 3, maximum: 8 }),
    cell: new WebAssembly.Global({ value: "i32", mutable: true }, 5),
  },
})

/** Every function answers with its own number, so that an index that moved wrongly shows. */
const numbered = `
  (import "host" "one" (func $one (result i32)))
  (import "host" "two" (func $two (result i32)))
  (func $three (result i32) (i32.const 3))
  (func $four (result i32) (i32.const 4))
  (func $five (result i32) (i32.const 5))`

function same(fields: string): MeteredInstance {
  return assertSameBehaviour(toWasm(`(module ${numbered} ${fields})`), [[0], [1], [2], [3], [4], [5]], { imports })
}

describe("a function's index keeps its meaning", () => {
  it("in exports, of own and of imported functions", () => {
    same('(export "a" (func $one)) (export "b" (func $two)) (export "c" (func $three)) (export "d" (func $five))')
  })

  it("in calls", () => {
    same(`(func (export "f") (result i32)
      (i32.add (i32.add (call $one) (i32.mul (i32.const 10) (call $two)))
        (i32.add (i32.mul (i32.const 100) (call $three)) (i32.mul (i32.const 1000) (call $five)))))`)
  })

  it("in the start function", () => {
    same(`(global $g (export "g") (mut i32) (i32.const 0))
      (func $start (global.set $g (call $four))) (start $start)`)
  })

  const call = '(func (export "f") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))'
  const segments: Record<string, string> = {
    "an active segment of indices": "(table 6 funcref) (elem (i32.const 1) $one $two $three $five)",
    "an active segment of expressions":
      "(table 6 funcref) (elem (i32.const 1) funcref (ref.func $four) (ref.null func) (ref.func $two))",
    "an active segment with a table index":
      "(table 6 funcref) (table $other 1 funcref) (elem (table 0) (i32.const 0) func $five $four)",
    "an active segment of expressions with a table index":
      "(table 6 funcref) (table $other 1 funcref) (elem (table 0) (i32.const 0) funcref (ref.func $five))",
    "a segment placed by an imported global":
      '(import "host" "number" (global $n i32)) (table 16 funcref) (elem (global.get $n) $three)',
  }
  for (const [what, fields] of Object.entries(segments))
    it(`in ${what}`, () => {
      // Imports come first in the text format.
      const [importField = "", rest = fields] = fields.startsWith("(import")
        ? fields.split(/(?<=i32\)\)) /)
        : ["", fields]
      assertSameBehaviour(toWasm(`(module ${importField} ${numbered} ${rest} ${call})`), [[0], [1], [2], [3], [10]], {
        imports,
      })
    })

  it("in passive and declared segments, and ref.func", () => {
    same(`(table $t (export "t") 6 funcref) (elem $indices func $two $four) (elem $expressions funcref (ref.func $five))
      (elem declare func $three)
      (func (export "f") (param i32) (result i32)
        (table.init $t $indices (i32.const 0) (i32.const 0) (i32.const 2))
        (table.init $t $expressions (i32.const 2) (i32.const 0) (i32.const 1))
        (table.set $t (i32.const 3) (ref.func $three))
        (call_indirect (result i32) (local.get 0)))`)
  })

  it("in globals", () => {
    same(`(table $t 1 funcref) (global $g funcref (ref.func $five)) (elem declare func $five)
      (func (export "f") (result i32) (table.set $t (i32.const 0) (global.get $g)) (call_indirect (result i32) (i32.const 0)))`)
  })
})

describe("sections", () => {
  it("may all be missing", () => {
    const metered = new MeteredInstance(toWasm("(module)"))
    assert.deepEqual(Object.keys(metered.instance.exports), ["__fuel_get", "__fuel_set"])
    assert.equal(metered.left, 0)
  })

  it("keep imported memory, table and globals", () => {
    assertSameBehaviour(
      toWasm(`(module
        (import "host" "memory" (memory 1 5))
        (import "host" "table" (table 2 9 funcref))
        (import "host" "cell" (global $cell (mut i32)))
        (export "memory" (memory 0)) (export "table" (table 0)) (export "cell" (global 0))
        (func $f (export "f") (param i32) (result i32)
          (table.set (i32.const 1) (ref.func $f))
          (i32.store (i32.const 100) (local.get 0))
          (global.set $cell (i32.add (global.get $cell) (local.get 0)))
          (memory.grow (i32.const 1))))`),
      [[1], [2], [3], [4]],
      { imports },
    )
  })

  it("keep extended constant expressions", () => {
    assertSameBehaviour(
      toWasm(`(module (import "host" "number" (global $n i32)) (memory (export "memory") 1)
        (global (export "g") i32 (i32.sub (i32.mul (global.get $n) (i32.const 3)) (i32.const 1)))
        (global (export "h") i64 (i64.add (i64.const -5000000000) (i64.const 1)))
        (global (export "i") f32 (f32.const 1.5)) (global (export "j") f64 (f64.const 2.5))
        (global v128 (v128.const i64x2 1 2)) (global externref (ref.null extern))
        (data (i32.add (global.get $n) (i32.const 5)) "abc"))`),
      [],
      { imports },
    )
  })

  it("lose what is custom but function names, and gain the branch hints", () => {
    const withCustom = Uint8Array.of(...toWasm("(module (func (loop)))"), 0, 5, 1, 0x78, 1, 2, 3)
    assert(WebAssembly.validate(withCustom))
    const module = new WebAssembly.Module(meter(withCustom, GUEST_PROFILE).bytes)
    assert.equal(WebAssembly.Module.customSections(module, "x").length, 0)
    assert.equal(WebAssembly.Module.customSections(module, "metadata.code.branch_hint").length, 1)
  })

  it("get the caps on memory and tables", () => {
    const { bytes } = meter(toWasm("(module (memory 1) (table 1 funcref) (table 1 3 funcref))"), {
      ...GUEST_PROFILE,
      maxMemoryPages: 300,
      maxTableEntries: 20,
    })
    const sections = readSections(bytes)
    const contents = (id: number) => {
      const reader = sections.get(id)!
      return [...reader.bytes.slice(reader.at, reader.end)]
    }
    assert.deepEqual(contents(SECTION.memory), [1, 1, 1, 0xac, 0x02])
    assert.deepEqual(contents(SECTION.table), [2, 0x70, 1, 1, 20, 0x70, 1, 1, 3])
  })
})

describe("own mutable globals", () => {
  const original = toWasm(`(module (import "host" "cell" (global (mut i32)))
    (global i32 (i32.const 1)) (global (mut i64) (i64.const 2)) (global (mut f64) (f64.const 3)))`)

  it("are exported under the reserved prefix, by their original index", () => {
    const metered = new MeteredInstance(original, { imports: imports() })
    assert.deepEqual(
      [...metered.module.globalExports],
      [
        [2, "__fuel_g2"],
        [3, "__fuel_g3"],
      ],
    )
    assert.equal((metered.instance.exports.__fuel_g2 as WebAssembly.Global).value, 2n)
    assert.equal((metered.instance.exports.__fuel_g3 as WebAssembly.Global).value, 3)
  })

  it("stay hidden when the profile does not ask for them", () => {
    const metered = new MeteredInstance(original, {
      imports: imports(),
      profile: { ...GUEST_PROFILE, exportGlobals: false },
    })
    assert.deepEqual(Object.keys(metered.instance.exports), ["__fuel_get", "__fuel_set"])
    assert.equal(metered.module.globalExports.size, 0)
  })
})
