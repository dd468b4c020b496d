import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { DEFAULT_MODULE_LIMITS, type ModuleLimits } from "../../../src/sandbox/metering/limits.ts"
import { meter } from "../../../src/sandbox/metering/meter.ts"
import { ModuleRejected } from "../../../src/sandbox/metering/module-rejected.ts"
import {
  GUEST_PROFILE,
  QUICKJS_PROFILE,
  type TrustedProfile,
  type UntrustedProfile,
} from "../../../src/sandbox/metering/profiles.ts"
import { FEATURE_MODULE } from "./feature-module.ts"
import { binary, moduleOf, toWasm } from "./support.ts"

function rejection(bytes: Uint8Array, profile: UntrustedProfile | TrustedProfile = GUEST_PROFILE): ModuleRejected {
  try {
    if (profile.trust === "trusted") meter(bytes, profile)
    else meter(bytes, profile)
  } catch (error) {
    assert(error instanceof ModuleRejected, String(error))
    return error
  }
  return assert.fail("the module was accepted")
}

describe("meter refuses what it cannot meter, naming feature and offset", () => {
  const cases: [what: string, bytes: Uint8Array, feature: RegExp, offset: number][] = [
    ["a shared memory", toWasm("(module (memory 1 1 shared))"), /shared memory \(threads\)/, 11],
    ["an atomic instruction", moduleOf(0xfe, 0x03, 0x00), /thread instruction/, 28],
    ["memory64", toWasm("(module (memory i64 1))"), /memory64/, 11],
    ["a tag section", toWasm("(module (tag))"), /exception handling/, 14],
    ["an imported tag", binary([1, 1, 0x60, 0, 0], [2, 1, 1, 0x61, 1, 0x62, 4, 0, 0]), /exception handling/, 21],
    ["try of legacy exceptions", moduleOf(0x06, 0x40, 0x0b), /exception handling/, 28],
    ["try_table", moduleOf(0x1f, 0x40, 0, 0x0b), /exception handling/, 28],
    ["throw_ref", moduleOf(0x0a), /exception handling/, 28],
    ["a second memory", binary([5, 2, 0, 1, 0, 1]), /more than one memory/, 13],
    ["a memory access with a memory index", moduleOf(0x41, 0, 0x28, 0x42, 0, 0, 0x1a), /more than one memory/, 31],
    ["a struct type", binary([1, 1, 0x5f, 0]), /garbage collection/, 11],
    ["a recursive type group", binary([1, 1, 0x4e, 1, 0x60, 0, 0]), /garbage collection/, 11],
    ["a GC instruction", moduleOf(0xfb, 0x1c), /garbage collection/, 28],
    ["an anyref local", binary([1, 1, 0x60, 0, 0], [3, 1, 0], [10, 1, 4, 1, 1, 0x6e, 0x0b]), /garbage-collected/, 24],
    ["a typed function reference", binary([1, 1, 0x60, 1, 0x63, 0x70, 0]), /typed function reference/, 13],
    ["call_ref", moduleOf(0x14, 0), /typed function reference/, 28],
    ["ref.null of a type index", moduleOf(0xd0, 0, 0x1a), /typed function reference/, 29],
    ["a table with an initial value", binary([4, 1, 0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b]), /initial value/, 11],
    ["a shared global", binary([6, 1, 0x7f, 2, 0x41, 0, 0x0b]), /shared global/, 12],
    ["an unknown opcode", moduleOf(0x27), /opcode 0x27/, 28],
    ["an unassigned vector opcode", moduleOf(0xfd, 0x9a, 0x01), /opcode 0xfd 0x9a/, 28],
    ["wide arithmetic", moduleOf(0xfc, 0x13), /opcode 0xfc 0x13/, 28],
  ]
  for (const [what, bytes, feature, offset] of cases)
    it(what, () => {
      const error = rejection(bytes)
      assert.match(error.message, feature)
      assert.match(error.code, /^E_WASM_(UNSUPPORTED|INVALID)$/)
      assert.equal(error.offset, offset)
      assert(error.message.includes(`at byte ${offset}`))
    })
})

describe("meter refuses invalid modules", () => {
  const cases: [what: string, bytes: Uint8Array, why: RegExp][] = [
    ["another file", Buffer.from("<!doctype html>"), /not a WebAssembly 1 module at byte 0/],
    ["another version", Uint8Array.of(0, 0x61, 0x73, 0x6d, 2, 0, 0, 0), /not a WebAssembly 1 module at byte 4/],
    ["an integer of more than five bytes", binary([3, 0x80, 0x80, 0x80, 0x80, 0x80, 0]), /integer too long at byte 10/],
    ["an integer over 32 bits", binary([3, 0x80, 0x80, 0x80, 0x80, 0x10]), /integer too long at byte 10/],
    ["a constant of more than five bytes", moduleOf(0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0x1a), /integer too long/],
    ["a section that overruns the module", Uint8Array.of(...binary(), 1, 5, 0), /unexpected end at byte 10/],
    ["a section twice", binary([3, 0], [3, 0]), /repeated or out of order at byte 11/],
    ["a section out of order", binary([3, 0], [1, 0]), /repeated or out of order at byte 11/],
    ["an unknown section", binary([77]), /unknown section 77 at byte 8/],
    ["bytes behind the last entry of a section", binary([3, 0, 0]), /after the end of the section at byte 11/],
    ["a vector longer than its section", binary([1, 0xff, 0xff, 0xff, 0xff, 0x0f]), /type count exceeds its section/],
    ["fewer bodies than functions", binary([1, 1, 0x60, 0, 0], [3, 1, 0]), /1 functions but 0 bodies/],
    ["a body that ends early", moduleOf(0x0b, 0x01), /after the end of the function/],
    ["a body that does not end", binary([1, 1, 0x60, 0, 0], [3, 1, 0], [10, 1, 2, 0, 1]), /unexpected end/],
    ["a call of a function that does not exist", moduleOf(0x10, 1), /no function 1/],
    ["a call of what would become the meter's function", moduleOf(0x10, 2), /no function 2/],
    [
      "a type index of what would become the meter's type",
      binary([1, 1, 0x60, 0, 0], [3, 1, 1], [10, 1, 2, 0, 0x0b]),
      /no type 1/,
    ],
    ["a block type of what would become the meter's type", moduleOf(0x02, 1, 0x0b), /no type 1/],
    ["a write to what would become the fuel counter", moduleOf(0x42, 0xff, 0, 0x24, 0), /no global 0/],
    ["a read of what would become the fuel counter", moduleOf(0x23, 0, 0x1a), /no global 0/],
    ["an export of what would become the fuel counter", binary([7, 1, 1, 0x78, 3, 0]), /no global 0/],
    ["a branch to a label that is not open", moduleOf(0x0c, 1), /no label 1/],
    ["wrong operand types", moduleOf(0x42, 0, 0x45, 0x1a), /expected type i32.* at byte 28/],
    ["a custom section whose name is not UTF-8", binary([0, 1, 0xff]), /UTF-8/i],
    [
      "an export name that is not UTF-8",
      binary([1, 1, 0x60, 0, 0], [3, 1, 0], [7, 1, 1, 0xff, 0, 0], [10, 1, 2, 0, 0x0b]),
      /UTF-8/i,
    ],
    ["two exports of one name", toDuplicateExports("x", "x"), /duplicate export/i],
  ]
  for (const [what, bytes, why] of cases)
    it(what, () => {
      const error = rejection(bytes)
      assert.equal(error.code, "E_WASM_INVALID")
      assert.match(error.message, why)
    })

  it("without line breaks or control characters of the module's names in the message", () => {
    assert.match(rejection(toDuplicateExports("a\n\u{1b}[31m", "a\n\u{1b}[31m")).message, /'a\?\[31m'/)
  })

  it("every prefix of a module, without an error of another kind", () => {
    const whole = toWasm(FEATURE_MODULE)
    for (let length = 0; length < whole.length; length++) {
      const prefix = whole.slice(0, length)
      if (WebAssembly.validate(prefix)) assert(WebAssembly.validate(meter(prefix, GUEST_PROFILE).bytes))
      else assert(rejection(prefix).offset <= length)
    }
  })
})

describe("meter keeps its own names to itself", () => {
  it("refuses the refill import in a guest's module", () => {
    const error = rejection(toWasm('(module (import "__meter" "refill" (func (result i64))))'))
    assert.equal(error.code, "E_WASM_INVALID")
    assert.match(error.message, /reserved import module __meter/)
  })

  for (const name of ["__fuel", "__fuel_g0", "__fuelled"])
    it(`refuses the export name ${JSON.stringify(name)}`, () => {
      assert.match(rejection(toWasm(`(module (memory (export "${name}") 1))`)).message, /reserved export name __fuel/)
    })

  it("keeps names apart that differ by a byte order mark", () => {
    const { bytes } = meter(toDuplicateExports("\u{feff}x", "x"), GUEST_PROFILE)
    const names = WebAssembly.Module.exports(new WebAssembly.Module(bytes)).map(({ name }) => name)
    assert.deepEqual(names, ["\u{feff}x", "x", "__fuel_get", "__fuel_set"])
    assert(WebAssembly.validate(meter(toDuplicateExports("\u{feff}__fuel", "__fue"), GUEST_PROFILE).bytes))
  })
})

describe("static limits", () => {
  const locals = `(local ${"i32 ".repeat(20)})`
  const cases: Record<keyof ModuleLimits, [limit: number, over: string]> = {
    moduleBytes: [20, '(module (func (export "abcdefgh")))'],
    meteredBytes: [100, "(module (func (loop) (loop) (loop)))"],
    types: [1, "(module (type (func)) (type (func (param i32))))"],
    parameters: [1, "(module (type (func (param i32 i32))))"],
    results: [1, "(module (type (func (result i32 i32))))"],
    imports: [1, '(module (import "a" "b" (func)) (import "a" "c" (func)))'],
    functions: [1, "(module (func) (func))"],
    tables: [1, "(module (table 1 funcref) (table 1 funcref))"],
    globals: [1, "(module (global i32 (i32.const 1)) (global i32 (i32.const 1)))"],
    exports: [1, '(module (func (export "a") (export "b")))'],
    elementSegments: [1, "(module (func) (elem func 0) (elem func 0))"],
    elementEntries: [3, "(module (func) (elem func 0 0) (elem func 0 0))"],
    dataSegments: [1, '(module (memory 1) (data "a") (data "b"))'],
    functionBytes: [20, `(module (func ${"(drop (i32.const 1))".repeat(10)}))`],
    locals: [20, `(module (func (param i32) ${locals}))`],
    nesting: [2, "(module (func (block (block (block)))))"],
    functionJoinedValues: [50, `(module (func ${locals} (loop (br_if 0 (i32.const 0))) (block)))`],
    joinedValues: [50, `(module (func ${locals} (loop)) (func ${locals} (loop)))`],
  }
  for (const [name, [limit, over]] of Object.entries(cases))
    it(`refuses a module over ${name} and takes it when the limit is the default`, () => {
      const bytes = toWasm(over)
      const error = rejection(bytes, { ...GUEST_PROFILE, limits: { ...DEFAULT_MODULE_LIMITS, [name]: limit } })
      assert.equal(error.code, "E_WASM_LIMIT")
      assert.match(error.message, new RegExp(`over the limit of ${limit}`))
      meter(bytes, GUEST_PROFILE)
    })

  it("refuses an initial memory or table above the cap", () => {
    assert.match(rejection(toWasm("(module (memory 1025))")).message, /initial memory pages: 1025 .* 1024/)
    assert.match(rejection(toWasm("(module (table 10001 funcref))")).message, /initial table entries: 10001 .* 10000/)
  })

  for (const slow of ["(memory.fill (i32.const 0) (i32.const 0) (i32.const 0))", "(drop (table.get (i32.const 0)))"])
    it(`refuses many instructions that call into V8 on top of many operands: ${slow}`, () => {
      const body = `${"(i32.const 0) ".repeat(10_000)} ${slow.repeat(2000)} (unreachable)`
      const bomb = toWasm(`(module (memory 1) (table 1 funcref) (func ${body}))`)
      assert.match(rejection(bomb).message, /values joined in one function/)
    })

  it("refuses the compile bomb that keeps its values on the operand stack instead of in locals", () => {
    const push = "(local.get 0) ".repeat(10_000)
    const bomb = `(module (func (local i32) ${push} ${"(if (local.get 0) (then) (else)) ".repeat(5000)} (unreachable)))`
    assert.match(rejection(toWasm(bomb)).message, /values joined in one function/)
  })

  it("does not let dead code make up for what a function joins", () => {
    const loops = "(loop (br_if 0 (local.get 0)))".repeat(1000)
    const dead = `(block (unreachable) ${"(drop)".repeat(60_000)} ${"(block)".repeat(1000)})`
    const bomb = `(module (func (local ${"i32 ".repeat(400)}) ${dead} ${loops}))`
    assert.match(rejection(toWasm(bomb)).message, /values joined in one function/)
  })

  it("counts loops although they join nothing: a module of nothing else grows to fourteen times its size", () => {
    const loops = toWasm(`(module (func ${"(loop)".repeat(1000)}))`)
    assert(meter(loops, GUEST_PROFILE).bytes.length > 10 * loops.length)
    const limits = { ...DEFAULT_MODULE_LIMITS, joinedValues: 3999 }
    assert.match(rejection(loops, { ...GUEST_PROFILE, limits }).message, /values joined in all functions: 4000/)
  })

  it("refuses the compile bomb that kept the baseline compiler busy for seconds", () => {
    const bomb = toWasm(
      `(module (func ${"(local i32)".repeat(1000)} ${"(loop (br_if 0 (local.get 0)))".repeat(2000)}))`,
    )
    assert.match(rejection(bomb).message, /values joined in one function/)
  })
})

describe("the trusted profile", () => {
  it("refuses a binary without exactly one body to leave alone", () => {
    const error = rejection(toWasm("(module (func))"), QUICKJS_PROFILE)
    assert.match(error.message, /0 bodies over 20000 bytes instead of one/)
  })

  it("refuses tail calls, which would loop without a check", () => {
    const bytes = toWasm("(module (func $f (return_call $f)))")
    const error = rejection(bytes, { ...QUICKJS_PROFILE, unmeteredAboveBytes: 0 })
    assert.match(error.message, /tail call/)
  })
})

function toDuplicateExports(first: string, second: string): Uint8Array {
  const names = [first, second].map((name) => [...Buffer.from(name)])
  return binary([5, 1, 0, 1], [7, 2, ...names.flatMap((name) => [name.length, ...name, 2, 0])])
}
