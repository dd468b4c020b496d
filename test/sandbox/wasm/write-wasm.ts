import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { InstanceMode, Limits, Sandbox, SandboxTier } from "../../../src/sandbox/sandbox.ts"
import { RecordingServices } from "../../contracts/recording-services.ts"
import { event, LIMITS } from "../../contracts/sandbox-contract.ts"

export interface WrittenModule {
  readonly instance?: InstanceMode
  readonly services?: RecordingServices
  readonly limits?: Partial<Limits>
}

/** Loads a module from its bytes and makes it ready. */
export async function writeWasm(
  tier: SandboxTier,
  bytes: Uint8Array,
  { instance = "shared", services = new RecordingServices(), limits = {} }: WrittenModule = {},
): Promise<Sandbox> {
  const folder = await mkdtemp(join(tmpdir(), "bext-guest-"))
  try {
    const entry = join(folder, "guest.wasm")
    await writeFile(entry, bytes)
    const sandbox = await tier.load({ name: "guest", folder, entry }, services, { ...LIMITS, ...limits }, instance)
    await sandbox.ready(sandbox.hooks.has("on_server_start") ? event("on_server_start", [services.config]) : null)
    return sandbox
  } finally {
    await rm(folder, { recursive: true })
  }
}
