import type { Config } from "./config/schema.ts"
import type { Tiers } from "./plugins/load-plugin.ts"
import { InstanceAccount } from "./sandbox/limits/instance-account.ts"

const MIB = 1024 * 1024

/**
 * The sandboxes of this build. Each is loaded and started with its first guest, and lives as long as the process.
 * @param sandbox - Ceilings of the process; absent: the defaults.
 */
export function createTiers(sandbox?: Config["sandbox"]): Tiers {
  const ceiling = sandbox && { maxInstances: sandbox.max_instances, maxBytes: sandbox.max_guest_memory_mb * MIB }
  const account = new InstanceAccount(ceiling)
  return new Map([
    ["quickjs", once(async () => (await import("./sandbox/quickjs/tier.ts")).createQuickjsTier(account))],
    ["wasm", once(async () => (await import("./sandbox/wasm/tier.ts")).createWasmTier(account))],
  ])
}

/** A module with one page of memory and nothing else. */
const SMALLEST = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 3, 1, 0, 1)

/**
 * Starts every sandbox of this build, and makes a module of a plugin into an instance.
 * @throws {Error} What this machine lacks for it, or what is wrong with the installation.
 */
export async function tryTiers(): Promise<void> {
  for (const open of createTiers().values()) await open()
  const { createCompiler } = await import("./sandbox/wasm/compile.ts")
  await using compiler = createCompiler()
  const { module, metered } = await compiler.compile("doctor", SMALLEST, MIB)
  new WebAssembly.Instance(module, { [metered.refill.module]: { [metered.refill.name]: () => 0 } })
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}
