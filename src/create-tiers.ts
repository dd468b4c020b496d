import { fileURLToPath } from "node:url"
import type { Config } from "./config/schema.ts"
import type { Tiers } from "./plugins/load-plugin.ts"
import type { JailLauncher } from "./sandbox/jail/launcher.ts"
import { InstanceAccount } from "./sandbox/limits/instance-account.ts"
import type { Isolation, SandboxTier, Tier } from "./sandbox/sandbox.ts"

const MIB = 1024 * 1024

/** Disposing ends what the tiers share with this machine; their guests are gone by then. */
export interface OwnedTiers extends Tiers, AsyncDisposable {}

/**
 * The sandboxes of this build. Each is loaded and started with its first guest, and lives as long as the process.
 * @param sandbox - Ceilings of the process; absent: the defaults.
 * @param probed - Gets what this machine offers to isolate programs, when the first of them is loaded.
 */
export function createTiers(sandbox?: Config["sandbox"], probed?: (isolation: Isolation) => void): OwnedTiers {
  const ceiling = sandbox && { maxInstances: sandbox.max_instances, maxBytes: sandbox.max_guest_memory_mb * MIB }
  const account = new InstanceAccount(ceiling)
  const parts = new AsyncDisposableStack()
  const openJails = async () => {
    const { createJailTier } = await import("./sandbox/jail/tier.ts")
    const launcher = parts.use(await openLauncher())
    probed?.(launcher.isolation)
    return createJailTier(launcher)
  }
  const tiers = new Map<Tier, () => Promise<SandboxTier>>([
    ["quickjs", once(async () => (await import("./sandbox/quickjs/tier.ts")).createQuickjsTier(account))],
    ["wasm", once(async () => (await import("./sandbox/wasm/tier.ts")).createWasmTier(account))],
    ["nsjail", once(openJails)],
  ])
  return Object.assign(tiers, { [Symbol.asyncDispose]: () => parts.disposeAsync() })
}

/** What this machine offers to isolate programs, by doing it. @throws {Error} */
export async function probeIsolation(): Promise<Isolation> {
  await using launcher = await openLauncher()
  return launcher.isolation
}

const PYTHON_SDK = fileURLToPath(new URL("../sdk/python", import.meta.url))

async function openLauncher(): Promise<JailLauncher> {
  const { createJailLauncher } = await import("./sandbox/jail/launch/create-jail-launcher.ts")
  return createJailLauncher({ sdkFolder: PYTHON_SDK })
}

/** A module with one page of memory and nothing else. */
const SMALLEST = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 3, 1, 0, 1)

/**
 * Starts every sandbox that is inside the server's process, and makes a module of a plugin into an instance. For programs see
 * `probeIsolation`.
 * @returns their names.
 * @throws {Error} What this machine lacks for it, or what is wrong with the installation.
 */
export async function tryTiers(): Promise<readonly Tier[]> {
  await using tiers = createTiers()
  const inside = [...tiers.keys()].filter((tier) => tier !== "nsjail")
  for (const tier of inside) await tiers.get(tier)!()
  const { createCompiler } = await import("./sandbox/wasm/compile.ts")
  await using compiler = createCompiler()
  const { module, metered } = await compiler.compile("doctor", SMALLEST, MIB)
  new WebAssembly.Instance(module, { [metered.refill.module]: { [metered.refill.name]: () => 0 } })
  return inside
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}
