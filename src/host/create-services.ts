import type { Permissions } from "../config/manifest-schema.ts"
import type { Json } from "../sandbox/sandbox.ts"
import type { QueueSettings } from "../state/state.ts"
import type { Host } from "./create-host.ts"
import { createGuardedFetch } from "./fetch.ts"
import { GuestLog } from "./guest-log.ts"
import { QueuePush } from "./queue.ts"
import { Secrets } from "./secrets.ts"
import type { GrantedService, GuestServices } from "./services.ts"
import { PartitionStorage } from "./storage.ts"

/** Tenants whose storage is bound to the plugin. Without `[[tenants]]` clients make up as many as they like. */
const MAX_TENANTS = 1000

export interface ServiceOptions {
  readonly plugin: string
  /** Whose storage it is: the publisher, or the absolute path of the plugin's folder. */
  readonly owner: string
  /** Effective ones, from `effectivePermissions`. */
  readonly permissions: Permissions
  /** The plugin's settings, defaults applied. */
  readonly config: Json
  /** Name → value of the secrets the operator mapped. */
  readonly secrets: ReadonlyMap<string, string>
  /** Storage for each tenant: keys, values and 32 bytes for each entry. */
  readonly quotaBytes: number
  /** Those it may push to, `permissions.queues`. */
  readonly queues: readonly QueueSettings[]
  /** The bodies it reads, as its manifest declares. Default none. */
  readonly body?: "none" | "request" | "response" | "both"
  /** Largest body of a fetch, in either direction. */
  readonly messageBytes: number
}

/** The services of one plugin. Disposing cancels its fetches; its storage stays with the host. */
export interface BoundServices extends GuestServices, AsyncDisposable {
  /**
   * Comes before the first storage operation of a call: makes the tenant's partition resident.
   * @returns nothing when it is, or when the store has it at hand.
   */
  prepare(tenant: string | null): void | Promise<void>
  /** Text with the values of this plugin's secrets replaced; for whatever the guest said that gets logged elsewhere. */
  mask(text: string): string
  /** Resolves when everything the plugin wrote is on disk, and so in every other thread's sight. @throws {BextError} */
  flushStorage(): Promise<void>
  /**
   * The plugin wrote elsewhere, and that is to be seen here from now on.
   * @param tenant - Absent: for all tenants.
   */
  refreshStorage(tenant?: string | null): Promise<void>
}

/** @throws {PluginError} `E_PLUGIN_MANIFEST_INVALID`: a URL pattern cannot be parsed. */
export function createGuestServices(host: Host, options: ServiceOptions): BoundServices {
  const { plugin, owner, permissions, quotaBytes } = options
  const secrets = new Secrets(plugin, options.secrets, permissions.secrets)
  const log = new GuestLog(host.log, plugin, (text) => secrets.mask(text))
  const metrics = host.metrics.plugin(plugin, (message) => log.write("warn", message))
  const disposed = new AbortController()
  const guardedFetch = createGuardedFetch({
    plugin,
    allowedUrls: permissions.allowed_urls,
    maxPerMinute: permissions.max_fetch_per_minute,
    maxBytes: options.messageBytes,
    transport: host.transport,
  })
  const queue = new QueuePush({ plugin, queues: options.queues, store: host.queues })
  const { partitions: pool, nowMs } = host
  const open = (tenant: string | null) => new PartitionStorage({ plugin, owner, tenant }, { pool, nowMs, quotaBytes })
  const bound = new Map<string | null, PartitionStorage>()
  const storage = (tenant: string | null): PartitionStorage => {
    const present = bound.get(tenant)
    if (present !== undefined) return present
    // What is thrown away is quickly made again: the data is the pool's.
    if (bound.size === MAX_TENANTS) bound.clear()
    const opened = open(tenant)
    bound.set(tenant, opened)
    return opened
  }
  return {
    config: deepFreeze(structuredClone(options.config)),
    granted: (service) => isGranted(options, service),
    storage,
    prepare: (tenant) => storage(tenant).prepare(),
    fetch: (request, signal) => guardedFetch(request, AbortSignal.any([signal, disposed.signal])),
    push: (name, message, tenant) => queue.push(name, message, tenant),
    secret: (name) => secrets.get(name),
    mask: (text) => secrets.mask(text),
    async flushStorage() {
      await Promise.all(Array.from(bound.values(), (partition) => partition.flush()))
    },
    async refreshStorage(tenant) {
      const partitions = tenant === undefined ? [...bound.values()] : [storage(tenant)]
      await Promise.all(partitions.map((partition) => partition.refresh()))
    },
    metric: (name, value, tags) => metrics.record(name, value, tags),
    log: (level, message) => log.write(level, message),
    async [Symbol.asyncDispose]() {
      disposed.abort()
      log.tellDropped()
    },
  }
}

function isGranted({ permissions, queues, body = "none" }: ServiceOptions, service: GrantedService): boolean {
  if (service === "fetch") return permissions.allowed_urls.length > 0
  if (service === "queue") return queues.length > 0
  return body === "both" || service === `${body}_body`
}

function deepFreeze(value: Json): Json {
  if (typeof value !== "object" || value === null) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
