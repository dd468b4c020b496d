import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { GUEST_PROFILE } from "../../../src/sandbox/metering/profiles.ts"
import { FEATURE_MODULE } from "./feature-module.ts"
import { MeteredInstance, toWasm } from "./support.ts"

/** Units that one call of the export "f" costs. */
function cost(text: string, ...args: unknown[]): number {
  const metered = new MeteredInstance(toWasm(text))
  const before = metered.used
  metered.exports.f!(...args)
  return metered.used - before
}

describe("fuel counts", () => {
  it("one unit for each instruction, none for block structure and nop", () => {
    assert.equal(
      cost('(module (func (export "f") (drop (i32.const 1)) (nop) (block (block)) (drop (i32.const 1))))'),
      4,
    )
  })

  it("the turns of a loop exactly", () => {
    const loop = `(module (func (export "f") (param i32)
      (loop $again (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))`
    // local.get, i32.const, i32.sub, local.tee, br_if
    for (const turns of [1, 2, 10, 1000]) assert.equal(cost(loop, turns), 5 * turns)
  })

  it("only the branch that is taken, in a function with a loop", () => {
    const branches = `(module (func (export "f") (param i32)
      (loop)
      (if (local.get 0)
        (then (drop (i32.const 1)))
        (else (drop (i32.const 1)) (drop (i32.const 1)) (drop (i32.const 1))))))`
    assert.equal(cost(branches, 1), 2 + 2)
    assert.equal(cost(branches, 0), 2 + 6)
  })

  it("nothing for code behind an unconditional branch", () => {
    const dead = `(module (func (export "f") (loop) (block (br 0) (drop (i32.const 1)) (drop (i32.const 1)))))`
    assert.equal(cost(dead), 1)
  })

  it("what a caller and its callees spend, across calls of every kind", () => {
    const calls = `(module
      (type $t (func))
      (table funcref (elem $leaf))
      (func $leaf (nop) (drop (i32.const 1)))
      (func $tail (return_call $leaf))
      (func (export "f") (loop) (call $leaf) (call_indirect (type $t) (i32.const 0)) (call $tail)))`
    // Each call 5, an indirect one 12 whatever small function it calls, and its index 1; the leaf 2.
    assert.equal(cost(calls), 5 + 2 + (1 + 12) + (5 + (5 + 2)))
  })

  it("a small function without calls where it is called, and nothing where it is called indirectly", () => {
    const leaf = `(func $leaf (result i32) ${"(i32.eqz ".repeat(20)} (i32.const 1) ${")".repeat(20)})`
    const large = `(func $large (result i32) ${"(i32.eqz ".repeat(24)} (i32.const 1) ${")".repeat(24)})`
    const call = (what: string) =>
      cost(`(module (type $t (func (result i32))) (table funcref (elem $leaf $large))
      ${leaf} ${large} (func (export "f") (loop) (drop ${what})))`)
    assert.equal(call("(call $leaf)"), 1 + 5 + 21)
    assert.equal(call("(call $large)"), 1 + 5 + 25)
    assert.equal(call("(call_indirect (type $t) (i32.const 0))"), 1 + 12 + 1)
    assert.equal(call("(call_indirect (type $t) (i32.const 1))"), 1 + 12 + 1 + 25)
  })

  it("a recursive function at the branch that calls, and what is in front of it where the function is called", () => {
    const recursive = (depth: number) =>
      cost(
        `(module (func $f (param i32) (result i32)
          (if (result i32) (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 7))))
        (func (export "f") (param i32) (loop) (drop (call $f (local.get 0)))))`,
        depth,
      )
    // local.get and if, and the other branch, are paid by the caller.
    const entry = 2 + 1
    assert.equal(recursive(0), 2 + 5 + entry)
    assert.equal(recursive(1) - recursive(0), 3 + 5 + entry)
    assert.equal(recursive(1000) - recursive(999), 3 + 5 + entry)
  })

  it("a small function without a loop in one piece, whatever it does", () => {
    const small = `(module (func (export "f") (param i32) (if (local.get 0) (then (drop (i32.const 1))))))`
    assert.equal(cost(small, 0), 4)
    assert.equal(cost(small, 1), 4)
  })

  it("the same for the same call, and the same whatever the slices are", () => {
    const imports = { host: { log() {}, twice: (value: bigint) => value * 2n, base: 3 } }
    const original = toWasm(FEATURE_MODULE)
    const counts = [1, 17, 1000, 1e9].map((slice) => {
      const metered = new MeteredInstance(original, { imports, slice })
      const after = [metered.used]
      for (const name of ["fibonacci", "callsHost", "bulk", "tables", "tailCallInLoop", "fibonacci"]) {
        metered.exports[name]!(9)
        after.push(metered.used)
      }
      return after
    })
    for (const other of counts) assert.deepEqual(other, counts[0])
    assert.equal(counts[0]![6]! - counts[0]![5]!, counts[0]![1]! - counts[0]![0]!)
  })

  it("the counter that the host sees and changes during an import", () => {
    const original = toWasm(`(module
      (import "host" "spend" (func $spend))
      (func (export "f") (loop) (nop) (call $spend) (drop (i32.const 1))))`)
    const seen: unknown[] = []
    const metered = new MeteredInstance(original, {
      slice: 1e6,
      imports: {
        host: {
          spend() {
            seen.push(metered.left)
            metered.left -= 500
          },
        },
      },
    })
    metered.left = 1000
    metered.exports.f!()
    // The run around the call is charged when it starts.
    assert.deepEqual(seen, [1000 - 7])
    assert.equal(metered.left, 1000 - 7 - 500)
  })
})

describe("a guest that does not return", () => {
  const spinners: Record<string, string> = {
    "an empty loop": '(func (export "f") (loop (br 0)))',
    "a loop with a conditional branch": '(func (export "f") (loop (br_if 0 (i32.const 1))))',
    "a loop closed by a branch table": '(func (export "f") (loop (br_table 0 0 (i32.const 7))))',
    "a loop closed from an inner block": '(func (export "f") (loop (block (block (br 2)))))',
    "a loop in a function with several results": `(func (export "f") (result i32 i64)
      (loop (br 0)) (i32.const 1) (i64.const 2))`,
    "a loop that passes values": '(func (export "f") (i32.const 1) (loop (param i32) (br 0)) (unreachable))',
    "a loop behind dead code": '(func (export "f") (block (br 0) (loop (br 0))) (loop (br 0)))',
    "tail calls of itself": '(func $f (export "f") (return_call $f))',
    "tail calls in a circle": '(func $g (return_call $f)) (func $f (export "f") (return_call $g))',
    "indirect tail calls of itself": `(type $t (func)) (table funcref (elem $f))
      (func $f (export "f") (return_call_indirect (type $t) (i32.const 0)))`,
    "a tree of calls": `(func $f (export "f") (param i32) (result i32)
      (if (result i32) (i32.gt_s (local.get 0) (i32.const 60)) (then (i32.const 1))
        (else (i32.add (call $f (i32.add (local.get 0) (i32.const 1))) (call $f (i32.add (local.get 0) (i32.const 1)))))))`,
    "functions that call each other at the end of a branch": `(func $a (param i32) (result i32)
        (if (result i32) (local.get 0) (then (return_call $b (local.get 0))) (else (i32.const 1))))
      (func $b (param i32) (result i32)
        (if (result i32) (local.get 0) (then (return_call $a (local.get 0))) (else (i32.const 2))))
      (func (export "f") (param i32) (result i32) (call $a (i32.const 1)))`,
    "a function that calls itself through the table at the end of a branch": `(type $t (func (param i32)))
      (table funcref (elem $a))
      (func $a (param i32) (if (local.get 0) (then (return_call_indirect (type $t) (i32.const 1) (i32.const 0)))))
      (func (export "f") (param i32) (call $a (i32.const 1)))`,
    "a tree of calls from two branches": `(func $a (param i32)
        (if (i32.gt_s (local.get 0) (i32.const 60)) (then (return)))
        (if (i32.and (local.get 0) (i32.const 1))
          (then (call $a (i32.add (local.get 0) (i32.const 1))) (call $a (i32.add (local.get 0) (i32.const 1))))
          (else (call $b (local.get 0)))))
      (func $b (param i32)
        (call $a (i32.add (local.get 0) (i32.const 1))) (call $a (i32.add (local.get 0) (i32.const 1))))
      (func (export "f") (param i32) (call $a (i32.const 0)))`,
    "a loop around one that ends at once": '(func (export "f") (loop $o (loop $i) (br $o)))',
    "a loop closed from an inner loop": '(func (export "f") (loop $o (loop $i (br $o))))',
    "a loop closed by a branch table of an inner loop": `(func (export "f") (param i32)
      (loop $o (loop $i (br_table $i $o $o (local.tee 0 (i32.xor (local.get 0) (i32.const 1)))))))`,
    "a loop in a loop, each left for the other": `(func (export "f")
      (loop $o (block $b (loop $i (br_if $b (i32.const 1)) (br $i))) (br $o)))`,
    "a loop with a result": '(func (export "f") (drop (loop (result i32) (br 0))))',
    "a loop with several results": `(func (export "f") (loop (result i32 i64) (br 0)) (drop) (drop))`,
    "a loop that calls a leaf indirectly": `(type $t (func)) (table funcref (elem $g)) (func $g)
      (func (export "f") (loop (call_indirect (type $t) (i32.const 0)) (br 0)))`,
    "loops that call a leaf": '(func $g (nop)) (func (export "f") (loop (call $g) (br 0)))',
    "a loop of memory.fill": `(memory 16) (func (export "f")
      (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 1000000)) (br 0)))`,
    "a loop of memory.copy of nothing": `(memory 1) (func (export "f")
      (loop (memory.copy (i32.const 0) (i32.const 1) (i32.const 0)) (br 0)))`,
    "a loop of memory.grow": `(memory 1) (func (export "f") (loop (drop (memory.grow (i32.const 1))) (br 0)))`,
    "a loop of table.grow": `(table 1 funcref) (func (export "f")
      (loop (drop (table.grow (ref.null func) (i32.const 1))) (br 0)))`,
    "a loop of table.fill": `(table 9999 funcref) (func (export "f")
      (loop (table.fill (i32.const 0) (ref.null func) (i32.const 9999)) (br 0)))`,
  }
  for (const [what, functions] of Object.entries(spinners))
    it(`stops by a trap when nothing more is granted: ${what}`, () => {
      const budget = 3_000_000
      const metered = new MeteredInstance(toWasm(`(module ${functions})`), { budget, slice: 100_000 })
      assert.throws(() => metered.exports.f!(0), { name: "RuntimeError", message: "unreachable" })
      assert.equal(metered.granted, budget)
      // An instruction that works through much is charged before it runs; everything else stops within a few.
      const mostOfOneInstruction = /memory\.fill|table\.fill/.test(functions) ? 64 + 64 * 9999 : 400
      assert(metered.left < 0 && metered.left > -mostOfOneInstruction, `${metered.left} left`)
      // Nobody gets in again until the host sets the counter.
      assert.throws(() => metered.exports.f!(0), { name: "RuntimeError", message: "unreachable" })
    })

  it("stops in its start function", () => {
    const original = toWasm("(module (func $spin (loop (br 0))) (start $spin))")
    assert.throws(() => new MeteredInstance(original, { budget: 10_000 }), { message: "unreachable" })
  })

  it("stops by the stack limit when it only recurses, and the counter stays usable", () => {
    const original = toWasm('(module (func $f (export "f") (call $f)) (func (export "g") (result i32) (i32.const 5)))')
    const metered = new MeteredInstance(original, { slice: 1e6 })
    assert.throws(() => metered.exports.f!(), RangeError)
    assert.equal(metered.exports.g!(), 5)
  })

  it("is stopped by a host that grants nothing or less", () => {
    for (const budget of [0, -5])
      assert.throws(
        () => new MeteredInstance(toWasm('(module (func (export "f") (drop (i32.const 1))))'), { budget }).exports.f!(),
        {
          message: "unreachable",
        },
      )
  })

  it("is asked for more until a single expensive instruction is paid, before it runs", () => {
    const original = toWasm(`(module (memory (export "memory") 16)
      (func (export "f") (memory.fill (i32.const 0) (i32.const 1) (i32.const 1000000))))`)
    const metered = new MeteredInstance(original, { budget: 50_000, slice: 1000 })
    assert.throws(() => metered.exports.f!(), { message: "unreachable" })
    assert.equal(metered.refills, 51)
    assert.equal(new Uint8Array((metered.instance.exports.memory as WebAssembly.Memory).buffer)[0], 0)
  })
})

describe("an instruction that cannot succeed", () => {
  const oversized: Record<string, [body: string, outcome: RegExp | number]> = {
    "memory.grow by too many pages": ["(memory.grow (i32.const 0x7fffffff))", -1],
    "table.grow by too many entries": ["(table.grow (ref.null func) (i32.const 0x7fffffff))", -1],
    "memory.fill of too many bytes": [
      "(memory.fill (i32.const 0) (i32.const 0) (i32.const -1)) (i32.const 0)",
      /memory access out of bounds/,
    ],
    "table.fill of too many entries": [
      "(table.fill (i32.const 0) (ref.null func) (i32.const -1)) (i32.const 0)",
      /table index is out of bounds|table access out of bounds|table.*out of bounds/,
    ],
  }
  for (const [what, [body, outcome]] of Object.entries(oversized))
    it(`fails as in the original instead of using up the fuel: ${what}`, () => {
      const original = toWasm(`(module (memory 1) (table 1 funcref) (func (export "f") (result i32) ${body}))`)
      const metered = new MeteredInstance(original, { budget: 10_000 })
      if (typeof outcome === "number") assert.equal(metered.exports.f!(), outcome)
      else assert.throws(() => metered.exports.f!(), outcome)
    })

  it("is memory.grow or table.grow above the profile's cap", () => {
    const original = toWasm(`(module (memory 1) (table 1 funcref)
      (func (export "pages") (result i32) (memory.grow (i32.const 4)))
      (func (export "entries") (result i32) (table.grow (ref.null func) (i32.const 4))))`)
    const metered = new MeteredInstance(original, {
      profile: { ...GUEST_PROFILE, maxMemoryPages: 4, maxTableEntries: 4 },
    })
    assert.equal(metered.exports.pages!(), -1)
    assert.equal(metered.exports.entries!(), -1)
  })
})
