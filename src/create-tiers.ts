import type { Config } from "./config/schema.ts"
import { InstanceAccount } from "./sandbox/limits/instance-account.ts"
import type { SandboxTier, Tier } from "./sandbox/sandbox.ts"

const MIB = 1024 * 1024

/**
 * The sandboxes of this build, ready to load guests. Takes a moment: call it only when there is a plugin.
 * @param sandbox - Ceilings of the process; absent: the defaults.
 */
export async function createTiers(sandbox?: Config["sandbox"]): Promise<ReadonlyMap<Tier, SandboxTier>> {
  const { createQuickjsTier } = await import("./sandbox/quickjs/tier.ts")
  const ceiling = sandbox && { maxInstances: sandbox.max_instances, maxBytes: sandbox.max_guest_memory_mb * MIB }
  const account = new InstanceAccount(ceiling)
  return new Map([["quickjs", await createQuickjsTier(account)]])
}
