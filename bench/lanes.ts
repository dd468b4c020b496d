import { mkdirSync, writeFileSync } from "node:fs"
import { Agent, get } from "node:http"
import { join } from "node:path"
import { InstanceAccount } from "../src/sandbox/limits/instance-account.ts"
import { createQuickjsTier } from "../src/sandbox/quickjs/tier.ts"
import type { HookCall, Sandbox } from "../src/sandbox/sandbox.ts"
import { median } from "./measure.ts"
import type { Row, Section } from "./report.ts"
import { BASE, startBext } from "./servers.ts"
import { temporaryFolder } from "./temporary-folder.ts"

const BUDGET_MS = 50
const BURN_MS = 45
const PER_SECOND = 100
/** One request of a neighbour every so often. */
const NEIGHBOUR_MS = 10

/** A plugin that burns nine tenths of its budget on each of a hundred requests a second, and what its neighbours see. */
export async function measureLanes(): Promise<Section> {
  const folder = temporaryFolder()
  write(
    folder,
    "burner",
    `export function onRequest(ctx) {
      if (ctx.path.endsWith("/burn")) for (const end = Date.now() + ${BURN_MS}; Date.now() < end; );
      return new Response("burnt")
    }`,
  )
  write(folder, "away", ONE_HEADER)
  write(folder, "here", ONE_HEADER)
  const config = (lane: string) => `${BASE.replace('level = "error"', 'level = "silent"')}
[plugins.burner]
path = "${folder}/burner/index.js"
match = [{ path = "/burner/**" }]
lane = "${lane}"
limits = { max_cpu_ms = ${BUDGET_MS} }
[plugins.here]
path = "${folder}/here/index.js"
match = [{ path = "/here/**" }]
lane = "inline"
[plugins.away]
path = "${folder}/away/index.js"
match = [{ path = "/away/**" }]
lane = "worker"
`
  const rows: Row[] = []
  {
    await using server = await startBext(config("auto"))
    const before = await neighbours(server.url, 3000)
    const burner = burn(server.url)
    const first = await neighbours(server.url, 2000)
    const moved = await neighbours(server.url, 8000)
    burner.stop()
    rows.push(
      ...figures("neighbours, nobody burns", before),
      ...figures("neighbours, first two seconds of the burner, its move included", first),
      ...figures("neighbours, once the burner has moved", moved, { of: "value", atMost: 15 }),
    )
    rows.push(...(await compareCalls(server.url)))
  }
  {
    await using server = await startBext(config("inline"))
    const burner = burn(server.url)
    const samples = neighbours(server.url, 1000)
    // It asks for more than there is, so the last of the neighbours would wait as long as it goes on.
    setTimeout(() => burner.stop(), 1000)
    rows.push(...figures('neighbours of one second, if the burner has lane = "inline"', await samples))
  }
  rows.push(...(await measureReturn()))
  return {
    title: `Lanes: ${PER_SECOND} requests/s of ${BURN_MS} ms CPU each beside a neighbour's route; evicted instances`,
    rows,
    notes: [
      `Neighbours: a static file every ${NEIGHBOUR_MS} ms. The burner asks for ${(PER_SECOND * BURN_MS) / 10} % of a thread; what its lane does not take is refused at once.`,
      "A call in the lane: one keep-alive connection, one request after the other.",
    ],
  }
}

const ONE_HEADER = `export function onRequest(ctx) { return new Response(ctx.headers.get("host")) }`

function write(folder: string, name: string, source: string): void {
  mkdirSync(join(folder, name))
  writeFileSync(join(folder, name, "index.js"), source)
}

/** Sends requests to the burner at a steady rate, whatever becomes of them. */
function burn(url: string): { stop(): void } {
  const agent = new Agent({ keepAlive: true, maxSockets: 1000 })
  const timer = setInterval(() => {
    get(`${url}/burner/burn`, { agent }, (response) => response.resume()).on("error", () => {})
  }, 1000 / PER_SECOND)
  return {
    stop() {
      clearInterval(timer)
      agent.destroy()
    },
  }
}

/** Response times of a static file, each request sent when it is due and not when the last was answered. */
async function neighbours(url: string, durationMs: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1000 })
  const samples: Promise<number>[] = []
  const endMs = performance.now() + durationMs
  while (performance.now() < endMs) {
    samples.push(timeOf(`${url}/hello.txt`, agent))
    await new Promise((resolve) => setTimeout(resolve, NEIGHBOUR_MS))
  }
  const times = await Promise.all(samples)
  agent.destroy()
  return times
}

function timeOf(url: string, agent: Agent): Promise<number> {
  const startedMs = performance.now()
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`${url}: ${response.statusCode}`))
      response.resume().on("end", () => resolve(performance.now() - startedMs))
    }).on("error", reject)
  })
}

function figures(what: string, samples: readonly number[], target?: Row["target"]): Row[] {
  const sorted = samples.toSorted((a, b) => a - b)
  const p99 = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))]!
  return [
    { what: `${what}: p50`, value: median(sorted), unit: "ms" },
    { what: `${what}: p99`, value: p99, unit: "ms", ...(target && { target }) },
  ]
}

async function compareCalls(url: string): Promise<Row[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const samples = { here: [] as number[], away: [] as number[] }
  for (let i = 0; i < 250; i++) {
    for (const name of ["here", "away"] as const) {
      const ms = await timeOf(`${url}/${name}/x`, agent)
      if (i >= 50) samples[name].push(ms)
    }
  }
  agent.destroy()
  const [here, away] = [median(samples.here), median(samples.away)]
  return [
    { what: "a request to a plugin in the serving thread", value: here * 1000, unit: "µs" },
    {
      what: "a request to the same plugin in a lane",
      value: away * 1000,
      unit: "µs",
      comparedTo: "in the serving thread",
      ratio: away / here,
    },
  ]
}

const GUESTS = 1000
const ROOM = 50

/** A thousand plugins with room for fifty: every call finds its instance evicted. */
async function measureReturn(): Promise<Row[]> {
  const tier = await createQuickjsTier(new InstanceAccount({ maxInstances: ROOM, maxBytes: 2 ** 31 }))
  const folder = temporaryFolder()
  write(folder, "guest", `let calls = 0\nexport function onServerStop() { calls++ }`)
  const source = { name: "guest", folder: join(folder, "guest"), entry: join(folder, "guest", "index.js") }
  const limits = { memoryBytes: 16 * 1024 * 1024, messageBytes: 65_536, maxInstances: 1 }
  const guests: Sandbox[] = []
  for (let i = 0; i < GUESTS; i++) {
    const guest = await tier.load(source, NO_SERVICES, limits, "shared")
    await guest.ready(null)
    guests.push(guest)
  }
  const times: number[] = []
  const again: number[] = []
  for (let round = 0; round < 3; round++) {
    for (const guest of guests) {
      times.push(timeCall(guest))
      again.push(timeCall(guest))
    }
  }
  const evictions = guests.reduce((sum, guest) => sum + guest.evictions, 0)
  if (evictions < 2 * GUESTS) throw new Error(`only ${evictions} instances were evicted`)
  for (const guest of guests) await guest[Symbol.asyncDispose]()
  const [evicted, there] = [median(times.slice(GUESTS)), median(again.slice(GUESTS))]
  return [
    { what: `a call of one of ${GUESTS} plugins with room for ${ROOM}`, value: there * 1000, unit: "µs" },
    {
      what: "the same, whose instance was evicted",
      value: evicted * 1000,
      unit: "µs",
      comparedTo: "an instance at rest",
      ratio: evicted / there,
      target: { of: "value", atMost: 1000 },
    },
  ]
}

const CALL: HookCall = {
  hook: "on_server_stop",
  exchange: null,
  params: [],
  tenant: null,
  limits: { cpuMs: 1000, wallMs: 1000, fuel: 0 },
  leader: true,
  signal: null,
}

function timeCall(guest: Sandbox): number {
  const startedMs = performance.now()
  void guest.call(CALL)
  return performance.now() - startedMs
}

const refuse = () => {
  throw new Error("the guest asks for nothing")
}
const NO_SERVICES = {
  config: {},
  granted: () => false,
  storage: refuse,
  fetch: refuse,
  push: refuse,
  secret: refuse,
  metric: () => {},
  log: () => {},
}
