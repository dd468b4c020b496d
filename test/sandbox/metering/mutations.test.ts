import assert from "node:assert/strict"
import { it } from "node:test"
import { meter } from "../../../src/sandbox/metering/meter.ts"
import { ModuleRejected } from "../../../src/sandbox/metering/module-rejected.ts"
import { GUEST_PROFILE } from "../../../src/sandbox/metering/profiles.ts"
import { FEATURE_MODULE } from "./feature-module.ts"
import { random, toWasm } from "./support.ts"

const MUTATIONS = 8_000

it("takes a damaged module only when it is valid, and then keeps it valid", () => {
  const whole = toWasm(FEATURE_MODULE)
  const below = random(20_250_913)
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
