import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { FEATURE_MODULE } from "./feature-module.ts"
import { assertSameBehaviour } from "./same-behaviour.ts"
import { MeteredInstance, toWasm } from "./support.ts"

function imports(): WebAssembly.Imports {
  return { host: { log() {}, twice: (value: bigint) => value * 2n, base: 3 } }
}

describe("a metered module", () => {
  it("gives the original's results, traps, memory, globals and tables in every instruction group", () => {
    const argumentLists = [0, 1, 2, 3, 4, 7, 10, 255, -1, 65_535, 70_000, 2 ** 31 - 1].map((first) => [first, 5])
    assertSameBehaviour(toWasm(FEATURE_MODULE), argumentLists, {
      imports,
      names: exportsBut("fibonacci", "tailCall", "tailCallInLoop", "loopWithParameters", "manyResults"),
    })
    assertSameBehaviour(
      toWasm(FEATURE_MODULE),
      [0, 1, 2, 3, 5, 6, 12].map((first) => [first, 5]),
      { imports },
    )
  })

  it("runs its start function on fuel that the host grants during instantiation", () => {
    const metered = new MeteredInstance(toWasm(FEATURE_MODULE), { imports: imports() })
    assert.equal((metered.instance.exports.counter as WebAssembly.Global).value, 5 + 3 + 12)
    assert(metered.used > 0)
  })
})

function exportsBut(...left: string[]): string[] {
  const module = new WebAssembly.Module(toWasm(FEATURE_MODULE))
  return WebAssembly.Module.exports(module)
    .filter(({ kind, name }) => kind === "function" && !left.includes(name))
    .map(({ name }) => name)
}
