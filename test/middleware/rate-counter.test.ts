import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { WindowCounter } from "../../src/middleware/rate-counter.ts"

describe("WindowCounter", () => {
  it("counts at once", () => {
    const counter = new WindowCounter(1, 60_000)
    const first = counter.consume("a")
    assert.deepEqual([first.remaining, first.exceeded], [0, false])
    assert.partialDeepStrictEqual(counter.consume("a"), { remaining: 0, exceeded: true })
  })

  it("begins a new window when the last one is over", () => {
    const clock = { ms: 0 }
    const counter = new WindowCounter(2, 1_500, { now: () => clock.ms })
    counter.consume("a")
    clock.ms += 1_000
    assert.deepEqual(counter.consume("a"), { remaining: 0, resetMs: 500, exceeded: false })
    clock.ms += 500
    assert.deepEqual(counter.consume("a"), { remaining: 1, resetMs: 1_500, exceeded: false })
  })

  it("forgets the windows that began first when there are too many keys", () => {
    const counter = new WindowCounter(1, 60_000, { maxKeys: 160 })
    for (let i = 0; i < 161; i++) counter.consume(`key ${i}`)
    assert.partialDeepStrictEqual(counter.consume("key 160"), { exceeded: true })
    assert.partialDeepStrictEqual(counter.consume("key 10"), { exceeded: true })
    assert.partialDeepStrictEqual(counter.consume("key 9"), { exceeded: false })
  })

  it("keeps its memory bounded under a flood of keys", () => {
    const counter = new WindowCounter(1, 60_000, { maxKeys: 1_000 })
    let remembered = 0
    for (let i = 0; i < 20_000; i++) counter.consume(`key ${i}`)
    for (let i = 19_999; i >= 0; i--) {
      const count = counter.consume(`key ${i}`)
      if (!count.exceeded) break
      remembered++
    }
    assert.ok(remembered > 900 && remembered <= 1_000, `${remembered} keys`)
  })

  it("takes keys that are names of object members", () => {
    const counter = new WindowCounter(1, 60_000)
    for (const key of ["__proto__", "constructor", "toString", ""]) {
      assert.partialDeepStrictEqual(counter.consume(key), { exceeded: false })
      assert.partialDeepStrictEqual(counter.consume(key), { exceeded: true })
    }
  })
})
