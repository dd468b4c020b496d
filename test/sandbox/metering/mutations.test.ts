import assert from "node:assert/strict"
import { it } from "node:test"
import { meter } from "../../../src/sandbox/metering/meter.ts"
import { ModuleRejected } from "../../../src/sandbox/metering/module-rejected.ts"
import { GUEST_PROFILE, type UntrustedProfile } from "../../../src/sandbox/metering/profiles.ts"
import { FEATURE_MODULE } from "./feature-module.ts"
import { assertSameWhileItReturns } from "./same-behaviour.ts"
import { MeteredInstance, random, toWasm } from "./support.ts"

/** METERING_MUTATIONS, for long runs. */
const MUTATIONS = Number(process.env.METERING_MUTATIONS ?? 8_000)
const SEED = Number(process.env.METERING_FIRST_SEED ?? 20_250_913)

it("takes a damaged module only when it is valid, and then keeps it valid", () => {
  const whole = toWasm(FEATURE_MODULE)
  const below = random(SEED)
  let taken = 0
  for (let i = 0; i < MUTATIONS; i++) {
    const mutant = mutate(whole, below)
    const valid = WebAssembly.validate(mutant)
    try {
      const { bytes } = meter(mutant, GUEST_PROFILE)
      assert(valid, `mutation ${i}: taken although invalid`)
      assert(WebAssembly.validate(bytes), `mutation ${i}: no longer valid`)
      taken++
    } catch (error) {
      if (!(error instanceof ModuleRejected)) throw new Error(`mutation ${i}`, { cause: error })
      assert(error.offset >= 0 && error.offset <= mutant.length, `mutation ${i}: offset ${error.offset}`)
      // A valid module is refused only for a limit, a reserved name or a feature.
      if (valid)
        assert(error.code !== "E_WASM_INVALID" || /reserved/.test(error.message), `mutation ${i}: ${error.message}`)
    }
  }
  assert(taken > MUTATIONS / 20)
})

it("keeps the behaviour of damaged modules that are still valid", () => {
  const whole = toWasm(FEATURE_MODULE)
  const below = random(SEED + 1)
  let compared = 0
  for (let i = 0; i < MUTATIONS; i++) {
    const mutant = mutate(whole, below)
    const slice = 1 + below(2000)
    const metered = instantiate(mutant, slice)
    if (metered === null) continue
    try {
      compared += assertSameWhileItReturns(mutant, metered, {
        imports: imports(),
        args: [below(12), 5],
        budget: 100_000,
      })
    } catch (error) {
      throw new Error(`mutation ${i}: ${Buffer.from(mutant).toString("base64")}`, { cause: error })
    }
  }
  assert(compared > MUTATIONS)
})

/** @returns Null for what is not taken, does not start, or may have more memory than a test wants to compare. */
function instantiate(mutant: Uint8Array, slice: number): MeteredInstance | null {
  try {
    const { memory, shape } = meter(mutant, WITHOUT_CAPS)
    if (memory !== null && memory.maximumPages > 64) return null
    if (shape.imports.some(({ module, name }) => module !== "host" || !HOST_NAMES.includes(name))) return null
    return new MeteredInstance(mutant, { imports: imports(), slice, budget: 100_000, profile: WITHOUT_CAPS })
  } catch (error) {
    if (error instanceof ModuleRejected || error instanceof WebAssembly.RuntimeError) return null
    if (error instanceof WebAssembly.LinkError || error instanceof RangeError) return null
    throw error
  }
}

/** Growing succeeds where it does in the original. */
const WITHOUT_CAPS: UntrustedProfile = { ...GUEST_PROFILE, maxMemoryPages: 65_536, maxTableEntries: 10_000_000 }

const HOST_NAMES = ["log", "twice", "base"]

function imports(): WebAssembly.Imports {
  return { host: { log() {}, twice: (value: bigint) => value * 2n, base: 3 } }
}

/** Changes, inserts, removes or repeats one to three bytes. */
function mutate(whole: Uint8Array, below: (limit: number) => number): Uint8Array {
  const bytes = [...whole]
  for (let changes = 1 + below(3); changes > 0; changes--) {
    const place = 8 + below(bytes.length - 8)
    switch (below(6)) {
      case 0:
        bytes.splice(place, 1)
        break
      case 1:
        bytes.splice(place, 0, below(256))
        break
      case 2:
        bytes.splice(place, 0, ...bytes.slice(place, place + below(12)))
        break
      case 3:
        bytes[place] = bytes[place]! ^ (1 << below(8))
        break
      default:
        bytes[place] = below(256)
    }
  }
  return Uint8Array.from(bytes)
}
