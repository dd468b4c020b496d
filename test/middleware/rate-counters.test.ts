import assert from "node:assert/strict"
import { describe, it, type TestContext } from "node:test"
import type { RateCounter } from "../../src/middleware/rate-counter.ts"
import { RateCounters } from "../../src/middleware/rate-counters.ts"
import type { Bus, BusMessage } from "../../src/state/state.ts"

const MOMENT = 50

/** Processes on one bus, which carries JSON at once, and the clock that all of them share. */
class Processes {
  readonly clock = { ms: 1_000 }
  readonly messages: { topic: string; bytes: number }[] = []
  readonly #listeners = new Map<object, (topic: string, message: BusMessage) => void>()
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
    t.mock.timers.enable({ apis: ["setTimeout"] })
  }

  /** @param skewMs - How far this process's clock is ahead. */
  start(options: { maxKeys?: number; skewMs?: number } = {}): RateCounters {
    const { skewMs = 0, ...rest } = options
    const counters = new RateCounters(this.#bus(), { ...rest, now: () => this.clock.ms + skewMs })
    this.#t.after(() => counters[Symbol.dispose]())
    return counters
  }

  pass(ms: number): void {
    this.clock.ms += ms
    this.#t.mock.timers.tick(ms)
  }

  #bus(): Bus {
    const self = {}
    return {
      publish: (topic, message) => {
        const json = JSON.stringify(message)
        this.messages.push({ topic, bytes: Buffer.byteLength(json) })
        for (const [other, listener] of this.#listeners) if (other !== self) listener(topic, JSON.parse(json))
      },
      subscribe: (topic, listener) => {
        this.#listeners.set(self, (sent, message) => sent === topic && listener(message))
        return () => this.#listeners.delete(self)
      },
    }
  }
}

function consume(counter: RateCounter, key: string, times = 1) {
  let count = counter.consume(key)
  for (let i = 1; i < times; i++) count = counter.consume(key)
  return count
}

describe("RateCounters", () => {
  it("count for the whole server: a limit is not one for each process", (t) => {
    const processes = new Processes(t)
    const [a, b, c] = [1, 2, 3].map(() => processes.start().create(10, 60_000, "rule"))
    consume(a!, "ada", 4)
    consume(b!, "ada", 4)
    processes.pass(MOMENT)
    assert.partialDeepStrictEqual(consume(c!, "ada", 2), { remaining: 0, exceeded: false })
    processes.pass(MOMENT)
    for (const counter of [a, b, c]) assert.partialDeepStrictEqual(consume(counter!, "ada"), { exceeded: true })
    assert.partialDeepStrictEqual(consume(a!, "grace"), { remaining: 9 })
  })

  it("let through at most what arrives elsewhere within a moment", (t) => {
    const processes = new Processes(t)
    const all = [1, 2, 3, 4].map(() => processes.start().create(10, 60_000, "rule"))
    let passed = 0
    for (let round = 0; round < 20; round++) {
      for (const counter of all) if (!(consume(counter, "k") as { exceeded: boolean }).exceeded) passed++
      processes.pass(MOMENT)
    }
    // Without an agreement it would be 40.
    assert.ok(passed >= 10 && passed < 10 + 4, `${passed}`)
  })

  it("say nothing while nothing is counted, and one thing however often one key is", (t) => {
    const processes = new Processes(t)
    const counters = processes.start()
    processes.start().create(10, 60_000, "rule")
    processes.pass(1_000)
    assert.equal(processes.messages.length, 0)
    consume(counters.create(10, 60_000, "rule"), "k", 5_000)
    processes.pass(MOMENT)
    processes.pass(1_000)
    assert.equal(processes.messages.length, 1)
    assert.ok(processes.messages[0]!.bytes < 200)
  })

  it("agree on when a window ends, whatever their clocks say and wherever it began", (t) => {
    const processes = new Processes(t)
    const [a, b] = [processes.start({ skewMs: 123_456 }), processes.start()].map((p) => p.create(10, 10_000, "rule"))
    consume(a!, "k")
    processes.pass(MOMENT)
    processes.pass(3_950)
    assert.partialDeepStrictEqual(consume(b!, "k"), { remaining: 8, resetMs: 6_000 })
    processes.pass(6_000)
    assert.partialDeepStrictEqual(consume(b!, "k"), { remaining: 9, resetMs: 10_000 })
    processes.pass(MOMENT)
    assert.partialDeepStrictEqual(consume(a!, "k"), { remaining: 8, resetMs: 9_950 })
  })

  it("stay bounded under a flood of keys, in memory and in messages", (t) => {
    const processes = new Processes(t)
    const a = processes.start().create(10, 60_000, "rule")
    const b = processes.start({ maxKeys: 500 }).create(10, 60_000, "rule")
    const flood = 20
    for (let round = 0; round < flood; round++) {
      for (let i = 0; i < 5_000; i++) consume(a, `${"\u0001".repeat(250)} ${round} ${i}`)
      processes.pass(MOMENT)
    }
    const bytes = processes.messages.map((message) => message.bytes)
    assert.ok(Math.max(...bytes) <= 64 * 1024, `${Math.max(...bytes)}`)
    const total = bytes.reduce((sum, size) => sum + size, 0)
    assert.ok(total < flood * 1_000 * 2_000, `${total}`)
    let remembered = 0
    for (let i = 999; i >= 0; i--) {
      const key = `${"\u0001".repeat(250)} ${flood - 1} ${i}`
      if ((consume(b, key) as { remaining: number }).remaining === 8) remembered++
    }
    assert.ok(remembered > 0 && remembered <= 500, `${remembered}`)
  })

  it("tell of somebody who comes often although a flood of keys came first", (t) => {
    const processes = new Processes(t)
    const [a, b] = [processes.start(), processes.start()].map((p) => p.create(10, 60_000, "rule"))
    for (let round = 0; round < 3; round++) {
      consume(a!, "often", 4)
      for (let i = 0; i < 5_000; i++) consume(a!, `once ${round} ${i}`)
      processes.pass(MOMENT)
    }
    assert.partialDeepStrictEqual(consume(b!, "often"), { exceeded: true })
  })

  it("keep rules apart, and each rule's limit", (t) => {
    const processes = new Processes(t)
    const [a, b] = [processes.start(), processes.start()]
    consume(a.create(1, 60_000, "one"), "k", 5)
    processes.pass(MOMENT)
    assert.partialDeepStrictEqual(consume(b.create(1, 60_000, "two"), "k"), { exceeded: false })
  })

  it("keep a rule's counts while somebody uses its counter", () => {
    using counters = new RateCounters()
    const counter = counters.create(1, 60_000, "rule")
    consume(counter, "k")
    assert.equal(counters.create(1, 60_000, "rule"), counter)
  })

  it("take keys that are names of object members", (t) => {
    const processes = new Processes(t)
    const [a, b] = [processes.start(), processes.start()].map((p) => p.create(1, 60_000, "__proto__"))
    for (const key of ["__proto__", "constructor", ""]) consume(a!, key)
    processes.pass(MOMENT)
    for (const key of ["__proto__", "constructor", ""]) {
      assert.partialDeepStrictEqual(consume(b!, key), { exceeded: true })
    }
  })
})
