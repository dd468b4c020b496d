import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { InstanceMode, Limits, Sandbox, SandboxTier } from "../../../src/sandbox/sandbox.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { LIMITS } from "../../contracts/sandbox-contract.ts"

export interface WrittenGuest {
  readonly instance?: InstanceMode
  readonly services?: RecordingServices
  readonly limits?: Partial<Limits>
}

/** Loads a guest from source text and makes it ready. */
export async function writeGuest(tier: SandboxTier, source: string, options: WrittenGuest = {}): Promise<Sandbox> {
  const folder = await mkdtemp(join(tmpdir(), "bext-guest-"))
  try {
    const entry = join(folder, "index.js")
    await writeFile(entry, source)
    const services = options.services ?? new RecordingServices()
    const limits = { ...LIMITS, ...options.limits }
    const sandbox = await tier.load({ name: "guest", folder, entry }, services, limits, options.instance ?? "shared")
    await sandbox.ready(null)
    return sandbox
  } finally {
    await rm(folder, { recursive: true })
  }
}
