import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { meter } from "../../../src/sandbox/metering/meter.ts"
import { ModuleRejected } from "../../../src/sandbox/metering/module-rejected.ts"
import { GUEST_PROFILE } from "../../../src/sandbox/metering/profiles.ts"
import { Writer } from "../../../src/sandbox/metering/writer.ts"
import { assertSameBehaviour } from "./same-behaviour.ts"
import { binary, MeteredInstance, moduleOf, toWasm } from "./support.ts"

function rejection(bytes: Uint8Array): string {
  try {
    meter(bytes, GUEST_PROFILE)
  } catch (error) {
    assert(error instanceof ModuleRejected, String(error))
    return `${error.code} ${error.message}`
  }
  return "accepted"
}

/** A module whose only function is `() -> ()`, exported as "f", with this body: local groups and instructions. */
function moduleOfBody(body: Uint8Array): Uint8Array {
  const out = new Writer()
  const head = binary([1, 1, 0x60, 0, 0], [3, 1, 0], [7, 1, 1, 0x66, 0, 0])
  out.copy(head, 0, head.length)
  const code = new Writer()
  code.u32(1)
  code.u32(body.length)
  code.copy(body, 0, body.length)
  out.u8(10)
  out.sized(code)
  return out.finish()
}

describe("a module that means to hurt the meter", () => {
  it("with a branch table of tens of thousands of targets, out of a loop in a loop, does what it did", () => {
    const targets = Array.from({ length: 20_000 }, (_, index) => ["$inner", "$outer", "$done"][index % 7] ?? "$done")
    const module = `(module (func (export "f") (param i32) (result i32) (local i32)
      (block $done
        (loop $outer
          (br_if $done (i32.gt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 50)))
          (loop $inner
            (br_table ${targets.join(" ")} $done
              (i32.add (local.get 0) (local.tee 1 (i32.add (local.get 1) (i32.const 7))))))))
      (local.get 1)))`
    assertSameBehaviour(
      toWasm(module),
      [0, 1, 2, 3, 4, 5, 6, 19_990, -1].map((first) => [first]),
      { slice: 3 },
    )
  })

  it("with more labels than there can be in a branch table is invalid", () => {
    assert.match(
      rejection(moduleOf(0x41, 0, 0x0e, 0xff, 0xff, 0xff, 0xff, 0x0f, 0)),
      /^E_WASM_INVALID branch table count/,
    )
  })

  it("with nested blocks at the limit is metered, and above it refused", () => {
    const nested = (depth: number) =>
      moduleOfBody(
        Uint8Array.of(
          0,
          ...new Array<number[]>(depth).fill([0x03, 0x40]).flat(),
          ...new Array<number>(depth).fill(0x0b),
          0x0b,
        ),
      )
    assertSameBehaviour(nested(1000), [[]])
    assert.match(rejection(nested(1001)), /^E_WASM_LIMIT nested blocks: 1001/)
  })

  it("with four billion locals in five bytes is refused before anything is counted out", () => {
    const groups = (...counts: number[]) => {
      const body = new Writer()
      body.u32(counts.length)
      for (const count of counts) {
        body.u32(count)
        body.u8(0x7f)
      }
      body.u8(0x0b)
      return moduleOfBody(body.finish())
    }
    assert.match(rejection(groups(0xffff_ffff)), /^E_WASM_LIMIT locals of one function: 4294967295/)
    assert.match(rejection(groups(...new Array<number>(5000).fill(0xffff_ffff))), /^E_WASM_LIMIT locals/)
    // Two that would be a few if their sum wrapped around.
    assert.match(rejection(groups(0xffff_ffff, 2)), /^E_WASM_LIMIT locals of one function: 4294967297/)
    assertSameBehaviour(groups(...new Array<number>(20_000).fill(0)), [[]])
  })

  it("with another number of data segments than it says is invalid", () => {
    const withCount = (count: number) => binary([5, 1, 0, 1], [12, count], [11, 1, 1, 0])
    assert.equal(rejection(withCount(1)), "accepted")
    for (const count of [0, 2]) assert.match(rejection(withCount(count)), /^E_WASM_INVALID/)
    assert.match(rejection(binary([5, 1, 0, 1], [12, 1])), /^E_WASM_INVALID/)
  })

  it("with every number stretched to five bytes does what it did", () => {
    const pad = (value: number) => [value | 0x80, 0x80, 0x80, 0x80, 0]
    const instructions = [
      ...[0x03, 0x40], // loop
      ...[0x23, ...pad(0)], // global.get
      ...[0x41, ...pad(1), 0x6a, 0x22, ...pad(0)], // i32.const, i32.add, local.tee
      ...[0x24, ...pad(0)], // global.set
      ...[0x10, ...pad(1)], // call
      ...[0x20, ...pad(0), 0x41, ...pad(5), 0x48, 0x0d, ...pad(0)], // local.get, i32.const, i32.lt_s, br_if
      0x0b,
      ...[0x02, ...pad(0)], // block of type 0
      ...[0x20, ...pad(0), 0x0e, ...pad(1), ...pad(0), ...pad(1)], // br_table
      0x0b,
    ]
    const body = [...pad(1), ...pad(1), 0x7f, ...instructions, 0x0b]
    const second = [...pad(0), 0x0b]
    const bytes = binary(
      [1, ...pad(1), 0x60, ...pad(0), ...pad(0)],
      [3, ...pad(2), ...pad(0), ...pad(0)],
      [6, ...pad(1), 0x7f, 1, 0x41, ...pad(0), 0x0b],
      [7, ...pad(2), ...pad(1), 0x66, 0, ...pad(0), ...pad(1), 0x67, 3, ...pad(0)],
      [10, ...pad(2), ...pad(body.length), ...body, ...pad(second.length), ...second],
    )
    assertSameBehaviour(bytes, [[], []], { slice: 1 })
  })

  it("with an empty block type stretched to several bytes, which V8 takes, is refused by name", () => {
    for (const type of [
      [0xc0, 0x7f],
      [0xc0, 0xff, 0x7f],
      [0xc0, 0xff, 0xff, 0x7f],
    ]) {
      const bytes = moduleOf(0x00, 0x02, ...type, 0x00, 0x0b, 0x00)
      assert(WebAssembly.validate(bytes))
      assert.match(rejection(bytes), /^E_WASM_UNSUPPORTED a block type of more than one byte/)
    }
    assert.equal(rejection(moduleOf(0x00, 0x02, 0x80, 0x80, 0x00, 0x00, 0x0b, 0x00)), "accepted")
  })

  it("with a hundred results everywhere does what it did, and with one more is refused", () => {
    const results = (count: number) => {
      const types = `(result ${"i32 ".repeat(count)})`
      const values = Array.from({ length: count }, (_, index) => `(i32.const ${index})`).join(" ")
      return toWasm(`(module
        (func $many ${types} ${values})
        (func (export "loop") (param i32) ${types}
          (loop $l ${types}
            (br_if $l (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))) ${values}))
        (func (export "early") (param i32) ${types}
          (loop (br_if 0 (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
          (if (local.get 0) (then (return (call $many)))) (br 0 (call $many))))`)
    }
    assertSameBehaviour(results(100), [[0], [1], [5], [-5]], { slice: 2 })
    assert.match(rejection(results(101)), /^E_WASM_LIMIT results of one function: 101/)
  })

  it("with operands of any type in code that is never reached does what it did", () => {
    assertSameBehaviour(
      toWasm(`(module (memory 1) (func $two (result i32 f64) (i32.const 1) (f64.const 2))
        (func (export "f") (param i32) (result i64)
          (block $b (result i64)
            (if (local.get 0) (then (br $b (i64.const 1)) (drop) (loop $l (unreachable) (br_if $l) (drop (call $two)) (drop) (br_table $l $l))))
            (return (i64.const 2)) (select (result f32)) (drop) (i64.add) (drop) (br_if $b) (drop) (memory.fill) (i64.const 3))))`),
      [[0], [1]],
      { slice: 1 },
    )
  })

  it("with a function that only a global or a passive segment mentions calls the right one", () => {
    assertSameBehaviour(
      toWasm(`(module (import "host" "f" (func $host (result i32)))
        (table $t 3 funcref) (global $g funcref (ref.func $second)) (elem $e funcref (ref.func $third) (ref.null func))
        (func $first (result i32) (i32.const 1)) (func $second (result i32) (i32.const 2)) (func $third (result i32) (i32.const 3))
        (func (export "f") (param i32) (result i32)
          (table.set $t (i32.const 0) (ref.func $second))
          (table.init $t $e (i32.const 1) (i32.const 0) (i32.const 2))
          (call_indirect $t (result i32) (local.get 0))))`),
      [[0], [1], [2], [3]],
      { imports: () => ({ host: { f: () => 0 } }) },
    )
  })

  it("cannot name its functions so that a message breaks", () => {
    const names = ["\u{1b}[31m", "a\nb", "__fuel_get", "\0", "\u{202e}x"]
    for (const name of names) {
      const text = Buffer.from(name)
      const contents = [1, 4 + text.length, 1, 0, text.length, ...text]
      contents[1] = contents.length - 2
      const section = [0, 4, 0x6e, 0x61, 0x6d, 0x65, ...contents]
      const bytes = binary([1, 1, 0x60, 0, 0], [3, 1, 0], [7, 1, 1, 0x66, 0, 0], [10, 1, 3, 0, 0, 0x0b], section)
      const metered = new MeteredInstance(bytes)
      assert.throws(() => metered.exports.f!(), { message: "unreachable" })
      assert.equal(metered.left >= 0, true)
    }
  })
})
