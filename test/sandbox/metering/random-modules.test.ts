import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { it } from "node:test"
import { fileURLToPath } from "node:url"
import { type CallCount, countFuel, FIRST_SEED, imports, MODULES, refillSteps } from "./random-fuel.ts"
import { randomModule } from "./random-module.ts"
import { assertSameBehaviour } from "./same-behaviour.ts"
import { random } from "./support.ts"

/** Slices small enough to stop a guest almost everywhere, and as large as a host uses. */
const SLICES = [1, 7, 1000, 100_000]

it("keeps the behaviour of randomly generated modules, stopped at random fuel and continued", () => {
  forEachSeed(MODULES, (seed) => {
    const slice = SLICES[seed % SLICES.length]!
    assertSameBehaviour(randomModule(random(seed)), ARGUMENTS, { imports, beforeCall: refillSteps, slice })
    return true
  })
})

it("counts the same whatever the slices are, also where the host looks during imports", () => {
  forEachSeed(MODULES / 10, (seed) => {
    const original = randomModule(random(seed))
    const [first, ...others] = SLICES.map((slice) => countFuel(original, { slice }))
    for (const other of others) assert.deepEqual(other, first)
    return first!.seen.length > 0 && first!.calls.some((call) => call.used > 0)
  })
})

it("passes with exactly what a call costs, and fails with one unit less", () => {
  forEachSeed(MODULES / 10, (seed) => {
    const original = randomModule(random(seed))
    const { calls } = countFuel(original, { slice: 100_000 })
    const paid = calls.flatMap(({ used, trapped }, call) => (used > 0 && !trapped ? [{ call, used }] : []))
    const chosen = paid[seed % paid.length]
    if (chosen === undefined) return false
    for (const slice of SLICES) {
      const callWith = (budget: number): CallCount =>
        countFuel(original, { slice, budget, of: chosen.call }).calls[chosen.call]!
      const { used, trapped, stopped } = callWith(chosen.used)
      assert.deepEqual({ used, trapped, stopped }, { used: chosen.used, trapped: false, stopped: false })
      assert.equal(callWith(chosen.used - 1).stopped, true)
    }
    return true
  })
})

it("counts at least what a module does by its own count", () => {
  forEachSeed(MODULES / 10, (seed) => {
    const { calls } = countFuel(randomModule(random(seed)), { slice: 100_000 })
    const returned = calls.filter(({ trapped }) => !trapped)
    // What a call by the host does in front of its first call may be free: at most 24 units.
    for (const { used, steps } of returned) assert(used + 24 >= steps * STEP_COST, `${steps} steps for ${used} units`)
    return returned.some(({ steps }) => steps > 1)
  })
})

it("counts the same in another process", () => {
  const count = Math.min(MODULES / 10, 50)
  const script = fileURLToPath(new URL("random-fuel.ts", import.meta.url))
  const run = () => execFileSync(process.execPath, [script, String(count)], { encoding: "utf8", timeout: 300_000 })
  const here = Array.from({ length: count }, (_, index) =>
    countFuel(randomModule(random(FIRST_SEED + index)), { slice: 1000 }),
  )
  const there = run()
  assert.deepEqual(JSON.parse(there), here)
  assert.equal(run(), there)
})

/** Instructions of one step: load, test and branch, and what takes one off. */
const STEP_COST = 7

/** @param check - Tells whether the module has what the check is about; every fifth has to. */
function forEachSeed(count: number, check: (seed: number) => boolean): void {
  let telling = 0
  for (let seed = FIRST_SEED; seed < FIRST_SEED + count; seed++)
    try {
      if (check(seed)) telling++
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  assert(telling > count / 5, `only ${telling} of ${count} modules tell anything`)
}

/** For every mixture of parameter types; a bigint for a number is a TypeError on both sides. */
const ARGUMENTS = [0, 1].flatMap((value) =>
  Array.from({ length: 8 }, (_, bits) => [0, 1, 2].map((place) => ((bits >> place) & 1 ? BigInt(value) : value * 3.5))),
)
