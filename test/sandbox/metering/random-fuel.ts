import { randomModule } from "./random-module.ts"
import { MeteredInstance, random } from "./support.ts"

/** How many modules a test tries, and the seed of the first: METERING_MODULES and METERING_FIRST_SEED, for long runs. */
export const MODULES = Number(process.env.METERING_MODULES ?? 2000)
export const FIRST_SEED = Number(process.env.METERING_FIRST_SEED ?? 1)

export interface CallCount {
  readonly used: number
  /** Function entries and loop turns that the module counted by itself. */
  readonly steps: number
  readonly trapped: boolean
  readonly stopped: boolean
}

export interface FuelCounts {
  /** Of each call that was made. After a trap a counter is not exact: such a call counts as 0. */
  readonly calls: readonly CallCount[]
  /** Used so far in a call, at each call of an import. */
  readonly seen: readonly number[]
}

/**
 * Calls every exported function of a generated module in turn.
 * @param of - The call that gets only `budget`; it is the last one then.
 */
export function countFuel(
  original: Uint8Array,
  { slice, budget = Infinity, of }: { slice: number; budget?: number; of?: number },
): FuelCounts {
  const seen: number[] = []
  const calls: CallCount[] = []
  const host = {
    f: (value: number) => {
      seen.push(metered.granted - metered.left)
      return value + 1
    },
  }
  const metered: MeteredInstance = new MeteredInstance(original, { imports: { host }, slice })
  const { exports } = metered.instance
  for (const [name, { type }] of metered.module.shape.exports) {
    if (!type.startsWith("(")) continue
    const parameters = type.slice(1, type.indexOf(")")).split(" ")
    const last = calls.length === of
    refillSteps(exports)
    metered.begin(last ? budget : Infinity)
    let trapped = false
    try {
      metered.exports[name]!(...parameters.map((parameter) => (parameter === "i64" ? 2n : 2.5)))
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error
      trapped = true
    }
    const used = trapped ? 0 : metered.used
    const steps = STEPS - ((exports.g0 as WebAssembly.Global).value as number)
    calls.push({ used, steps, trapped, stopped: metered.refused || used > (last ? budget : Infinity) })
    if (last) break
  }
  return { calls, seen }
}

export function imports(): WebAssembly.Imports {
  let calls = 0
  return { host: { f: (value: number) => value + ++calls } }
}

/** Global 0 counts the steps a generated module may still take. */
export function refillSteps(exports: WebAssembly.Exports): void {
  if (exports.g0 instanceof WebAssembly.Global) exports.g0.value = STEPS
}

const STEPS = 300

if (import.meta.main) {
  const counts = Array.from({ length: Number(process.argv[2]) }, (_, index) =>
    countFuel(randomModule(random(FIRST_SEED + index)), { slice: 1000 }),
  )
  process.stdout.write(JSON.stringify(counts))
}
