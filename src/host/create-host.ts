import type { Logger } from "pino"
import type { Dispatcher } from "undici"
import { PartitionPool } from "../state/partition-pool.ts"
import type { KeyValueStore } from "../state/state.ts"
import { AddressGuard } from "./address-guard.ts"
import { createFetchTransport, type Resolve } from "./fetch-transport.ts"
import { MetricRegistry } from "./metrics.ts"

export interface HostOptions {
  readonly state: KeyValueStore
  readonly log: Logger
  /** Whether this server listens there; `address` is an IP address in canonical text. */
  readonly isOwnListener: (address: string, port: number) => boolean
  /** `fetch.allow_private`: exact "ADDRESS:PORT" pairs. */
  readonly allowPrivate: readonly string[]
  /** Default: the operating system's resolver. */
  readonly resolve?: Resolve
  /** Epoch milliseconds for expiry. Default: the system clock. */
  readonly nowMs?: () => number
  /** Memory of resident storage partitions. Default 64 MiB. */
  readonly maxResidentBytes?: number
}

/** What the services of all plugins of a process share. Disposing saves storage and closes connections. */
export interface Host extends AsyncDisposable {
  readonly log: Logger
  readonly metrics: MetricRegistry
  readonly partitions: PartitionPool
  readonly transport: Dispatcher
  readonly nowMs: () => number
}

const DEFAULT_RESIDENT_BYTES = 64 * 1024 * 1024

export function createHost(options: HostOptions): Host {
  const nowMs = options.nowMs ?? Date.now
  const maxBytes = options.maxResidentBytes ?? DEFAULT_RESIDENT_BYTES
  const partitions = new PartitionPool({ state: options.state, nowMs, maxBytes })
  const transport = createFetchTransport(new AddressGuard(options), options.resolve)
  return {
    log: options.log,
    metrics: new MetricRegistry(),
    partitions,
    transport,
    nowMs,
    async [Symbol.asyncDispose]() {
      await transport.destroy()
      await partitions[Symbol.asyncDispose]()
    },
  }
}
