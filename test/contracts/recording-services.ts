import { PluginError } from "../../src/errors.ts"
import type {
  GuestFetchRequest,
  GuestFetchResponse,
  GuestMessage,
  GuestServices,
  GuestStorage,
} from "../../src/host/services.ts"

/** Services that keep what a guest asked of them. */
export class RecordingServices implements GuestServices {
  readonly config = { greeting: "hello" }
  readonly lines: string[] = []
  readonly metrics: unknown[] = []
  readonly requests: GuestFetchRequest[] = []
  readonly messages: (GuestMessage & { queue: string; tenant: string | null })[] = []
  readonly partitions = new Map<string | null, MemoryStorage>()
  /** Answers `fetch`; replace it to delay or refuse. */
  respond: (request: GuestFetchRequest, signal: AbortSignal) => Promise<GuestFetchResponse> = async ({ url }) => ({
    url,
    status: 203,
    headers: [["x-from", "afar"]],
    body: Buffer.from("fetchéd"),
  })

  granted(): boolean {
    return true
  }
  storage(tenant: string | null): GuestStorage {
    const found = this.partitions.get(tenant) ?? new MemoryStorage()
    this.partitions.set(tenant, found)
    return found
  }
  fetch(request: GuestFetchRequest, signal: AbortSignal): Promise<GuestFetchResponse> {
    this.requests.push(request)
    return this.respond(request, signal)
  }
  async push(queue: string, message: GuestMessage, tenant: string | null): Promise<string> {
    if (queue !== "mail") throw new PluginError("E_PERMISSION", "guest", `${queue} was not granted`)
    this.messages.push({ ...message, queue, tenant })
    return `message ${this.messages.length}`
  }
  secret(name: string): string {
    if (name !== "KEY") throw new PluginError("E_PERMISSION", "guest", `${name} was not granted`)
    return "s3cret"
  }
  metric(name: string, value: number, tags: Readonly<Record<string, string>>): void {
    this.metrics.push([name, value, tags])
  }
  log(level: string, message: string): void {
    this.lines.push(`${level} ${message}`)
  }
}

class MemoryStorage implements GuestStorage {
  readonly values = new Map<string, string | Uint8Array>()
  get(key: string) {
    return this.values.get(key)
  }
  set(key: string, value: string | Uint8Array) {
    this.values.set(key, value)
  }
  delete(key: string) {
    return this.values.delete(key)
  }
  keys(prefix: string, limit: number) {
    return [...this.values.keys()].filter((key) => key.startsWith(prefix)).slice(0, limit)
  }
  async incr(key: string, by: number) {
    if (!Number.isSafeInteger(by)) throw new PluginError("E_GUEST_RESULT_INVALID", "guest", `${by} is no safe integer`)
    const value = Number(this.values.get(key) ?? 0) + by
    this.values.set(key, String(value))
    return value
  }
  async cas(key: string, expected: string | Uint8Array | undefined, value: string | Uint8Array) {
    if (this.values.get(key) !== expected) return false
    this.values.set(key, value)
    return true
  }
  async flush() {}
}
