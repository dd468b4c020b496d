import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { HOOK_NAMES } from "../../../src/hooks.ts"
import { NO_C } from "./compile-c.ts"
import type { Spending } from "./spend-fuel.ts"

describe("fuel of a wasm guest", { skip: NO_C }, async () => {
  // In processes of their own: what one has compiled and run before must not matter.
  const [first, second] = NO_C === false ? await Promise.all([inNewProcess(), inNewProcess()]) : []

  it("is the same in every process", () => {
    assert.deepEqual(first, second)
    assert.deepEqual(first?.map(({ hook }) => hook).sort(), [...HOOK_NAMES].sort())
  })

  for (const { hook, used, ends } of first ?? []) {
    const [exactly, oneLess] = ends

    it(`${hook} needs exactly its ${used} units: one less is not enough`, () => {
      assert.ok(used > 10_000)
      assert.equal(exactly, "returned")
      const message = `spend-fuel: ${hook} used ${used} of its ${used - 1} units of fuel`
      assert.ok(oneLess.startsWith(message) && oneLess.endsWith(" [E_LIMIT_FUEL]"), oneLess)
    })
  }

  it("that runs out is reported with what was used, and in which function", () => {
    for (const { hook, used, ends } of first ?? []) {
      const message = /^spend-fuel: (\S+) used (\d+) of its (\d+) units of fuel in work \[E_LIMIT_FUEL\]$/
      const [, name, units, limit] = message.exec(ends[2]) ?? []
      assert.deepEqual([name, Number(limit)], [hook, Math.floor(used / 2)], ends[2])
      assert.ok(Number(units) > Number(limit) && Number(units) <= used, ends[2])
    }
  })
})

async function inNewProcess(): Promise<Spending[]> {
  const file = fileURLToPath(new URL("spend-fuel.ts", import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [file])
  return JSON.parse(stdout)
}
