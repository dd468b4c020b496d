import { InstanceAccount } from "../src/sandbox/limits/instance-account.ts"
import type { HookCall, Limits, Sandbox, SandboxTier } from "../src/sandbox/sandbox.ts"
import { createCompiler } from "../src/sandbox/wasm/compile.ts"
import { createWasmTier } from "../src/sandbox/wasm/tier.ts"
import { RecordingExchange } from "../test/contracts/recording-exchange.ts"
import { RecordingServices } from "../test/contracts/recording-services.ts"
import { median } from "./measure.ts"

/** What the process that holds the instances tells of them. */
export interface InstanceFigures {
  readonly loadedUs: number
  readonly evictedUs: number
  readonly atRestUs: number
  readonly instances: number
  readonly residentBytes: number
}

const GUESTS = 1000
const ROOM = 50
const LIMITS: Limits = { memoryBytes: 16 * 1024 * 1024, messageBytes: 65_536, maxInstances: 1 }

const CALL: HookCall = {
  hook: "on_request",
  exchange: new RecordingExchange("/"),
  params: [],
  tenant: null,
  limits: { cpuMs: 50, wallMs: 1000, fuel: 20_000_000 },
  leader: true,
  signal: null,
}

const [entry, count] = process.argv.slice(2)
const compiler = createCompiler()
console.log(JSON.stringify({ ...(await measureReturn()), ...(await measureMany(Number(count))) }))
// The thread that compiles is kept for a while.
process.exit(0)

/** With room for few of the guests, every call finds that its instance is gone. */
async function measureReturn() {
  const tier = createWasmTier(new InstanceAccount({ maxInstances: ROOM, maxBytes: 2 ** 40 }), compiler)
  const guests = await loadMany(tier, GUESTS)
  const evicted: number[] = []
  const atRest: number[] = []
  for (let round = 0; round < 4; round++) {
    for (const guest of guests) {
      const [first, second] = [timeCall(guest), timeCall(guest)]
      if (round === 0) continue
      evicted.push(first)
      atRest.push(second)
    }
  }
  if (guests.some((guest) => guest.evictions < 3)) throw new Error("an instance was not evicted")
  for (const guest of guests) await guest[Symbol.asyncDispose]()
  return { evictedUs: median(evicted), atRestUs: median(atRest) }
}

async function measureMany(count: number) {
  const tier = createWasmTier(new InstanceAccount({ maxInstances: 2 * count, maxBytes: 2 ** 44 }), compiler)
  await loadMany(tier, 1)
  const before = process.memoryUsage.rss()
  const startedAt = performance.now()
  const guests = await loadMany(tier, count)
  const loadedUs = ((performance.now() - startedAt) * 1000) / count
  for (const guest of guests) timeCall(guest)
  const instances = guests.reduce((sum, guest) => sum + guest.instances, 0)
  return { loadedUs, instances, residentBytes: (process.memoryUsage.rss() - before) / count }
}

async function loadMany(tier: SandboxTier, count: number): Promise<Sandbox[]> {
  const services = new RecordingServices()
  const guests: Sandbox[] = []
  for (let i = 0; i < count; i++) {
    const source = { name: `p${i}`, folder: "/", entry: entry! }
    const guest = await tier.load(source, services, LIMITS, "shared")
    await guest.ready(null)
    guests.push(guest)
  }
  return guests
}

/** Microseconds of one on_request. */
function timeCall(guest: Sandbox): number {
  const startedAt = performance.now()
  void guest.call(CALL)
  return (performance.now() - startedAt) * 1000
}
