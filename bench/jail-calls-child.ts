import { createJailLauncher } from "../src/sandbox/jail/launch/create-jail-launcher.ts"
import { createJailTier } from "../src/sandbox/jail/tier.ts"
import type { HookCall, Limits, ProgramSource, Sandbox } from "../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../test/contracts/recording-exchange.ts"
import { RecordingServices } from "../test/contracts/recording-services.ts"
import { makeGuests, PYTHON_PROGRAM, SDK } from "./jail-guests.ts"
import { median } from "./measure.ts"

/** What the process that calls the programs tells. */
export interface JailCallFigures {
  /** Microseconds of one call that waits for its answer, in the middle. */
  readonly cUs: number
  readonly pythonUs: number
  /** Calls a second, 64 at the same time. */
  readonly cPerSecond: number
  readonly pythonPerSecond: number
}

const MIB = 1024 * 1024
const CALLS = 4000
const PIPELINED = 60_000
const IN_FLIGHT = 64

const LIMITS: Limits = { memoryBytes: 64 * MIB, messageBytes: 65_536, maxInstances: 1 }
const PROGRAM: ProgramSource = {
  interpreter: null,
  capabilities: ["middleware"],
  jails: 1,
  minIsolation: "process",
  data: null,
  readOnlyPaths: [],
  cpus: 2,
  pids: 64,
  openFiles: 256,
  fileBytes: 64 * MIB,
  tmpBytes: 16 * MIB,
}

const CALL: HookCall = {
  hook: "on_request",
  exchange: new RecordingExchange("/api/v1/items/42"),
  params: [],
  tenant: null,
  limits: { cpuMs: 60_000, wallMs: 60_000, fuel: 0 },
  leader: true,
  signal: null,
}

await using launcher = await createJailLauncher({ sdkFolder: SDK })
const folder = makeGuests()
await using c = await load("answer-lines", null)
await using python = await load("main.py", PYTHON_PROGRAM)
await pipeline(c, 5000)
await pipeline(python, 5000)
const figures: JailCallFigures = {
  cUs: await oneByOne(c),
  pythonUs: await oneByOne(python),
  cPerSecond: await pipeline(c, PIPELINED),
  pythonPerSecond: await pipeline(python, PIPELINED),
}
console.log(JSON.stringify(figures))

async function load(entry: string, interpreter: string | null): Promise<Sandbox> {
  const source = { name: "bench", folder, entry: `${folder}/${entry}`, program: { ...PROGRAM, interpreter } }
  const sandbox = await createJailTier(launcher).load(source, new RecordingServices(), LIMITS, "shared")
  await sandbox.ready(null)
  return sandbox
}

async function oneByOne(sandbox: Sandbox): Promise<number> {
  const samples: number[] = []
  for (let i = 0; i < CALLS; i++) {
    const startedAt = performance.now()
    await sandbox.call(CALL)
    samples.push((performance.now() - startedAt) * 1000)
  }
  return median(samples)
}

async function pipeline(sandbox: Sandbox, calls: number): Promise<number> {
  const startedAt = performance.now()
  let left = calls
  const callOn = async () => {
    while (left-- > 0) await sandbox.call(CALL)
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, callOn))
  return (calls * 1000) / (performance.now() - startedAt)
}
