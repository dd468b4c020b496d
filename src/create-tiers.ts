import type { SandboxTier, Tier } from "./sandbox/sandbox.ts"

/** The sandboxes of this build, ready to load guests. Takes a moment: call it only when there is a plugin. */
export async function createTiers(): Promise<ReadonlyMap<Tier, SandboxTier>> {
  const { createQuickjsTier } = await import("./sandbox/quickjs/tier.ts")
  return new Map([["quickjs", await createQuickjsTier()]])
}
