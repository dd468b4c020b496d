import { BextError } from "../errors.ts"
import { ResidentPartition } from "./resident-partition.ts"
import type { KeyValueStore, Stored } from "./state.ts"

export interface PoolOptions {
  readonly state: KeyValueStore
  /** Epoch milliseconds; decides what is expired. */
  readonly nowMs: () => number
  /** Bytes all resident partitions may use together. The one in use stays whatever its size. */
  readonly maxBytes: number
}

type Entries = ReadonlyMap<string, Stored>

/** Data on its way from the store. */
interface Loading {
  entries: Promise<Entries>
  outdated: boolean
}

/** What a resident partition costs when it is empty, roughly: many empty ones must not be free. */
const PARTITION_BYTES = 1024

/** The partitions this process has in memory, least recently used first. One object for a partition, whoever asks. */
export class PartitionPool implements AsyncDisposable {
  readonly #options: PoolOptions
  readonly #resident = new Map<string, ResidentPartition>()
  readonly #loading = new Map<string, Loading>()
  /** Ends the watch, which begins with the first partition: a server without storage in use has nothing to look for. */
  #unwatch: (() => void) | null = null
  #newest: ResidentPartition | null = null
  #bytes = 0

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /** Bytes of all resident partitions. */
  get bytes(): number {
    return this.#bytes
  }

  /** Comes before the first use in a call. Returns nothing when there is nothing to wait for. */
  prepare(id: string): void | Promise<void> {
    if (this.#options.state.waits && !this.#resident.has(id)) return this.#open(id)
  }

  /**
   * The resident partition, loaded now if the store can do that without waiting.
   * @throws {BextError} `E_STATE_UNAVAILABLE` when it would have to wait: `prepare` comes first.
   */
  get(id: string): ResidentPartition {
    if (this.#newest !== null && this.#newest.id === id && !this.#newest.evicted) return this.#newest
    if (!this.#resident.has(id) && !this.#options.state.waits) this.#open(id)
    const partition = this.#resident.get(id)
    if (partition !== undefined) return this.#touch(partition)
    throw new BextError("E_STATE_UNAVAILABLE", "a storage partition is used before it is loaded")
  }

  /** Loads the partition again, if it is resident: somebody is known to have changed it. Changes made here stay. */
  async refresh(id: string): Promise<void> {
    const partition = this.#resident.get(id)
    if (partition !== undefined) partition.reload(await this.#load(id))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unwatch?.()
    const closed = await Promise.allSettled([...this.#resident.values()].map((partition) => partition.close()))
    const failed = closed.find((result) => result.status === "rejected")
    if (failed !== undefined) throw failed.reason
  }

  #open(id: string): void | Promise<void> {
    this.#unwatch ??= this.#options.state.watch({
      changed: (partition, key) => this.#changed(partition, key),
      reset: () => this.#reloadAll(),
    })
    const loaded = this.#load(id)
    if (loaded instanceof Promise) return loaded.then((entries) => this.#admit(id, entries))
    this.#admit(id, loaded)
  }

  #load(id: string): Entries | Promise<Entries> {
    const underWay = this.#loading.get(id)
    if (underWay !== undefined) return underWay.entries
    const loaded = this.#options.state.load(id)
    if (!(loaded instanceof Promise)) return loaded
    const loading: Loading = { entries: loaded, outdated: false }
    loading.entries = this.#loadCurrent(id, loading).finally(() => this.#loading.delete(id))
    this.#loading.set(id, loading)
    return loading.entries
  }

  /** Loads again as long as a change came while the data was on its way. */
  async #loadCurrent(id: string, loading: Loading): Promise<Entries> {
    let entries = await loading.entries
    while (loading.outdated) {
      loading.outdated = false
      entries = await this.#options.state.load(id)
    }
    return entries
  }

  #changed(id: string, key: string): void {
    const loading = this.#loading.get(id)
    if (loading !== undefined) loading.outdated = true
    // A store that cannot be read has told the operator already, and announces a reset once it is back.
    this.#resident
      .get(id)
      ?.changedElsewhere(key)
      ?.catch(() => {})
  }

  #admit(id: string, entries: Entries): void {
    if (this.#resident.has(id)) return
    const { state, nowMs } = this.#options
    const partition = new ResidentPartition(id, entries, state, nowMs, (bytes) => this.#resize(bytes))
    this.#resident.set(id, partition)
    this.#touch(partition)
    this.#resize(PARTITION_BYTES)
  }

  #touch(partition: ResidentPartition): ResidentPartition {
    this.#resident.delete(partition.id)
    this.#resident.set(partition.id, partition)
    this.#newest = partition
    return partition
  }

  #resize(bytes: number): void {
    this.#bytes += bytes
    if (bytes > 0) this.#evict()
  }

  #evict(): void {
    if (this.#bytes <= this.#options.maxBytes) return
    for (const partition of this.#resident.values()) {
      if (partition === this.#newest || partition.busy) continue
      partition.evicted = true
      this.#resident.delete(partition.id)
      this.#bytes -= partition.usedBytes + PARTITION_BYTES
      partition.close().catch(() => {})
      if (this.#bytes <= this.#options.maxBytes) return
    }
  }

  #reloadAll(): void {
    for (const loading of this.#loading.values()) loading.outdated = true
    for (const partition of this.#resident.values()) {
      const loaded = this.#load(partition.id)
      if (loaded instanceof Promise) loaded.then((entries) => partition.reload(entries)).catch(() => {})
      else partition.reload(loaded)
    }
  }
}
