import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { PluginError } from "../../src/errors.ts"
import { nextCallId } from "../../src/sandbox/quickjs/call.ts"
import { createQuickjsTier } from "../../src/sandbox/quickjs/tier.ts"
import type { Sandbox } from "../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../contracts/recording-exchange.ts"
import { RecordingServices } from "../contracts/recording-services.ts"
import { request } from "../contracts/sandbox-contract.ts"
import { writeGuest } from "../sandbox/quickjs/write-guest.ts"

/** CPU time of this thread that one slow operation of the host takes. */
const SLOW_MS = 20
const BUDGET = { cpuMs: 50, wallMs: 60_000 }
/** 50 ms are three slow operations; the engine by itself looks at its budget after twenty or more. */
const MOST = 8

/** Services whose storage takes its time. */
class SlowServices extends RecordingServices {
  operations = 0

  override storage(tenant: string | null) {
    const storage = super.storage(tenant)
    const slow = () => {
      this.operations++
      const start = process.threadCpuUsage()
      const usedMs = () => {
        const { user, system } = process.threadCpuUsage(start)
        return (user + system) / 1000
      }
      while (usedMs() < SLOW_MS);
    }
    return Object.assign(Object.create(storage), {
      set: slow,
      keys: () => {
        slow()
        return []
      },
      delete: () => {
        slow()
        throw new PluginError("E_STORAGE_KEY", "guest", "no key")
      },
    })
  }
}

describe("what the host does for a guest", async () => {
  const tier = await createQuickjsTier()
  const answer = async (guest: Sandbox, path: string) => {
    const exchange = new RecordingExchange(path)
    await guest.call(request(exchange))
    return exchange.text
  }

  const LOOPS = {
    "with large values": `const text = "x".repeat(60_000); for (;;) bext.storage.set("a", text)`,
    "to list keys": `for (;;) bext.storage.keys("a")`,
    "to refuse something": `for (;;) try { bext.storage.delete("a") } catch {}`,
  }
  for (const [name, loop] of Object.entries(LOOPS)) {
    it(`${name} is on the guest's budget, however few instructions it takes to ask`, async () => {
      const services = new SlowServices()
      await using guest = await writeGuest(tier, `export function onRequest() { ${loop} }`, { services })
      const call = request(new RecordingExchange("/"), BUDGET)
      await assert.rejects(async () => guest.call(call), { code: "E_LIMIT_CPU" })
      assert.ok(services.operations <= MOST, `${services.operations} operations`)
    })
  }

  it("later, for atomic operations and fetches, is on the guest's budget too", async () => {
    const services = new RecordingServices()
    const source = `export async function onRequest() {
      const all = []
      for (let i = 0; i < 900; i++) all.push(bext.storage.incr("n"))
      await Promise.all(all)
    }`
    await using guest = await writeGuest(tier, source, { services })
    const call = request(new RecordingExchange("/"), BUDGET)
    await assert.rejects(async () => guest.call(call), { code: "E_LIMIT_CPU" })
    const count = Number(services.storage(null).get("n"))
    assert.ok(count < 400, `${count} operations`)
  })

  it("refuses metric tags that are no text or far too many, without a failure of the host", async () => {
    const source = `export function onRequest() {
      const many = {}
      for (let i = 0; i < 3000; i++) many["tag" + i] = "1"
      const tries = [{ a: {} }, { a: [] }, { a: { toString: 1, valueOf: 1 } }, many]
      return new Response(tries.map((tags) => {
        try { bext.metric("m", 1, tags); return "taken" } catch (error) { return error.name }
      }).join())
    }`
    await using guest = await writeGuest(tier, source)
    assert.equal(await answer(guest, "/"), "TypeError,TypeError,TypeError,TypeError")
    assert.equal(guest.generation, 0)
  })

  it("goes on when all ids of calls were used once", () => {
    assert.equal(nextCallId(1), 2)
    assert.equal(nextCallId(2 ** 31 - 2), 2 ** 31 - 1)
    assert.equal(nextCallId(2 ** 31 - 1), 1)
  })
})

describe("work behind the answer", async () => {
  const tier = await createQuickjsTier()
  const LINGER = `export function onRequest(ctx) { ctx.waitUntil(new Promise(() => {})) }`

  it("gives its instance up when a request needs one", async () => {
    const services = new RecordingServices()
    const options = { services, instance: "fresh", limits: { maxInstances: 2 } } as const
    await using guest = await writeGuest(tier, LINGER, options)
    for (let i = 0; i < 5; i++) await guest.call(request(new RecordingExchange("/")))
    assert.equal(services.lines.length, 3)
    for (const line of services.lines) assert.match(line, /after the answer: .*needed for another request/)
  })

  it("does not give up the instance of a request that still waits", async () => {
    const source = `export function onRequest(ctx) { ctx.waitUntil(new Promise(() => {})); return new Promise(() => {}) }`
    await using guest = await writeGuest(tier, source, { instance: "fresh", limits: { maxInstances: 1 } })
    const waiting = assert.rejects(async () => guest.call(request(new RecordingExchange("/"))), {
      code: "E_GUEST_EXITED",
    })
    await assert.rejects(async () => guest.call(request(new RecordingExchange("/"))), { code: "E_OVERLOADED" })
    await guest[Symbol.asyncDispose]()
    await waiting
  })

  it("is bounded in a shared instance: the oldest ends, and with it the hold on its request", async () => {
    const services = new RecordingServices()
    await using guest = await writeGuest(tier, LINGER, { services })
    for (let i = 0; i < 1002; i++) await guest.call(request(new RecordingExchange("/")))
    assert.equal(services.lines.length, 2)
    for (const line of services.lines) assert.match(line, /after the answer: .*more than 1000 answered calls/)
  })
})
