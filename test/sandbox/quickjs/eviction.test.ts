import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it, type TestContext } from "node:test"
import { InstanceAccount } from "../../../src/sandbox/limits/instance-account.ts"
import { createQuickjsLaneTier, createQuickjsTier } from "../../../src/sandbox/quickjs/tier.ts"
import type { MovableSandbox, Sandbox } from "../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { LIMITS, request } from "../../contracts/sandbox-contract.ts"
import { type WrittenGuest, writeGuest } from "./write-guest.ts"

const MIB = 1024 * 1024

const COUNTER = `
let calls = 0
export async function onRequest(ctx) {
  calls++
  if (ctx.path === "/wait") await new Promise((resolve) => setTimeout(resolve, 50))
  if (ctx.path === "/behind") ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 50)))
  return { action: "respond", body: String(calls) }
}`

/** Keeps 8 MiB more with each call. */
const GROWER = `
const kept = []
export function onRequest() {
  kept.push(new Uint8Array(8 * 1024 * 1024).fill(1))
  return { action: "respond", body: String(kept.length) }
}`

const EVERYTHING = 4096 * MIB

async function tierWith(ceiling: { maxInstances?: number; maxBytes?: number }) {
  return createQuickjsTier(new InstanceAccount({ maxInstances: 10_000, maxBytes: EVERYTHING, ...ceiling }))
}

async function loadAll(t: TestContext, sources: readonly string[], ceiling: object, options: WrittenGuest = {}) {
  const tier = await tierWith(ceiling)
  const guests: Sandbox[] = []
  for (const source of sources) {
    const guest = await writeGuest(tier, source, options)
    t.after(() => guest[Symbol.asyncDispose]())
    guests.push(guest)
  }
  return guests
}

async function ask(guest: Sandbox, path = "/"): Promise<string> {
  const exchange = new RecordingExchange(path)
  await guest.call(request(exchange))
  return exchange.text ?? ""
}

function sum(guests: readonly Sandbox[], field: "instances" | "evictions"): number {
  return guests.reduce((total, guest) => total + guest[field], 0)
}

describe("the ceiling of instances", () => {
  it("gives up the instance longest at rest, which begins with its image again: generation + 1", async (t) => {
    const services = new RecordingServices()
    const [a, b, c] = (await loadAll(t, [COUNTER, COUNTER, COUNTER], { maxInstances: 2 }, { services })) as [
      Sandbox,
      Sandbox,
      Sandbox,
    ]
    assert.deepEqual([await ask(a), await ask(b), await ask(a)], ["1", "1", "2"])
    assert.equal(await ask(c), "1")
    assert.deepEqual([a.evictions, b.evictions, c.evictions], [0, 1, 0])
    assert.deepEqual([b.instances, b.generation], [0, 1])
    assert.equal(await ask(c), "2")
    assert.equal(await ask(b), "1", "it begins anew")
    assert.deepEqual([a.evictions, a.generation, b.instances], [1, 1, 1])
    assert.ok(services.lines.some((line) => line.startsWith("debug its instance was given up")))
  })

  it("keeps a hundred plugins working with room for five", async (t) => {
    const guests = await loadAll(
      t,
      Array.from({ length: 100 }, () => COUNTER),
      { maxInstances: 5 },
    )
    for (let round = 0; round < 3; round++) {
      for (const guest of guests) assert.equal(await ask(guest), "1")
    }
    const instances = guests.reduce((sum, guest) => sum + guest.instances, 0)
    assert.ok(instances <= 5, String(instances))
  })

  it("refuses a call when every instance is at work, and never gives up one that is", async (t) => {
    for (const path of ["/wait", "/behind"]) {
      const [a, b] = (await loadAll(t, [COUNTER, COUNTER], { maxInstances: 1 })) as [Sandbox, Sandbox]
      const working = ask(a, path)
      if (path === "/behind") await working
      await assert.rejects(ask(b), { code: "E_OVERLOADED", message: /sandbox\.max_instances/ })
      assert.equal(await working, "1")
      while (!a.idle) await new Promise((resolve) => setTimeout(resolve, 5))
      assert.equal(await ask(b), "1")
      assert.deepEqual([a.evictions, b.evictions], [1, 0])
    }
  })

  it("counts and gives up fresh instances, too", async (t) => {
    const [a, b] = (await loadAll(t, [COUNTER, COUNTER], { maxInstances: 3 }, { instance: "fresh" })) as [
      Sandbox,
      Sandbox,
    ]
    assert.deepEqual(await Promise.all([ask(a, "/wait"), ask(a, "/wait"), ask(a, "/wait")]), ["1", "1", "1"])
    assert.equal(a.instances, 3)
    assert.deepEqual(await Promise.all([ask(b, "/wait"), ask(b, "/wait")]), ["1", "1"])
    assert.deepEqual([a.instances, a.evictions, b.instances], [1, 2, 2])
  })

  it("counts what was given back: guests come and go without end", async () => {
    const tier = await tierWith({ maxInstances: 2 })
    for (let i = 0; i < 30; i++) {
      await using guest = await writeGuest(tier, i % 2 === 0 ? COUNTER : GROWER, { limits: { memoryBytes: 32 * MIB } })
      assert.equal(await ask(guest), "1")
    }
  })
})

describe("the ceiling of guest memory", () => {
  const limits = { memoryBytes: 64 * MIB }

  it("keeps a thousand plugins working in twenty-four megabytes", async (t) => {
    const tier = await tierWith({ maxBytes: 24 * MIB })
    const folder = mkdtempSync(join(tmpdir(), "bext-guest-"))
    t.after(() => rmSync(folder, { recursive: true }))
    const entry = join(folder, "index.js")
    writeFileSync(entry, COUNTER)
    const guests: Sandbox[] = []
    for (let i = 0; i < 1000; i++) {
      const guest = await tier.load({ name: `guest-${i}`, folder, entry }, new RecordingServices(), LIMITS, "shared")
      await guest.ready(null)
      guests.push(guest)
    }
    for (let round = 0; round < 2; round++) for (const guest of guests) assert.equal(await ask(guest), "1")
    const [instances, evictions] = [sum(guests, "instances"), sum(guests, "evictions")]
    assert.ok(instances > 0 && instances <= 24, String(instances))
    assert.equal(evictions, 2000 - instances)
    for (const guest of guests) await guest[Symbol.asyncDispose]()
  })

  it("has a growing instance take the room of those at rest", async (t) => {
    const guests = await loadAll(t, [GROWER, GROWER, GROWER], { maxBytes: 40 * MIB }, { limits })
    for (let round = 1; round <= 2; round++) for (const guest of guests) await ask(guest)
    const evictions = guests.map((guest) => guest.evictions)
    assert.ok(evictions[0]! + evictions[1]! + evictions[2]! > 0, String(evictions))
    const memory = guests.reduce((sum, guest) => sum + guest.memoryBytes, 0)
    assert.ok(memory <= 40 * MIB + MIB, String(memory))
  })

  it("refuses growth with E_LIMIT_MEMORY when nothing can be given up, also below the plugin's own limit", async (t) => {
    const [grower] = (await loadAll(t, [GROWER], { maxBytes: 16 * MIB }, { limits })) as [Sandbox]
    assert.equal(await ask(grower), "1")
    await assert.rejects(
      async () => ask(grower),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, "E_LIMIT_MEMORY")
        assert.match(error.message, /sandbox\.max_guest_memory_mb/)
        return true
      },
    )
    assert.equal(await ask(grower), "1", "it begins anew")
  })

  it("never gives up the instance that grows", async (t) => {
    const [a, b] = (await loadAll(t, [GROWER, COUNTER], { maxBytes: 16 * MIB }, { limits })) as [Sandbox, Sandbox]
    await ask(b)
    await ask(a)
    await assert.rejects(async () => ask(a), { code: "E_LIMIT_MEMORY" })
    assert.equal(a.evictions, 0)
    assert.equal(b.evictions, 1)
  })
})

describe("an image", () => {
  it("of a guest that used much memory while it was loaded has room for as much again", async (t) => {
    const source = `
new Uint8Array(12 * 1024 * 1024).fill(1)
export function onRequest() {
  const parts = Array.from({ length: 40 }, () => new Uint8Array(128 * 1024).fill(1))
  return { action: "respond", body: String(parts.length) }
}`
    const [guest] = (await loadAll(t, [source], {}, { limits: { memoryBytes: 32 * MIB } })) as [Sandbox]
    for (let i = 0; i < 3; i++) assert.equal(await ask(guest), "40")
  })
})

describe("the ceiling of a process with a lane", () => {
  it("is divided: neither thread can keep the other from working", async (t) => {
    const tier = await tierWith({ maxInstances: 4, maxBytes: 64 * MIB })
    const guests: Sandbox[] = []
    for (let i = 0; i < 4; i++) {
      const guest = await writeGuest(tier, COUNTER)
      t.after(() => guest[Symbol.asyncDispose]())
      await ask(guest)
      guests.push(guest)
    }
    const there = () => guests.reduce((sum, guest) => sum + guest.instances, 0)
    assert.equal(there(), 4)
    const lane = createQuickjsLaneTier(tier.moving!.openThread())
    assert.equal(there(), 3, "the lane has room for one")
    const moving = guests.at(-1) as MovableSandbox
    const moved = lane.moving!.revive(moving.copy(), new RecordingServices())
    moved.putState(moving.takeState())
    assert.equal(await ask(moved), "2")
    const another = lane.moving!.revive((guests[0] as MovableSandbox).copy(), new RecordingServices())
    assert.equal(await ask(another), "1")
    assert.deepEqual([moved.instances, moved.evictions], [0, 1])
    for (const guest of guests) await ask(guest)
    assert.ok(there() <= 3)
    tier.moving!.closeThread()
    for (const guest of guests) await ask(guest)
    assert.equal(there(), 4, "the lane is gone")
  })
})
