import { it } from "node:test"
import { randomModule } from "./random-module.ts"
import { assertSameBehaviour } from "./same-behaviour.ts"
import { random } from "./support.ts"

const SEEDS = 400

it("keeps the behaviour of randomly generated modules", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const original = randomModule(random(seed))
    try {
      assertSameBehaviour(original, ARGUMENTS, { imports, beforeCall: refillSteps })
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
})

/** For every mixture of parameter types; a bigint for a number is a TypeError on both sides. */
const ARGUMENTS = [0, 1].flatMap((value) =>
  Array.from({ length: 8 }, (_, bits) => [0, 1, 2].map((place) => ((bits >> place) & 1 ? BigInt(value) : value * 3.5))),
)

function imports(): WebAssembly.Imports {
  let calls = 0
  return { host: { f: (value: number) => value + ++calls } }
}

/** Global 0 counts the steps a generated module may still take. */
function refillSteps(exports: WebAssembly.Exports): void {
  if (exports.g0 instanceof WebAssembly.Global) exports.g0.value = 300
}
