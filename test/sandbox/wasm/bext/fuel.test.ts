import assert from "node:assert/strict"
import { describe, it } from "node:test"
import type { HookCall } from "../../../../src/sandbox/sandbox.ts"
import { FUNCTIONS } from "../../../../src/sandbox/wasm/bext/functions.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { request } from "../../../contracts/sandbox-contract.ts"
import { BUMP_ALLOCATOR, importsOf, loadBext } from "./bext-guest.ts"

/** What the guest's own instructions around a call, and its allocator, cost at most. */
const AROUND = 100
const REFUSAL = 10_000

describe("the fuel of a call", () => {
  for (const [name, { type, fuel }] of FUNCTIONS) {
    it(`has what ${name} costs the host in it, each time`, async () => {
      const used = await Promise.all([1, 2, 3].map((times) => fuelOf(name, type, times)))
      const each = used[1]! - used[0]!
      assert.equal(used[2]! - used[1]!, each)
      // Without arguments some are refused.
      assert.ok(each >= 20 + fuel && each < 20 + fuel + REFUSAL + AROUND, `${each}`)
    })
  }

  it("has the bytes in it that cross the boundary", async () => {
    const read = async (length: number) => {
      const exchange = new RecordingExchange("/".repeat(length))
      return fuelOf("get_path", "() -> (i64)", 1, exchange)
    }
    assert.equal((await read(48_000)) - (await read(8000)), 5000)
    assert.equal((await read(64)) - (await read(63)), 8)
    assert.equal(await read(63), await read(1))
  })
})

/** Units that a request uses in which the guest calls the function so many times, with zeros. */
async function fuelOf(name: string, type: string, times: number, exchange = new RecordingExchange("/")) {
  const parameters = /^\((.*?)\)/
    .exec(type)![1]!
    .split(" ")
    .filter((parameter) => parameter !== "")
  const call = `(call $${name} ${parameters.map((parameter) => `(${parameter}.const 0)`).join(" ")})`
  const dropped = type.endsWith("()") ? call : `(drop ${call})`
  await using guest = await loadBext(`(module ${importsOf([name])} (memory (export "memory") 2) ${BUMP_ALLOCATOR}
    (func (export "on_response") (result i32) ${dropped.repeat(times)} (i32.const 0)))`)
  const asked: HookCall = { ...request(exchange), hook: "on_response" }
  await guest.call(asked)
  return asked.fuelUsed!
}
