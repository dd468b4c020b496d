/** Entry of a lane's thread: wires its parts; decides nothing. */
import { readlinkSync } from "node:fs"
import { setPriority } from "node:os"
import { parentPort, workerData } from "node:worker_threads"
import { pino } from "pino"
import { createHost } from "./host/create-host.ts"
import type { FromLane, LaneThreadData } from "./plugins/lanes/lane-protocol.ts"
import { serveLane } from "./plugins/lanes/lane-server.ts"
import { InstanceAccount, type InstanceCeiling } from "./sandbox/limits/instance-account.ts"
import { createQuickjsLaneTier } from "./sandbox/quickjs/tier.ts"
import type { SandboxTier, Tier } from "./sandbox/sandbox.ts"
import { createWasmLaneTier } from "./sandbox/wasm/tier.ts"
import { openLmdbState } from "./state/open-lmdb-state.ts"

/** What is in a lane has had its share: the serving threads of the machine come first. */
const NICE = 10

const { stateDir, tiers: parts } = workerData as LaneThreadData
const port = parentPort!
const report = (_: object, message: string) => port.postMessage({ type: "trouble", message } satisfies FromLane)
await using state = openLmdbState({ dir: stateDir, log: { error: report } })
// Fetches, log lines and metrics are the serving thread's: nothing here is ever asked for them.
await using host = createHost({
  state: state.keyValues,
  queues: state.queues,
  log: pino({ level: "silent" }),
  isOwnListener: () => true,
  allowPrivate: [],
})
let account: InstanceAccount | undefined
const tiers = new Map(Array.from(parts, ([tier, part]) => [tier, createTier(tier, part)]))
// Only now: on a busy machine it would never be there otherwise.
beNice()
await serveLane(port, host, tiers, createTier)

function createTier(tier: Tier, part: unknown): SandboxTier {
  if (tier === "quickjs") return createQuickjsLaneTier(part, toAccount)
  if (tier === "wasm") return createWasmLaneTier(part, toAccount)
  throw new Error(`guests of ${tier} cannot change threads`)
}

/** One account for all tiers, as in the serving thread: the ceiling is for all of them together. */
function toAccount(ceiling: InstanceCeiling): InstanceAccount {
  account ??= new InstanceAccount(ceiling)
  return account
}

/** Linux counts the priority of each thread; elsewhere, or without the right, this changes nothing. */
function beNice(): void {
  try {
    const thread = Number(readlinkSync("/proc/thread-self").split("/").at(-1))
    setPriority(thread, NICE)
  } catch {
    // It runs as everybody else then.
  }
}
