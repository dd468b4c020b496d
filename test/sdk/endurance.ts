import { join } from "node:path"
import { createWasmTier } from "../../src/sandbox/wasm/tier.ts"
import { RecordingExchange } from "../contracts/recording-exchange.ts"
import { RecordingServices } from "../contracts/recording-services.ts"
import { event, request } from "../contracts/sandbox-contract.ts"

const LIMITS = { memoryBytes: 64 * 1024 * 1024, messageBytes: 1024 * 1024, maxInstances: 4 }

/** Bytes of the shared instance of the plugin in `folder` after each so many requests for `paths` in turn. */
export async function memoryAfter(
  folder: string,
  paths: readonly string[],
  requests: readonly number[],
): Promise<{ readonly bytes: number[]; readonly generation: number }> {
  const services = new RecordingServices()
  const source = { name: "guest", folder, entry: join(folder, "plugin.wasm") }
  await using guest = await createWasmTier().load(source, services, LIMITS, "shared")
  await guest.ready(event("on_server_start", [services.config]))
  const bytes: number[] = []
  for (const count of requests) {
    for (let i = 0; i < count; i++) await guest.call(request(new RecordingExchange(paths[i % paths.length]!)))
    bytes.push(guest.memoryBytes)
  }
  return { bytes, generation: guest.generation }
}
