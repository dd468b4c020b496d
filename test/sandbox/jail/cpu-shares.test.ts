import assert from "node:assert/strict"
import { it } from "node:test"
import { CpuShares } from "../../../src/sandbox/jail/cpu-shares.ts"
import { JailCall } from "../../../src/sandbox/jail/jail-call.ts"

const MOST_MS = 20_000

/** A call that was just sent. */
function sent(cpuMs: number): JailCall {
  const limits = { cpuMs, wallMs: 60_000, fuel: 1 }
  const request = { hook: "on_request", exchange: null, params: [], tenant: null, limits, leader: false, signal: null }
  const call = new JailCall(request as ConstructorParameters<typeof JailCall>[0], performance.now())
  call.sentMs = performance.now()
  return call
}

/** Watches calls while a clock runs that has `processors` of them for the process. */
async function firstToSpend(calls: JailCall[], processors: number): Promise<JailCall> {
  const beganMs = performance.now()
  return new Promise((resolve, reject) => {
    const shares = new CpuShares(
      () => calls,
      () => (performance.now() - beganMs) * processors,
      resolve,
    )
    shares.watch(beganMs)
    setTimeout(() => reject(new Error("nobody spent anything")), MOST_MS).unref()
  })
}

it("tells the call that used its CPU time alone", async () => {
  const call = sent(40)
  assert.equal(await firstToSpend([call], 1), call)
  assert.ok(call.cpuMs >= 40)
})

it("charges for all processors that a program uses", async () => {
  const call = sent(100)
  const beganMs = performance.now()
  await firstToSpend([call], 8)
  assert.ok(call.cpuMs >= 100)
  assert.ok(call.cpuMs > performance.now() - beganMs, "it was charged more than the time that passed")
})

it("divides what was used among the calls in flight, and ends the oldest", async () => {
  const calls = [sent(30), sent(30), sent(30)]
  const total = 90
  const beganMs = performance.now()
  assert.equal(await firstToSpend(calls, 1), calls[0])
  assert.ok(performance.now() - beganMs >= total - 10, "together they had three budgets")
})

it("charges a call that has just come for hardly anything of what went before", async () => {
  const old = sent(60)
  const calls = [old]
  const late = sent(60)
  const timer = setInterval(() => {
    late.sentMs = performance.now()
    if (calls.length === 1) calls.push(late)
  }, 1)
  assert.equal(await firstToSpend(calls, 1), old)
  clearInterval(timer)
  assert.ok(late.cpuMs < 30, `it was charged ${late.cpuMs} ms`)
})

it("does not look at the clock of a process without calls", async () => {
  let looks = 0
  const shares = new CpuShares(
    () => [],
    () => ++looks,
    () => {},
  )
  shares.watch(performance.now())
  await new Promise((resolve) => setTimeout(resolve, 30))
  assert.equal(looks, 0)
  shares.end()
})
