import type { Logger } from "pino"
import type { Dispatcher } from "undici"
import { PartitionPool } from "../state/partition-pool.ts"
import type { KeyValueStore, QueueStore } from "../state/state.ts"
import { AddressGuard } from "./address-guard.ts"
import { createFetchTransport, type Resolve } from "./fetch-transport.ts"
import { MetricRegistry } from "./metrics.ts"

export interface HostOptions {
  readonly state: KeyValueStore
  /** Absent: every push is refused. */
  readonly queues?: QueueStore
  readonly log: Logger
  /** Whether this server listens there; `address` is an IP address in canonical text. */
  readonly isOwnListener: (address: string, port: number) => boolean
  /** `fetch.allow_private`, to begin with: exact "ADDRESS:PORT" pairs. */
  readonly allowPrivate: readonly string[]
  /** Default: the operating system's resolver. */
  readonly resolve?: Resolve
  /** Epoch milliseconds for expiry. Default: the system clock. */
  readonly nowMs?: () => number
  /** Memory of resident storage partitions. Default 64 MiB. */
  readonly maxResidentBytes?: number
}

/** What the services of all plugins of a process share. */
export interface Host {
  readonly log: Logger
  readonly metrics: MetricRegistry
  readonly partitions: PartitionPool
  readonly queues: QueueStore | null
  readonly transport: Dispatcher
  readonly nowMs: () => number
}

/** Disposing saves storage and closes connections. */
export interface OwnedHost extends Host, AsyncDisposable {
  /**
   * The same host with another `fetch.allow_private`: a list has connections of its own, because one that was made lasts
   * longer than a permission. Belongs to this host.
   */
  allowing(allowPrivate: readonly string[]): Host
}

const DEFAULT_RESIDENT_BYTES = 64 * 1024 * 1024

export function createHost(options: HostOptions): OwnedHost {
  const nowMs = options.nowMs ?? Date.now
  const maxBytes = options.maxResidentBytes ?? DEFAULT_RESIDENT_BYTES
  const partitions = new PartitionPool({ state: options.state, nowMs, maxBytes })
  const hosts = new Map<string, Host>()
  const queues = options.queues ?? null
  const common = { log: options.log, metrics: new MetricRegistry(), partitions, queues, nowMs }
  const allowing = (allowPrivate: readonly string[]): Host => {
    const key = allowPrivate.toSorted().join()
    const guard = () => new AddressGuard({ ...options, allowPrivate })
    const host = hosts.get(key) ?? { ...common, transport: createFetchTransport(guard(), options.resolve) }
    hosts.set(key, host)
    return host
  }
  return {
    ...allowing(options.allowPrivate),
    allowing,
    async [Symbol.asyncDispose]() {
      await Promise.all(Array.from(hosts.values(), ({ transport }) => transport.destroy()))
      await partitions[Symbol.asyncDispose]()
    },
  }
}
