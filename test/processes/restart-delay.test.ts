import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { RestartDelay } from "../../src/processes/restart-delay.ts"

describe("RestartDelay", () => {
  it("is nothing at first, then doubles up to half a minute", () => {
    const delay = new RestartDelay()
    const delays = Array.from({ length: 10 }, () => delay.next(0))
    assert.deepEqual(delays, [0, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
  })

  it("begins anew when a process lived for a minute", () => {
    const delay = new RestartDelay()
    delay.next(0)
    delay.next(59_999)
    assert.equal(delay.next(59_999), 500)
    assert.equal(delay.next(60_000), 0)
    assert.equal(delay.next(0), 250)
  })
})
