import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { meter } from "../../../src/sandbox/metering/meter.ts"
import { ModuleRejected } from "../../../src/sandbox/metering/module-rejected.ts"
import { GUEST_PROFILE } from "../../../src/sandbox/metering/profiles.ts"
import { binary, moduleOf, toWasm } from "./support.ts"

/** Metered and still valid, or the name of the feature that is refused. */
function verdict(bytes: Uint8Array): string {
  try {
    return WebAssembly.validate(meter(bytes, GUEST_PROFILE).bytes) ? "metered" : "BROKEN"
  } catch (error) {
    assert(error instanceof ModuleRejected, String(error))
    assert(error.offset > 0 && error.offset < bytes.length)
    return `${error.code} ${error.message}`
  }
}

describe("every feature that V8 has without a flag", () => {
  const noop = [
    [1, 1, 0x60, 0, 0],
    [3, 1, 0],
  ]
  const body = (...instructions: number[]) => [10, 1, instructions.length + 2, 0, ...instructions, 0x0b]
  const cases: Record<string, [bytes: Uint8Array, verdict: RegExp]> = {
    "mutable globals": [toWasm('(module (global (export "g") (mut i64) (i64.const 1)))'), /^metered/],
    "sign extension": [toWasm("(module (func (drop (i32.extend8_s (i32.const 1)))))"), /^metered/],
    "saturating conversion": [toWasm("(module (func (drop (i32.trunc_sat_f32_s (f32.const 1)))))"), /^metered/],
    "multiple values": [toWasm("(module (func (result i32 i64) (loop) (i32.const 1) (i64.const 2)))"), /^metered/],
    "bulk memory": [
      toWasm("(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))))"),
      /^metered/,
    ],
    "reference types": [toWasm("(module (table 1 externref) (func (drop (table.size 0))))"), /^metered/],
    vectors: [toWasm("(module (func (drop (v128.not (v128.const i64x2 1 2)))))"), /^metered/],
    "relaxed vectors": [
      toWasm("(module (func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))))"),
      /^metered/,
    ],
    "tail calls": [toWasm("(module (func $f (loop) (return_call $f)))"), /^metered/],
    "extended constants": [toWasm("(module (global i32 (i32.add (i32.const 1) (i32.const 2))))"), /^metered/],
    "branch hints": [
      Buffer.concat([
        binary(...noop, [0, 25, ...Buffer.from("metadata.code.branch_hint"), 1, 0, 1, 4, 1, 0]),
        binary(body(0x41, 0, 0x04, 0x40, 0x0b)).subarray(8),
      ]),
      /^metered/,
    ],
    "JavaScript string builtins, which are imports like others": [
      toWasm('(module (import "wasm:js-string" "length" (func (param externref) (result i32))))'),
      /^metered/,
    ],
    "a shared memory": [toWasm("(module (memory 1 1 shared))"), /^E_WASM_UNSUPPORTED shared memory \(threads\)/],
    "atomic instructions": [moduleOf(0xfe, 0x03, 0x00), /^E_WASM_UNSUPPORTED a thread instruction/],
    "64-bit memories": [binary([5, 1, 4, 1]), /^E_WASM_UNSUPPORTED memory64/],
    "64-bit tables": [binary([4, 1, 0x70, 4, 1]), /^E_WASM_UNSUPPORTED memory64/],
    "several memories": [binary([5, 2, 0, 1, 0, 1]), /^E_WASM_UNSUPPORTED more than one memory/],
    tags: [binary([1, 1, 0x60, 0, 0], [13, 1, 0, 0]), /^E_WASM_UNSUPPORTED exception handling/],
    "exceptions, the old way": [
      binary(...noop, body(0x06, 0x40, 0x19, 0x0b)),
      /^E_WASM_UNSUPPORTED exception handling/,
    ],
    "exceptions, the new way": [binary(...noop, body(0x1f, 0x40, 0, 0x0b)), /^E_WASM_UNSUPPORTED exception handling/],
    "exception references": [binary([1, 1, 0x60, 1, 0x69, 0]), /^E_WASM_UNSUPPORTED an exception reference/],
    structs: [binary([1, 1, 0x5f, 1, 0x7f, 1]), /^E_WASM_UNSUPPORTED garbage collection/],
    arrays: [binary([1, 1, 0x5e, 0x7f, 1]), /^E_WASM_UNSUPPORTED garbage collection/],
    subtypes: [binary([1, 1, 0x50, 0, 0x60, 0, 0]), /^E_WASM_UNSUPPORTED garbage collection/],
    "recursive types": [binary([1, 1, 0x4e, 1, 0x60, 0, 0]), /^E_WASM_UNSUPPORTED garbage collection/],
    "small integers as references": [
      binary(...noop, body(0x41, 0, 0xfb, 0x1c, 0x1a)),
      /^E_WASM_UNSUPPORTED garbage collection/,
    ],
    "abstract references": [binary([1, 1, 0x60, 1, 0x6e, 0]), /^E_WASM_UNSUPPORTED a garbage-collected reference type/],
    "typed function references": [
      binary([1, 2, 0x60, 0, 0, 0x60, 1, 0x63, 0, 0]),
      /^E_WASM_UNSUPPORTED a typed function reference/,
    ],
    "tables with an initial value": [
      binary([4, 1, 0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b]),
      /^E_WASM_UNSUPPORTED a table with an initial value/,
    ],
  }
  for (const [feature, [bytes, expected]] of Object.entries(cases))
    it(`is metered or refused by its name: ${feature}`, () => {
      assert(WebAssembly.validate(bytes), "V8 does not know it")
      assert.match(verdict(bytes), expected)
    })
})

describe("every opcode", () => {
  /** The three places where prefixed opcodes have their number. */
  const PREFIXES = [0xfb, 0xfc, 0xfd, 0xfe]
  const OPCODES = [
    ...Array.from({ length: 0x100 }, (_, opcode) => [opcode]).filter(([opcode]) => !PREFIXES.includes(opcode!)),
    ...PREFIXES.flatMap((prefix) => Array.from({ length: 0x200 }, (_, number) => [prefix, ...toLeb(number)])),
  ]
  const IMMEDIATES = [
    ...[0, 1, 2, 3, 4].map((count) => new Array<number>(count).fill(0)),
    [0x40, 0x0b],
    [0x40, 0, 0x0b],
    [0x70],
    [0x6e],
    [1, 0x7f],
    [1],
    [0, 1],
    [1, 0],
    [0, 0x6e],
    [0x40, 0, 0],
    [0, 0, 0x70, 0x70],
    new Array<number>(8).fill(0),
    new Array<number>(16).fill(0),
    [0x80, 0x80, 0],
  ]
  /** A module that has one of everything that can be metered, with this code behind `unreachable`, where operands are of any type. */
  const around = (code: readonly number[]) =>
    binary(
      [1, 1, 0x60, 0, 0],
      [3, 1, 0],
      [4, 1, 0x70, 0, 1],
      [5, 1, 0, 1],
      [6, 1, 0x7f, 1, 0x41, 0, 0x0b],
      [9, 1, 1, 0, 1, 0],
      [12, 1],
      [10, 1, code.length + 4, 0, 0x00, ...code, 0x00, 0x0b],
      [11, 1, 1, 0],
    )

  it("that V8 knows is metered, or refused with the name of its feature, whatever follows it", () => {
    const verdicts = { metered: 0, refused: 0 }
    for (const opcode of OPCODES)
      for (const immediates of IMMEDIATES) {
        const bytes = around([...opcode, ...immediates])
        if (!WebAssembly.validate(bytes)) continue
        const found = verdict(bytes)
        const what = `${Buffer.from([...opcode, ...immediates]).toString("hex")}: ${found}`
        if (found === "metered") verdicts.metered++
        else {
          assert.match(found, /^E_WASM_UNSUPPORTED (?!opcode)/, what)
          verdicts.refused++
        }
      }
    assert(verdicts.metered > 450 && verdicts.refused > 100, JSON.stringify(verdicts))
  })

  it("that V8 does not know is refused, without an error of another kind", () => {
    for (const opcode of OPCODES)
      for (const immediates of IMMEDIATES) {
        const bytes = around([...opcode, ...immediates])
        if (!WebAssembly.validate(bytes)) assert.match(verdict(bytes), /^E_WASM_(INVALID|UNSUPPORTED)/)
      }
  })
})

function toLeb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, value >> 7]
}
