import assert from "node:assert/strict"
import { describe, it, type TestContext } from "node:test"
import { Budget } from "../../../src/sandbox/limits/budget.ts"
import { createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { request } from "../../contracts/sandbox-contract.ts"
import { writeGuest } from "./write-guest.ts"

describe("the CPU budget of a quickjs guest", async () => {
  const tier = await createQuickjsTier()
  const source = `export function onRequest(ctx) {
    for (let i = 0; i < 2e4; i++);
    console.log("pause")
    for (let i = 0; i < (ctx.path === "/spin" ? Infinity : 2e4); i++);
    return new Response("done")
  }`
  /** The thread stands still while the guest is on the stack, as it does when the machine runs something else. */
  const pausing = (ms: number) => {
    const services = new RecordingServices()
    services.log = () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
    }
    return services
  }
  const call = async (services: RecordingServices, path: string, cpuMs: number, wallMs = 60_000) => {
    await using guest = await writeGuest(tier, source, { services })
    const exchange = new RecordingExchange(path)
    await guest.call(request(exchange, { cpuMs, wallMs }))
    return exchange.text
  }

  it("does not charge the time the thread was not running", async () => {
    assert.equal(await call(pausing(600), "/", 400), "done")
  })

  it("still ends a guest that uses its own time up after a pause", async () => {
    await assert.rejects(call(pausing(100), "/spin", 60), { code: "E_LIMIT_CPU" })
  })

  it("ends at four times the budget on the clock on the wall", async () => {
    await assert.rejects(call(pausing(500), "/", 100), { code: "E_LIMIT_CPU" })
  })

  it("ends at the wall time of the call, also on the stack", async () => {
    await assert.rejects(call(pausing(300), "/", 60_000, 200), { code: "E_LIMIT_TIME" })
  })
})

describe("a budget on clocks that the test turns", () => {
  it("is spent exactly when the thread has used it, not only at the hard end", (t) => {
    const clock = turnedClocks(t)
    const budget = enter({ cpuMs: 50, wallMs: 10_000 })
    clock.guestRuns(1)
    assert.equal(budget.spent(), false)
    clock.guestRuns(48)
    assert.equal(budget.spent(), false)
    clock.guestRuns(1)
    assert.equal(budget.spent(), true)
    assert.equal(budget.verdict, "E_LIMIT_CPU")
    assert.equal(budget.leave(), 50)
  })

  it("gives back what others had, and then goes on counting", (t) => {
    const clock = turnedClocks(t)
    const budget = enter({ cpuMs: 50, wallMs: 10_000 })
    clock.guestRuns(1)
    budget.spent()
    clock.othersRun(100)
    assert.equal(budget.spent(), false)
    clock.guestRuns(49)
    assert.equal(budget.spent(), true)
  })

  it("ends at four times itself although the thread hardly ran", (t) => {
    const clock = turnedClocks(t)
    const budget = enter({ cpuMs: 50, wallMs: 10_000 })
    clock.guestRuns(1)
    budget.spent()
    clock.othersRun(198)
    assert.equal(budget.spent(), false)
    clock.othersRun(1)
    assert.equal(budget.spent(), true)
    assert.equal(budget.verdict, "E_LIMIT_CPU")
  })

  it("asks the thread's clock only once a millisecond is over, or the budget is shorter", (t) => {
    const clock = turnedClocks(t)
    const budget = enter({ cpuMs: 50, wallMs: 10_000 })
    clock.guestRuns(0.75)
    assert.equal(budget.spent(), false)
    assert.equal(clock.asked, 0)
    clock.guestRuns(0.25)
    assert.equal(budget.spent(), false)
    assert.equal(clock.asked, 1)

    const short = enter({ cpuMs: 0.5, wallMs: 10_000 })
    clock.guestRuns(0.25)
    assert.equal(short.spent(), false)
    clock.guestRuns(0.25)
    assert.equal(short.spent(), true)
  })

  it("counts what the host did for the guest", (t) => {
    const clock = turnedClocks(t)
    const budget = enter({ cpuMs: 50, wallMs: 10_000 })
    clock.guestRuns(1)
    budget.spent()
    budget.charge(40)
    clock.guestRuns(8)
    assert.equal(budget.spent(), false)
    clock.guestRuns(1)
    assert.equal(budget.spent(), true)
  })

  it("stays spent, whatever the clocks say", (t) => {
    const clock = turnedClocks(t)
    const budget = enter({ cpuMs: 50, wallMs: 20 })
    clock.othersRun(20)
    assert.equal(budget.spent(), true)
    clock.othersRun(-20)
    assert.equal(budget.spent(), true)
    assert.equal(budget.verdict, "E_LIMIT_TIME")
  })
})

function enter({ cpuMs, wallMs }: { cpuMs: number; wallMs: number }): Budget {
  const budget = new Budget()
  budget.enter(performance.now(), cpuMs, performance.now() + wallMs)
  return budget
}

/** The clock on the wall and the thread's own, both standing still until the test moves them. */
function turnedClocks(t: TestContext) {
  let nowMs = 1000
  let cpuMs = 7
  t.mock.method(performance, "now", () => nowMs)
  const { mock } = t.mock.method(process, "threadCpuUsage", () => ({ user: cpuMs * 1000, system: 0 }))
  return {
    /** How often the thread's own was read. */
    get asked() {
      return mock.callCount()
    },
    guestRuns(ms: number) {
      nowMs += ms
      cpuMs += ms
    },
    othersRun(ms: number) {
      nowMs += ms
    },
  }
}
