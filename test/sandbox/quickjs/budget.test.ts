import assert from "node:assert/strict"
import { describe, it } from "node:test"
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
