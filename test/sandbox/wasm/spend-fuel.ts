import { HOOK_NAMES, type HookName } from "../../../src/hooks.ts"
import type { HookCall, Json } from "../../../src/sandbox/sandbox.ts"
import { RecordingExchange } from "../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { event, LIMITS, request } from "../../contracts/sandbox-contract.ts"
import { loadWasm } from "./load-wasm.ts"

/** How calls of one hook end. */
export interface Spending {
  readonly hook: HookName
  /** Units that a call used which had more than enough. */
  readonly used: number
  /** With exactly those; with one less; with half of them. */
  readonly ends: readonly [string, string, string]
}

/** Spends fuel in every hook of a guest, each time in a new instance. */
export async function spendFuel(): Promise<Spending[]> {
  const spendings: Spending[] = []
  for (const hook of HOOK_NAMES) {
    const all = callOf(hook, 100_000_000)
    if ((await endOf(all)) !== "returned") throw new Error(`${hook}: ${await endOf(all)}`)
    const used = all.fuelUsed!
    const ends = [used, used - 1, Math.floor(used / 2)].map((fuel) => endOf(callOf(hook, fuel)))
    spendings.push({ hook, used, ends: (await Promise.all(ends)) as [string, string, string] })
  }
  return spendings
}

/** What hooks without a request are given here. */
const PARAMS: Partial<Record<HookName, readonly Json[]>> = {
  transform: ["source", "file.txt", { node_env: "test", env_vars: {} }],
  on_cache_write: ["key", ["tag"]],
}

function callOf(hook: HookName, fuel: number): HookCall {
  const limits = { cpuMs: 60_000, wallMs: 120_000, fuel }
  if (hook === "on_request") return request(new RecordingExchange("/"), limits)
  if (hook === "on_response") return { ...request(new RecordingExchange("/", "response"), limits), hook }
  return { ...event(hook, PARAMS[hook] ?? [{ path: "/" }]), limits: { ...limits } }
}

/** "returned", or the message of the failure. */
async function endOf(call: HookCall): Promise<string> {
  const options = { instance: "shared", services: new RecordingServices(), limits: LIMITS } as const
  try {
    await using guest = await loadWasm("spend-fuel", options)
    const starts = call.hook === "on_server_start"
    await guest.ready(starts ? call : null)
    if (!starts) await guest.call(call)
    return "returned"
  } catch (error) {
    return (error as Error).message
  }
}

if (import.meta.main) {
  console.log(JSON.stringify(await spendFuel()))
  // The thread that compiles is kept for a while.
  process.exit(0)
}
