import assert from "node:assert/strict"
import { it } from "node:test"
import { meter } from "../../../src/sandbox/metering/meter.ts"
import { QUICKJS_PROFILE, type TrustedProfile } from "../../../src/sandbox/metering/profiles.ts"
import { toWasm } from "./support.ts"

/** Stands for QuickJS: one large function that is left alone, and small ones that are metered. */
const original = toWasm(`(module
  (import "host" "memory" (memory 256 32768))
  (func (export "large") (param i32)
    (loop $again (local.set 0 (i32.sub (local.get 0) (i32.const 1))) ${"(drop (i32.const 1))".repeat(50)}
      (br_if $again (local.get 0))))
  (func (export "small") (param i32)
    (loop $again (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "long") (param i32)
    (loop $again ${"(drop (i32.const 1))".repeat(20)}
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "nested") (param i32) (local i32)
    (loop $outer
      (local.set 1 (i32.const 3))
      (loop $inner (br_if $inner (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
      (br_if $outer (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "straight") (param i32) (drop (i32.const 1))))`)

const profile: TrustedProfile = { ...QUICKJS_PROFILE, unmeteredAboveBytes: 100, maxLoopCharge: 16 }

function cost(name: string, turns: number): number {
  const imports = { host: { memory: new WebAssembly.Memory({ initial: 256, maximum: 1024 }) } }
  const { bytes, refill, fuelExport } = meter(original, profile)
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    ...imports,
    [refill.module]: { [refill.name]: () => 0 },
  })
  const fuel = exports[fuelExport] as WebAssembly.Global
  fuel.value = 1_000_000
  const run = exports[name] as (turns: number) => void
  run(turns)
  return 1_000_000 - (fuel.value as number)
}

it("charges each turn of a loop, at most maxLoopCharge, with a 32-bit counter", () => {
  assert.equal(cost("small", 10), 10 * 5)
  assert.equal(cost("long", 10), 10 * 16)
  // The outer loop's own instructions are 7, the inner loop's 5, three times each.
  assert.equal(cost("nested", 10), 10 * (7 + 3 * 5))
})

it("charges nothing outside loops, and nothing in the one large function", () => {
  assert.equal(cost("straight", 1), 0)
  assert.equal(cost("large", 1000), 0)
})

it("lets the host choose the size of an imported memory", () => {
  const { bytes } = meter(original, { ...profile, initialMemoryPages: 4, maxMemoryPages: 8 })
  const refill = { refill: () => 1 }
  const memory = (initial: number, maximum: number) => ({
    host: { memory: new WebAssembly.Memory({ initial, maximum }) },
    __meter: refill,
  })
  const module = new WebAssembly.Module(bytes)
  new WebAssembly.Instance(module, memory(4, 8))
  assert.throws(() => new WebAssembly.Instance(module, memory(3, 8)), WebAssembly.LinkError)
  assert.throws(() => new WebAssembly.Instance(module, memory(4, 9)), WebAssembly.LinkError)
})

it("keeps only the exports that are asked for, and its own", () => {
  const { bytes } = meter(original, { ...profile, keepExports: new Set(["small", "nested", "absent"]) })
  const names = WebAssembly.Module.exports(new WebAssembly.Module(bytes)).map(({ name }) => name)
  assert.deepEqual(names, ["small", "nested", "__fuel"])
  assert.equal(WebAssembly.Module.exports(new WebAssembly.Module(meter(original, profile).bytes)).length, 6)
})
